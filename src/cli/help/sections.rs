//! What there is to say beside the options, for `--help` and for the manual.

/// A terminal has so many columns at least.
const NARROW: usize = 80;

/// A heading, what stands under it, and a table.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) rows: &'static [(&'static str, &'static str)],
}

/// How the command works.
pub(super) const MODEL: [Section; 3] = [
    Section {
        title: "Jobs",
        text: "A JOB is a function that this program has, or the one that --exe names, or a built-in one. Worker processes \
               run it, one input at a time each; they are used again and again, and if one dies, one input has failed.",
        rows: &[
            ("exec CMD [ARG]...", "run a program for each input, without a shell"),
            ("sh 'LINE'", "run a line of shell for each input, quoted for you"),
            ("sha256, wc, primes", "see --list for these, and for what else there is"),
        ],
    },
    Section {
        title: "Inputs",
        text: "Without any source, ARGs are inputs if the JOB is a function, and else inputs are the lines of standard input. \
               With a source, ARGs come first in every call. Several sources are combined each with each.",
        rows: &[
            ("::: INPUT...", "these words"),
            (
                ":::: FILE...",
                "the lines of these files; - is standard input; -a FILE before the JOB does the same",
            ),
            (":::+, ::::+", "the same, but side by side with the source before"),
        ],
    },
    Section {
        title: "Placeholders",
        text: "In the words of exec and the line of sh. Without any, the input comes last.",
        rows: &[
            ("{}", "the input"),
            ("{.}", "without its extension"),
            ("{/}", "its name, without the folder"),
            ("{//}", "its folder"),
            ("{/.}", "its name without the extension"),
            ("{2} {2/} {-1}", "of several values the second, its name, the last"),
            ("{#} {%}", "the job's number, and its slot: its place among those that run"),
            ("{{}}", "a plain {}"),
        ],
    },
];

pub(super) const EXIT: Section = Section {
    title: "Exit status",
    text: "",
    rows: &[
        ("0", "all is well"),
        ("1-100", "so many jobs failed"),
        ("101", "more than 100 jobs failed"),
        ("64", "wrong usage; nothing was run"),
        ("124", "--deadline has ended the run"),
        ("125", "the command itself failed, with inputs or with results for instance"),
        ("126", "what --exe names is there and cannot be used"),
        ("127", "there is no such JOB, or nothing where --exe points to"),
        ("128+N", "it was killed by signal N; 141: nobody reads results, as with | head"),
    ],
};

pub(super) const SIGNALS: Section = Section {
    title: "Signals",
    text: "",
    rows: &[
        (
            "INT, TERM, HUP",
            "the first one lets running jobs end and begins no others, the second ends them as --term-seq says, \
                            the third kills them; see --on-signal",
        ),
        ("TSTP", "Ctrl-Z: what runs is stopped too, until the command goes on"),
        ("USR1, USR2", "what runs is listed on standard error; progress is shown, or hidden"),
        ("KILL", "whatever kills the command, its workers and what they run end too"),
        ("PIPE", "nobody reads the results: the run ends, quietly"),
    ],
};

pub(super) const ENVIRONMENT: Section = Section {
    title: "Environment",
    text: "Jobs have the environment of the command.",
    rows: &[
        ("NO_COLOR", "if it is set, no colours; there are none anyway where output is no terminal"),
        ("CLICOLOR", "0: no colours; CLICOLOR_FORCE=1: colours everywhere"),
        ("COLUMNS", "how wide --help and --list may be, if there is no terminal to ask"),
        ("TMPDIR", "where results wait for their turn when there are too many of them for memory"),
        ("LC_ALL, LC_CTYPE, LANG", "what is a word to the job wc"),
    ],
};

pub(super) const EXAMPLES: Section = Section {
    title: "Examples",
    text: "",
    rows: &[
        ("pool-run primes 100000 200000 300000", "a built-in job; each argument is an input"),
        ("find . -name '*.iso' | pool-run -w 16 sha256", "16 files at a time, results in the order of find"),
        (
            "find . -name '*.log' -print0 | pool-run -0 exec gzip -9",
            "a program for each file, whatever its name is",
        ),
        ("pool-run -w4 sh 'grep -c TODO {} || true' ::: src/*.rs", "a line of shell"),
        ("pool-run exec convert {} small/{/.}.png ::: *.jpg", "a new name made of the old one"),
        ("pool-run sh 'nc -z {1} {2}' ::: a b ::: 22 80", "each host with each port"),
        ("echo '[1, 2]' | pool-run --exe ./my-program --json add", "a job of your own program"),
    ],
};

/// All of them as text that clap can wrap.
pub(super) fn as_help() -> String {
    let all = MODEL.iter().chain([&EXIT, &SIGNALS, &ENVIRONMENT, &EXAMPLES]);
    all.map(Section::help).collect::<Vec<_>>().join("\n\n")
}

impl Section {
    fn help(&self) -> String {
        let mut help = format!("{}:", self.title);
        if !self.text.is_empty() {
            help.push_str("\n  ");
            help.push_str(self.text);
        }
        let width = self.rows.iter().map(|(head, _)| head.len()).max().unwrap_or_default();
        // A line that is wrapped would go on below the heads, so all of them have room then.
        let beside = self.rows.iter().all(|(_, text)| width + text.len() + 4 <= NARROW);
        for (head, text) in self.rows {
            help.push_str(&match beside {
                true => format!("\n  {head:width$}  {text}"),
                false => format!("\n  {head}\n      {text}"),
            });
        }
        help
    }
}
