//! What `/proc` says of a process.

use std::fs::read_to_string;
use std::time::Duration;

use crate::Outcome;

/// The processor time of all threads of a process so far.
pub(crate) fn processor_time(pid: u32) -> Outcome<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
