//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::input::Source;
use super::say::{POOL_RUN, program};

const USAGE: &str = "\
pool-run [OPTIONS] JOB [ARG]... [::: INPUT... | :::: FILE]
       pool-run --list [--exe PATH]";

const AFTER_HELP: &str = "\
JOB is a built-in job, or one of this program, or with --exe one of another:
  sha256, wc, primes  see --list
  exec CMD [ARG]...   run a program for each input, without a shell
  sh 'LINE'           run a line of shell for each input, quoted for you
In CMD and LINE {} stands for the input; without one it comes last.

Inputs are what follows `:::`, or the lines of a FILE (`-a FILE` or
`:::: FILE`), or else the lines of standard input. ARGs before them are the
same in every call. For jobs other than exec and sh, if there is nothing but
ARGs, each ARG is an input.

Results go to standard output, all else to standard error.

Exit status:
  0 all is well; 1-100 so many jobs failed; 101 more than 100 failed;
  64 wrong usage; 125 the command itself failed; 126 --exe cannot be started;
  127 there is no such JOB or --exe; 128+N it was killed by signal N

Examples:
  pool-run primes 100000 200000 300000
  find . -name '*.iso' | pool-run --workers 16 sha256
  find . -name '*.log' -print0 | pool-run -0 exec gzip -9
  pool-run -w4 sh 'grep -c TODO {} || true' ::: src/*.rs
  echo '[1, 2]' | pool-run --exe ./my-program --json add";

/// Run a job over many inputs in a pool of crash-isolated worker processes.
#[derive(Debug, Parser)]
#[command(
    version,
    name = POOL_RUN,
    override_usage = USAGE,
    after_help = AFTER_HELP,
    max_term_width = 110
)]
pub(super) struct Options {
    /// Take inputs from FILE, one a line (- is standard input)
    #[arg(short, long, value_name = "FILE")]
    arg_file: Option<PathBuf>,

    /// Inputs end in NUL, as `find -print0` writes them
    #[arg(short = '0', long)]
    pub(super) null: bool,

    /// Worker processes [default: one a processor]
    #[arg(short, long, value_name = "N", short_alias = 'j', alias = "jobs", value_parser = parse_workers)]
    pub(super) workers: Option<usize>,

    /// Run jobs of another program, which calls sidestep::init
    #[arg(long, value_name = "PATH")]
    pub(super) exe: Option<PathBuf>,

    /// Inputs and results are JSON, one value a line
    #[arg(long)]
    pub(super) json: bool,

    /// Print results in the order of inputs (the default)
    #[arg(short, long, overrides_with = "unordered")]
    keep_order: bool,

    /// Print results as jobs end
    #[arg(long, overrides_with = "keep_order")]
    pub(super) unordered: bool,

    /// Show the jobs with their arguments, and what they do
    #[arg(long)]
    pub(super) list: bool,

    /// Only say what failed: no hints, no summary
    #[arg(short, long)]
    pub(super) quiet: bool,

    #[arg(value_name = "JOB", trailing_var_arg = true, hide = true)]
    words: Vec<OsString>,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) job: String,
    pub(super) args: Vec<OsString>,
    /// Where inputs come from, if the command line says so.
    pub(super) source: Option<Source>,
}

impl Options {
    /// Reads a command line, its first word being the program's name.
    pub(super) fn parse_from_words(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Options, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(words)?;
        let options = Options::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if options.list && !options.words.is_empty() {
            return Err(usage("--list takes no JOB: it shows all of them"));
        }
        Ok(options)
    }

    /// Takes what stands behind the options apart.
    pub(super) fn request(&self) -> Result<Request, clap::Error> {
        let mut words = self.words.iter();
        let job = match words.next() {
            Some(word) if !is_separator(word) => word.to_string_lossy().into_owned(),
            Some(_) => return Err(usage("there is no JOB before the inputs")),
            None => return Err(usage("there is no JOB; --list shows all, --help says more")),
        };
        let mut args: Vec<OsString> = words.cloned().collect();
        let mut source = self.arg_file.clone().map(from_file);
        if let Some(at) = args.iter().position(|word| is_separator(word)) {
            let inputs = args.split_off(at + 1);
            let separator = args.remove(at);
            if source.is_some() {
                return Err(usage("inputs come from -a or from the command line, not from both"));
            }
            if inputs.iter().any(|word| is_separator(word)) {
                return Err(usage(
                    "inputs can come from one source only: there is more than one ::: or ::::",
                ));
            }
            source = Some(given(&separator, inputs)?);
        }
        Ok(Request { job, args, source })
    }
}

fn given(separator: &OsStr, inputs: Vec<OsString>) -> Result<Source, clap::Error> {
    match (separator == ":::", &inputs[..]) {
        (true, _) => Ok(Source::Given(inputs)),
        (false, [file]) => Ok(from_file(file.into())),
        (false, _) => Err(usage(":::: takes the name of one file (- is standard input)")),
    }
}

fn from_file(path: PathBuf) -> Source {
    if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path) }
}

fn is_separator(word: &OsStr) -> bool {
    word == ":::" || word == "::::"
}

/// The command under the name by which it was called: a user's own program may be it.
fn command() -> clap::Command {
    let command = Options::command();
    match program() {
        POOL_RUN => command,
        own => command
            .name(own)
            .override_usage(USAGE.replace(POOL_RUN, own))
            .after_help(AFTER_HELP.replace(POOL_RUN, own)),
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("there must be at least one worker".into()),
        Ok(count) if count > MAX_WORKERS => {
            Err(format!("more than {MAX_WORKERS} workers do not fit a machine"))
        }
        Ok(count) => Ok(count),
        Err(_) => Err("this is no number of workers".into()),
    }
}

/// Beyond this a typing error is more likely than an intention.
const MAX_WORKERS: usize = 65_536;

/// A wrong usage that clap cannot see by itself.
pub(super) fn usage(message: impl std::fmt::Display) -> clap::Error {
    command().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn parse(words: &[&str]) -> Result<(Options, Request), clap::Error> {
        let words = std::iter::once("pool-run").chain(words.iter().copied()).map(OsString::from);
        let options = Options::parse_from_words(words)?;
        let request = options.request()?;
        Ok((options, request))
    }

    fn request(words: &[&str]) -> Request {
        parse(words).unwrap_or_else(|error| panic!("{words:?}: {error}")).1
    }

    fn os(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_follows_the_job_is_the_jobs() {
        let request = request(&["-w4", "exec", "ls", "-l", "--", "-w", "9", ":::", "a", "-b"]);
        assert_eq!(request.job, "exec");
        assert_eq!(request.args, os(&["ls", "-l", "--", "-w", "9"]));
        assert_eq!(request.source, Some(Source::Given(os(&["a", "-b"]))));
    }

    #[test]
    fn two_dashes_may_stand_before_the_job() {
        assert_eq!(request(&["-w", "2", "--", "wc", "--", "-x"]).args, os(&["--", "-x"]));
        assert_eq!(request(&["--", "--odd"]).job, "--odd");
    }

    #[test]
    fn workers_have_three_names() {
        for words in [&["-w16", "wc"][..], &["-j", "16", "wc"], &["-j16", "wc"], &["--jobs=16", "wc"]] {
            assert_eq!(parse(words).unwrap().0.workers, Some(16), "{words:?}");
        }
        for bad in ["0", "-1", "x", "99999999", ""] {
            assert!(parse(&[&format!("-w{bad}"), "wc"]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_word_on_order_counts() {
        assert!(parse(&["-k", "--unordered", "wc"]).unwrap().0.unordered);
        assert!(!parse(&["--unordered", "-k", "wc"]).unwrap().0.unordered);
        assert!(!parse(&["wc"]).unwrap().0.unordered);
    }

    #[test]
    fn inputs_have_one_source() {
        assert_eq!(request(&["wc"]).source, None);
        assert_eq!(request(&["wc", ":::"]).source, Some(Source::Given(vec![])));
        assert_eq!(request(&["-a", "list", "wc"]).source, Some(Source::File("list".into())));
        assert_eq!(request(&["wc", "::::", "list"]).source, Some(Source::File("list".into())));
        assert_eq!(request(&["-a-", "wc"]).source, Some(Source::Stdin));
        for bad in [&["-a", "x", "wc", ":::", "y"][..], &["wc", ":::", "a", ":::", "b"], &["wc", "::::"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        for bad in [&[":::", "a"][..], &[], &["--list", "wc"], &["-a", "x", "-a", "y", "wc"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
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

    #[test]
    fn the_help_fits_a_screen() {
        let help = command().render_long_help().to_string();
        assert!(help.lines().count() <= 70, "{}", help.lines().count());
    }
}
