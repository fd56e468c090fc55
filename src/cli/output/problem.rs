//! How a failed job looks on standard error.

use std::fmt::Write;

use nix::sys::signal::Signal;
use sidestep_worker::wire::{ArgInfo, JobInfo};

use crate::JobError;
use crate::cli::builtin::Finished;
use crate::cli::say::program;

/// An input longer than this is cut in messages.
pub(crate) const SHOWN: usize = 200;

/// What went wrong: a sentence's end, and lines that explain it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    text: String,
    details: String,
}

impl Problem {
    /// From a text that may have several lines.
    pub(crate) fn new(text: impl Into<String>) -> Problem {
        let text = text.into();
        match text.trim_end().split_once('\n') {
            Some((first, details)) => Problem { text: first.to_owned(), details: details.to_owned() },
            None => Problem { text: text.trim_end().to_owned(), details: String::new() },
        }
    }

    fn with(text: String, details: &str) -> Problem {
        Problem { text, details: details.trim_end().to_owned() }
    }

    /// From the pool's word on a job.
    pub(crate) fn of_error(error: &JobError) -> Problem {
        match error {
            JobError::Panicked { message, location, backtrace, .. } => {
                let message = Problem::new(message);
                let details = [message.details.as_str(), backtrace].join("\n");
                let place = if location.is_empty() { String::new() } else { format!(" at {location}") };
                let text = format!("it panicked{place}: {}", message.text);
                Problem::with(text, details.trim_start_matches('\n'))
            }
            JobError::WorkerLost { cause, hint, stderr_tail, pid, .. } => {
                let mut text = format!("{} {cause}", worker(*pid));
                if let Some(hint) = hint {
                    let _ = write!(text, "; {hint}");
                }
                Problem::with(text, stderr_tail)
            }
            JobError::Decode { message, .. } => Problem::new(message),
            other => Problem::new(other.to_string()),
        }
    }

    /// From a program's end; `None` if it ended well.
    pub(crate) fn of_program(finished: &Finished) -> Option<Problem> {
        match (finished.code, finished.signal) {
            (Some(0), _) => None,
            (Some(code), _) => Some(Problem::new(format!("it ended with exit code {code}"))),
            (None, Some(signal)) => Some(Problem::new(format!("it was killed by {}", signal_name(signal)))),
            (None, None) => Some(Problem::new("nobody knows how it ended")),
        }
    }

    /// The sentence's end.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The lines that explain it.
    pub(crate) fn details(&self) -> &str {
        &self.details
    }

    /// A worker knows an argument by its number only: adds its name and type.
    pub(crate) fn naming_argument(mut self, job: &JobInfo) -> Problem {
        let Some((number, rest)) = self.text.strip_prefix("argument ").and_then(|text| text.split_once(' '))
        else {
            return self;
        };
        let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(ArgInfo { name, ty }) = index.and_then(|index| job.args.get(index)) {
            let name = if name.is_empty() { number } else { name };
            self.text = format!("argument {name}: {ty} {rest}");
        }
        self
    }

    /// Adds what helps to understand it.
    pub(crate) fn explained(mut self, explanation: &str) -> Problem {
        let _ = write!(self.text, "; {explanation}");
        self
    }

    /// The message, with the job and the input that it is about.
    /// An input that cannot be shown is its place alone.
    pub(crate) fn message(&self, job: &str, input: Option<(Option<&[u8]>, String)>) -> String {
        let Problem { text, details } = self;
        let mut message = match input {
            Some((None, place)) => format!("{}: {job} failed on {place}: {text}\n", program()),
            Some((Some(input), place)) => {
                format!("{}: {job} failed on {} ({place}): {text}\n", program(), show_input(input))
            }
            None => format!("{}: {job} failed: {text}\n", program()),
        };
        for line in details.lines() {
            let _ = writeln!(message, "    {line}");
        }
        message
    }
}

fn worker(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("its worker (process {pid})"),
        None => "its worker".to_owned(),
    }
}

fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    }
}

/// An input as one can read it, and no terminal can be harmed by it.
pub(crate) fn show_input(input: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in input[..input.len().min(SHOWN)].utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => shown.push(c),
                c => shown.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    let dots = if input.len() > SHOWN { "…" } else { "" };
    match shown.is_empty() || shown.contains([' ', '"', ':']) {
        true => format!("\"{shown}{dots}\""),
        false => shown + dots,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cause;

    #[test]
    fn inputs_are_shown_harmlessly() {
        for (input, shown) in [
            (&b"/usr/bin/x"[..], "/usr/bin/x"),
            (b"", "\"\""),
            (b"a b", "\"a b\""),
            (b"it's", "it's"),
            (b"\x1b[31mred\n", "\\u{1b}[31mred\\n"),
            ("é\u{fffd}".as_bytes(), "é\u{fffd}"),
            (b"a\xffb", "a\\xffb"),
        ] {
            assert_eq!(show_input(input), shown);
        }
        assert!(show_input(&[b'x'; 100_000]).chars().count() < 210);
    }

    #[test]
    fn the_death_of_a_worker_is_told_with_its_last_words() {
        let error = JobError::WorkerLost {
            job: "thumb".into(),
            id: 7,
            pid: Some(31842),
            cause: Cause::Signal(11),
            hint: None,
            stderr_tail: "Corrupt JPEG data\n".into(),
            attempts: 1,
        };
        let message = Problem::of_error(&error).message("thumb", Some((Some(b"bad.jpg"), "line 77".into())));
        let (first, rest) = message.split_once('\n').unwrap();
        assert!(first.ends_with(
            ": thumb failed on bad.jpg (line 77): its worker (process 31842) was killed by SIGSEGV (signal 11)"
        ));
        assert_eq!(rest, "    Corrupt JPEG data\n");
    }

    #[test]
    fn an_argument_has_its_name_and_type() {
        let arg = |name: &str, ty: &str| ArgInfo { name: name.into(), ty: ty.into() };
        let job = JobInfo {
            name: "f".into(),
            args: vec![arg("n", "u64"), arg("", "bool")],
            output: "()".into(),
            signature: 0,
            doc: String::new(),
        };
        let named = |text: &str| Problem::new(text).naming_argument(&job).text;
        assert_eq!(named("argument 1 (\"x\"): not a number"), "argument n: u64 (\"x\"): not a number");
        assert_eq!(named("argument 2 (\"x\"): no bool"), "argument 2: bool (\"x\"): no bool");
        for other in ["argument 3 (\"x\"): odd", "argument 0 x", "argument x y", "takes 1 argument, 2 given"]
        {
            assert_eq!(named(other), other);
        }
    }

    #[test]
    fn a_programs_end_is_told() {
        let end = |code, signal| {
            let finished = Finished { code, signal, ..Finished::default() };
            Problem::of_program(&finished).map(|problem| problem.text)
        };
        assert_eq!(end(Some(0), None), None);
        assert_eq!(end(Some(2), None).unwrap(), "it ended with exit code 2");
        assert_eq!(end(None, Some(9)).unwrap(), "it was killed by SIGKILL");
        assert_eq!(end(None, Some(40)).unwrap(), "it was killed by signal 40");
    }
}
