//! Every fault at every moment, from a table: one test for each cell, in a process of its own.

#[path = "../scenario/mod.rs"]
mod scenario;

mod cell;
mod table;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sidestep::Registry;
use sidestep::faults;

fn main() -> ExitCode {
    sidestep::init_with(Registry::new().job("trap", faults::trap));
    let mut trials = vec![Trial::test("the_table_has_every_fault", || {
        table::assert_complete();
        Ok(())
    })];
    trials.extend(table::cells().map(|(when, row, terms)| {
        let name = format!("{when:?}::{:?}::{terms:?}", row.how);
        Trial::test(name.clone(), move || {
            scenario::scenario_named(&name, || cell::check(when, row, terms));
            Ok(())
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
