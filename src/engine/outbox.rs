//! The parent's end of a worker's job pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use sidestep_worker::frame::{self, HEADER, Header, Kind};
use sidestep_worker::page::{Filled, Lane};
use sidestep_worker::wire::RunHeader;

use super::args::Args;

/// A buffer larger than this is given back once it is empty.
const KEEP: usize = 256 << 10;

/// Frames on their way to a worker. It never blocks: what the pipe does not take waits here.
///
/// It lies under the engine's lock, and nothing is written under that: a write wakes the worker, which may take the
/// processor from the one who holds the lock. So a [`Writing`] is taken out, run, and [brought back](Self::wrote).
#[derive(Debug)]
pub(crate) struct Outbox {
    pipe: Arc<OwnedFd>,
    state: State,
    /// Frames so far.
    number: u64,
    bytes: Vec<u8>,
    /// How many of the bytes were written,
    written: usize,
    /// and how many are to be. Those behind them may go into the lane.
    queued: usize,
    filled: Filled,
    /// When the pipe last took a part of what did not fit into it at once.
    moved: Option<Instant>,
}

/// What the pipe is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Somebody writes; what has come since then waits for its turn.
    Writing,
    /// It takes no more until somebody says that it [has room](Outbox::has_room).
    Full,
    /// The worker is gone; nothing more needs to be written.
    Broken,
}

/// Bytes that are to be written, by one who holds no lock.
#[derive(Debug)]
pub(crate) struct Writing {
    pipe: Arc<OwnedFd>,
    bytes: Vec<u8>,
    /// How many of them were,
    written: usize,
    /// and how many before: then they did not fit into the pipe at once.
    before: usize,
    state: State,
}

impl Writing {
    /// Writes as much as the pipe takes.
    pub(crate) fn run(&mut self) {
        while self.written < self.bytes.len() {
            match crate::process::write(&self.pipe, &self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return self.state = State::Full,
                // The worker's end is closed: its death, or its killing, comes to notice on its own.
                Err(_) => return self.state = State::Broken,
            }
        }
        self.state = State::Free;
    }
}

impl Outbox {
    pub(crate) fn new(pipe: OwnedFd) -> Outbox {
        Outbox {
            pipe: Arc::new(pipe),
            state: State::Free,
            number: 0,
            bytes: Vec::new(),
            written: 0,
            queued: 0,
            filled: Filled::default(),
            moved: None,
        }
    }

    pub(crate) fn push(&mut self, kind: Kind, body: &[u8]) {
        self.compact();
        frame::push(&mut self.bytes, self.number, kind, 0, body);
        self.number += 1;
    }

    pub(crate) fn push_run(&mut self, run: &RunHeader, args: &Args) {
        self.compact();
        let len = RunHeader::LEN + args.wire_len(run.items);
        self.bytes.reserve(HEADER + len);
        let header = Header { len: len as u32, kind: Kind::Run, aux: 0 };
        self.bytes.extend_from_slice(&header.to_bytes(self.number));
        self.number += 1;
        run.write(&mut self.bytes);
        args.write(run.items, &mut self.bytes);
    }

    /// A pipe that is never quite empty must not make this grow for ever.
    fn compact(&mut self) {
        if self.written >= KEEP && self.written >= self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.queued -= self.written;
            self.written = 0;
        }
    }

    /// Sends what is new: through the lane if the worker will look there before it sleeps, else through the pipe. What is
    /// to be written for that.
    pub(crate) fn flush(&mut self, lane: Lane<'_>) -> Option<Writing> {
        if self.queued < self.bytes.len() && !self.use_lane(lane) {
            // What lies in the lane comes first.
            self.empty_lane(lane);
            self.filled.skip(lane, self.bytes.len() - self.queued);
            self.queued = self.bytes.len();
        }
        if self.state == State::Broken {
            self.forget();
        }
        if self.state != State::Free || self.written == self.queued {
            return None;
        }
        self.state = State::Writing;
        let (bytes, written) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.written));
        self.queued = 0;
        Some(Writing { pipe: self.pipe.clone(), bytes, written, before: written, state: State::Writing })
    }

    /// What was to be written has been, as far as the pipe took it. Whether it is full.
    pub(crate) fn wrote(&mut self, writing: Writing) -> bool {
        let Writing { mut bytes, written, before, state, .. } = writing;
        self.state = state;
        if written > before && (before > 0 || state == State::Full) {
            self.moved = Some(Instant::now());
        }
        match state {
            State::Full => {
                self.queued += bytes.len();
                self.written = written;
                bytes.append(&mut self.bytes);
                self.bytes = bytes;
            }
            State::Broken => self.forget(),
            _ if self.bytes.is_empty() && bytes.capacity() <= KEEP => {
                bytes.clear();
                self.bytes = bytes;
            }
            _ => {}
        }
        state == State::Full
    }

    /// Nobody reads any more.
    fn forget(&mut self) {
        self.bytes.clear();
        (self.written, self.queued) = (0, 0);
    }

    /// The pipe takes more, or nobody could be found who tells when it does.
    pub(crate) fn has_room(&mut self) {
        if self.state == State::Full {
            self.state = State::Free;
        }
    }

    /// Whether somebody is to tell when it has room.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.state == State::Full
    }

    fn use_lane(&mut self, lane: Lane<'_>) -> bool {
        if self.filled.may_begin_again(lane) {
            self.filled.begin_again(lane);
        }
        let waits = self.state == State::Free && self.queued == self.written && lane.is_looked_at();
        if !(waits && self.filled.put(lane, [&self.bytes[self.queued..]])) {
            return false;
        }
        self.bytes.truncate(self.queued);
        if !lane.is_looked_at() {
            self.empty_lane(lane);
        }
        true
    }

    /// Puts what lies in the lane into the line for the pipe. A worker whose lane makes no sense gets nothing more out of
    /// it; whoever sees that it stands still ends it.
    pub(crate) fn empty_lane(&mut self, lane: Lane<'_>) {
        let (bytes, queued) = (&mut self.bytes, &mut self.queued);
        let _ = self.filled.take_for_pipe(lane, |left| {
            let (at, left) = (*queued, left.to_vec());
            *queued += left.len();
            bytes.splice(at..at, left);
        });
    }

    /// Whether a part of what did not fit into the pipe is still to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.state == State::Writing || self.written < self.bytes.len()
    }

    /// Whether the pipe took a part of it less than this ago.
    pub(crate) fn has_moved(&self, within: Duration, now: Instant) -> bool {
        self.moved.is_some_and(|moved| now.saturating_duration_since(moved) < within)
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::frame::Assembler;
    use sidestep_worker::page::{IN, Page};
    use std::io::{PipeReader, Read};

    fn outbox() -> (PipeReader, Outbox, Page) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader, Outbox::new(writer.into()), crate::process::testing::page())
    }

    /// Sends what can be sent; whether that is all.
    fn flush(outbox: &mut Outbox, lane: Lane<'_>) -> bool {
        outbox.has_room();
        while let Some(mut writing) = outbox.flush(lane) {
            writing.run();
            if outbox.wrote(writing) {
                return false;
            }
        }
        true
    }

    /// What a worker that has read `position` bytes finds in its lane.
    fn in_lane(page: &Page, position: u64) -> Option<Vec<u8>> {
        let mut frames = Assembler::new();
        page.jobs().take(position, &mut frames).unwrap();
        frames.next().unwrap().map(|(_, body)| body.to_vec())
    }

    #[test]
    fn a_worker_that_looks_finds_its_frames_without_a_pipe() {
        let (mut reader, mut outbox, page) = outbox();
        page.jobs().look(true);
        outbox.push(Kind::Run, &[1, 2, 3]);
        assert!(flush(&mut outbox, page.jobs()));
        assert_eq!(in_lane(&page, 0), Some(vec![1, 2, 3]));
        outbox.push(Kind::Run, &[4]);
        assert!(flush(&mut outbox, page.jobs()));
        drop(outbox);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn one_that_sleeps_gets_them_through_the_pipe_those_in_the_lane_first() {
        let (mut reader, mut outbox, page) = outbox();
        page.jobs().look(true);
        outbox.push(Kind::Run, &[1]);
        assert!(flush(&mut outbox, page.jobs()));
        page.jobs().look(false);
        outbox.push(Kind::Run, &[2]);
        assert!(flush(&mut outbox, page.jobs()));
        page.jobs().look(true);
        outbox.push(Kind::Run, &[3]);
        assert!(flush(&mut outbox, page.jobs()));
        assert_eq!(in_lane(&page, 0), None, "the pipe is to be read first");
        let mut bytes = [0; 2 * (HEADER + 1)];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!((bytes[HEADER], bytes[2 * HEADER + 1]), (1, 2));
        assert!(page.jobs().committed() > bytes.len() as u64);
    }

    #[test]
    fn a_frame_that_the_lane_has_no_room_for_does_not_overtake() {
        let (mut reader, mut outbox, page) = outbox();
        page.jobs().look(true);
        outbox.push(Kind::Run, &[1]);
        assert!(flush(&mut outbox, page.jobs()));
        outbox.push(Kind::Run, &[2; IN]);
        flush(&mut outbox, page.jobs());
        let mut bytes = [0; 2 * HEADER + 2];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!((bytes[HEADER], bytes[2 * HEADER + 1]), (1, 2));
    }

    #[test]
    fn what_the_pipe_does_not_take_waits_and_arrives_whole() {
        let (mut reader, mut outbox, page) = outbox();
        let body = vec![7; 1 << 20];
        outbox.push(Kind::Run, &body);
        assert!(!flush(&mut outbox, page.jobs()));
        let copy = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        while !flush(&mut outbox, page.jobs()) {
            std::thread::yield_now();
        }
        drop(outbox);
        assert_eq!(copy.join().unwrap()[HEADER..], body);
    }

    #[test]
    fn what_comes_while_somebody_writes_waits_for_its_turn() {
        let (mut reader, mut outbox, page) = outbox();
        outbox.push(Kind::Run, &[1]);
        let mut writing = outbox.flush(page.jobs()).unwrap();
        page.jobs().look(true);
        outbox.push(Kind::Run, &[2]);
        assert!(outbox.flush(page.jobs()).is_none() && outbox.is_full());
        writing.run();
        assert!(!outbox.wrote(writing));
        assert!(flush(&mut outbox, page.jobs()) && !outbox.is_full());
        let mut bytes = [0; 2 * (HEADER + 1)];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!((bytes[HEADER], bytes[2 * HEADER + 1]), (1, 2));
    }

    #[test]
    fn a_pipe_that_is_never_empty_does_not_make_it_grow() {
        let (mut reader, mut outbox, page) = outbox();
        let mut bytes = vec![0; 64 << 10];
        for _ in 0..200 {
            outbox.push(Kind::Run, &bytes.clone());
            assert!(!flush(&mut outbox, page.jobs()) || outbox.bytes.is_empty());
            while outbox.bytes.len() - outbox.written > 256 << 10 {
                reader.read_exact(&mut bytes).unwrap();
                flush(&mut outbox, page.jobs());
            }
        }
        assert!(outbox.bytes.len() < 2 << 20, "{} bytes are kept", outbox.bytes.len());
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (reader, mut outbox, page) = outbox();
        drop(reader);
        outbox.push(Kind::Bye, &[]);
        assert!(flush(&mut outbox, page.jobs()));
    }
}
