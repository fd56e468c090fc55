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
mod plot;
mod processes;
mod python;
mod row;
mod table;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use cases::Case;
use experiment::Plan;
use options::{Options, Shape};
use row::Row;

sidestep::worker_entry!();

/// What can go wrong is the system's, a job's or another program's, and only ends up as text.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let part = limits::play(&arguments).or_else(|| cases::measure(&arguments));
    let outcome = part.unwrap_or_else(|| compare(&Options::parse(&arguments)?));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Outcome<()> {
    let rows = match &options.from {
        Some(file) => read(file)?,
        None => Vec::new(),
    };
    if options.shape == Shape::Table && options.from.is_none() {
        println!("{}", table::heading(options.rounds));
    }
    let mut all = Vec::new();
    for case in cases::ALL.iter().filter(|case| options.picks(case.name)) {
        let rows = match &options.from {
            Some(_) => rows.iter().filter(|row| row.case == case.name).cloned().collect(),
            None => run(case, options)?,
        };
        show(case, &rows, options.shape)?;
        all.extend(rows);
    }
    if let Some(file) = &options.plot {
        std::fs::write(file, plot::svg(&all))?;
    }
    complete(&all)
}

/// Others may be missing; Sidestep may not.
fn complete(rows: &[Row]) -> Outcome<()> {
    match rows.iter().find(|row| row.side.starts_with("Sidestep") && row.missing.is_some()) {
        Some(Row { case, side, missing, .. }) => {
            Err(format!("case {case}, {side}: {}", missing.as_deref().unwrap_or_default()).into())
        }
        None => Ok(()),
    }
}

/// What an earlier run has printed, a row a line.
fn read(file: &Path) -> Outcome<Vec<Row>> {
    let text = std::fs::read_to_string(file)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn run(case: &Case, options: &Options) -> Outcome<Vec<Row>> {
    let plan = Plan { case: case.name, rounds: options.rounds, size: options.size };
    (case.run)(&plan).map_err(|error| format!("case {}: {error}", case.name).into())
}

fn show(case: &Case, rows: &[Row], shape: Shape) -> Outcome<()> {
    match shape {
        Shape::Table => println!("{}", table::text(case, rows)),
        Shape::Json => {
            for row in rows {
                println!("{}", serde_json::to_string(row)?);
            }
        }
    }
    Ok(())
}
