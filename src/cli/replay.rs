//! A job that has failed, once more (`--replay`): in this process, or in the program that takes its place.
//!
//! A debugger, strace or valgrind that was put in front of the command follows it there, because no other process is
//! started. A function is called directly; for one of another program that program is executed, with an argument by
//! which `init` knows what is wanted; for `exec` and `sh` it is what the job would have started.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sidestep_worker::entry::REPLAY;
use sidestep_worker::kept::{Kept, NotKept, Program};
use sidestep_worker::registry::{Table, table};
use sidestep_worker::{codec, replay as worker};

use super::ending::{CANNOT_START, CliError, INTERNAL, NOT_FOUND};
use super::failed::hex;
use super::joblog::digest;
use super::options::usage;
use super::say::{reason, say};
use super::{builtin, plan};

/// Why a job cannot be run again.
#[derive(Debug)]
pub(super) enum ReplayError {
    /// There is none in the file.
    NotKept { path: PathBuf, cause: NotKept },
    /// Its arguments are no program.
    Arguments { path: PathBuf, why: String },
    /// What it reads cannot be put into a file.
    Block(io::Error),
    /// Its program does not start.
    Start { program: PathBuf, cause: io::Error },
}

impl ReplayError {
    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            ReplayError::Start { cause, .. } if cause.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            ReplayError::Start { .. } => CANNOT_START,
            _ => INTERNAL,
        }
    }
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::NotKept { path, cause: NotKept::File(error) } => {
                write!(f, "cannot replay {}: {}", path.display(), reason(error))
            }
            ReplayError::NotKept { path, cause } => write!(f, "cannot replay {}: {cause}", path.display()),
            ReplayError::Arguments { path, why } => {
                write!(f, "cannot replay {}: its arguments are damaged: {why}", path.display())
            }
            ReplayError::Block(error) => write!(
                f,
                "cannot keep what the job reads in a temporary file in {}: {}; make room there, or set TMPDIR",
                std::env::temp_dir().display(),
                reason(error)
            ),
            ReplayError::Start { program, cause } => {
                write!(f, "cannot start {}: {}", program.display(), reason(cause))
            }
        }
    }
}

impl std::error::Error for ReplayError {}

/// Runs the job again that was kept in a file; returns the exit code, if this process is still there then. `exe` has the
/// job now, if that is given.
pub(super) fn replay(path: &Path, exe: Option<&Path>) -> Result<u8, CliError> {
    let kept = Kept::read(path)
        .map_err(|cause| CliError::Replay(ReplayError::NotKept { path: path.to_owned(), cause }))?;
    let Some(table) = table() else { return Ok(INTERNAL) };
    match &kept.header.program {
        None => built_in(path, &kept, exe, table),
        Some(program) => match elsewhere(program, exe, table, &kept.header.job) {
            None => {
                compare(program, None);
                here(&kept, table)
            }
            Some(other) => {
                plan::check_program(&other)?;
                compare(program, Some(&other));
                let cause = Command::new(&other).arg(REPLAY).arg(path).exec();
                Err(CliError::Replay(ReplayError::Start { program: other, cause }))
            }
        },
    }
}

/// The program that is to run the job, if it is not this one.
fn elsewhere(program: &Program, exe: Option<&Path>, table: &Table, job: &str) -> Option<PathBuf> {
    let path = match exe {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        // A command with jobs of its own runs them itself: perhaps it was built anew, to find out more.
        None if program.own && has_own(table, job) => return None,
        None => program.path.to_os_string().into(),
    };
    (!is_this(&path)).then_some(path)
}

/// Whether this program has a job of that name which is not built in.
fn has_own(table: &Table, job: &str) -> bool {
    let info = table.infos().find(|info| info.name == job);
    info.is_some_and(|info| !builtin::ALL.iter().any(|built_in| built_in.is(info)))
}

fn is_this(path: &Path) -> bool {
    let of = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino()));
    let own = std::env::current_exe().and_then(|own| of(&own));
    matches!((own, of(path)), (Ok(own), Ok(other)) if own == other)
}

/// Says so if the program is not the one that had the job.
fn compare(program: &Program, now: Option<&Path>) {
    let found = digest(now).ok().map(|digest| hex(&digest));
    if let (Some(then), Some(found)) = (&program.sha256, found)
        && *then != found
    {
        say("the program is not the one in which the job failed: what it does may have changed since");
    }
}

fn built_in(path: &Path, kept: &Kept, exe: Option<&Path>, table: &Table) -> Result<u8, CliError> {
    let job = &kept.header.job;
    if exe.is_some() {
        return Err(usage(format!("{job} is built in: it needs no --exe")).into());
    }
    let Some(built_in) = builtin::ALL.iter().find(|built_in| built_in.name == job.as_str()) else {
        say(format_args!("this program has no job named \"{}\"", job.escape_debug()));
        return Ok(NOT_FOUND);
    };
    if [builtin::EXEC.name, builtin::SH.name].contains(&built_in.name) {
        return program(path, kept);
    }
    if !table.infos().any(|info| built_in.is(info)) {
        say(format_args!("this program has a {job} of its own instead: use pool-run --replay"));
        return Ok(NOT_FOUND);
    }
    here(kept, table)
}

/// Calls the function.
fn here(kept: &Kept, table: &Table) -> Result<u8, CliError> {
    // A panic is the job's own from here on, and no bug of the command.
    drop(std::panic::take_hook());
    worker::run(kept, table).map(|code| code as u8).map_err(CliError::Output)
}

/// Becomes the program that `exec` or `sh` has run.
fn program(path: &Path, kept: &Kept) -> Result<u8, CliError> {
    let header = &kept.header;
    if header.arguments.is_none() {
        return Ok(worker::refused(header) as u8);
    }
    let damaged = |why: String| CliError::Replay(ReplayError::Arguments { path: path.to_owned(), why });
    let (program,): (builtin::Program,) =
        codec::decode(&kept.args).map_err(|error| damaged(error.to_string()))?;
    let shell = header.job == builtin::SH.name;
    let mut command = builtin::command(&program, shell, header.slot.saturating_add(1)).map_err(damaged)?;
    command.envs(header.environment.iter().map(|(name, value)| (name.to_os_string(), value.to_os_string())));
    command.stdin(match &program.stdin {
        Some(block) => file_with(block).map_err(|error| CliError::Replay(ReplayError::Block(error)))?.into(),
        None => Stdio::null(),
    });
    worker::enter(header);
    let cause = command.exec();
    Err(CliError::Replay(ReplayError::Start { program: command.get_program().into(), cause }))
}

/// A file without a name that holds this, to be read from its beginning.
fn file_with(block: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(block)?;
    file.rewind()?;
    Ok(file)
}
