//! Every fault at every moment, from a table: one test for each pair, in a process of its own.

#[path = "../scenario/mod.rs"]
mod scenario;

mod cell;
mod table;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sidestep::Registry;
use sidestep::faults::{self, Moment};

fn main() -> ExitCode {
    sidestep::init_with(Registry::new().job("trap", faults::trap));
    let cells = Moment::ALL.iter().flat_map(|when| table::ROWS.iter().map(|row| (*when, row)));
    let mut trials = vec![Trial::test("the_table_has_every_fault", || {
        table::assert_complete();
        Ok(())
    })];
    trials.extend(cells.map(|(when, row)| {
        let name = format!("{:?}::{:?}", when, row.how);
        Trial::test(name.clone(), move || {
            scenario::scenario_named(&name, || cell::check(when, row));
            Ok(())
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
