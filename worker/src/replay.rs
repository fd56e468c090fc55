//! A job that has failed runs again, in this process and alone.
//!
//! There is no pool, no pipe and no other thread, and nothing is caught: a panic or a signal ends the process as it
//! would any program, so that debuggers and other tools see all of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::blocks::Buffer;
use crate::context::{self, Context};
use crate::kept::{Header, Kept};
use crate::link::EXIT_PROTOCOL;
use crate::registry::Table;
use crate::wire::{Encoding, Fault, JobInfo};

/// It has failed again.
pub const FAILED: i32 = 1;
/// The program has no such job.
pub const NO_JOB: i32 = 127;

/// All of it, for a program whose first argument says so.
pub(crate) fn replay(path: &Path, table: &Table) -> ! {
    std::process::exit(match Kept::read(path) {
        Err(why) => {
            say(&format!("cannot replay {}: {why}", path.display()));
            EXIT_PROTOCOL
        }
        Ok(Kept { header: Header { job, program: None, .. }, .. }) => {
            say(&format!("{job} is a job of pool-run: pool-run --replay {}", path.display()));
            EXIT_PROTOCOL
        }
        Ok(kept) => run(&kept, table).unwrap_or_else(|error| {
            say(&format!("cannot write to standard output: {error}; the result is missing"));
            EXIT_PROTOCOL
        }),
    })
}

/// Runs the job in this process; returns the exit code.
///
/// # Errors
/// The result cannot be written.
pub fn run(kept: &Kept, table: &Table) -> io::Result<i32> {
    let Header { job, encoding, slot, number, .. } = &kept.header;
    if kept.header.arguments.is_none() {
        return Ok(refused(&kept.header));
    }
    let Some((at, info)) = table.number_named(job).and_then(|at| Some((at, table.info(at)?))) else {
        say(&format!("this program has no job named \"{}\"", job.escape_debug()));
        return Ok(NO_JOB);
    };
    enter(&kept.header);
    let stdout = take_stdout()?;
    // What a worker of the command sees, where each job is tried once: further attempts are new to it.
    context::begin_run(Context { id: *number, attempt: 1, slot: *slot });
    context::set(Some(0));
    let mut result = Vec::new();
    let outcome = table.serve(at, *encoding, &kept.args, &mut Buffer::new(&mut result, None));
    context::set(None);
    match outcome {
        Ok(()) => show(info, *encoding, result, stdout),
        Err(fault) => Ok(failed(job, &text_of(fault))),
    }
}

/// Goes where the job was. Elsewhere it may run as well, so it is only said if that is not possible.
pub fn enter(header: &Header) {
    let directory = header.directory.to_os_string();
    if let Err(error) = std::env::set_current_dir(&directory) {
        say(&format!("the job ran in {}, and now runs here: {error}", directory.display()));
    }
}

/// There is nothing to run: no arguments could be made of the input. Says so, and returns the exit code.
pub fn refused(header: &Header) -> i32 {
    failed(&header.job, &format!("{}; so it has never run", header.error))
}

/// Lets the job have an empty standard input, as in a worker, and write where messages go: only its result belongs to
/// standard output, which this returns.
fn take_stdout() -> io::Result<OwnedFd> {
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdout(io::stderr())?;
    Ok(stdout)
}

/// Prints what the job has returned, as the command does.
fn show(info: &JobInfo, encoding: Encoding, mut result: Vec<u8>, stdout: OwnedFd) -> io::Result<i32> {
    // What nobody reads but a program.
    if encoding == Encoding::Binary {
        return Ok(0);
    }
    match result.split_first() {
        Some((0, [])) if info.returns_nothing() => return Ok(0),
        Some((0, _)) => {}
        Some((_, text)) => return Ok(failed(&info.name, &error_text(encoding, text))),
        None => return Ok(failed(&info.name, "its result is damaged: it is empty")),
    }
    result.push(b'\n');
    File::from(stdout).write_all(&result[1..]).map(|()| 0)
}

/// An error that is one string is shown as that, in JSON too.
fn error_text(encoding: Encoding, text: &[u8]) -> String {
    match serde_json::from_slice(text) {
        Ok(inner) if encoding == Encoding::Json => inner,
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

fn text_of(fault: Fault) -> String {
    match fault {
        Fault::Panicked { message, .. } | Fault::Decode(message) => message,
        Fault::Encode(message) => format!("its result does not encode: {message}"),
        Fault::TooLarge(size) => format!("its result of {size} bytes is too large"),
        Fault::NotRegistered(name) => format!("there is no job {name}"),
    }
}

fn failed(job: &str, why: &str) -> i32 {
    say(&format!("{job} failed: {why}"));
    FAILED
}

/// Says something, under the name by which the program was called.
fn say(message: &str) {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    eprintln!("{}: {message}", name.display());
}
