//! What `--help` and the manual say of an option beyond its first line.

/// The text of an option, by its name in the definition.
pub(super) fn of(id: &str) -> Option<&'static str> {
    EXPLAINED.iter().find(|(name, _)| *name == id).map(|(_, text)| *text)
}

#[cfg(test)]
pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    EXPLAINED.iter().map(|(id, _)| *id)
}

const EXPLAINED: &[(&str, &str)] = &[
    (
        "arg_file",
        "May be given several times, and beside ::: and ::::, which stand behind it. Several sources are combined each \
         with each.",
    ),
    (
        "link",
        "A source that ends before the longest one begins again. To put only some sources side by side, use :::+.",
    ),
    ("colsep", "RE is matched against bytes, so inputs need not be UTF-8. For plain CSV -C , is enough."),
    (
        "max_args",
        "The last job gets what is left. exec and sh put all inputs where {} stands, and {1} {2} ... name them one by one; \
         other jobs get them as their arguments.",
    ),
    (
        "json",
        "A job of several arguments takes an array of them from each line. The output has one JSON value a line; with \
         --list it is the list of jobs.",
    ),
    (
        "pipe",
        "Each block goes to the standard input of the program that exec or sh runs, or is the argument of another job, \
         which takes Bytes or text. A block ends where a record does (--recend), so no line is torn apart.",
    ),
    (
        "block",
        "64k is 64000 bytes and 64K is 65536. A record that is longer than a block makes that one longer.",
    ),
    ("recend", "\\n if nothing is said. The text belongs to the record that it ends."),
    ("shuf", "All inputs are read first. With the same SEED the order is the same."),
    (
        "workers",
        "8 are eight, 50% is half of the processors, +2 two more than these and -1 one less. A file is read again while jobs \
         run, so that the number can be changed on the way. Processors are those that this process may use, also in a \
         container.",
    ),
    (
        "exe",
        "The program is started as worker processes. It has to call sidestep::init, or sidestep::cli::main, first thing in \
         its main. Its types need not be known here: texts become arguments there.",
    ),
    (
        "serve",
        "The workers start once and stay: whoever attaches has them at once, one after the other or several at a time. Each \
         gets as many as it has jobs, as long as nobody else has fewer. NAME is a word, or with a slash in it the path of \
         a socket. Only processes of the same user get in. The first signal lets those who are there end, the second ends all.",
    ),
    ("idle_timeout", "Without it the server stays until it is told to end."),
    (
        "attach",
        "The jobs are those of the server's program, and run in the directory of this command, with the environment of the \
         server. If this command dies its jobs are ended; if the server does, the run fails.",
    ),
    ("status", "With --json as one JSON value."),
    (
        "timeout",
        "T is 10 (seconds), 200ms, 1.5s, 5m, 2h, 1d, or several such: 1h30m. With N% the limit follows what half of the jobs \
         have taken so far at most. How a job is ended says --term-seq. It counts as failed, and may be tried again.",
    ),
    (
        "term_seq",
        "Each signal goes to the job and all that it has started; after the pause behind it the next one follows. A number \
         without a unit is milliseconds, as with GNU parallel. KILL comes last in any case.",
    ),
    ("recycle", "For jobs that leak memory, or files that they have open."),
    ("max_rss", "Measured every 10 ms. The job counts as failed; the jobs of other workers do not notice."),
    ("memfree", "Those that run go on. 64k is 64000 bytes and 64K is 65536."),
    ("load", "The load is how many tasks of the whole machine run, or wait for a processor."),
    (
        "dry_run",
        "Prints a line for each job, in order, with what would be run, quoted so that a shell takes it.",
    ),
    (
        "retries",
        "Failed is an error or exit code of the job, a panic, a timeout. A job whose worker has died is tried again only with \
         --crash-retries: what kills one worker tends to kill the next one.",
    ),
    ("halt", HALT),
    ("deadline", "What runs then is ended as by --timeout; what has not begun is not run."),
    (
        "on_signal",
        "drain: no more jobs begin, and those that run may end; the second signal ends them. kill: the first one does.",
    ),
    (
        "grace",
        "It is for those who are killed themselves some time after a signal, as in a container: what still runs after T is \
         ended as by a second signal. Without it a drain takes as long as the jobs do.",
    ),
    (
        "fail_code",
        "Without it the code is the number of failures. A signal still ends the command by that signal.",
    ),
    (
        "failed_dir",
        "DIR gets a file NUMBER-JOB.failed for each job that is over and not well: its arguments as they were handed in, its          program, folder, input, error, and what it wrote to standard error last, where that passes through the command. It          is written when the job will not be tried again. The first line is JSON. What is in DIR stays there, but for          files of the same names.",
    ),
    (
        "replay",
        "In this process, or in the program that has the job, which takes its place: so a debugger, strace or valgrind can          be put in front. A function is called directly, and what exec or sh would start is executed. A panic or a signal          ends it as any program; else the exit code is 0, 1 for a job that failed, or that of the program.          --exe names a program to take instead, as one that was built for debugging.",
    ),
    (
        "keep_order",
        "Accepted because other tools need it. What has to wait for its turn waits in memory, and past 64 MiB in a file.",
    ),
    ("unordered", "Nothing waits for an earlier job."),
    ("tag", "The input, and a tab. Lines of different jobs are never mixed up within a line."),
    ("tagstring", "S may have placeholders: --tagstring '{#} {/}'."),
    (
        "line_buffer",
        "Lines of several jobs mix; no line is torn apart. The order is that of time; with -k jobs are shown whole, as without \
         it. It is about exec, sh, and what other jobs print; with --json there are no lines to show.",
    ),
    (
        "ungroup",
        "Jobs write to standard output and error themselves, and what they write may be mixed within a line. \
         --tag and -k do not reach it, nor can --results keep it. What functions print still goes to standard error.",
    ),
    (
        "results",
        "DIR gets a folder for each input, DIR/1/INPUT, with the files stdout, stderr and seq, which are there once they are \
         whole. DIR may have placeholders: DIR/{#}/ names a folder, DIR/{/} files. Output is shown as well; use > /dev/null \
         if it is not wanted.",
    ),
    (
        "joblog",
        "The nine columns of GNU parallel: Seq Host Starttime JobRuntime Send Receive Exitval Signal Command. A FILE whose \
         name ends in .jsonl gets a JSON value for each job instead, which says more. A line is on disk when its job's result \
         is shown.",
    ),
    (
        "resume",
        "Skips what --joblog says has ended. It compares what was run, not only its number: a log of another run is \
         refused, unless --resume=seq says that numbers are enough.",
    ),
    ("resume_failed", "As --resume, and what has failed is run again."),
    (
        "progress",
        "On standard error. auto: a bar on a terminal, a plain line now and then elsewhere. --bar and --eta are short for it.",
    ),
    (
        "total",
        "Inputs are read as they are needed, so from a pipe nobody else can know how many there will be.",
    ),
    ("report", "One file that needs no others: what ran when, how long, what failed and why."),
    ("trace", "For chrome://tracing, or https://ui.perfetto.dev."),
    ("list", "With --exe those of that program. With --json a JSON value a line, for other programs."),
    ("man", "To read it: pool-run --man | man -l -"),
    (
        "completions",
        "bash: source <(pool-run --completions bash), for instance in ~/.bashrc. zsh: put the output into a file \
         _pool-run in a folder of $fpath. fish: pool-run --completions fish | source.",
    ),
    ("quiet", "What failed is still told, with its reason, on standard error."),
];

const HALT: &str = "\
WHEN is now, which ends what runs as well, or soon, which lets that end. WHY is fail, success or done, with a number of \
jobs or with a percentage, which counts from the third job on. never is what is done without it. Jobs that have not been \
run are told of, and the exit code is never 0 for them, unless it was success that ended the run.";
