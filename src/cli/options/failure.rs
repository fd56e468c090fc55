//! What is done about jobs that fail, and when a run ends early.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{FAILURE, Halt, Why, values};

/// What the first signal does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnSignal {
    /// Running jobs may end.
    #[default]
    Drain,
    /// They are ended.
    Kill,
}

/// `--halt`; with no rule for `never`.
type HaltRule = Option<Halt>;

fn parse_halt(text: &str) -> Result<HaltRule, String> {
    Halt::parse(text)
}

/// Options about failures.
#[derive(Debug, Args)]
pub(crate) struct Failure {
    /// Try a job that fails up to N times in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = FAILURE)]
    pub(crate) retries: Option<u32>,

    /// Wait before another attempt: T, twice as long each time, with jitter
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = FAILURE)]
    pub(crate) retry_delay: Option<Duration>,

    /// Try a job whose worker died up to N more times
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = FAILURE)]
    pub(crate) crash_retries: u32,

    /// End early: now or soon, after so many jobs: now,fail=1 soon,fail=10% now,success=1 soon,done=5
    #[arg(long, value_name = "WHEN,WHY", value_parser = parse_halt, allow_hyphen_values = true, help_heading = FAILURE)]
    pub(crate) halt: Option<HaltRule>,

    /// End the whole run after T, with exit code 124
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = FAILURE)]
    pub(crate) deadline: Option<Duration>,

    /// What the first INT, TERM or HUP does: drain lets running jobs end, kill ends them
    #[arg(long, value_name = "WHAT", value_enum, default_value = "drain", hide_possible_values = true,
        help_heading = FAILURE)]
    pub(crate) on_signal: OnSignal,

    /// After a signal let running jobs go on for T at most
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = FAILURE)]
    pub(crate) grace: Option<Duration>,

    /// One exit code for any number of failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), help_heading = FAILURE)]
    pub(crate) fail_code: Option<u8>,
}

impl Failure {
    /// Whether a run that ends early has what it was for.
    pub(crate) fn seeks_success(&self) -> bool {
        self.halt.flatten().is_some_and(|halt| halt.why == Why::Success)
    }

    /// The exit code of a run whose own would be this one.
    pub(crate) fn code(&self, code: u8) -> u8 {
        match code {
            0 => 0,
            code => self.fail_code.unwrap_or(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        failure: Failure,
    }

    fn parse(words: &[&str]) -> Result<Failure, clap::Error> {
        Only::try_parse_from([&["pool-run"], words].concat()).map(|only| only.failure)
    }

    #[test]
    fn one_code_stands_for_all_failures_and_for_nothing_else() {
        let failure = parse(&["--fail-code", "7"]).unwrap();
        assert_eq!([0, 1, 101].map(|code| failure.code(code)), [0, 7, 7]);
        assert_eq!([0, 1, 101].map(|code| parse(&[]).unwrap().code(code)), [0, 1, 101]);
        for bad in ["0", "256", "-1", "x"] {
            assert!(parse(&[&format!("--fail-code={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_signal_drains_unless_it_is_to_kill() {
        assert_eq!(parse(&[]).unwrap().on_signal, OnSignal::Drain);
        assert_eq!(parse(&["--on-signal=kill"]).unwrap().on_signal, OnSignal::Kill);
        assert!(parse(&["--on-signal=wait"]).is_err());
    }
}
