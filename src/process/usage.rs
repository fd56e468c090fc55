//! What a process uses of the machine.

use std::time::Duration;

pub(crate) use super::sys::Gauge;

/// What a process has and has used, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory in bytes.
    pub(crate) memory: u64,
    /// Processor time of all its threads since it began.
    pub(crate) cpu: Duration,
}
