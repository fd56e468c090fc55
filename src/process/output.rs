//! What becomes of an output of the jobs.

/// What becomes of what jobs write to their stdout or stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// It goes where this process's own goes.
    #[default]
    Inherit,
    /// It is thrown away.
    Null,
    /// It is kept for each job, and the job's handle gives it.
    Capture,
}
