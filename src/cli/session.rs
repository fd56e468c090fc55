//! One run with all that is around it: its pool, signals, what is shown and what is written to files.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use sidestep_worker::wire::{Encoding, JobInfo};

use super::ending::{self, CliError, Ending};
use super::event::Watcher;
use super::failed::FailedDir;
use super::joblog::{self, Done, JobLog};
use super::options::{OnSignal, Options, Request, Showing, Workers};
use super::output::{IN_MEMORY, Judge, Live, Out, Printer, Reorder};
use super::plan::{self, Plan};
use super::progress::{Display, Totals};
use super::report::Report;
use super::results::Results;
use super::run::{Course, End, Orders, Run, Tally};
use super::say::{command_line, say};
use super::signals::{self, Wish};
use super::strays::{self, Strays};
use super::trace::Trace;
use crate::{Output, Pool};

/// How long results may take to be written after a signal: longer only if their reader stalls.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Whoever has not taken results for so long does not read.
const STALLED: Duration = Duration::from_secs(1);

/// What the threads of a run have in common.
#[derive(Clone)]
struct Shared {
    ending: Arc<Ending>,
    tally: Arc<Tally>,
    orders: Arc<Orders>,
    display: Display,
    out: Arc<Out>,
    log: Arc<OnceLock<JobLog>>,
    /// The first signal that was to end the run.
    interrupted: Arc<OnceLock<Signal>>,
}

/// Runs a job as the command line says; returns the exit code.
pub(super) fn run(options: &Options, request: &Request, ending: &Arc<Ending>) -> Result<u8, CliError> {
    // What can be known to be wrong is said before any process is started.
    let own = match &options.exe {
        Some(path) => plan::check_program(path).map(|()| None)?,
        None if options.shared.attach.is_some() => None,
        None => Some(Plan::new(&plan::own_jobs(), request, options)?),
    };
    if options.dry_run {
        let plan = own.map_or_else(|| Plan::new(&plan::all_jobs(options)?, request, options), Ok)?;
        return dry_run(plan, options);
    }
    let (shared, strays) = prepare(options, ending, own.as_ref())?;
    let most = own.as_ref().and_then(|plan| plan.sources.count()).unwrap_or(usize::MAX);
    let workers = plan::workers(options, most)?;
    // How workers are to be started depends on the job, unless all that they write waits for its end.
    let own = match (own, options.showing()) {
        (None, Showing::Lines | Showing::Ungrouped) => {
            Some(Plan::new(&plan::all_jobs(options)?, request, options)?)
        }
        (own, _) => own,
    };
    let live = own.as_ref().map(|plan| shared.give_stdout(plan, options)).transpose()?.flatten();
    let output = own.as_ref().map_or(Output::Capture, |plan| plan.printed(options.showing()));
    let pool = ending.own(plan::build(options, workers, output)?);
    let workers = workers.min(pool.most_workers());
    let plan = own.map_or_else(|| Plan::new(&pool.job_infos(), request, options), Ok)?;
    if let Some(strays) = strays {
        strays.watch(plan.stay()).map_err(CliError::Thread)?;
    }
    let end = shared.run(pool, plan, workers, live.as_deref(), options);
    // Also after an error: what was computed is shown.
    shared.out.flush().map_err(CliError::Output)?;
    shared.finish(pool, end?, options)
}

/// Takes signals, standard output and orphans over. No thread may have been started before.
fn prepare(
    options: &Options,
    ending: &Arc<Ending>,
    plan: Option<&Plan>,
) -> Result<(Shared, Option<Strays>), CliError> {
    let strays = strays::adopt().map_err(CliError::Thread)?;
    let signals = signals::block().map_err(CliError::Thread)?;
    let failing = Arc::clone(ending);
    let out = Out::new(move |error| failing.fail(&CliError::Output(error))).map_err(CliError::Output)?;
    // Nor do programs that write themselves mind a bar.
    let typed =
        options.showing() == Showing::Ungrouped || plan.is_some_and(|plan| plan.sources.is_terminal());
    let shared = Shared {
        ending: Arc::clone(ending),
        tally: Arc::default(),
        orders: Arc::default(),
        display: Display::open(options.display(typed)),
        out,
        log: Arc::default(),
        interrupted: Arc::default(),
    };
    let granting = shared.clone();
    let skipped = u32::from(options.failure.on_signal == OnSignal::Kill);
    signals.watch(move |wish| granting.grant(wish.sooner(skipped))).map_err(CliError::Thread)?;
    Ok((shared, strays))
}

impl Shared {
    /// Does what a signal wants, on the thread that waits for them.
    fn grant(&self, wish: Wish) {
        match wish {
            // A pool that starts, a named pipe that nobody writes to: there is nothing that could end in good order.
            Wish::End { signal, times: ..3 } if !self.orders.are_heeded() => self.kill(signal, "interrupted"),
            Wish::End { signal, times: 1 } => {
                let _ = self.interrupted.set(signal);
                self.tally.draining(signals::way_of(signal)).into_iter().for_each(say);
                self.orders.give(Course::Drain);
            }
            Wish::End { signal, times: 2 } => {
                let _ = self.interrupted.set(signal);
                say(self.tally.ending(signals::way_of(signal)));
                self.orders.give(Course::End);
                self.insist(signal);
            }
            Wish::End { signal, .. } => self.kill(signal, "killed"),
            Wish::Stop => {
                self.display.pause();
                self.orders.stand_still(|| self.ending.pause(signals::stop));
                self.display.resume();
            }
            Wish::Tell => self.display.list_running(),
            Wish::Toggle => self.display.toggle(),
        }
    }

    /// Ends it all if an order to end is not heeded: the run may wait for a reader that stalls.
    fn insist(&self, signal: Signal) {
        let shared = self.clone();
        let insist = move || {
            std::thread::sleep(STALLED);
            if shared.orders.are_ignored(Course::End) && shared.out.is_busy() {
                shared.kill(signal, "interrupted")
            }
        };
        // Without it there is still the third signal.
        let _ = std::thread::Builder::new().name("insist".into()).spawn(insist);
    }

    /// Ends it all, now.
    fn kill(&self, signal: Signal, how: &str) -> ! {
        self.ending.begin();
        self.ending.terminate();
        if self.out.close_within(LAST_WORDS)
            && let Some(log) = self.log.get()
        {
            log.flush_within(LAST_WORDS);
        }
        self.display.close();
        say(self.interruption(how));
        signals::die_by(*self.interrupted.get().unwrap_or(&signal))
    }

    /// What to say of a run that has ended before its inputs did.
    fn interruption(&self, how: &str) -> String {
        let go_on = if self.log.get().is_some() { "; --resume runs the rest" } else { "" };
        self.tally.interruption(how) + go_on
    }

    /// Sees to what workers have as their standard output, where they have one; it is that of this process.
    fn give_stdout(&self, plan: &Plan, options: &Options) -> Result<Option<Arc<Live>>, CliError> {
        if plan.is_live() {
            let ending = Arc::clone(&self.ending);
            let failed = move |error| ending.fail(&CliError::Output(error));
            let live = Live::new(Arc::clone(&self.out), options.shown.tag(), failed);
            return live.map(Some).map_err(CliError::Output);
        }
        if options.showing() != Showing::Grouped && !plan.needs_stdout() {
            // Only results belong there: what functions print goes where messages go.
            nix::unistd::dup2_stdout(io::stderr()).map_err(|error| CliError::Output(error.into()))?;
        }
        Ok(None)
    }

    fn run(
        &self,
        pool: &Pool,
        plan: Plan,
        workers: usize,
        live: Option<&Live>,
        options: &Options,
    ) -> Result<End, CliError> {
        let as_it_comes = plan.needs_stdout();
        let Plan { job, arguments, sources } = plan;
        if let Some(count) = sources.count() {
            self.tally.expect(count);
        }
        if let Some(total) = options.total.or(sources.count().map(|count| count as u64)) {
            self.display.expect(total);
        }
        if sources.is_terminal() && !options.quiet {
            say("inputs are read from the terminal, one a line; Ctrl-D ends them");
        }
        let program = options.exe.as_deref().or(pool.lent_program());
        let done = self.open_log(&job, program, options)?;
        let inputs = sources.open(&options.input.format()).map_err(CliError::Input)?;
        let tag = options.shown.tag();
        let printer = Printer {
            job: &job.name,
            place: inputs.place(),
            tag: tag.as_ref(),
            order: (!options.unordered && !as_it_comes).then(|| Reorder::new(IN_MEMORY)),
            out: &self.out,
            log: self.log.get(),
        };
        let run = Run {
            pool,
            desk: pool.desk(&job.name, arguments.encoding()).map_err(CliError::Job)?,
            arguments: &arguments,
            judge: Judge { job: &job, style: arguments.style, json: options.json },
            printer,
            live,
            watchers: self.watchers(&job, arguments.encoding(), program, options)?,
            keeps_args: options.kept.failed_dir.is_some(),
            done: done.as_ref(),
            tally: &self.tally,
            orders: &self.orders,
            terms: plan::terms(options),
            crew: options.workers.as_ref().filter(|workers| matches!(workers, Workers::File(_))),
            workers,
        };
        run.run(inputs)
    }

    /// Opens the log, if there is to be one, and reads what is in it.
    fn open_log(
        &self,
        job: &JobInfo,
        program: Option<&Path>,
        options: &Options,
    ) -> Result<Option<Done>, CliError> {
        let Some(path) = &options.log.joblog else { return Ok(None) };
        // It reads the whole program, which takes a moment.
        let run = joblog::Run::new(job, program)?;
        let (log, done) = JobLog::open(path, run, options.log.resume())?;
        let out = Arc::clone(&self.out);
        let _ = self.log.set(log.after(move || out.flush()));
        Ok(Some(done))
    }

    fn watchers(
        &self,
        job: &JobInfo,
        encoding: Encoding,
        program: Option<&Path>,
        options: &Options,
    ) -> Result<Vec<Box<dyn Watcher>>, CliError> {
        let (command, now) = (command_line(), SystemTime::now());
        let mut watchers: Vec<Box<dyn Watcher>> = vec![Box::new(self.display.reporter())];
        if let Some(target) = &options.shown.results {
            watchers.push(Box::new(Results::create(target)?));
        }
        if let Some(folder) = &options.kept.failed_dir {
            watchers.push(Box::new(FailedDir::create(folder, job, encoding, program)?));
        }
        if let Some(path) = &options.trace {
            watchers.push(Box::new(Trace::create(path, &command, now)?));
        }
        if let Some(path) = &options.report {
            watchers.push(Box::new(Report::create(path, command, now)?));
        }
        Ok(watchers)
    }

    /// What is to be said and done once nothing runs any more; the exit code.
    fn finish(&self, pool: &Pool, end: End, options: &Options) -> Result<u8, CliError> {
        if let Some(log) = self.log.get() {
            log.finish()?;
        }
        if let (End::Ordered, Some(signal)) = (end, self.interrupted.get()) {
            self.ending.begin();
            self.ending.terminate();
            self.display.close();
            say(self.interruption("interrupted"));
            signals::die_by(*signal)
        }
        if let Some(error) = self.tally.take_error() {
            return Err(CliError::Input(error));
        }
        let restarts = pool.stats().restarts;
        pool.close();
        pool.join().map_err(CliError::Pool)?;
        let (how, code) = match end {
            End::Deadline => (Some("the deadline has passed"), ending::DEADLINE),
            // Enough jobs being done does not make a run whole. A success that ends it was what it was for.
            End::Over(Some(0)) if !options.failure.seeks_success() && self.tally.has_left_some() => {
                (Some("halted"), options.failure.code(1))
            }
            End::Over(Some(code)) => (Some("halted"), options.failure.code(code)),
            End::Over(None) | End::Ordered => {
                (None, options.failure.code(ending::code_of_failures(self.tally.failed())))
            }
        };
        match how.filter(|_| self.tally.has_left_some()) {
            Some(how) => say(self.interruption(how)),
            None => self.display.summary(Totals { skipped: 0, restarts }).into_iter().for_each(say),
        }
        Ok(code)
    }
}

/// Shows what would be run, a line each.
fn dry_run(plan: Plan, options: &Options) -> Result<u8, CliError> {
    let Plan { job, arguments, sources } = plan;
    let mut inputs = sources.open(&options.input.format()).map_err(CliError::Input)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let Some(input) = inputs.next().map_err(CliError::Input)? {
        let mut line = arguments.command(&job, &input);
        line.push(b'\n');
        out.write_all(&line).map_err(CliError::Output)?;
    }
    out.flush().map_err(CliError::Output)?;
    Ok(0)
}
