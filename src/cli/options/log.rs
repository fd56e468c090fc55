//! The log of a run, and going on from one.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use super::FAILURE;
use crate::cli::joblog::{Check, Resume, Skip};

/// `--joblog` and what needs it.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Write a line about each job to FILE (FILE.jsonl: as JSON)
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(check_file),
        help_heading = FAILURE)]
    pub(crate) joblog: Option<PathBuf>,

    /// Skip jobs that are in the joblog; =seq: by number alone
    #[arg(long, value_name = "seq", num_args = 0..=1, require_equals = true, default_missing_value = "",
        value_parser = parse_check, requires = "joblog", help_heading = FAILURE)]
    resume: Option<Check>,

    /// Skip those of them that did not fail
    #[arg(long, value_name = "seq", num_args = 0..=1, require_equals = true, default_missing_value = "",
        value_parser = parse_check, requires = "joblog", help_heading = FAILURE)]
    resume_failed: Option<Check>,
}

impl Log {
    /// How to go on from a log, if that is wanted.
    pub(crate) fn resume(&self) -> Option<Resume> {
        let failed = self.resume_failed.map(|check| Resume { skip: Skip::Succeeded, check });
        failed.or(self.resume.map(|check| Resume { skip: Skip::Logged, check }))
    }
}

fn check_file(path: PathBuf) -> Result<PathBuf, &'static str> {
    match path.as_os_str() == "-" {
        true => Err("standard output is for results; /dev/stderr would do"),
        false => Ok(path),
    }
}

fn parse_check(text: &str) -> Result<Check, String> {
    match text {
        "" => Ok(Check::Same),
        "seq" => Ok(Check::Number),
        _ => Err("jobs are known by all that they are, or by =seq, their numbers".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        log: Log,
    }

    fn resume(words: &[&str]) -> Result<Option<(Skip, Check)>, clap::Error> {
        let words = ["pool-run", "--joblog", "x"].iter().chain(words);
        let resume = Only::try_parse_from(words)?.log.resume();
        Ok(resume.map(|Resume { skip, check }| (skip, check)))
    }

    #[test]
    fn a_run_goes_on_as_it_is_told() {
        for (words, expected) in [
            (&[][..], None),
            (&["--resume"], Some((Skip::Logged, Check::Same))),
            (&["--resume=seq"], Some((Skip::Logged, Check::Number))),
            (&["--resume-failed"], Some((Skip::Succeeded, Check::Same))),
            (&["--resume-failed=seq"], Some((Skip::Succeeded, Check::Number))),
            (&["--resume-failed", "--resume"], Some((Skip::Succeeded, Check::Same))),
        ] {
            assert_eq!(resume(words).unwrap(), expected, "{words:?}");
        }
        assert!(resume(&["--resume=x"]).is_err());
    }

    #[test]
    fn there_is_nothing_to_go_on_from_without_a_log() {
        for words in [["pool-run", "--resume"], ["pool-run", "--resume-failed"]] {
            let error = Only::try_parse_from(words).unwrap_err().to_string();
            assert!(error.contains("--joblog"), "{error}");
        }
        assert!(Only::try_parse_from(["pool-run", "--joblog", "-"]).is_err());
    }
}
