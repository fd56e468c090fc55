//! Captured outputs: marks in the stream tell which part belongs to which job.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use crate::link::move_high;
use crate::wire::Mark;

/// The worker's own hold on its two outputs, which stays valid when a job closes 1 or 2.
pub(crate) struct Marks {
    mark: Mark,
    outputs: [File; 2],
}

impl Marks {
    pub(crate) fn new(mark: Mark) -> std::io::Result<Marks> {
        let keep = |fd: std::os::fd::BorrowedFd<'_>| -> std::io::Result<File> {
            let copy: OwnedFd = fd.try_clone_to_owned()?;
            Ok(File::from(move_high(copy, 10)?))
        };
        Ok(Marks { mark, outputs: [keep(std::io::stdout().as_fd())?, keep(std::io::stderr().as_fd())?] })
    }

    /// What comes from here on belongs to job `id`.
    pub(crate) fn begin(&self, id: u64) {
        self.write(id);
    }

    /// What comes from here on belongs to no job.
    pub(crate) fn end(&self) {
        self.write(Mark::END);
    }

    /// A mark is shorter than a pipe's atomic write, so that nothing can come in between.
    fn write(&self, id: u64) {
        for mut output in &self.outputs {
            let _ = output.write_all(&self.mark.bytes(id));
        }
    }
}
