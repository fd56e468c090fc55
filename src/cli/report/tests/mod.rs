//! Jobs that never ran, and pages of them in a real browser.

mod browser;
mod pages;

use std::time::{Duration, SystemTime};

use crate::cli::event::{Ended, Status, Usage};
use crate::cli::input::Input;

/// When runs begin that never were.
pub(crate) fn origin() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

/// A job as it is told of. Times are microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) input: Vec<u8>,
    pub(crate) command: Vec<u8>,
    pub(crate) status: Status,
    pub(crate) began: u64,
    pub(crate) took: u64,
    pub(crate) slot: Option<usize>,
    pub(crate) again: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) error: Option<String>,
}

impl Job {
    pub(crate) fn ok(number: u64, took: u64) -> Job {
        Job {
            number,
            input: format!("input {}", number + 1).into(),
            command: format!("work 'input {}'", number + 1).into(),
            status: Status::Ok,
            began: 0,
            took,
            slot: Some(0),
            again: false,
            usage: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn failed(number: u64, took: u64) -> Job {
        let error = Some("it ended with exit code 3".to_owned());
        Job { status: Status::Failed { code: 3 }, error, ..Job::ok(number, took) }
    }

    /// Tells of it.
    pub(crate) fn tell(&self, mut watcher: impl FnMut(&Ended<'_>)) {
        let input = Input { number: self.number, values: vec![self.input.clone()], ..Input::default() };
        watcher(&Ended {
            input: &input,
            command: &self.command,
            status: self.status,
            began: origin() + Duration::from_micros(self.began),
            took: Duration::from_micros(self.took),
            attempt: 1,
            again: self.again,
            slot: self.slot,
            pid: Some(4711),
            usage: self.usage,
            sent: 0,
            received: self.stdout.len() as u64,
            stdout: &self.stdout,
            stderr: &self.stderr,
            error: self.error.as_deref(),
            details: "",
            args: None,
            worker: None,
        });
    }
}
