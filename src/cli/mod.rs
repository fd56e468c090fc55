//! What the command `pool-run` does, for your own program too.
//!
//! A program whose `main` is [`main`] is the whole command with its own `#[job]`s beside the built-in ones:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     sidestep::cli::main()
//! }
//! ```
//!
//! The way of an input: `options` says where it comes from, `input` reads it (on the thread of `intake`), `arguments` makes a call of it, the pool
//! runs that, `printer` (with `report`) makes text of the outcome, `reorder` holds it until its turn, `output` writes.

mod arguments;
mod builtin;
mod command;
mod ending;
mod input;
mod intake;
mod jobs;
mod list;
mod options;
mod orphans;
mod output;
mod printer;
mod reorder;
mod report;
mod run;
mod say;
mod signals;
mod strays;
mod template;

use std::process::ExitCode;

use sidestep_worker::Registry;

use self::say::say;

/// The whole command, as the `main` of a program: with its `#[job]`s, and the built-in jobs.
///
/// It calls [`init`](crate::init), so nothing else has to. A `#[job]` with the name of a built-in job takes its place.
pub fn main() -> ExitCode {
    main_with(Registry::new())
}

/// [`main`], with the jobs of a [`Registry`] too.
pub fn main_with(registry: Registry) -> ExitCode {
    sidestep_worker::init_with(builtin::add_to(registry));
    std::panic::set_hook(Box::new(|info| {
        say(format_args!("this is a bug, please report it: {info}"));
        orphans::end_all();
        std::process::exit(ending::INTERNAL.into());
    }));
    match command::run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => ending::leave(&error),
    }
}
