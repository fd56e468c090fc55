//! How what jobs write is shown and kept.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::{OUTPUT, Text, parse_text};
use crate::cli::call::Tag;
use crate::cli::results::Target;

/// `--tag` and its kind.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// Begin each line of output with its input, and a tab
    #[arg(long, help_heading = OUTPUT)]
    tag: bool,

    /// Begin it with S
    #[arg(long, value_name = "S", value_parser = OsStringValueParser::new().try_map(parse_tag),
        allow_hyphen_values = true, help_heading = OUTPUT)]
    tagstring: Option<Text>,

    /// Show each line of a job's output while it runs
    #[arg(long, alias = "lb", conflicts_with = "ungroup", help_heading = OUTPUT)]
    line_buffer: bool,

    /// Let jobs write to standard output and error themselves
    #[arg(long, short_alias = 'u', conflicts_with = "results", help_heading = OUTPUT)]
    ungroup: bool,

    /// Keep what each job has written in files in DIR
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(parse_target),
        help_heading = OUTPUT)]
    pub(crate) results: Option<Target>,
}

/// When output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showing {
    /// When its job is over, in one piece.
    Grouped,
    /// Each line as it comes.
    Lines,
    /// It is not shown: jobs write it themselves.
    Ungrouped,
}

impl Shown {
    /// When output is shown. Where jobs are to be shown in order, lines would have to wait for whole jobs.
    pub(super) fn showing(&self, keep_order: bool) -> Showing {
        match (self.ungroup, self.line_buffer && !keep_order) {
            (true, _) => Showing::Ungrouped,
            (false, true) => Showing::Lines,
            (false, false) => Showing::Grouped,
        }
    }

    /// What lines are to begin with, if anything.
    pub(crate) fn tag(&self) -> Option<Tag> {
        let text = self.tagstring.as_deref().or(self.tag.then_some(b"{}"))?;
        (!text.is_empty()).then(|| Tag::new(text))
    }
}

/// A tag may have a \t in it. The shell's own words need not be UTF-8.
fn parse_tag(text: OsString) -> Result<Text, String> {
    match text.to_str() {
        Some(text) => parse_text(text),
        None => Ok(text.into_vec()),
    }
}

fn parse_target(folder: OsString) -> Result<Target, &'static str> {
    let name = folder.as_bytes();
    if [&b".csv"[..], b".tsv", b".json"].iter().any(|end| name.ends_with(end)) {
        return Err("it is a folder; for one file with everything there is --json, or --joblog FILE.jsonl");
    }
    match name.is_empty() {
        true => Err("it has to be a folder"),
        false => Ok(Target::new(PathBuf::from(folder))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::input::Input;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        shown: Shown,
    }

    fn tag(words: &[&str]) -> Option<Vec<u8>> {
        let words = [&["pool-run"], words].concat();
        let input = Input { values: vec![b"a b".to_vec(), b"c".to_vec()], ..Input::default() };
        Only::try_parse_from(words).unwrap().shown.tag().map(|tag| tag.of(&input).text(7))
    }

    #[test]
    fn a_tag_is_the_input_unless_it_is_said_to_be_something_else() {
        for (words, expected) in [
            (&[][..], None),
            (&["--tag"], Some("a b c")),
            (&["--tagstring", "{2}\\t{#}-{%}"], Some("c\t1-7")),
            (&["--tag", "--tagstring", "-x"], Some("-x")),
            (&["--tag", "--tagstring="], None),
        ] {
            assert_eq!(tag(words).as_deref(), expected.map(str::as_bytes), "{words:?}");
        }
    }

    #[test]
    fn lines_are_shown_at_once_unless_they_have_to_wait_for_others() {
        let parse = |words: &[&str]| Only::try_parse_from([&["pool-run"], words].concat());
        for (words, unordered, ordered) in [
            (&[][..], Showing::Grouped, Showing::Grouped),
            (&["--lb"], Showing::Lines, Showing::Grouped),
            (&["--line-buffer"], Showing::Lines, Showing::Grouped),
            (&["-u"], Showing::Ungrouped, Showing::Ungrouped),
        ] {
            let shown = parse(words).unwrap().shown;
            assert_eq!((shown.showing(false), shown.showing(true)), (unordered, ordered), "{words:?}");
        }
        assert!(parse(&["-u", "--lb"]).is_err() && parse(&["-u", "--results", "d"]).is_err());
    }

    #[test]
    fn results_are_kept_in_a_folder() {
        for bad in ["", "x.csv", "d/x.json"] {
            assert!(Only::try_parse_from(["pool-run", "--results", bad]).is_err(), "{bad}");
        }
    }
}
