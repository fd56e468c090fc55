//! What is to be run: which job, over which inputs, in which pool.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use sidestep_worker::registry::table;
use sidestep_worker::wire::JobInfo;

use super::builtin::Outputs;
use super::call::{Arguments, Style};
use super::ending::CliError;
use super::input::Sources;
use super::options::{Options, Request, Showing};
use super::run::{Gate, Terms};
use super::strays::Stay;
use super::{builtin, jobs};
use crate::{Output, Pool, PoolError};

/// What is to be run, once the job is known.
pub(super) struct Plan {
    pub(super) job: JobInfo,
    pub(super) arguments: Arguments,
    pub(super) sources: Sources,
}

impl Plan {
    pub(super) fn new(jobs: &[JobInfo], request: &Request, options: &Options) -> Result<Plan, CliError> {
        let job = jobs::find(jobs, &request.job, options.exe.as_deref()).map_err(CliError::UnknownJob)?;
        let (mut arguments, sources) =
            Arguments::new(request.clone(), &job, options.json, options.input.has_columns())?;
        // With --json what a program writes is a part of its one value.
        if matches!(arguments.style, Style::Exec | Style::Shell) && !options.json {
            arguments.outputs = match options.showing() {
                Showing::Grouped => Outputs::Kept,
                Showing::Lines => Outputs::Sent { kept: options.keeps_output() },
                Showing::Ungrouped => Outputs::Own,
            };
        }
        Ok(Plan { job, arguments, sources })
    }

    /// How long orphans of the job may stay.
    pub(super) fn stay(&self) -> Stay {
        match builtin::EXEC.is(&self.job) || builtin::SH.is(&self.job) {
            true => Stay::UntilItsWorkerEnds,
            false => Stay::UntilAllEnd,
        }
    }

    /// What becomes of what the job prints. To be able to tell whose it is takes longer than many a short job, and the
    /// built-in ones print nothing.
    pub(super) fn printed(&self, showing: Showing) -> Output {
        if self.arguments.outputs != Outputs::Kept {
            return Output::Inherit;
        }
        match builtin::ALL.iter().any(|built_in| built_in.is(&self.job)) {
            true => Output::Null,
            false if showing == Showing::Grouped => Output::Capture,
            false => Output::Inherit,
        }
    }

    /// Whether what the job writes is shown while it runs.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.arguments.outputs, Outputs::Sent { .. })
    }

    /// Whether the job itself writes to standard output: a program, or the worker in its place.
    pub(super) fn needs_stdout(&self) -> bool {
        self.arguments.outputs != Outputs::Kept
    }
}

/// Those of this program, which need no worker to be known.
pub(super) fn own_jobs() -> Vec<JobInfo> {
    table().map(|table| table.infos().cloned().collect()).unwrap_or_default()
}

pub(super) fn all_jobs(options: &Options) -> Result<Vec<JobInfo>, CliError> {
    match &options.exe {
        Some(path) => check_program(path)?,
        None if options.shared.attach.is_some() => {}
        None => return Ok(own_jobs()),
    }
    let pool = build(options, 1, Output::Capture)?;
    let jobs = pool.job_infos();
    pool.terminate();
    Ok(jobs)
}

/// What holds for each job.
pub(super) fn terms(options: &Options) -> Terms {
    let load = options.load.map(|load| load.count(processors()));
    Terms {
        timeout: options.timeout,
        term_seq: options.term_seq.clone(),
        attempts: options.failure.retries.unwrap_or(1),
        crash_retries: options.failure.crash_retries,
        retry_delay: options.failure.retry_delay.unwrap_or_default(),
        grace: options.failure.grace,
        halt: options.failure.halt.flatten(),
        gate: Gate::new(options.delay, options.memfree, load),
        deadline: options.failure.deadline.and_then(|deadline| Instant::now().checked_add(deadline)),
    }
}

/// How many processors there are to be used.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// No server has more workers.
const MOST_BORROWED: usize = 1 << 16;

/// How many workers there are to be at first: no more than there is work for.
///
/// # Errors
/// The file that says so cannot be read, or says something else.
pub(super) fn workers(options: &Options, most: usize) -> Result<usize, CliError> {
    let wanted = match &options.workers {
        // As many as its server has.
        None if options.shared.attach.is_some() => MOST_BORROWED,
        None => processors(),
        Some(workers) => workers.count(processors()).map_err(CliError::Workers)?,
    };
    Ok(wanted.min(most).max(1))
}

pub(super) fn build(options: &Options, workers: usize, output: Output) -> Result<Pool, CliError> {
    let builder = Pool::builder().workers(workers).stdout(output).stderr(output);
    if let Some(name) = &options.shared.attach {
        return builder.connect(name).map_err(CliError::Pool);
    }
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
pub(super) fn check_program(path: &Path) -> Result<(), CliError> {
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
