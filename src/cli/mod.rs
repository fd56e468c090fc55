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
//! On Linux what jobs start does not outlive the command, even if it leaves their process group (`setsid`, a daemon):
//! what `exec` and `sh` run ends with its worker at the latest, also when the command is killed; what other jobs start
//! ends with the command, unless that is killed by SIGKILL. So the program must not start other processes beside the
//! command: they would be taken for what jobs have left. If it has children before, or is process 1, it ends only what
//! is in its workers' groups.
//!
//! | folder, file | what |
//! |---|---|
//! | `command` | from the first word of the command line to the exit code |
//! | `options`, `help` | what can be said on it, and how that is told |
//! | `serve` | workers that other programs share |
//! | `plan`, `jobs`, `list` | what is to be run, and in which pool |
//! | `session` | one run with all that is around it |
//! | `input` | where inputs come from |
//! | `call` | what a job is called with |
//! | `run` | hands jobs to the pool and takes them back: when, how long, how often |
//! | `output` | what is shown of a job, and when |
//! | `event` | what a run's watchers are told: `progress`, `report`, `trace`, and the `joblog` |
//! | `failed`, `replay` | jobs that have failed as files, and how one of them runs again |
//! | `signals`, `ending`, `orphans`, `strays` | how it ends, and that nothing stays behind |
//! | `builtin` | the jobs that it brings along |

mod builtin;
mod call;
mod command;
mod ending;
mod event;
mod failed;
mod help;
mod input;
mod joblog;
mod jobs;
mod list;
mod options;
mod orphans;
mod output;
mod plan;
mod progress;
mod replay;
mod report;
mod results;
mod run;
mod say;
mod serve;
mod session;
mod signals;
mod strays;
mod trace;
mod whole;

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
        if let Some(display) = progress::current() {
            display.close();
        }
        say(format_args!("this is a bug, please report it: {info}"));
        orphans::end_all();
        std::process::exit(ending::INTERNAL.into());
    }));
    match command::run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => ending::leave(&error),
    }
}
