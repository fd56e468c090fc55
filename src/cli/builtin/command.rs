//! `exec` and `sh`: other programs as jobs.
//!
//! The worker runs the program and waits, so that the parent's grouping, order and clean-up hold for programs as they
//! do for functions. A program's outputs travel as values: they are never mixed with another's.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio, id};
use std::time::{Duration, Instant, SystemTime};

use sidestep_worker::try_context;

use super::running::{Ran, Taker};
use super::{Finished, Outputs, Program, Text, guardian};
use crate::cli::say::reason;

/// Runs a program.
pub(super) fn exec(program: Program) -> Result<Finished, String> {
    run(program, false)
}

/// Runs a line of shell.
pub(super) fn sh(program: Program) -> Result<Finished, String> {
    run(program, true)
}

/// What starts the program for the worker with that number, in which nothing is said of inputs and outputs yet.
pub(crate) fn command(program: &Program, shell: bool, slot: u32) -> Result<Command, String> {
    let through = if shell { &["/bin/sh", "-c"][..] } else { &[] };
    let own = program.words.iter().map(|word| OsString::from_vec(word.text(slot)));
    let mut words = through.iter().map(OsString::from).chain(own);
    let Some(first) = words.next() else { return Err("there is no program to run".into()) };
    let mut command = Command::new(first);
    command.args(words).envs(environment(program.number, slot));
    Ok(command)
}

/// What is put into the environment of job number `number`. Each twice: the names that GNU parallel gives them are in
/// many a script.
pub(crate) fn environment(number: u64, slot: u32) -> [(&'static str, String); 4] {
    let (number, slot) = (number.to_string(), slot.to_string());
    [
        ("POOL_RUN_SEQ", number.clone()),
        ("PARALLEL_SEQ", number),
        ("POOL_RUN_SLOT", slot.clone()),
        ("PARALLEL_JOBSLOT", slot),
    ]
}

fn run(program: Program, shell: bool) -> Result<Finished, String> {
    let slot = try_context().map_or(0, |context| context.slot() as u32) + 1;
    let mut command = command(&program, shell, slot)?;
    let output = || match program.outputs {
        Outputs::Own => Stdio::inherit(),
        Outputs::Kept | Outputs::Sent { .. } => Stdio::piped(),
    };
    command.stdout(output()).stderr(output());
    command.stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() });

    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let begin = Instant::now();
    let stdin = program.stdin.as_deref().unwrap_or_default();
    let taker = Taker::new(program.outputs, program.number, slot);
    let Ran { status, stdout, stderr, user, system, max_rss } = guardian::run(&mut command, stdin, taker)
        .map_err(|error| format!("cannot start {}: {}", command.get_program().display(), reason(&error)))?;
    let (code, signal) = (status.code(), status.signal());
    let (stdout, stderr) = (Text(stdout), Text(stderr));
    let took = begin.elapsed();
    Ok(Finished { code, signal, stdout, stderr, began, took, user, system, max_rss, slot, pid: id() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> Program {
        let words = words.iter().map(|word| word.as_bytes().to_vec().into()).collect();
        Program { words, number: 7, stdin: None, outputs: Outputs::Kept }
    }

    #[test]
    fn outputs_and_ends_are_told_apart() {
        let done = sh(program(&["echo out; echo err >&2; cat; exit 3"])).unwrap();
        assert_eq!((done.code, done.signal), (Some(3), None));
        assert_eq!((&done.stdout.0[..], &done.stderr.0[..]), (&b"out\n"[..], &b"err\n"[..]));
        let killed = sh(program(&["kill -9 $$"])).unwrap();
        assert_eq!((killed.code, killed.signal), (None, Some(9)));
    }

    #[test]
    fn arguments_arrive_as_they_are() {
        let done = exec(program(&["printf", "[%s]", "a b", "$HOME", "*", "é"])).unwrap();
        assert_eq!(done.stdout.0, "[a b][$HOME][*][é]".as_bytes());
    }

    #[test]
    fn what_cannot_start_says_why() {
        assert_eq!(
            exec(program(&["/no/such"])).unwrap_err(),
            "cannot start /no/such: No such file or directory"
        );
        assert!(exec(program(&[])).is_err());
    }

    #[test]
    fn a_program_reads_what_it_is_given() {
        let block: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        let given =
            |line: &str| sh(Program { stdin: Some(block.clone().into()), ..program(&[line]) }).unwrap();
        // It writes while it reads.
        let done = given("tee /dev/stderr");
        assert!(done.stdout.0 == block && done.stderr.0 == block && done.code == Some(0));
        // It need not read all of it, nor anything.
        assert_eq!(given("head -c 3").stdout.0, [0, 0, 0]);
        assert_eq!(given("exec <&-; echo x; exec >&- 2>&-; exit 4").code, Some(4));
    }

    #[test]
    fn a_program_knows_its_number_and_place() {
        let line = "echo $POOL_RUN_SEQ $POOL_RUN_SLOT $PARALLEL_SEQ $PARALLEL_JOBSLOT";
        assert_eq!(sh(program(&[line])).unwrap().stdout.0, b"7 1 7 1\n");
    }

    #[test]
    fn what_a_program_used_is_told() {
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let done = sh(program(&[busy])).unwrap();
        assert!(done.user > Duration::from_millis(5) && done.max_rss > 100_000, "{done:?}");
        assert!(
            done.took >= (done.user + done.system) / 2 && done.took < Duration::from_secs(60),
            "{done:?}"
        );
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(done.began <= now && done.began + done.took + Duration::from_secs(60) > now);
        assert_eq!((done.slot, done.pid), (1, id()));
    }
}
