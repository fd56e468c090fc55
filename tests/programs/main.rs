//! Programs with a `main` of their own that start workers, or are started as workers: those that call `init` as they
//! should, and those that do not.
//!
//! It is one binary. What a copy of it does is chosen by the environment variable `PROGRAM`; without it, it runs the
//! tests.

#[path = "../scenario/mod.rs"]
mod scenario;

mod image;
mod kinds;
mod late;
mod starts;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

macro_rules! trials {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($(trial(concat!(stringify!($module), "::", stringify!($name)), $module::$name)),+),+]
    };
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn main() -> ExitCode {
    if let Some(code) = kinds::run() {
        return code;
    }
    sidestep::init();
    let trials = trials! {
        starts: a_program_that_forgets_init_is_told_at_once,
            a_worker_program_that_makes_a_pool_instead_of_serving_is_no_fork_bomb,
            a_worker_that_runs_to_its_end_is_told,
            a_worker_that_exits_before_hello_is_told_with_its_last_words,
            a_worker_that_crashes_before_hello_is_told_with_its_signal,
            a_worker_that_never_says_hello_is_given_up_at_the_start_timeout,
            what_a_program_prints_and_opens_before_init_does_not_matter,
            a_worker_with_other_jobs_is_turned_away,
            a_program_that_is_none_is_told,
            a_program_that_knows_no_pools_is_told,
            a_program_that_writes_nonsense_is_told,
            a_program_that_leaves_others_behind_is_told_and_cleaned_up,
            the_environment_of_the_workers_is_theirs_alone;
        image: a_renamed_binary_goes_on, a_deleted_binary_goes_on, a_replaced_binary_goes_on,
            a_copy_of_the_program_serves_by_name, a_stack_that_overflows_is_told, a_thread_s_stack_too;
        late: workers_that_no_longer_start_break_the_pool, workers_that_no_longer_say_hello_break_the_pool,
            a_worker_with_other_jobs_breaks_the_pool,
            a_program_that_is_gone_breaks_the_pool_once_its_last_worker_has_died, workers_that_start_every_other_time_heal_the_pool,
            a_broken_pool_can_be_closed_and_dropped;
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
