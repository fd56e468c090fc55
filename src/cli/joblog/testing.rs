//! Jobs for the tests of logs.

use std::time::{Duration, UNIX_EPOCH};

use crate::cli::event::{Ended, Status, Usage};
use crate::cli::input::Input;

/// The input with that number, from 1.
pub(super) fn input(seq: u64, values: &[&[u8]]) -> Input {
    Input { number: seq - 1, values: values.iter().map(|value| value.to_vec()).collect(), ..Input::default() }
}

/// A job for it that has ended, of which much is known.
pub(super) fn ended<'a>(input: &'a Input, command: &'a [u8], status: Status) -> Ended<'a> {
    Ended {
        input,
        command,
        status,
        began: UNIX_EPOCH + Duration::from_micros(1_795_423_161_494_127),
        took: Duration::from_micros(38_499),
        attempt: 2,
        again: false,
        slot: Some(0),
        pid: Some(77),
        usage: Some(Usage {
            user: Duration::from_millis(20),
            system: Duration::from_micros(1500),
            max_rss: 4096,
        }),
        sent: 5,
        received: 3,
        stdout: b"abc",
        stderr: b"",
        error: None,
        details: "",
        args: None,
        worker: None,
    }
}
