//! What copies of this program do instead of running tests.

use std::fs::File;
use std::process::{Command, ExitCode};
use std::time::Duration;

use sidestep::{Pool, Registry};

use crate::image;
use crate::scenario::{Gate, dir};

/// The variable that chooses.
pub(crate) const PROGRAM: &str = "PROGRAM";

/// This program's own command line, with a kind of its own.
pub(crate) fn command(kind: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(PROGRAM, kind);
    command
}

/// From now on the workers that are told to change "later" do so.
pub(crate) fn change() {
    File::create(dir().join("changed")).unwrap();
}

fn has_changed() -> bool {
    dir().join("changed").exists()
}

/// Does what the variable says; nothing if this copy is to run the tests, or to serve like any worker.
pub(crate) fn run() -> Option<ExitCode> {
    let kind = std::env::var(PROGRAM).ok()?;
    let (kind, later) = match kind.strip_suffix(" later") {
        Some(kind) => (kind, true),
        None => (kind.as_str(), false),
    };
    if later && !has_changed() {
        return None;
    }
    match kind {
        "never calls init" => Some(never_calls_init()),
        "returns" => Some(ExitCode::SUCCESS),
        "exits" => {
            Gate::new("starts").leave_a_mark();
            eprintln!("there is no licence for this");
            std::process::exit(3)
        }
        "crashes" => std::process::abort(),
        "blocks" => {
            eprintln!("waiting for the database");
            loop {
                std::thread::park();
            }
        }
        "is busy first" => {
            println!("\0\u{1}{}", "noise ".repeat(20_000));
            eprintln!("noise");
            let files: Vec<_> = (0..20).map(|_| File::open("/dev/null").unwrap()).collect();
            std::thread::sleep(Duration::from_millis(100));
            drop(files);
            None
        }
        "has other jobs" => {
            sidestep::init_with(Registry::new().job("another", another));
            None
        }
        "exits every other time" => {
            let starts = Gate::new("starts");
            starts.leave_a_mark();
            if starts.arrived().len().is_multiple_of(2) {
                std::process::exit(4);
            }
            None
        }
        "renames itself" | "deletes itself" | "replaces itself" => {
            sidestep::init();
            image::change_the_file_and_go_on(kind);
            Some(ExitCode::SUCCESS)
        }
        other => panic!("there is no kind {other:?}"),
    }
}

fn another(n: u64) -> u64 {
    n + 1
}

/// Makes a pool of copies of itself, of which each would do the same.
fn never_calls_init() -> ExitCode {
    let starts = Gate::new("starts");
    starts.leave_a_mark();
    if starts.arrived().len() > 50 {
        eprintln!("a fork bomb");
        return ExitCode::FAILURE;
    }
    for pool in [Pool::new(2), Pool::builder().workers(2).program(std::env::current_exe().unwrap()).build()] {
        match pool {
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => eprintln!("error: {error}"),
        }
    }
    ExitCode::from(9)
}
