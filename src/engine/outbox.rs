//! The parent's end of a worker's job pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use sidestep_worker::frame::{self, HEADER, Header, Kind};
use sidestep_worker::wire::RunHeader;

use super::args::Args;

/// A buffer larger than this is given back once it is empty.
const KEEP: usize = 256 << 10;

/// Frames on their way to a worker. It never blocks: what the pipe does not take waits here.
#[derive(Debug)]
pub(crate) struct Outbox {
    pipe: OwnedFd,
    /// Frames so far.
    number: u64,
    bytes: Vec<u8>,
    /// How many of the bytes were written.
    written: usize,
    /// Somebody will call [`flush`](Self::flush) when the pipe has room.
    pub(crate) watched: bool,
    /// The worker is gone; nothing more needs to be written.
    broken: bool,
}

impl Outbox {
    pub(crate) fn new(pipe: OwnedFd) -> Outbox {
        Outbox { pipe, number: 0, bytes: Vec::new(), written: 0, watched: false, broken: false }
    }

    pub(crate) fn push(&mut self, kind: Kind, body: &[u8]) {
        frame::push(&mut self.bytes, self.number, kind, 0, body);
        self.number += 1;
    }

    pub(crate) fn push_run(&mut self, run: &RunHeader, args: &Args) {
        let len = RunHeader::LEN + args.wire_len(run.items);
        self.bytes.reserve(HEADER + len);
        let header = Header { len: len as u32, kind: Kind::Run, aux: 0 };
        self.bytes.extend_from_slice(&header.to_bytes(self.number));
        self.number += 1;
        run.write(&mut self.bytes);
        args.write(run.items, &mut self.bytes);
    }

    /// Writes what the pipe takes; `true` when nothing is left.
    pub(crate) fn flush(&mut self) -> bool {
        while self.written < self.bytes.len() && !self.broken {
            match crate::process::write(&self.pipe, &self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return false,
                // The worker's end is closed: its death, or its killing, comes to notice on its own.
                Err(_) => self.broken = true,
            }
        }
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.written = 0;
        true
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
