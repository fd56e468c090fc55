//! What `/proc` says of a process.

use std::fs::{read_dir, read_link, read_to_string};
use std::time::Duration;

use crate::Outcome;

/// The processor time of all threads of a process so far, but for the one that asks.
pub(crate) fn processor_time(pid: u32) -> Outcome<Duration> {
    let me = read_link("/proc/thread-self")?;
    let mut nanos = 0;
    for thread in read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        if Some(thread.file_name().as_os_str()) != me.file_name() {
            let text = read_to_string(thread.path().join("schedstat"))?;
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Of one process, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What is nobody else's.
    pub(crate) private: u64,
    /// What is shared counts by how many share it.
    pub(crate) proportional: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Outcome<Memory> {
        let text = read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Memory {
            private: kib(&text, "Private_Clean:")? + kib(&text, "Private_Dirty:")?,
            proportional: kib(&text, "Pss:")?,
        })
    }
}

/// What this process has in memory.
pub(crate) fn resident_kib() -> Outcome<u64> {
    kib(&read_to_string("/proc/self/smaps_rollup")?, "Rss:")
}

/// The most it has had since [`reset_peak`].
pub(crate) fn peak_kib() -> Outcome<u64> {
    kib(&read_to_string("/proc/self/status")?, "VmHWM:")
}

pub(crate) fn reset_peak() -> Outcome<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

fn kib(text: &str, name: &str) -> Outcome<u64> {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("there is no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
