//! The kernel's count of processes that it has killed for want of memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Counts those of this process's control group, or of the whole system where there is no group, from now on. The workers
/// are in the same group, unless somebody moves them.
#[derive(Debug)]
pub(crate) struct OomKills {
    counter: PathBuf,
    seen: u64,
}

impl OomKills {
    /// `None` if the system does not tell.
    pub(crate) fn watch() -> Option<OomKills> {
        let counter = counters().into_iter().find(|path| read(path).is_some())?;
        Some(OomKills { seen: read(&counter)?, counter })
    }

    /// Whether there was one more; then that one is taken, so that it explains one death and no second.
    pub(crate) fn take_one(&mut self) -> bool {
        let more = read(&self.counter).is_some_and(|kills| kills > self.seen);
        self.seen += u64::from(more);
        more
    }
}

/// Where the count may stand, the nearest first.
fn counters() -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut counters: Vec<PathBuf> = groups.lines().filter_map(counters_of).flatten().collect();
    counters.push("/proc/vmstat".into());
    counters
}

/// From a line `number:controllers:/path`; only version 2 has no controllers there. In a container the path may be one of
/// the host's, while the container's own group is mounted as the root.
fn counters_of(line: &str) -> Option<[PathBuf; 2]> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.events"),
        all if all.split(',').any(|controller| controller == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        }
        _ => return None,
    };
    let root = Path::new(root);
    Some([root.join(path).join(file), root.join(file)])
}

/// The number in the line `oom_kill N`.
fn read(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_in_both_versions() {
        let found = |line| counters_of(line).map(|paths| paths.map(|path| path.display().to_string()));
        let own = "/sys/fs/cgroup/user.slice/memory.events";
        assert_eq!(found("0::/user.slice").unwrap()[0], own);
        let old = "/sys/fs/cgroup/memory/docker/7/memory.oom_control";
        assert_eq!(found("4:hugetlb,memory:/docker/7").unwrap()[0], old);
        assert_eq!(found("5:devices:/"), None);
        assert_eq!(found("nonsense"), None);
    }
}
