//! From an input to the arguments of a job.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde::de::IgnoredAny;
use sidestep_worker::wire::{Encoding, JobInfo, push_piece};
use sidestep_worker::{Bytes, codec};

use super::template::{Template, fill_line, fill_words};
use crate::cli::builtin::{EXEC, Outputs, Program, SH, Word};
use crate::cli::input::{Input, Portion, Source, Sources};
use crate::cli::list::signature;
use crate::cli::options::{Request, usage};

/// How a job is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
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
pub(crate) struct Arguments {
    pub(crate) style: Style,
    /// What is the same in every call.
    pub(super) fixed: Vec<Vec<u8>>,
    /// The command of `exec`, or the line of `sh`.
    pub(super) command: Vec<Template>,
    /// What becomes of what the program of `exec` or `sh` writes.
    pub(crate) outputs: Outputs,
    /// How many arguments an input has to give.
    open: usize,
    /// A block is to be a list of numbers, which is what serde takes a `Vec<u8>` for.
    as_list: bool,
}

/// Why an input is no argument, before any job has seen it.
#[derive(Debug)]
pub(crate) struct BadInput(String);

impl std::fmt::Display for BadInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

impl Arguments {
    /// Decides what is input and what is argument: that depends on the job. With `columns`, nobody knows how many values an
    /// input has.
    pub(crate) fn new(
        request: Request,
        job: &JobInfo,
        json: bool,
        columns: bool,
    ) -> Result<(Arguments, Sources), clap::Error> {
        let Request { args, sources, portion, .. } = request;
        let bytes = |args: Vec<OsString>| args.into_iter().map(OsString::into_vec).collect::<Vec<_>>();
        if EXEC.is(job) || SH.is(job) {
            let style = if SH.is(job) { Style::Shell } else { Style::Exec };
            let words = bytes(args);
            check_command(style, &words)?;
            let command = words.iter().map(|word| Template::new(word)).collect();
            let arguments = Arguments {
                style,
                fixed: Vec::new(),
                command,
                outputs: Outputs::Kept,
                open: 1,
                as_list: false,
            };
            let sources = sources.unwrap_or(Source::Stdin.into());
            return Ok((arguments, Sources { portion, ..sources }));
        }
        let piped = matches!(portion, Portion::Block(_));
        let (fixed, sources) = match sources {
            Some(sources) => (bytes(args), sources),
            None if piped => (bytes(args), Source::Stdin.into()),
            None if !args.is_empty() => (Vec::new(), Source::Given(args).into()),
            None if job.args.is_empty() && portion.each() == Some(1) => (Vec::new(), Source::Once.into()),
            None => (Vec::new(), Source::Stdin.into()),
        };
        let style = if json { Style::Json } else { Style::Text };
        let sources = Sources { portion, ..sources };
        let open = match sources.is_once() {
            true => 0,
            false => check_count(job, fixed.len(), given(&sources, columns), json)?,
        };
        if json && let Some(bad) = fixed.iter().find(|arg| check_json(arg).is_err()) {
            return Err(usage(format!(
                "with --json the argument {} must be JSON",
                String::from_utf8_lossy(bad)
            )));
        }
        let as_list = job.args.last().is_some_and(|arg| arg.ty == "Vec<u8>");
        Ok((Arguments { style, fixed, command: Vec::new(), outputs: Outputs::Kept, open, as_list }, sources))
    }

    /// How the arguments are written.
    pub(crate) fn encoding(&self) -> Encoding {
        match self.style {
            Style::Text => Encoding::Text,
            Style::Json => Encoding::Json,
            Style::Exec | Style::Shell => Encoding::Binary,
        }
    }

    /// The arguments of the call for an input. A block goes into them, so that it is in memory once.
    pub(crate) fn of(&self, input: &mut Input) -> Result<Vec<u8>, BadInput> {
        let mut out = Vec::with_capacity(input.len() + 64);
        let block = input.block.take();
        match (self.style, block) {
            (Style::Text, None) => {
                self.check_values(input)?;
                self.fixed.iter().chain(&input.values).for_each(|arg| push_piece(&mut out, arg));
            }
            (Style::Text, Some(block)) => {
                let block = if self.as_list { json_of(&block, true)? } else { block };
                self.fixed.iter().chain([&block]).for_each(|arg| push_piece(&mut out, arg));
            }
            (Style::Json, None) => self.push_json(input, &mut out)?,
            (Style::Json, Some(block)) => push_array(
                self.fixed.iter().map(Vec::as_slice).chain([&json_of(&block, self.as_list)?[..]]),
                &mut out,
            ),
            (Style::Exec, block) => {
                self.push_program(fill_words(&self.command, no_nul(input)?), input, block, &mut out)?
            }
            (Style::Shell, block) => {
                let line = self.command.first().map(|line| Ok(fill_line(line, no_nul(input)?)));
                self.push_program(line.transpose()?.into_iter().collect(), input, block, &mut out)?;
            }
        }
        Ok(out)
    }

    fn check_values(&self, input: &Input) -> Result<(), BadInput> {
        match input.values.len() {
            len if len == self.open => Ok(()),
            1 => Err(BadInput(format!("it has 1 value, and the job takes {}", self.open))),
            len => Err(BadInput(format!("it has {len} values, and the job takes {}", self.open))),
        }
    }

    fn push_program(
        &self,
        words: Vec<Word>,
        input: &Input,
        block: Option<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Result<(), BadInput> {
        let (number, stdin) = (input.number + 1, block.map(Bytes::from));
        let program = Program { words, number, stdin, outputs: self.outputs };
        codec::encode(&(program,), out).map_err(|error| BadInput(error.to_string()))
    }

    /// One array of all arguments. Each value is checked first, so that no odd text can reach beyond its place.
    fn push_json(&self, input: &Input, out: &mut Vec<u8>) -> Result<(), BadInput> {
        input.values.iter().try_for_each(|value| check_json(value))?;
        let mut given: Vec<&[u8]> = input.values.iter().map(|value| value.trim_ascii()).collect();
        if let ([one], true) = (&given[..], self.open > 1) {
            let [b'[', inner @ .., b']'] = one else {
                return Err(BadInput(format!("it is no JSON array of {} arguments", self.open)));
            };
            given = vec![inner.trim_ascii()];
        } else {
            self.check_values(input)?;
        }
        push_array(self.fixed.iter().map(Vec::as_slice).chain(given).filter(|arg| !arg.is_empty()), out);
        Ok(())
    }
}

/// A JSON array of what is JSON already.
fn push_array<'a>(values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value);
    }
    out.push(b']');
}

/// Bytes as JSON: a string, if they are a text and need not be a list.
fn json_of(bytes: &[u8], as_list: bool) -> Result<Vec<u8>, BadInput> {
    let json = match str::from_utf8(bytes) {
        Ok(text) if !as_list => serde_json::to_vec(text),
        _ => serde_json::to_vec(bytes),
    };
    json.map_err(|error| BadInput(error.to_string()))
}

/// How many values a call gets, if that is known.
fn given(sources: &Sources, columns: bool) -> Option<usize> {
    match sources.portion.each() {
        None => Some(1),
        Some(0) => Some(0),
        Some(each) => (!columns).then_some(sources.len().saturating_mul(each)),
    }
}

fn no_nul(input: &Input) -> Result<&Input, BadInput> {
    match input.values.iter().any(|value| value.contains(&0)) {
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

/// How many arguments an input has to give, if that is possible. `given` is how many values it has, if that is known.
fn check_count(job: &JobInfo, fixed: usize, given: Option<usize>, json: bool) -> Result<usize, clap::Error> {
    let count = job.args.len();
    let takes = || match count {
        1 => format!("{} takes 1 argument", signature(job)),
        count => format!("{} takes {count} arguments", signature(job)),
    };
    let open = count.checked_sub(fixed).filter(|open| *open > 0 || given == Some(0));
    match (open, given) {
        (Some(open), None) => Ok(open),
        (Some(open), Some(given)) if given == open || json && given == 1 => Ok(open),
        (Some(open), Some(given)) if given < open => Err(usage(format!(
            "{} and an input gives {given}: put the first {} before ::: (or use -a), give one ::: for each, \
             use -n or --colsep, or use --json",
            takes(),
            count - given
        ))),
        (_, Some(given)) if given > 1 => {
            Err(usage(format!("{}: {fixed} and {given} of each input are too many", takes())))
        }
        _ => Err(usage(format!("{}: {fixed} and an input are too many", takes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::input::{Cut, Size};
    use sidestep_worker::wire::ArgInfo;

    fn job(count: usize) -> JobInfo {
        let args = (0..count).map(|n| ArgInfo { name: format!("a{n}"), ty: "i64".into() }).collect();
        JobInfo { name: "job".into(), args, output: "i64".into(), signature: 0, doc: String::new() }
    }

    fn request(args: Vec<OsString>, sources: Option<Sources>) -> Request {
        Request { job: "job".into(), args, sources, portion: Portion::default() }
    }

    /// `inputs`: one source with these.
    fn arguments(
        args: &[&str],
        inputs: Option<&[&str]>,
        count: usize,
        json: bool,
    ) -> Option<(Arguments, Sources)> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let sources = inputs.map(|inputs| Source::Given(words(inputs)).into());
        Arguments::new(request(words(args), sources), &job(count), json, false).ok()
    }

    fn input(values: &[&[u8]]) -> Input {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Input { values, ..Input::default() }
    }

    #[test]
    fn arguments_are_inputs_unless_there_are_inputs() {
        let source = |args, inputs, count| arguments(args, inputs, count, false).map(|(_, sources)| sources);
        let given = |words: &[&str]| Some(Source::Given(words.iter().map(OsString::from).collect()).into());
        assert_eq!(source(&["a", "b"], None, 1), given(&["a", "b"]));
        assert_eq!(source(&["a"], Some(&["b"]), 2), given(&["b"]));
        assert_eq!(source(&[], None, 1), Some(Source::Stdin.into()));
        assert_eq!(source(&[], None, 0), Some(Source::Once.into()));
        assert_eq!(source(&[], Some(&["b"]), 2), None);
        assert_eq!(source(&["a"], Some(&["b"]), 1), None);
        assert_eq!(source(&[], Some(&["b"]), 0), None);
        assert_eq!(source(&["a", "b", "c"], Some(&["b"]), 1), None);
    }

    #[test]
    fn several_values_are_several_arguments() {
        let two = || {
            let (one, other) = (Source::Given(vec!["1".into()]), Source::Given(vec!["2".into()]));
            Sources { others: vec![(crate::cli::input::Join::Cross, other)], ..one.into() }
        };
        let made = |args: &[&str], count, json, columns| {
            let args = args.iter().map(OsString::from).collect();
            Arguments::new(request(args, Some(two())), &job(count), json, columns)
                .ok()
                .map(|(arguments, _)| arguments)
        };
        assert!(made(&[], 2, false, false).is_some() && made(&["0"], 3, false, false).is_some());
        assert!(made(&[], 1, false, false).is_none() && made(&["0"], 2, false, false).is_none());
        let json = made(&["0"], 3, true, false).unwrap().of(&mut input(&[b"[1]", b" 2"])).unwrap();
        assert_eq!(json, b"[0,[1],2]");
        let columns = made(&[], 3, false, true).unwrap();
        assert!(columns.of(&mut input(&[b"a", b"b", b"c"])).is_ok());
        let bad = columns.of(&mut input(&[b"a"])).unwrap_err();
        assert_eq!(bad.to_string(), "it has 1 value, and the job takes 3");
    }

    #[test]
    fn text_is_handed_on_as_it_is() {
        let (arguments, _) = arguments(&["f"], Some(&["b"]), 2, false).unwrap();
        let mut expected = Vec::new();
        push_piece(&mut expected, b"f");
        push_piece(&mut expected, b"\xff ");
        assert_eq!(arguments.of(&mut input(&[b"\xff "])).unwrap(), expected);
    }

    #[test]
    fn json_becomes_one_array() {
        let made = |fixed: &[&str], count, text: &str| {
            let (arguments, _) = arguments(fixed, Some(&["1"]), count, true).unwrap();
            arguments
                .of(&mut input(&[text.as_bytes()]))
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

    #[test]
    fn a_block_is_an_argument_as_the_job_takes_it() {
        let portion = Portion::Block(Cut { size: Size::Bytes(9), end: Vec::new(), begin: Vec::new() });
        let made = |ty: &str, json| {
            let mut job = job(2);
            job.args[1].ty = ty.into();
            let request = Request { portion: portion.clone(), ..request(vec!["7".into()], None) };
            let (arguments, sources) = Arguments::new(request, &job, json, false).ok().unwrap();
            assert_eq!((sources.first, sources.portion), (Source::Stdin, portion.clone()));
            arguments.of(&mut Input { block: Some(b"a\n".to_vec()), ..Input::default() }).unwrap()
        };
        for (ty, piece) in [("Bytes", &b"a\n"[..]), ("String", b"a\n"), ("Vec<u8>", b"[97,10]")] {
            let mut expected = Vec::new();
            push_piece(&mut expected, b"7");
            push_piece(&mut expected, piece);
            assert_eq!(made(ty, false), expected, "{ty}");
        }
        assert_eq!(made("String", true), br#"[7,"a\n"]"#);
        assert_eq!(made("Vec<u8>", true), b"[7,[97,10]]");
    }

    #[test]
    fn several_inputs_are_several_arguments() {
        let made = |each, count| {
            let sources = Some(Source::Given(vec!["1".into()]).into());
            let request =
                Request { portion: Portion::Inputs { each, shuffle: None }, ..request(vec![], sources) };
            Arguments::new(request, &job(count), false, false).ok()
        };
        let (two, sources) = made(2, 2).unwrap();
        assert_eq!(sources.portion.each(), Some(2));
        assert!(two.of(&mut input(&[b"1", b"2"])).is_ok());
        let last = two.of(&mut input(&[b"3"])).unwrap_err();
        assert_eq!(last.to_string(), "it has 1 value, and the job takes 2");
        assert!(made(2, 1).is_none() && made(2, 3).is_none());
        assert!(made(0, 0).is_some() && made(0, 1).is_none());
    }
}
