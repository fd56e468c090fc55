//! Every fault at every moment, from a table: one test for each cell, in a process of its own.

#[path = "../scenario/mod.rs"]
mod scenario;

mod cell;
mod docs;
mod table;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use sidestep::Registry;
use sidestep::faults;

fn main() -> ExitCode {
    sidestep::init_with(Registry::new().job("trap", faults::trap));
    let mut trials = vec![
        trial("the_table_has_every_fault", table::assert_complete),
        trial("the_page_about_faults_has_the_table", docs::assert_has_every_row),
        trial("the_page_about_faults_names_tests_that_there_are", docs::assert_names_real_tests),
    ];
    trials.extend(table::cells().map(|(when, row, terms)| {
        let name = format!("{when:?}::{:?}::{terms:?}", row.how);
        let test = name.clone();
        trial(&name, move || scenario::scenario_named(&test, || cell::check(when, row, terms)))
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
