//! The jobs that run, for those who want to see them.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::units::{human_size, human_time};
use crate::cli::event::Started;
use crate::cli::output::{SHOWN, show_input};

/// What runs in which place.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// The lock is held for moments, and mostly by the one who fills the table.
    slots: Mutex<Vec<Slot>>,
}

/// A place, whose memory is used again.
#[derive(Debug, Default)]
struct Slot {
    /// When its job began; `None` if it has none.
    began: Option<SystemTime>,
    number: u64,
    pid: Option<u32>,
    input: Vec<u8>,
}

/// A job that runs, for people and machines: numbers are from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) seq: u64,
    pub(super) slot: usize,
    pub(super) pid: Option<u32>,
    pub(super) age: Duration,
    /// As one can read it.
    pub(super) input: String,
}

impl Running {
    pub(super) fn add(&self, job: &Started<'_>) {
        let mut slots = self.lock();
        if slots.len() <= job.slot {
            slots.resize_with(job.slot + 1, Slot::default);
        }
        let Some(slot) = slots.get_mut(job.slot) else { return };
        slot.began = Some(job.at);
        slot.number = job.input.number;
        slot.pid = job.pid;
        slot.input.clear();
        for (at, value) in job.input.values.iter().enumerate() {
            if at > 0 {
                slot.input.push(b' ');
            }
            // One more than is shown, so that one can see that something is missing.
            let room = (SHOWN + 1).saturating_sub(slot.input.len());
            slot.input.extend_from_slice(&value[..value.len().min(room)]);
        }
    }

    pub(super) fn remove(&self, slot: usize) {
        if let Some(slot) = self.lock().get_mut(slot) {
            slot.began = None;
        }
    }

    /// The oldest jobs, so many at most, of those that have run for some time; and how many these are in all.
    pub(super) fn oldest(&self, most: usize, at_least: Duration) -> (Vec<Job>, usize) {
        let now = SystemTime::now();
        let slots = self.lock();
        let mut old: Vec<(Duration, usize)> = slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| Some((now.duration_since(slot.began?).unwrap_or_default(), at)))
            .filter(|(age, _)| *age >= at_least)
            .collect();
        old.sort_by_key(|(age, at)| (std::cmp::Reverse(*age), *at));
        let jobs = old.iter().take(most).map(|(age, at)| slots[*at].job(*at, *age)).collect();
        (jobs, old.len())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn job(&self, at: usize, age: Duration) -> Job {
        Job { seq: self.number + 1, slot: at + 1, pid: self.pid, age, input: show_input(&self.input) }
    }
}

impl Job {
    /// A line for someone who has asked what runs.
    pub(super) fn line(&self, memory: Option<u64>) -> String {
        let mut line = format!("    job {}, slot {}", self.seq, self.slot);
        if let Some(pid) = self.pid {
            let _ = write!(line, ", process {pid}");
        }
        let _ = write!(line, ", {}", human_time(self.age));
        if let Some(memory) = memory {
            let _ = write!(line, ", {}", human_size(memory));
        }
        let _ = writeln!(line, ": {}", self.input);
        line
    }
}

/// How much memory a process has, where the system says it in a file.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::started;

    #[test]
    fn the_oldest_jobs_come_first() {
        let running = Running::default();
        for (slot, number, age) in [(0, 7, 2), (2, 8, 30), (1, 9, 10)] {
            started(number, slot, age, |job| running.add(job));
        }
        let seqs = |most, at_least| {
            let (jobs, all) = running.oldest(most, Duration::from_secs(at_least));
            (jobs.iter().map(|job| job.seq).collect::<Vec<_>>(), all)
        };
        assert_eq!(seqs(9, 0), (vec![9, 10, 8], 3));
        assert_eq!(seqs(1, 5), (vec![9], 2));
        running.remove(2);
        running.remove(77);
        assert_eq!(seqs(9, 0), (vec![10, 8], 2));
    }

    #[test]
    fn a_job_is_told_with_all_that_is_known() {
        let mut job = Job {
            seq: 413,
            slot: 1,
            pid: Some(31842),
            age: Duration::from_millis(3400),
            input: "a.jpg".into(),
        };
        assert_eq!(job.line(Some(52 << 20)), "    job 413, slot 1, process 31842, 3.4 s, 52 MiB: a.jpg\n");
        job.pid = None;
        assert_eq!(job.line(None), "    job 413, slot 1, 3.4 s: a.jpg\n");
    }

    #[test]
    fn long_inputs_are_cut() {
        let running = Running::default();
        let input = crate::cli::input::Input {
            number: 0,
            values: vec![vec![b'x'; 150], vec![b'y'; 1 << 20]],
            ..Default::default()
        };
        running.add(&Started { input: &input, slot: 0, pid: None, at: SystemTime::now() });
        let (jobs, _) = running.oldest(1, Duration::ZERO);
        assert!(jobs[0].input.ends_with("yy…\"") && jobs[0].input.len() < 220, "{}", jobs[0].input);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_processs_memory_is_known() {
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
        assert_eq!(resident(u32::MAX), None);
    }
}
