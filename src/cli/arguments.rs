//! From an input to the arguments of a job.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde::de::IgnoredAny;
use sidestep_worker::wire::{Encoding, JobInfo, push_piece};
use sidestep_worker::{Bytes, codec};

use super::builtin::{EXEC, SH};
use super::input::Source;
use super::list::signature;
use super::options::{Request, usage};
use super::template::{fill_line, fill_words};

/// How a job is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Each argument is a text, read by the job's own types.
    Text,
    /// Each input is a JSON value, or an array of them if there are several arguments to give.
    Json,
    /// It is `exec`.
    Exec,
    /// It is `sh`.
    Shell,
}

/// Makes the arguments of each call.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) style: Style,
    /// What is the same in every call.
    fixed: Vec<Vec<u8>>,
    /// How many arguments an input has to give.
    open: usize,
}

/// Why an input is no argument, before any job has seen it.
#[derive(Debug)]
pub(super) struct BadInput(String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

impl Arguments {
    /// Decides what is input and what is argument: that depends on the job.
    pub(super) fn new(
        request: Request,
        job: &JobInfo,
        json: bool,
    ) -> Result<(Arguments, Source), clap::Error> {
        let Request { args, source, .. } = request;
        let bytes = |args: Vec<OsString>| args.into_iter().map(OsString::into_vec).collect::<Vec<_>>();
        if EXEC.is(job) || SH.is(job) {
            let style = if SH.is(job) { Style::Shell } else { Style::Exec };
            let fixed = bytes(args);
            check_command(style, &fixed)?;
            return Ok((Arguments { style, fixed, open: 1 }, source.unwrap_or(Source::Stdin)));
        }
        let (fixed, source) = match source {
            Some(source) => (bytes(args), source),
            None if !args.is_empty() => (Vec::new(), Source::Given(args)),
            None if job.args.is_empty() => (Vec::new(), Source::Once),
            None => (Vec::new(), Source::Stdin),
        };
        let style = if json { Style::Json } else { Style::Text };
        let open = check_count(job, &fixed, &source, json)?;
        if json && let Some(bad) = fixed.iter().find(|arg| check_json(arg).is_err()) {
            return Err(usage(format!(
                "with --json the argument {} must be JSON",
                String::from_utf8_lossy(bad)
            )));
        }
        Ok((Arguments { style, fixed, open }, source))
    }

    /// How the arguments are written.
    pub(super) fn encoding(&self) -> Encoding {
        match self.style {
            Style::Text => Encoding::Text,
            Style::Json => Encoding::Json,
            Style::Exec | Style::Shell => Encoding::Binary,
        }
    }

    /// The arguments of the call for an input, or of the one call without.
    pub(super) fn of(&self, input: Option<&[u8]>) -> Result<Vec<u8>, BadInput> {
        match (input, &self.style) {
            (Some(input), _) => self.of_input(input),
            (None, Style::Json) => Ok(b"[]".to_vec()),
            (None, _) => Ok(Vec::new()),
        }
    }

    fn of_input(&self, input: &[u8]) -> Result<Vec<u8>, BadInput> {
        let mut out = Vec::with_capacity(input.len() + 16);
        match self.style {
            Style::Text => {
                self.fixed.iter().for_each(|arg| push_piece(&mut out, arg));
                push_piece(&mut out, input);
            }
            Style::Json => self.push_json(input, &mut out)?,
            Style::Exec => {
                let words = fill_words(&self.fixed, no_nul(input)?);
                push_binary(&(words.into_iter().map(Bytes::from).collect::<Vec<_>>(),), &mut out)?;
            }
            Style::Shell => {
                let line = self.fixed.first().map(Vec::as_slice).unwrap_or_default();
                push_binary(&(Bytes::from(fill_line(line, no_nul(input)?)),), &mut out)?;
            }
        }
        Ok(out)
    }

    /// One array of all arguments. The input is checked first, so that no odd text can reach beyond its place.
    fn push_json(&self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BadInput> {
        check_json(input)?;
        let given = input.trim_ascii();
        let given = match (self.open, given) {
            (1, _) => given,
            (_, [b'[', inner @ .., b']']) => inner.trim_ascii(),
            (open, _) => return Err(BadInput(format!("it is no JSON array of {open} arguments"))),
        };
        out.push(b'[');
        for arg in &self.fixed {
            out.extend_from_slice(arg);
            out.push(b',');
        }
        out.extend_from_slice(given);
        if given.is_empty() && !self.fixed.is_empty() {
            out.pop();
        }
        out.push(b']');
        Ok(())
    }
}

fn push_binary<T: serde::Serialize>(args: &T, out: &mut Vec<u8>) -> Result<(), BadInput> {
    codec::encode(args, out).map_err(|error| BadInput(error.to_string()))
}

fn no_nul(input: &[u8]) -> Result<&[u8], BadInput> {
    match input.contains(&0) {
        true => Err(BadInput(
            "no program can be given a NUL byte (are the inputs from -print0? then use -0)".into(),
        )),
        false => Ok(input),
    }
}

fn check_json(text: &[u8]) -> Result<(), BadInput> {
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(BadInput(format!("it is not JSON: {error}"))),
    }
}

fn check_command(style: Style, words: &[Vec<u8>]) -> Result<(), clap::Error> {
    match (style, words) {
        (Style::Shell, [_]) => Ok(()),
        (Style::Shell, []) => Err(usage("sh needs a line of shell, as in: sh 'gzip -9 {}'")),
        (Style::Shell, _) => {
            Err(usage("sh takes one line of shell: put quotes around it, or use exec, which takes words"))
        }
        (_, []) => Err(usage("exec needs a program to run, as in: exec gzip -9 {}")),
        _ => Ok(()),
    }
}

/// How many arguments an input has to give, if that is possible.
fn check_count(job: &JobInfo, fixed: &[Vec<u8>], source: &Source, json: bool) -> Result<usize, clap::Error> {
    let count = job.args.len();
    let takes = || match count {
        1 => format!("{} takes 1 argument", signature(job)),
        count => format!("{} takes {count} arguments", signature(job)),
    };
    match (count.checked_sub(fixed.len()), source) {
        (Some(0), Source::Once) => Ok(0),
        (Some(1), _) => Ok(1),
        (Some(open), _) if json && open > 1 => Ok(open),
        (Some(open), _) if open > 1 => Err(usage(format!(
            "{} and an input gives one: put the first {} before ::: (or use -a), or use --json",
            takes(),
            count - 1
        ))),
        _ => Err(usage(format!("{}: {} and an input are too many", takes(), fixed.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::wire::ArgInfo;

    fn job(count: usize) -> JobInfo {
        let args = (0..count).map(|n| ArgInfo { name: format!("a{n}"), ty: "i64".into() }).collect();
        JobInfo { name: "job".into(), args, output: "i64".into(), signature: 0, doc: String::new() }
    }

    fn arguments(
        args: &[&str],
        inputs: Option<&[&str]>,
        count: usize,
        json: bool,
    ) -> Option<(Arguments, Source)> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let source = inputs.map(|inputs| Source::Given(words(inputs)));
        Arguments::new(Request { job: "job".into(), args: words(args), source }, &job(count), json).ok()
    }

    #[test]
    fn arguments_are_inputs_unless_there_are_inputs() {
        let source = |args, inputs, count| arguments(args, inputs, count, false).map(|(_, source)| source);
        let given = |words: &[&str]| Some(Source::Given(words.iter().map(OsString::from).collect()));
        assert_eq!(source(&["a", "b"], None, 1), given(&["a", "b"]));
        assert_eq!(source(&["a"], Some(&["b"]), 2), given(&["b"]));
        assert_eq!(source(&[], None, 1), Some(Source::Stdin));
        assert_eq!(source(&[], None, 0), Some(Source::Once));
        assert_eq!(source(&[], Some(&["b"]), 2), None);
        assert_eq!(source(&["a"], Some(&["b"]), 1), None);
        assert_eq!(source(&[], Some(&["b"]), 0), None);
        assert_eq!(source(&["a", "b", "c"], Some(&["b"]), 1), None);
    }

    #[test]
    fn text_is_handed_on_as_it_is() {
        let (arguments, _) = arguments(&["f"], Some(&["b"]), 2, false).unwrap();
        let mut expected = Vec::new();
        push_piece(&mut expected, b"f");
        push_piece(&mut expected, b"\xff ");
        assert_eq!(arguments.of_input(b"\xff ").unwrap(), expected);
    }

    #[test]
    fn json_becomes_one_array() {
        let made = |fixed: &[&str], count, input: &str| {
            let (arguments, _) = arguments(fixed, Some(&["1"]), count, true).unwrap();
            arguments
                .of_input(input.as_bytes())
                .map(|args| String::from_utf8(args).unwrap())
                .map_err(|bad| bad.0)
        };
        assert_eq!(made(&[], 1, " [1, 2] ").unwrap(), "[[1, 2]]");
        assert_eq!(made(&[], 2, "[1, 2]\r").unwrap(), "[1, 2]");
        assert_eq!(made(&["0"], 3, "[1, 2]").unwrap(), "[0,1, 2]");
        assert_eq!(made(&["0"], 3, "[ ]").unwrap(), "[0]");
        assert_eq!(made(&["0"], 2, "{}").unwrap(), "[0,{}]");
        assert!(made(&[], 2, "7").unwrap_err().contains("array of 2"));
        for bad in ["", "1,2", "1],[2", "{", "]["] {
            assert!(made(&[], 1, bad).unwrap_err().starts_with("it is not JSON"), "{bad}");
            assert!(made(&[], 2, bad).is_err(), "{bad}");
        }
        assert!(arguments(&["{"], Some(&["1"]), 2, true).is_none());
    }
}
