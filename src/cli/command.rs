//! The command from its first word to its exit code.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidestep_worker::registry::table;
use sidestep_worker::wire::JobInfo;

use super::call::Arguments;
use super::ending::{self, CliError, Ending};
use super::input::Sources;
use super::options::{Options, Request};
use super::output::{IN_MEMORY, Out, Printer, Reorder};
use super::run::{self, Tally};
use super::say::say;
use super::strays::{self, Stay, Strays};
use super::{builtin, jobs, list, signals};
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
    if options.list {
        let jobs = list::list(&all_jobs(&options)?);
        return print(|| io::stdout().write_all(jobs.as_bytes()));
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
    let tally = Arc::new(Tally::default());
    let (out, strays) = prepare(ending, &tally)?;
    let workers = own.as_ref().and_then(|(_, _, source)| source.count());
    let output = own.as_ref().map_or(Output::Capture, |(job, _, _)| printed_by(job));
    let pool = ending.own(build(options, workers.unwrap_or(usize::MAX), output)?);
    let (job, arguments, source) = match own {
        Some(plan) => plan,
        None => make_plan(&pool.job_infos(), request, options)?,
    };
    if let Some(strays) = strays {
        strays.watch(stay(&job)).map_err(CliError::Thread)?;
    }
    if let Some(count) = source.count() {
        tally.expect(count);
    }
    if source.is_terminal() && !options.quiet {
        say("inputs are read from the terminal, one a line; Ctrl-D ends them");
    }
    let inputs = source.open(&options.format()).map_err(CliError::Input)?;
    let printer = Printer {
        job: &job,
        style: arguments.style,
        json: options.json,
        place: inputs.place(),
        order: (!options.unordered).then(|| Reorder::new(IN_MEMORY)),
        out: &out,
        ending,
    };
    let outcome = run::run(pool, &arguments, inputs, printer, &tally);
    // Also after an error: what was computed is shown.
    out.flush().map_err(CliError::Output)?;
    outcome?;
    pool.close();
    pool.join().map_err(CliError::Pool)?;
    if let (Some(summary), false) = (tally.summary(), options.quiet) {
        say(summary);
    }
    Ok(ending::code_of_failures(tally.failed()))
}

/// Takes signals, standard output and orphans over. No thread may have been started before.
fn prepare(ending: &Arc<Ending>, tally: &Arc<Tally>) -> Result<(Arc<Out>, Option<Strays>), CliError> {
    let strays = strays::adopt().map_err(CliError::Thread)?;
    let signals = signals::block().map_err(CliError::Thread)?;
    let failing = Arc::clone(ending);
    let out = Out::new(move |error| failing.fail(&CliError::Output(error))).map_err(CliError::Output)?;
    let (ending, tally, last) = (Arc::clone(ending), Arc::clone(tally), Arc::clone(&out));
    let end = move |signal| {
        ending.begin();
        ending.terminate();
        last.close_within(LAST_WORDS);
        say(tally.interruption());
        signals::die_by(signal)
    };
    signals.watch(end).map_err(CliError::Thread)?;
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

/// No more workers than there is work for.
fn build(options: &Options, most: usize, output: Output) -> Result<Pool, CliError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = options.workers.as_ref().and_then(|workers| workers.count(processors)).unwrap_or(processors);
    let builder = Pool::builder().workers(wanted.min(most).max(1)).stdout(output).stderr(output);
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
