//! Sidestep beside what the machine allows, beside rayon's threads, and beside Python's `multiprocessing.Pool`.
//!
//! Machines differ and are noisy, so what counts is a ratio of two figures that were taken one right after the other. An
//! [`experiment`] gives every side its turn in each round, and a ratio is taken within a round. See CONTRIBUTING.md for
//! the options.

mod cases;
mod experiment;
mod jobs;
mod limits;
mod meeting;
mod options;
mod processes;
mod python;
mod row;
mod table;

use std::error::Error;
use std::process::ExitCode;

use cases::Case;
use experiment::Plan;
use options::{Options, Shape};

sidestep::worker_entry!();

/// What can go wrong is the system's, a job's or another program's, and only ends up as text.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(outcome) = limits::play(&arguments).or_else(|| cases::alone(&arguments)) {
        return if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match Options::parse(&arguments).and_then(|options| compare(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Outcome<()> {
    let mut rows = Vec::new();
    if options.shape == Shape::Table {
        println!("{}", table::heading(options.rounds));
    }
    for case in cases::ALL.iter().filter(|case| options.picks(case.name)) {
        let fresh = run(case, options)?;
        match options.shape {
            Shape::Table => println!("{}", table::text(case, &fresh)),
            Shape::Json => {
                for row in &fresh {
                    println!("{}", serde_json::to_string(row)?);
                }
            }
        }
        rows.extend(fresh);
    }
    Ok(())
}

fn run(case: &Case, options: &Options) -> Outcome<Vec<row::Row>> {
    let plan = Plan { case: case.name, rounds: options.rounds, size: options.size };
    (case.run)(&plan).map_err(|error| format!("case {}: {error}", case.name).into())
}
