//! Where inputs come from, and what of them a job gets.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Args;
use regex::bytes::Regex;

use super::{INPUT, usage, values};
use crate::cli::input::{Cut, Format, Join, Portion, Shuffle, Size, Source, Sources};

/// A block is sent to its job in one piece.
const MAX_BLOCK: usize = 512 << 20;

/// Bytes that stand behind an option; the name keeps clap from taking it for several values.
pub(super) type Text = Vec<u8>;

/// Options about inputs.
#[derive(Debug, Args)]
pub(crate) struct InputOptions {
    /// Take inputs from FILE, one a line (- is standard input)
    #[arg(short, long, value_name = "FILE", help_heading = INPUT)]
    arg_file: Vec<PathBuf>,

    /// Take one input of each source at a time, not each with each
    #[arg(long, alias = "xapply", help_heading = INPUT)]
    link: bool,

    /// Inputs end in NUL, as `find -print0` writes them
    #[arg(short = '0', long, conflicts_with = "delimiter", help_heading = INPUT)]
    null: bool,

    /// Inputs end in C: a character, or \n, \t, \0, \x3b
    #[arg(short, long, value_name = "C", value_parser = parse_delimiter, help_heading = INPUT)]
    delimiter: Option<u8>,

    /// Split inputs at the regular expression RE, into {1} {2} ...
    #[arg(short = 'C', long, value_name = "RE", value_parser = parse_columns, help_heading = INPUT)]
    colsep: Option<Regex>,

    /// Give N inputs to each job (0: none of them, but as many jobs); with --pipe, N records
    #[arg(short = 'n', short_alias = 'N', long, alias = "max-replace-args", value_name = "N", help_heading = INPUT)]
    max_args: Option<usize>,

    /// Take inputs in random order: the same one each time for the same SEED
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, help_heading = INPUT)]
    shuf: Option<Option<u64>>,

    /// Give each job a part of standard input, or of FILE, cut at ends of records
    #[arg(long, conflicts_with_all = ["link", "null", "delimiter", "colsep", "shuf"], help_heading = INPUT)]
    pipe: bool,

    /// How large such a part is
    #[arg(long, value_name = "SIZE", value_parser = parse_block, default_value = "1M", requires = "pipe",
        alias = "block-size", help_heading = INPUT)]
    block: usize,

    /// What a record ends in
    #[arg(long, value_name = "S", value_parser = parse_text, default_value = "\\n", requires = "pipe",
        allow_hyphen_values = true, help_heading = INPUT)]
    recend: Text,

    /// What a record begins with
    #[arg(long, value_name = "S", value_parser = parse_text, requires = "pipe", allow_hyphen_values = true,
        help_heading = INPUT)]
    recstart: Option<Text>,
}

impl InputOptions {
    /// The sources that the options name, and those that `given` names: separators, each with words behind it.
    pub(super) fn sources(&self, given: Vec<OsString>) -> Result<Option<Sources>, clap::Error> {
        let mut given = given.into_iter().peekable();
        let mut sources: Vec<_> =
            self.arg_file.iter().map(|file| (Join::Cross, from_file(file.clone()))).collect();
        while let Some(separator) = given.next() {
            let mut words = Vec::new();
            while let Some(word) = given.next_if(|word| !is_separator(word)) {
                words.push(word);
            }
            add_sources(&separator, words, &mut sources)?;
        }
        let mut sources = sources.into_iter();
        let sources = match sources.next() {
            None => None,
            Some((Join::Beside, _)) => {
                return Err(usage(":::+ and ::::+ go with the source before them: there is none"));
            }
            Some((_, first)) => {
                Some(Sources { others: sources.collect(), linked: self.link, ..first.into() })
            }
        };
        if sources.as_ref().is_some_and(Sources::share_stdin) {
            return Err(usage("standard input can be read for one source only"));
        }
        Ok(sources)
    }

    /// What of the inputs a job gets.
    pub(super) fn portion(&self, sources: Option<&Sources>) -> Result<Portion, clap::Error> {
        if self.pipe {
            if self.max_args == Some(0) {
                return Err(usage("with --pipe each job gets one record at least"));
            }
            sources.map_or(Ok(()), check_blocks)?;
            let size = self.max_args.map_or(Size::Bytes(self.block), Size::Records);
            let begin = self.recstart.clone();
            // Whoever only says how records begin means that nothing else ends them.
            let end = if begin.is_some() && self.recend == b"\n" { Vec::new() } else { self.recend.clone() };
            return Ok(Portion::Block(Cut { size, end, begin: begin.unwrap_or_default() }));
        }
        let shuffle = self.shuf.map(|seed| seed.map_or(Shuffle::Anew, Shuffle::Seed));
        Ok(Portion::Inputs { each: self.max_args.unwrap_or(1), shuffle })
    }

    /// How inputs stand where they come from.
    pub(crate) fn format(&self) -> Format {
        let end = if self.null { 0 } else { self.delimiter.unwrap_or(b'\n') };
        Format { end, columns: self.colsep.clone() }
    }

    /// Whether an input may have several values.
    pub(crate) fn has_columns(&self) -> bool {
        self.colsep.is_some()
    }
}

/// What a separator and the words behind it name.
fn add_sources(
    separator: &OsStr,
    words: Vec<OsString>,
    sources: &mut Vec<(Join, Source)>,
) -> Result<(), clap::Error> {
    let beside = separator.as_encoded_bytes().ends_with(b"+");
    let join = if beside { Join::Beside } else { Join::Cross };
    if separator.as_encoded_bytes().starts_with(b"::::") {
        if words.is_empty() {
            return Err(usage(":::: takes the names of files (- is standard input)"));
        }
        sources.extend(words.into_iter().map(|file| (join, from_file(file.into()))));
    } else {
        sources.push((join, Source::Given(words)));
    }
    Ok(())
}

fn from_file(path: PathBuf) -> Source {
    if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path) }
}

/// Whether it can be cut into blocks: it has to be one stream.
fn check_blocks(sources: &Sources) -> Result<(), clap::Error> {
    match (&sources.first, sources.others.is_empty()) {
        (Source::Stdin | Source::File(_), true) => Ok(()),
        (_, true) => {
            Err(usage("--pipe cuts standard input or a file (-a FILE): it takes no inputs after :::"))
        }
        (_, false) => Err(usage("--pipe cuts one file only")),
    }
}

pub(super) fn is_separator(word: &OsStr) -> bool {
    [":::", "::::", ":::+", "::::+"].iter().any(|separator| word == *separator)
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    let byte = match text.as_bytes() {
        [byte] => Some(*byte),
        _ => escaped(text),
    };
    byte.ok_or_else(|| "a delimiter is one byte, or \\n, \\t, \\r, \\0, \\x3b".into())
}

/// The byte that an escape stands for.
fn escaped(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"\\n" => Some(b'\n'),
        b"\\t" => Some(b'\t'),
        b"\\r" => Some(b'\r'),
        b"\\0" => Some(0),
        b"\\\\" => Some(b'\\'),
        [b'\\', b'x', hex @ ..] if hex.len() == 2 && hex.iter().all(u8::is_ascii_hexdigit) => {
            std::str::from_utf8(hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
        }
        _ => None,
    }
}

/// Any text, with \n, \t, \r, \0, \\ and \x3b in it.
pub(super) fn parse_text(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let len = if rest[at..].starts_with("\\x") { 4 } else { 2 };
        let escape = rest.get(at..at + len).and_then(escaped);
        bytes.push(escape.ok_or("after a \\ comes n, t, r, 0, x3b or another \\")?);
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn parse_block(text: &str) -> Result<usize, String> {
    match values::size(text).map(usize::try_from)? {
        Ok(size @ 1..=MAX_BLOCK) => Ok(size),
        _ => Err("a block has from 1 byte to 512M".into()),
    }
}

fn parse_columns(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|error| error.to_string())?;
    match regex.is_match(b"") {
        true => Err("it matches where there is nothing, so everything would be a column".into()),
        false => Ok(regex),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{os, parse, request};
    use super::*;

    #[test]
    fn inputs_have_sources() {
        let one = |source| Some(Sources::from(source));
        assert_eq!(request(&["wc"]).sources, None);
        assert_eq!(request(&["wc", ":::"]).sources, one(Source::Given(vec![])));
        assert_eq!(request(&["-a", "list", "wc"]).sources, one(Source::File("list".into())));
        assert_eq!(request(&["wc", "::::", "list"]).sources, one(Source::File("list".into())));
        assert_eq!(request(&["-a-", "wc"]).sources, one(Source::Stdin));
        for bad in [
            &["wc", "::::"][..],
            &["wc", ":::+", "a"],
            &["wc", "::::", "-", "-"],
            &[":::", "a"],
            &[],
            &["--list", "wc"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn several_sources_stand_as_they_came() {
        let words = ["--link", "-a", "x", "wc", ":::", "a", "b", ":::+", "1", "::::+", "y", "-"];
        let sources = request(&words).sources.unwrap();
        assert_eq!((sources.first, sources.linked), (Source::File("x".into()), true));
        let others = [
            (Join::Cross, Source::Given(os(&["a", "b"]))),
            (Join::Beside, Source::Given(os(&["1"]))),
            (Join::Beside, Source::File("y".into())),
            (Join::Beside, Source::Stdin),
        ];
        assert_eq!(sources.others, others);
    }

    #[test]
    fn inputs_end_where_they_are_said_to() {
        let end = |words: &[&str]| parse(words).map(|(options, _)| options.input.format().end);
        for (word, byte) in
            [(";", b';'), ("\\n", b'\n'), ("\\t", b'\t'), ("\\0", 0), ("\\x3B", b';'), ("\\\\", b'\\')]
        {
            assert_eq!(end(&["-d", word, "wc"]).unwrap(), byte, "{word}");
        }
        assert_eq!((end(&["wc"]).unwrap(), end(&["-0", "wc"]).unwrap()), (b'\n', 0));
        for bad in ["", "ab", "\\q", "\\x3", "é"] {
            assert!(end(&["-d", bad, "wc"]).is_err(), "{bad}");
        }
        assert!(end(&["-0", "-d,", "wc"]).is_err() && parse(&["-C", "(", "wc"]).is_err());
        assert!(parse(&["-C", "x*", "wc"]).is_err() && parse(&["-C", "[,;]", "wc"]).is_ok());
    }
}
