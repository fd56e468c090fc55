//! The command line.

mod about;
mod failure;
mod halt;
mod log;
mod shown;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use regex::bytes::Regex;

use super::help;
use super::input::{Cut, Format, Join, Portion, Shuffle, Size, Source, Sources};
use super::progress::{Progress, Setup, Talk};
use super::say::{POOL_RUN, program};
pub(crate) use about::About;
use failure::Failure;
pub(crate) use failure::OnSignal;
pub(crate) use halt::{Halt, Many, When, Why};
use log::Log;
pub(crate) use shown::Showing;
use shown::Shown;
pub(crate) use values::{Load, TermSeq, Timeout, Workers};

/// A block is sent to its job in one piece.
const MAX_BLOCK: usize = 512 << 20;

const INPUT: &str = "Input";
const RUNNING: &str = "Running";
const FAILURE: &str = "Failure";
const OUTPUT: &str = "Output";
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
    pub(super) about: About,

    #[arg(value_name = "JOB", trailing_var_arg = true, hide = true)]
    words: Vec<OsString>,
}

/// Bytes that stand behind an option; the name keeps clap from taking it for several values.
type Text = Vec<u8>;

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
        let end = args.iter().position(|word| is_separator(word)).unwrap_or(args.len());
        let mut given = args.split_off(end).into_iter().peekable();
        let mut sources: Vec<_> =
            self.arg_file.iter().map(|file| (Join::Cross, from_file(file.clone()))).collect();
        while let Some(separator) = given.next() {
            let mut words = Vec::new();
            while let Some(word) = given.next_if(|word| !is_separator(word)) {
                words.push(word);
            }
            self::sources(&separator, words, &mut sources)?;
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
        let portion = self.portion();
        if self.pipe && self.max_args == Some(0) {
            return Err(usage("with --pipe each job gets one record at least"));
        }
        if let (Portion::Block(_), Some(sources)) = (&portion, &sources) {
            check_blocks(sources)?;
        }
        if sources.as_ref().is_some_and(Sources::share_stdin) {
            return Err(usage("standard input can be read for one source only"));
        }
        Ok(Request { job, args, sources, portion })
    }

    /// What of the inputs a job gets.
    fn portion(&self) -> Portion {
        if self.pipe {
            let size = self.max_args.map_or(Size::Bytes(self.block), Size::Records);
            let begin = self.recstart.clone();
            // Whoever only says how records begin means that nothing else ends them.
            let end = if begin.is_some() && self.recend == b"\n" { Vec::new() } else { self.recend.clone() };
            return Portion::Block(Cut { size, end, begin: begin.unwrap_or_default() });
        }
        let shuffle = self.shuf.map(|seed| seed.map_or(Shuffle::Anew, Shuffle::Seed));
        Portion::Inputs { each: self.max_args.unwrap_or(1), shuffle }
    }

    /// How inputs stand where they come from.
    pub(super) fn format(&self) -> Format {
        let end = if self.null { 0 } else { self.delimiter.unwrap_or(b'\n') };
        Format { end, columns: self.colsep.clone() }
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
        self.shown.results.is_some() || self.report.is_some()
    }

    /// Whether an input may have several values.
    pub(super) fn has_columns(&self) -> bool {
        self.colsep.is_some()
    }
}

/// What a separator and the words behind it name.
fn sources(
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

fn is_separator(word: &OsStr) -> bool {
    [":::", "::::", ":::+", "::::+"].iter().any(|separator| word == *separator)
}

/// The definition of the command line, with all texts.
pub(super) fn command() -> clap::Command {
    help::dress(Options::command(), program())
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
fn parse_text(text: &str) -> Result<Vec<u8>, String> {
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
        assert_eq!((options.workers.clone(), options.format().end), (Some(Workers::Count(16)), b';'));
        assert_eq!(options.timeout, Some(Timeout::Time(Duration::from_secs(2))));
        assert_eq!(parse(&["-a", "x", "-a", "y", "wc"]).unwrap().0.arg_file.len(), 2);
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
        let end = |words: &[&str]| parse(words).map(|(options, _)| options.format().end);
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
