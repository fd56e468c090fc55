//! Why a worker could not be started.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A worker that could not be started.
#[derive(Debug)]
pub(crate) struct SpawnError {
    /// What failed, as in "could not …".
    pub(crate) what: &'static str,
    /// What the system said.
    pub(crate) source: io::Error,
    /// The program that was to run.
    pub(crate) program: String,
}

impl SpawnError {
    /// Whether the same may succeed later, once something else has ended.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.errno(), Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM)
    }

    pub(super) fn errno(&self) -> Errno {
        Errno::from_raw(self.source.raw_os_error().unwrap_or(0))
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match self.errno() {
            Errno::EMFILE => {
                "this process may open no more files: raise its limit (ulimit -n) or use fewer workers"
            }
            Errno::ENFILE => "the system may open no more files: close some, or use fewer workers",
            Errno::EAGAIN => {
                "there may be no more processes or threads: raise the limit (ulimit -u, or pids.max of the cgroup) \
                 or use fewer workers"
            }
            Errno::ENOMEM => "there is not enough memory: use fewer workers",
            Errno::ENOENT => "there is no such file, or the loader that it names is missing: check the path",
            Errno::EACCES | Errno::EPERM => {
                "check that the file may be executed, that its file system is not mounted noexec, and that no \
                 sandbox forbids it"
            }
            Errno::ENOEXEC => "the file is no program for this system",
            Errno::E2BIG => "make the environment smaller",
            _ => return None,
        })
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} for {}: {}", self.what, self.program, self.source)?;
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> SpawnError {
        SpawnError { what: "make a pipe", source: errno.into(), program: "/bin/tool".into() }
    }

    #[test]
    fn a_message_says_what_where_and_what_to_do() {
        let text = error(Errno::EMFILE).to_string();
        for part in ["make a pipe", "/bin/tool", "ulimit -n"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn only_a_lack_of_something_passes() {
        assert!(error(Errno::EMFILE).is_transient() && error(Errno::EAGAIN).is_transient());
        assert!(!error(Errno::ENOENT).is_transient() && !error(Errno::EACCES).is_transient());
    }
}
