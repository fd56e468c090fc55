//! The command line.

mod about;
mod failure;
mod halt;
mod input;
mod kept;
mod log;
mod shared;
mod shown;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::help;
use super::input::{Portion, Sources};
use super::progress::{Progress, Setup, Talk};
use super::say::{POOL_RUN, program};
pub(crate) use about::About;
use failure::Failure;
pub(crate) use failure::OnSignal;
pub(crate) use halt::{Halt, Many, When, Why};
use input::{InputOptions, Text, is_separator, parse_text};
use kept::Kept;
use log::Log;
use shared::Shared;
pub(crate) use shown::Showing;
use shown::Shown;
pub(crate) use values::{Load, TermSeq, Timeout, Workers};

const INPUT: &str = "Input";
const RUNNING: &str = "Running";
const FAILURE: &str = "Failure";
const OUTPUT: &str = "Output";
const SHARING: &str = "Sharing";
const DISPLAY: &str = "Display";

/// Run a job over many inputs in a pool of crash-isolated worker processes.
#[derive(Debug, Parser)]
#[command(
    version,
    name = POOL_RUN,
    disable_help_flag = true,
    disable_version_flag = true,
    // The last word counts, so that a script can have its own and pass on more.
    args_override_self = true,
    max_term_width = 110
)]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) input: InputOptions,

    /// Inputs and results are JSON, one value a line
    #[arg(long, help_heading = INPUT)]
    pub(super) json: bool,

    /// Worker processes: N, N%, +N or -N of the processors, or a file that says so
    #[arg(short, long, value_name = "N", short_aliases = ['j', 'P'], aliases = ["jobs", "max-procs"], value_parser = Workers::parse,
        allow_hyphen_values = true, help_heading = RUNNING)]
    pub(super) workers: Option<Workers>,

    /// Run jobs of another program, which calls sidestep::init
    #[arg(long, value_name = "PATH", help_heading = RUNNING)]
    pub(super) exe: Option<PathBuf>,

    /// End a job after T (10, 200ms, 5m), or after N% of what half of the jobs took
    #[arg(long, value_name = "T", value_parser = Timeout::parse, help_heading = RUNNING)]
    pub(super) timeout: Option<Timeout>,

    /// How to end a job: signals with pauses between them
    #[arg(long, value_name = "SEQ", value_parser = TermSeq::parse, default_value = "TERM,2s,KILL",
        alias = "termseq", help_heading = RUNNING)]
    pub(super) term_seq: TermSeq,

    /// Replace a worker after N jobs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = RUNNING)]
    pub(super) recycle: Option<u64>,

    /// End a job whose worker has more memory than SIZE
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = RUNNING)]
    pub(super) max_rss: Option<u64>,

    /// Begin jobs only while the machine has so much memory free
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = RUNNING)]
    pub(super) memfree: Option<u64>,

    /// Begin jobs only while the machine's load is below N (or N% of its processors)
    #[arg(long, value_name = "N", value_parser = Load::parse, help_heading = RUNNING)]
    pub(super) load: Option<Load>,

    /// Begin a job no sooner than T after the one before
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = RUNNING)]
    pub(super) delay: Option<Duration>,

    /// Give jobs a niceness that is higher by N
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = RUNNING)]
    pub(super) nice: Option<i32>,

    /// Show what would be run, and run nothing
    #[arg(long, alias = "dryrun", help_heading = RUNNING)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) failure: Failure,

    #[command(flatten)]
    pub(super) kept: Kept,

    #[command(flatten)]
    pub(super) log: Log,

    /// Print results in the order of inputs (the default)
    #[arg(short, long, overrides_with = "unordered", help_heading = OUTPUT)]
    keep_order: bool,

    /// Print results as jobs end
    #[arg(long, overrides_with = "keep_order", help_heading = OUTPUT)]
    pub(super) unordered: bool,

    #[command(flatten)]
    pub(super) shown: Shown,

    /// Write a page for a browser: what ran when, what failed and why
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) report: Option<PathBuf>,

    /// Write what ran when for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) trace: Option<PathBuf>,

    /// Only say what failed: no hints, no summary
    #[arg(short, long, overrides_with = "verbose", help_heading = OUTPUT)]
    pub(super) quiet: bool,

    /// Show progress: auto, bar (--bar, --eta), plain, json or none
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto", overrides_with = "bar", hide_possible_values = true,
        hide_default_value = true, help_heading = DISPLAY)]
    progress: Progress,

    /// The same as --progress=bar
    #[arg(long, alias = "eta", overrides_with_all = ["bar", "progress"], help_heading = DISPLAY)]
    bar: bool,

    /// There will be N jobs: for the display, where they cannot be counted
    #[arg(long, alias = "total-jobs", value_name = "N", help_heading = DISPLAY)]
    pub(super) total: Option<u64>,

    /// Tell at the end of any run how it went
    #[arg(short, long, overrides_with = "quiet", help_heading = DISPLAY)]
    verbose: bool,

    #[command(flatten)]
    pub(super) shared: Shared,

    #[command(flatten)]
    pub(super) about: About,

    #[arg(value_name = "JOB", trailing_var_arg = true, hide = true)]
    words: Vec<OsString>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) job: String,
    pub(super) args: Vec<OsString>,
    /// Where inputs come from, if the command line says so.
    pub(super) sources: Option<Sources>,
    /// What of them a job gets.
    pub(super) portion: Portion,
}

impl Options {
    /// Reads a command line, its first word being the program's name.
    pub(super) fn parse_from_words(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Options, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(words)?;
        let options = Options::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if options.about.list && !options.words.is_empty() {
            return Err(usage("--list takes no JOB: it shows all of them"));
        }
        if options.kept.replay.is_some() {
            kept::check_alone(&command, &matches)?;
        }
        Ok(options)
    }

    /// Takes what stands behind the options apart.
    pub(super) fn request(&self) -> Result<Request, clap::Error> {
        let mut words = self.words.iter();
        let job = match words.next() {
            Some(word) if !is_separator(word) => word.to_string_lossy().into_owned(),
            Some(_) => return Err(usage("there is no JOB before the inputs")),
            None => return Err(usage("there is no JOB; --list shows all")),
        };
        let mut args: Vec<OsString> = words.cloned().collect();
        let end = args.iter().position(|word| is_separator(word)).unwrap_or(args.len());
        let sources = self.input.sources(args.split_off(end))?;
        let portion = self.input.portion(sources.as_ref())?;
        Ok(Request { job, args, sources, portion })
    }

    /// What is to be seen of the run; `typed` if someone types its inputs.
    pub(super) fn display(&self, typed: bool) -> Setup {
        let progress = if self.bar { Progress::Bar } else { self.progress };
        let talk = match (self.quiet, self.verbose) {
            (true, _) => Talk::Quiet,
            (false, true) => Talk::Verbose,
            (false, false) => Talk::Normal,
        };
        Setup { progress, talk, typed }
    }

    /// When what jobs write is shown.
    pub(super) fn showing(&self) -> Showing {
        self.shown.showing(self.keep_order)
    }

    /// Whether someone wants what jobs write, once it is shown.
    pub(super) fn keeps_output(&self) -> bool {
        self.shown.results.is_some() || self.report.is_some() || self.kept.failed_dir.is_some()
    }
}

/// The definition of the command line, with all texts.
pub(super) fn command() -> clap::Command {
    help::dress(Options::command(), program())
}

/// A wrong usage that clap cannot see by itself.
pub(super) fn usage(message: impl std::fmt::Display) -> clap::Error {
    command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::input::Source;
    use std::os::unix::ffi::OsStringExt;

    pub(super) fn parse(words: &[&str]) -> Result<(Options, Request), clap::Error> {
        let words = std::iter::once("pool-run").chain(words.iter().copied()).map(OsString::from);
        let options = Options::parse_from_words(words)?;
        let request = options.request()?;
        Ok((options, request))
    }

    pub(super) fn request(words: &[&str]) -> Request {
        parse(words).unwrap_or_else(|error| panic!("{words:?}: {error}")).1
    }

    pub(super) fn os(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_follows_the_job_is_the_jobs() {
        let request = request(&["-w4", "exec", "ls", "-l", "--", "-w", "9", ":::", "a", "-b"]);
        assert_eq!(request.job, "exec");
        assert_eq!(request.args, os(&["ls", "-l", "--", "-w", "9"]));
        assert_eq!(request.sources, Some(Source::Given(os(&["a", "-b"])).into()));
    }

    #[test]
    fn two_dashes_may_stand_before_the_job() {
        assert_eq!(request(&["-w", "2", "--", "wc", "--", "-x"]).args, os(&["--", "-x"]));
        assert_eq!(request(&["--", "--odd"]).job, "--odd");
    }

    #[test]
    fn workers_have_several_names() {
        for words in [
            &["-w16", "wc"][..],
            &["-j", "16", "wc"],
            &["-j16", "wc"],
            &["--jobs=16", "wc"],
            &["-P16", "wc"],
            &["--max-procs", "16", "wc"],
        ] {
            assert_eq!(parse(words).unwrap().0.workers, Some(Workers::Count(16)), "{words:?}");
        }
        for bad in ["0", "x", "99999999", ""] {
            assert!(parse(&[&format!("-w{bad}"), "wc"]).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_an_option_that_is_given_twice_the_last_counts() {
        let words = ["-w2", "--timeout", "1", "-d,", "-j16", "--timeout=2", "-d;", "wc"];
        let options = parse(&words).unwrap().0;
        assert_eq!((options.workers.clone(), options.input.format().end), (Some(Workers::Count(16)), b';'));
        assert_eq!(options.timeout, Some(Timeout::Time(Duration::from_secs(2))));
        assert_eq!(
            request(&["-a", "x", "-a", "y", "wc"]).sources.unwrap().others.len(),
            1,
            "several files are"
        );
    }

    #[test]
    fn the_last_word_on_order_counts() {
        assert!(parse(&["-k", "--unordered", "wc"]).unwrap().0.unordered);
        assert!(!parse(&["--unordered", "-k", "wc"]).unwrap().0.unordered);
        assert!(!parse(&["wc"]).unwrap().0.unordered);
    }

    #[test]
    fn the_last_word_on_the_display_counts() {
        let display = |words: &[&str]| parse(&[words, &["wc"]].concat()).unwrap().0.display(false);
        for (words, progress, talk) in [
            (&[][..], Progress::Auto, Talk::Normal),
            (&["--progress=json", "-v"], Progress::Json, Talk::Verbose),
            (&["--bar", "-q"], Progress::Bar, Talk::Quiet),
            (&["--progress", "none", "--eta"], Progress::Bar, Talk::Normal),
            (&["--eta", "--progress", "none"], Progress::None, Talk::Normal),
            (&["-v", "-q"], Progress::Auto, Talk::Quiet),
            (&["-q", "-v"], Progress::Auto, Talk::Verbose),
        ] {
            assert_eq!(display(words), Setup { progress, talk, typed: false }, "{words:?}");
        }
        assert!(parse(&["--progress=often", "wc"]).is_err() && parse(&["--total=x", "wc"]).is_err());
    }

    #[test]
    fn words_need_not_be_utf8() {
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let words = ["pool-run".into(), "--exe".into(), odd.clone(), "wc".into(), odd.clone()];
        let options = Options::parse_from_words(words).unwrap();
        assert_eq!(options.exe, Some(odd.clone().into()));
        assert_eq!(options.request().unwrap().args, [odd]);
    }

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
    }
}
