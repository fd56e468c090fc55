//! Captured outputs: marks in the stream tell which part belongs to which job.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::link::{high_number, move_high};
use crate::own::Own;
use crate::wire::{Mark, Setup};

/// The worker's own hold on its captured outputs, which stays valid when a job closes 1 or 2.
pub(crate) struct Marks {
    mark: Mark,
    outputs: Vec<Own>,
}

impl Marks {
    /// `None` if nothing is captured.
    pub(crate) fn new(setup: &Setup) -> std::io::Result<Option<Marks>> {
        let Some(mark) = setup.mark else { return Ok(None) };
        let keep = |fd: BorrowedFd<'_>| Own::shared(move_high(fd.try_clone_to_owned()?, high_number())?);
        let mut outputs = Vec::new();
        if setup.marks_stdout {
            outputs.push(keep(std::io::stdout().as_fd())?);
        }
        if setup.marks_stderr {
            outputs.push(keep(std::io::stderr().as_fd())?);
        }
        Ok(Some(Marks { mark, outputs }))
    }

    /// What comes from here on belongs to job `id`.
    pub(crate) fn begin(&self, id: u64) {
        self.write(id);
    }

    /// What comes from here on belongs to no job. What the job has left in buffers is written before.
    pub(crate) fn end(&self) {
        crate::serve::flush_standard_output();
        // SAFETY: fflush with a null pointer flushes every open stream of C's; it takes their locks itself.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        self.write(Mark::END);
    }

    /// A mark is shorter than a pipe's atomic write, so that nothing can come in between.
    fn write(&self, id: u64) {
        let bytes = self.mark.bytes(id);
        for output in self.outputs.iter().filter(|output| output.is_own()) {
            loop {
                match nix::unistd::write(output, &bytes) {
                    Err(Errno::EINTR) => {}
                    // A job may have made its output non-blocking.
                    Err(Errno::EAGAIN) => {
                        let _ =
                            poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
                    }
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }
}
