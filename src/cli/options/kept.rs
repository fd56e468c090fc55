//! Jobs that have failed: kept, and run again.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

use super::{FAILURE, usage};

/// `--failed-dir` and `--replay`.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Keep each job that fails in a file in DIR
    #[arg(long, value_name = "DIR", help_heading = FAILURE)]
    pub(crate) failed_dir: Option<PathBuf>,

    /// Run the job again that is in such a file, alone and in the foreground
    #[arg(long, value_name = "FILE", help_heading = FAILURE)]
    pub(crate) replay: Option<PathBuf>,
}

/// Whether nothing else stands on the command line that asks for a replay. What does would have no effect.
pub(super) fn check_alone(command: &Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let others = command.get_arguments().filter(|arg| !["replay", "exe"].contains(&arg.get_id().as_str()));
    match others.into_iter().find(|arg| is_given(arg.get_id().as_str())) {
        None => Ok(()),
        Some(arg) => Err(usage(match arg.get_long() {
            Some(long) => {
                format!("--replay runs one job as it was, without --{long}; only --exe may stand beside it")
            }
            None => "--replay takes no JOB: the file says which, and what it is called with".into(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::cli::options::Options;

    fn parse(words: &[&str]) -> Result<Options, String> {
        let words = [&["pool-run"], words].concat();
        Options::parse_from_words(words.into_iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_replay_takes_a_file_and_at_most_a_program() {
        for words in [&["--replay", "x"][..], &["--replay=x", "--exe", "y"]] {
            assert_eq!(parse(words).unwrap().kept.replay.as_deref(), Some("x".as_ref()), "{words:?}");
        }
        for (word, said) in
            [("wc", "takes no JOB"), ("-w2", "without --workers"), ("-k", "without --keep-order")]
        {
            let error = parse(&["--replay", "x", word]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse(&["--replay"]).is_err() && parse(&["--failed-dir", "d", "wc"]).is_ok());
    }
}
