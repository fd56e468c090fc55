//! The command from its first word to its exit code.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidestep_worker::registry::table;
use sidestep_worker::wire::JobInfo;

use super::call::Arguments;
use super::ending::{self, CliError, Ending};
use super::input::Sources;
use super::options::{self, About, Options, Request};
use super::output::{IN_MEMORY, Judge, Out, Printer, Reorder};
use super::run::{self, Course, End, Gate, Orders, Run, Tally, Terms};
use super::say::{program, say};
use super::signals::Wish;
use super::strays::{self, Stay, Strays};
use super::{builtin, help, jobs, list, signals};
use crate::{Output, Pool, PoolError};

/// How long results may take to be written after a signal: longer only if their reader stalls.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What is to be run, once the job is known.
type Plan = (JobInfo, Arguments, Sources);

/// Does what the command line says; returns the exit code.
pub(super) fn run() -> Result<u8, CliError> {
    let options = match Options::parse_from_words(std::env::args_os()) {
        Err(text) if !text.use_stderr() => return print(|| text.print()),
        options => options?,
    };
    if let Some(text) = told(&options)? {
        return print(|| io::stdout().write_all(text.as_bytes()));
    }
    let request = options.request()?;
    let ending = Arc::new(Ending::default());
    match execute(&options, &request, &ending) {
        Ok(code) => {
            ending.begin();
            ending.terminate();
            Ok(code)
        }
        Err(error) => ending.fail(&error),
    }
}

/// What the command line asks to be told, if that is all that it asks for.
fn told(options: &Options) -> Result<Option<String>, CliError> {
    let About { list, list_names, man, completions, .. } = options.about;
    Ok(match completions {
        Some(shell) => Some(help::completions(&options::command(), program(), shell)?),
        None if man => Some(help::man(&options::command()).map_err(CliError::Output)?),
        None if list && options.json => {
            Some(list::json(&all_jobs(options)?).map_err(|error| CliError::Output(error.into()))?)
        }
        None if list => Some(list::list(&all_jobs(options)?, columns())),
        None if list_names => Some(list::names(&own_jobs())),
        None => None,
    })
}

/// How wide standard output is; `None` where it is no terminal, and a line may be as long as it likes.
fn columns() -> Option<usize> {
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(told).filter(|columns| *columns > 0)
}

/// Prints what was asked for, which may fail like any other output.
fn print(print: impl FnOnce() -> io::Result<()>) -> Result<u8, CliError> {
    print().and_then(|()| io::stdout().flush()).map_err(CliError::Output)?;
    Ok(0)
}

fn execute(options: &Options, request: &Request, ending: &Arc<Ending>) -> Result<u8, CliError> {
    // What can be known to be wrong is said before any process is started.
    let own = match &options.exe {
        Some(path) => check_program(path).map(|()| None)?,
        None => Some(make_plan(&own_jobs(), request, options)?),
    };
    if let (true, Some((job, arguments, sources))) = (options.dry_run, &own) {
        return dry_run(job, arguments, sources.clone(), options);
    }
    let (tally, orders) = (Arc::new(Tally::default()), Arc::new(Orders::default()));
    let interrupted = Arc::new(OnceLock::new());
    let (out, strays) = prepare(ending, &tally, &orders, &interrupted)?;
    let most = own.as_ref().and_then(|(_, _, sources)| sources.count());
    let output = own.as_ref().map_or(Output::Capture, |(job, _, _)| printed_by(job));
    let workers = Crew::new(options, most.unwrap_or(usize::MAX));
    let pool = ending.own(build(options, workers.count(), output)?);
    let (job, arguments, sources) = match own {
        Some(plan) => plan,
        None => make_plan(&pool.job_infos(), request, options)?,
    };
    if options.dry_run {
        return dry_run(&job, &arguments, sources, options);
    }
    if let Some(strays) = strays {
        strays.watch(stay(&job)).map_err(CliError::Thread)?;
    }
    if let Some(count) = sources.count() {
        tally.expect(count);
    }
    if sources.is_terminal() && !options.quiet {
        say("inputs are read from the terminal, one a line; Ctrl-D ends them");
    }
    let inputs = sources.open(&options.format()).map_err(CliError::Input)?;
    let printer = Printer {
        job: &job.name,
        place: inputs.place(),
        order: (!options.unordered).then(|| Reorder::new(IN_MEMORY)),
        out: &out,
    };
    let run = Run {
        desk: run::desk(pool, &arguments, &job.name)?,
        arguments: &arguments,
        judge: Judge { job: &job, style: arguments.style, json: options.json },
        printer,
        watchers: Vec::new(),
        tally: &tally,
        orders: &orders,
        terms: terms(options),
        workers: workers.count(),
    };
    let end = run.run(inputs);
    // Also after an error: what was computed is shown.
    out.flush().map_err(CliError::Output)?;
    let end = end?;
    match (end, interrupted.get()) {
        (End::Ordered, Some(signal)) => {
            ending.begin();
            ending.terminate();
            say(tally.interruption("interrupted"));
            signals::die_by(*signal)
        }
        (End::Deadline, _) => {
            say(tally.interruption("the deadline has passed"));
            return Ok(ending::DEADLINE);
        }
        _ => {}
    }
    if let Some(error) = tally.take_error() {
        return Err(CliError::Input(error));
    }
    pool.close();
    pool.join().map_err(CliError::Pool)?;
    if let (Some(summary), false) = (tally.summary(), options.quiet) {
        say(summary);
    }
    match end {
        End::Over(Some(code)) => {
            if tally.has_left_some() && !options.quiet {
                say(tally.interruption("halted"));
            }
            Ok(code)
        }
        _ => Ok(ending::code_of_failures(tally.failed())),
    }
}

/// What holds for each job.
fn terms(options: &Options) -> Terms {
    let load = options.load.map(|load| load.count(processors()));
    Terms {
        timeout: options.timeout,
        term_seq: options.term_seq.clone(),
        attempts: options.retries.unwrap_or(1),
        crash_retries: options.crash_retries,
        retry_delay: options.retry_delay.unwrap_or_default(),
        halt: options.halt.flatten(),
        gate: Gate::new(options.delay, options.memfree, load),
        deadline: options.deadline.and_then(|deadline| Instant::now().checked_add(deadline)),
    }
}

/// Shows what would be run, a line each.
fn dry_run(
    job: &JobInfo,
    arguments: &Arguments,
    sources: Sources,
    options: &Options,
) -> Result<u8, CliError> {
    let mut inputs = sources.open(&options.format()).map_err(CliError::Input)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let Some(input) = inputs.next().map_err(CliError::Input)? {
        let mut line = arguments.command(job, &input);
        line.push(b'\n');
        out.write_all(&line).map_err(CliError::Output)?;
    }
    out.flush().map_err(CliError::Output)?;
    Ok(0)
}

/// Takes signals, standard output and orphans over. No thread may have been started before.
fn prepare(
    ending: &Arc<Ending>,
    tally: &Arc<Tally>,
    orders: &Arc<Orders>,
    interrupted: &Arc<OnceLock<Signal>>,
) -> Result<(Arc<Out>, Option<Strays>), CliError> {
    let strays = strays::adopt().map_err(CliError::Thread)?;
    let signals = signals::block().map_err(CliError::Thread)?;
    let failing = Arc::clone(ending);
    let out = Out::new(move |error| failing.fail(&CliError::Output(error))).map_err(CliError::Output)?;
    let (ending, tally, last) = (Arc::clone(ending), Arc::clone(tally), Arc::clone(&out));
    let (orders, interrupted) = (Arc::clone(orders), Arc::clone(interrupted));
    let grant = move |wish| match wish {
        Wish::End { signal, times: 1 } => {
            let _ = interrupted.set(signal);
            say(tally.draining());
            orders.give(Course::Drain);
        }
        Wish::End { times: 2, .. } => {
            say(tally.ending());
            orders.give(Course::End);
        }
        Wish::End { signal, .. } => {
            ending.begin();
            ending.terminate();
            last.close_within(LAST_WORDS);
            say(tally.interruption("killed"));
            signals::die_by(*interrupted.get().unwrap_or(&signal))
        }
        Wish::Stop => orders.stopped(ending.pause(signals::stop)),
        Wish::Tell | Wish::Toggle => {}
    };
    signals.watch(grant).map_err(CliError::Thread)?;
    Ok((out, strays))
}

/// How long orphans of a job may stay.
fn stay(job: &JobInfo) -> Stay {
    match builtin::EXEC.is(job) || builtin::SH.is(job) {
        true => Stay::UntilItsWorkerEnds,
        false => Stay::UntilAllEnd,
    }
}

fn make_plan(jobs: &[JobInfo], request: &Request, options: &Options) -> Result<Plan, CliError> {
    let job = jobs::find(jobs, &request.job, options.exe.as_deref()).map_err(CliError::UnknownJob)?;
    let (arguments, source) = Arguments::new(request.clone(), &job, options.json, options.has_columns())?;
    Ok((job, arguments, source))
}

/// Those of this program, which need no worker to be known.
fn own_jobs() -> Vec<JobInfo> {
    table().map(|table| table.infos().cloned().collect()).unwrap_or_default()
}

fn all_jobs(options: &Options) -> Result<Vec<JobInfo>, CliError> {
    let Some(path) = &options.exe else { return Ok(own_jobs()) };
    check_program(path)?;
    let pool = build(options, 1, Output::Capture)?;
    let jobs = pool.job_infos();
    pool.terminate();
    Ok(jobs)
}

/// What becomes of what a job prints. To be able to tell whose it is takes longer than many a short job, and the built-in
/// ones print nothing.
fn printed_by(job: &JobInfo) -> Output {
    match builtin::ALL.iter().any(|built_in| built_in.is(job)) {
        true => Output::Null,
        false => Output::Capture,
    }
}

/// How many processors there are to be used.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many workers there are to be: no more than there is work for.
struct Crew {
    count: usize,
}

impl Crew {
    fn new(options: &Options, most: usize) -> Crew {
        let wanted =
            options.workers.as_ref().map_or(Some(processors()), |workers| workers.count(processors()));
        Crew { count: wanted.unwrap_or(1).min(most).max(1) }
    }

    fn count(&self) -> usize {
        self.count
    }
}

fn build(options: &Options, workers: usize, output: Output) -> Result<Pool, CliError> {
    let builder = Pool::builder().workers(workers).stdout(output).stderr(output);
    let builder = match options.recycle {
        Some(jobs) => builder.max_jobs_per_worker(jobs),
        None => builder,
    };
    let builder = match options.max_rss {
        Some(bytes) => builder.memory_limit(bytes),
        None => builder,
    };
    let builder = builder.nice(options.nice.unwrap_or(0));
    let builder = match &options.exe {
        Some(path) => builder.program(path),
        None => builder,
    };
    builder.build().map_err(|cause| match (&options.exe, cause) {
        (
            Some(path),
            cause @ (PoolError::Spawn { .. } | PoolError::Start { .. } | PoolError::Mismatch { .. }),
        ) => CliError::CannotStart { path: path.clone(), cause },
        (_, cause) => CliError::Pool(cause),
    })
}

/// Whether `--exe` can be a program at all.
fn check_program(path: &Path) -> Result<(), CliError> {
    let unusable = |cause| CliError::UnusableProgram { path: path.to_owned(), cause };
    let file = path.metadata().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            CliError::NoProgram { path: path.to_owned(), cause }
        }
        _ => unusable(cause),
    })?;
    match file.is_file() && file.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(unusable(io::Error::other("it is no executable file"))),
    }
}
