//! The command line.

use std::path::PathBuf;

use crate::Outcome;
use crate::cases;
use crate::experiment::Size;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Table,
    /// One line a row.
    Json,
}

#[derive(Debug)]
pub(crate) struct Options {
    /// None are all.
    cases: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) size: Size,
    pub(crate) shape: Shape,
    /// Rows that a run with `--json` has printed, instead of a run.
    pub(crate) from: Option<PathBuf>,
    /// Where the chart goes.
    pub(crate) plot: Option<PathBuf>,
}

impl Options {
    /// `cargo bench` adds `--bench`; without it, as under `cargo test`, everything runs once and small.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Options> {
        let mut options = Options {
            cases: Vec::new(),
            rounds: 5,
            size: Size::Full,
            shape: Shape::Table,
            from: None,
            plot: None,
        };
        let quick = |argument: &String| argument == "--quick";
        if arguments.iter().any(quick) || !arguments.iter().any(|argument| argument == "--bench") {
            (options.rounds, options.size) = (1, Size::Quick);
        }
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" | "--test" | "--quick" => {}
                "--json" => options.shape = Shape::Json,
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--from" => options.from = Some(value()?.into()),
                "--plot" => options.plot = Some(value()?.into()),
                name if cases::ALL.iter().any(|case| case.name == name) => {
                    options.cases.push(name.to_owned())
                }
                other => return Err(format!("{other} is neither an option nor a case; {}", usage()).into()),
            }
        }
        Ok(options)
    }

    pub(crate) fn picks(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }
}

fn usage() -> String {
    let names: Vec<_> = cases::ALL.iter().map(|case| case.name).collect();
    format!("cases are {}, options --json, --rounds N, --quick, --plot FILE, --from FILE", names.join(" "))
}
