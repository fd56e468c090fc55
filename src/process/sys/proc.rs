//! What a process uses, from `/proc` and its clock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::process::Usage;

/// Measures one process. It keeps a descriptor, so that it never measures another one that has got the same number.
#[derive(Debug)]
pub(crate) struct Gauge {
    statm: File,
    clock: ClockId,
}

impl Gauge {
    /// For a child that has not been reaped, or for this process itself.
    pub(crate) fn open(pid: u32) -> io::Result<Gauge> {
        let statm = File::open(format!("/proc/{pid}/statm"))?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid as i32))?;
        Ok(Gauge { statm, clock })
    }

    /// What it uses now; `None` if it is ending.
    pub(crate) fn read(&self) -> Option<Usage> {
        let mut text = [0; 128];
        let len = self.statm.read_at(&mut text, 0).ok()?;
        let cpu = clock_gettime(self.clock).ok()?;
        Some(Usage { memory: resident(text.get(..len)?)?, cpu: Duration::from(cpu) })
    }
}

/// Resident memory in bytes: the second number of `statm`, in pages. It is 0 once the process is ending.
fn resident(statm: &[u8]) -> Option<u64> {
    let pages: u64 = std::str::from_utf8(statm).ok()?.split(' ').nth(1)?.parse().ok()?;
    (pages > 0).then_some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{eventually, reap, shell};
    use super::*;

    #[test]
    fn memory_and_time_are_measured() {
        let before = Gauge::open(std::process::id()).unwrap().read().unwrap();
        let bytes = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = Gauge::open(std::process::id()).unwrap().read().unwrap();
        assert!(after.memory >= before.memory + (60 << 20), "{before:?} {after:?}");
        assert!(after.cpu > before.cpu);
        drop(bytes);
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        let mut spawned = shell("read line <&3");
        let gauge = Gauge::open(spawned.child.pid()).unwrap();
        assert!(gauge.read().is_some());
        drop(spawned.jobs);
        eventually("it is a zombie", || gauge.read().is_none());
        assert!(Gauge::open(spawned.child.pid()).is_ok(), "a worker that has ended at once is no error");
        reap(&mut spawned.child);
        assert_eq!(gauge.read(), None);
    }
}
