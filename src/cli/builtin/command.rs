//! `exec` and `sh`: other programs as jobs.
//!
//! The worker runs the program and waits, so that the parent's grouping, order and clean-up hold for programs as they
//! do for functions. A program's outputs travel as values: they are never mixed with another's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sidestep_worker::Bytes;

use super::{Text, guardian};
use crate::cli::say::reason;

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Its exit code; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: Text,
    /// What it wrote to standard error.
    pub(crate) stderr: Text,
}

/// Runs a program with an empty standard input.
pub(super) fn exec(argv: Vec<Bytes>) -> Result<Finished, String> {
    let Some((program, args)) = argv.split_first() else { return Err("there is no program to run".into()) };
    let mut command = Command::new(OsStr::from_bytes(program));
    run(command.args(args.iter().map(|arg| OsStr::from_bytes(arg))))
}

/// Runs a line of shell with an empty standard input.
pub(super) fn sh(line: Bytes) -> Result<Finished, String> {
    run(Command::new("/bin/sh").arg("-c").arg(OsStr::from_bytes(&line)))
}

fn run(command: &mut Command) -> Result<Finished, String> {
    let output = guardian::output(command.stdin(Stdio::null()))
        .map_err(|error| format!("cannot start {}: {}", command.get_program().display(), reason(&error)))?;
    Ok(Finished {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: Text(output.stdout),
        stderr: Text(output.stderr),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<Bytes> {
        words.iter().map(|word| Bytes::from(word.as_bytes())).collect()
    }

    #[test]
    fn outputs_and_ends_are_told_apart() {
        let done = sh(Bytes::from(&b"echo out; echo err >&2; cat; exit 3"[..])).unwrap();
        assert_eq!((done.code, done.signal), (Some(3), None));
        assert_eq!((&done.stdout.0[..], &done.stderr.0[..]), (&b"out\n"[..], &b"err\n"[..]));
        let killed = sh(Bytes::from(&b"kill -9 $$"[..])).unwrap();
        assert_eq!((killed.code, killed.signal), (None, Some(9)));
    }

    #[test]
    fn arguments_arrive_as_they_are() {
        let done = exec(argv(&["printf", "[%s]", "a b", "$HOME", "*", "é"])).unwrap();
        assert_eq!(done.stdout.0, "[a b][$HOME][*][é]".as_bytes());
    }

    #[test]
    fn what_cannot_start_says_why() {
        assert_eq!(
            exec(argv(&["/no/such"])).unwrap_err(),
            "cannot start /no/such: No such file or directory"
        );
        assert!(exec(Vec::new()).is_err());
    }
}
