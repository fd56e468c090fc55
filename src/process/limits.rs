//! The limit of open descriptors of this process.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Descriptors of one worker at most, in the parent.
const PER_WORKER: usize = 6;
/// Kept free for the rest of the program.
const SPARE: usize = 64;
/// Assumed to be open where the system does not tell.
const USUALLY_OPEN: usize = 64;

/// Raises the soft limit towards the hard one when `workers` workers would not fit below it. Best effort: without
/// it a pool runs with the workers that do fit.
pub(crate) fn raise_descriptor_limit(workers: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = (PER_WORKER.saturating_mul(workers)).saturating_add(SPARE + open_descriptors()) as rlim_t;
    if let Some(raised) = raised(soft, hard, wanted) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, raised, hard);
    }
}

fn raised(soft: rlim_t, hard: rlim_t, wanted: rlim_t) -> Option<rlim_t> {
    (soft < wanted && soft < hard).then(|| wanted.min(hard))
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .or_else(|_| std::fs::read_dir("/dev/fd"))
        .map_or(USUALLY_OPEN, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_only_when_it_must_and_only_to_the_hard_one() {
        assert_eq!(raised(1024, 4096, 100), None);
        assert_eq!(raised(1024, 4096, 2000), Some(2000));
        assert_eq!(raised(1024, 4096, 9000), Some(4096));
        assert_eq!(raised(4096, 4096, 9000), None);
    }
}
