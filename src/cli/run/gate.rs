//! Whether another job may begin just now: `--delay`, `--memfree`, `--load`.

use std::io;
use std::time::{Duration, Instant};

/// How soon a closed gate is looked at again,
const AGAIN: Duration = Duration::from_millis(250);
/// and how soon after a job began: only then does its load show.
const SETTLE: Duration = Duration::from_millis(50);
/// How often it is looked whether a job has to go. Until then what the last one had is free again.
const LOOK: Duration = Duration::from_secs(1);

/// What holds jobs back.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(super) delay: Option<Duration>,
    /// Bytes of memory that have to be free.
    pub(super) memory: Option<u64>,
    /// Tasks that may run or wait for a processor.
    pub(super) load: Option<f64>,
    /// When the last job began.
    last: Option<Instant>,
    /// When it was last looked whether one has to go.
    looked: Option<Instant>,
}

impl Gate {
    pub(crate) fn new(delay: Option<Duration>, memory: Option<u64>, load: Option<f64>) -> Gate {
        Gate { delay, memory, load, last: None, looked: None }
    }

    /// Whether it can be closed at all.
    pub(super) fn is_needed(&self) -> bool {
        self.delay.is_some() || self.memory.is_some() || self.load.is_some()
    }

    /// A job begins.
    pub(super) fn pass(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Whether one may; else when to ask again.
    pub(super) fn is_open(&self, now: Instant) -> Result<(), Instant> {
        let measured = self.memory.is_some() || self.load.is_some();
        let pause = self.delay.unwrap_or_default().max(if measured { SETTLE } else { Duration::ZERO });
        if let Some(next) = self.last.map(|last| last + pause).filter(|next| *next > now) {
            return Err(next);
        }
        let scarce = self.memory.is_some_and(|least| free_memory().is_ok_and(|free| free < least));
        let busy = self.load.is_some_and(|most| load().is_ok_and(|load| load >= most));
        if scarce || busy { Err(now + AGAIN) } else { Ok(()) }
    }

    /// Whether there is so little memory that a job has to go: less than half of what is to be free.
    pub(super) fn is_desperate(&mut self, now: Instant) -> bool {
        let Some(least) = self.memory.filter(|_| self.next_look().is_none_or(|next| next <= now)) else {
            return false;
        };
        self.looked = Some(now);
        free_memory().is_ok_and(|free| free < least / 2)
    }

    /// When to look next whether there is: also while no job begins or ends.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.memory.and(self.looked.or(self.last).map(|last| last + LOOK))
    }
}

/// What programs can have without pushing others out, in bytes.
///
/// # Errors
/// The system does not tell.
pub(crate) fn free_memory() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))
}

/// Tasks that run or wait for a processor, but for this one.
///
/// # Errors
/// The system does not tell.
pub(crate) fn load() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let running = text.split(' ').nth(3).and_then(|tasks| tasks.split('/').next()?.parse::<f64>().ok());
    running.map(|running| (running - 1.0).max(0.0)).ok_or_else(|| io::Error::other("/proc/loadavg is odd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_kept() {
        let mut gate = Gate::new(Some(Duration::from_secs(5)), None, None);
        let now = Instant::now();
        assert_eq!(gate.is_open(now), Ok(()));
        gate.pass(now);
        assert_eq!(gate.is_open(now + Duration::from_secs(1)), Err(now + Duration::from_secs(5)));
        assert_eq!(gate.is_open(now + Duration::from_secs(5)), Ok(()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_and_load_are_measured() {
        let now = Instant::now();
        assert!(free_memory().unwrap() > 1 << 20);
        assert!((0.0..100_000.0).contains(&load().unwrap()));
        assert_eq!(Gate::new(None, Some(1), Some(1e9)).is_open(now), Ok(()));
        assert!(Gate::new(None, Some(u64::MAX), None).is_open(now).is_err());
        let mut gate = Gate::new(None, Some(u64::MAX), None);
        assert!(gate.is_desperate(now) && !gate.is_desperate(now), "one after the other has to go");
        assert_eq!(gate.next_look(), Some(now + LOOK));
        assert!(gate.is_desperate(now + LOOK));
        assert!(Gate::new(None, None, Some(0.0)).is_open(now).is_err());
        assert!(!Gate::default().is_needed());
    }
}
