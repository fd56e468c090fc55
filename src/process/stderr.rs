//! One output pipe of a worker: its stderr, or its captured stdout.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use sidestep_worker::wire::Mark;

use super::forward::OpenLane;
use super::{Forwarder, Output, Splitter, Tail};

/// Bytes read in one call.
const PIECE: usize = 16 << 10;
/// Bytes read before others get their turn.
const TURN: usize = 256 << 10;
/// Bytes read of a worker that has ended: more than its pipe can hold, yet no endless stream from what it left
/// behind.
const LAST_TURN: usize = 2 << 20;

/// What to do next about an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It is empty for now: read it when the poller tells.
    Open,
    /// There is more: others first.
    More,
    /// This process's own stderr is blocked. Until the forwarder wakes its pool, the poller should have no interest
    /// in it, for it would be told at once.
    Paused,
    /// Nothing will come any more: the poller should forget it.
    Ended,
}

/// Reads one output of a worker. Never blocks; may be used from any thread.
#[derive(Debug)]
pub(crate) struct Stderr {
    fd: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    way: Way,
    ended: bool,
}

/// Where the bytes go besides the tail.
enum Way {
    Dropped,
    Forwarded(OpenLane),
    Captured(Box<Splitter>),
}

impl Stderr {
    /// `fd` is the read end, non-blocking. `mark` is for [`Output::Capture`], `forward` for [`Output::Inherit`].
    pub(crate) fn new(fd: OwnedFd, mode: Output, mark: Option<Mark>, forward: Option<Forwarder>) -> Stderr {
        let way = match (mode, mark, forward) {
            (Output::Inherit, _, Some(forwarder)) => Way::Forwarded(forwarder.open_lane()),
            (Output::Capture, Some(mark), _) => Way::Captured(Box::new(Splitter::new(mark))),
            _ => Way::Dropped,
        };
        Stderr { fd, state: Mutex::new(State { tail: Tail::new(), way, ended: false }) }
    }

    /// Reads what there is, up to a bound.
    pub(crate) fn read_available(&self) -> Flow {
        self.state().read(self.fd.as_fd(), TURN, |_| false)
    }

    /// Whether it waits until this process's own stderr takes more.
    pub(crate) fn paused(&self) -> bool {
        matches!(&self.state().way, Way::Forwarded(lane) if lane.is_paused())
    }

    /// The last of it as text.
    pub(crate) fn tail(&self) -> String {
        self.state().tail.to_string_lossy()
    }

    /// The worker has ended: reads what it left in the pipe and ends its last line. It does not wait for the
    /// stream's end, which something that a job has started may hold back for ever.
    pub(crate) fn finish(&self) {
        self.state().finish(self.fd.as_fd());
    }

    /// What a job has printed whose result has come. It reads as far as the job's mark, which the worker writes
    /// before the result.
    pub(crate) fn take(&self, id: u64) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.read(self.fd.as_fd(), usize::MAX, |splitter| splitter.has(id));
        state.splitter()?.take(id)
    }

    /// The job that was under way when the worker ended, and what it had printed; after [`finish`](Self::finish).
    pub(crate) fn take_open(&self) -> Option<(u64, Vec<u8>)> {
        self.state().splitter()?.take_open()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Stderr {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl State {
    fn splitter(&mut self) -> Option<&mut Splitter> {
        match &mut self.way {
            Way::Captured(splitter) => Some(splitter),
            _ => None,
        }
    }

    /// Reads until there is nothing, `budget` is used up, or `enough` of a captured stream has come.
    fn read(&mut self, fd: BorrowedFd<'_>, mut budget: usize, enough: impl Fn(&Splitter) -> bool) -> Flow {
        let mut buffer = [0; PIECE];
        loop {
            if self.ended {
                return Flow::Ended;
            }
            let room = match &self.way {
                Way::Forwarded(lane) => lane.room(),
                Way::Captured(splitter) if enough(splitter) => return Flow::More,
                Way::Captured(_) | Way::Dropped => PIECE,
            };
            match (room, budget) {
                (0, _) => return Flow::Paused,
                (_, 0) => return Flow::More,
                _ => {}
            }
            match nix::unistd::read(fd, &mut buffer[..room.min(budget).min(PIECE)]) {
                Ok(count @ 1..) => {
                    budget -= count;
                    self.pass_on(&buffer[..count]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flow::Open,
                Ok(0) | Err(_) => self.end(),
            }
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Dropped => self.tail.push(bytes),
            Way::Forwarded(lane) => {
                self.tail.push(bytes);
                lane.push(bytes);
            }
            Way::Captured(splitter) => splitter.push_and_show(bytes, |data| self.tail.push(data)),
        }
    }

    /// Reads past the bound of what may wait, which no job is left to be slowed by.
    fn finish(&mut self, fd: BorrowedFd<'_>) {
        let mut buffer = [0; PIECE];
        let mut budget = LAST_TURN;
        while !self.ended && budget > 0 {
            match nix::unistd::read(fd, &mut buffer) {
                Ok(count @ 1..) => {
                    budget = budget.saturating_sub(count);
                    self.pass_on(&buffer[..count]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Ok(0) | Err(_) => self.ended = true,
            }
        }
        self.settle();
    }

    fn end(&mut self) {
        self.ended = true;
        self.settle();
    }

    /// What was held back for the rest of its line, or as a possible mark, goes as it is.
    fn settle(&mut self) {
        match &mut self.way {
            Way::Dropped => {}
            Way::Forwarded(lane) => lane.finish(),
            Way::Captured(splitter) => splitter.finish(|data| self.tail.push(data)),
        }
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Dropped => "Dropped",
            Way::Forwarded(_) => "Forwarded",
            Way::Captured(_) => "Captured",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant};

    use super::super::testing::{LONG, alone, eventually};
    use super::*;

    const MARK: Mark = Mark { nonce: *b"0123456789abcdef" };

    /// A worker's end, and the parent's.
    fn output(mode: Output, forward: Option<Forwarder>) -> (std::io::PipeWriter, Stderr) {
        let (reader, writer) = std::io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
        rustix::fs::fcntl_setfl(&reader, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        (writer, Stderr::new(reader.into(), mode, Some(MARK), forward))
    }

    /// What comes out is sent here piece by piece; each piece waits until there is something to take in `gate`.
    fn gated() -> (Forwarder, Arc<AtomicUsize>, Receiver<Vec<u8>>, Sender<()>) {
        let (pieces, written) = channel();
        let (open, gate) = channel::<()>();
        let wakes = Arc::new(AtomicUsize::new(0));
        let sink = move |bytes: &[u8]| {
            let _ = gate.recv();
            let _ = pieces.send(bytes.to_vec());
        };
        let count = wakes.clone();
        let wake = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        (Forwarder::to(sink, wake), wakes, written, open)
    }

    fn ungated() -> (Forwarder, Receiver<Vec<u8>>) {
        let (forwarder, _, written, _) = gated();
        (forwarder, written)
    }

    #[test]
    fn a_dropped_output_keeps_its_tail() {
        let (mut worker, output) = output(Output::Null, None);
        worker.write_all(b"last words\n").unwrap();
        assert_eq!(output.read_available(), Flow::Open);
        assert_eq!(output.tail(), "last words");
        drop(worker);
        assert_eq!((output.read_available(), output.read_available()), (Flow::Ended, Flow::Ended));
    }

    #[test]
    fn a_captured_output_is_split_and_its_tail_has_no_marks() {
        let (mut worker, output) = output(Output::Capture, None);
        for part in [
            b"before",
            &MARK.bytes(1)[..],
            b"one\n",
            &MARK.bytes(Mark::END),
            b"between",
            &MARK.bytes(2),
            b"tw",
        ] {
            worker.write_all(part).unwrap();
        }
        assert_eq!(output.take(1), Some(b"one\n".to_vec()));
        assert_eq!(output.take(1), None);
        worker.write_all(b"o 0123").unwrap();
        output.finish();
        assert_eq!(output.take_open(), Some((2, b"two 0123".to_vec())));
        assert_eq!(output.tail(), "beforeone\nbetweentwo 0123");
    }

    #[test]
    fn lines_of_several_workers_are_never_mixed() {
        let (forwarder, written) = ungated();
        let workers: Vec<_> = (0..4).map(|_| output(Output::Inherit, Some(forwarder.clone()))).collect();
        std::thread::scope(|scope| {
            for (id, (mut worker, output)) in workers.into_iter().enumerate() {
                let feed = move || {
                    let text: String =
                        (0..300).map(|line| format!("{id}:{line}:{}\n", "x".repeat(line))).collect();
                    for piece in text.as_bytes().chunks(97 + id) {
                        worker.write_all(piece).unwrap();
                        output.read_available();
                    }
                };
                scope.spawn(feed);
            }
        });
        assert!(forwarder.flush(LONG));
        let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        for id in 0..4 {
            let prefix = format!("{id}:");
            let own: Vec<_> = all.lines().filter(|line| line.starts_with(&prefix)).collect();
            let expected: Vec<_> = (0..300).map(|line| format!("{id}:{line}:{}", "x".repeat(line))).collect();
            assert_eq!(own, expected);
        }
        assert_eq!(all.lines().count(), 1200);
    }

    #[test]
    fn a_blocked_stderr_stops_the_reading_and_nothing_else() {
        let (forwarder, wakes, written, open) = gated();
        let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
        let line = [b"a line of sixteen"[..15].to_vec(), vec![b'\n']].concat();
        let feed = std::thread::spawn(move || (0..65_536).for_each(|_| worker.write_all(&line).unwrap()));
        eventually("it is paused", || output.read_available() == Flow::Paused);
        assert!(output.paused() && !forwarder.flush(Duration::from_millis(1)));
        assert_eq!(wakes.load(Ordering::SeqCst), 0);
        drop(open);
        eventually("there is room again", || wakes.load(Ordering::SeqCst) > 0);
        eventually("all is read", || output.read_available() == Flow::Ended);
        feed.join().unwrap();
        assert!(forwarder.flush(LONG));
        assert_eq!(written.try_iter().map(|piece| piece.len()).sum::<usize>(), 1 << 20);
        assert!(!output.paused());
    }

    #[test]
    fn a_dead_workers_last_bytes_are_read_even_then() {
        let (forwarder, _, written, open) = gated();
        let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
        for _ in 0..6 {
            worker.write_all(&[b'x'; 60_000]).unwrap();
            output.read_available();
        }
        assert!(output.paused());
        worker.write_all(b"last words").unwrap();
        output.finish();
        assert!(output.tail().ends_with("xlast words"));
        drop((output, open));
        assert!(forwarder.flush(LONG));
        assert_eq!(written.try_iter().map(|piece| piece.len()).sum::<usize>(), 360_010);
    }

    #[test]
    fn an_unfinished_line_waits_but_not_for_ever() {
        let (forwarder, written) = ungated();
        let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
        let begin = Instant::now();
        worker.write_all(b"one\nprompt> ").unwrap();
        output.read_available();
        assert_eq!(written.recv_timeout(LONG), Ok(b"one\n".to_vec()));
        assert_eq!(written.recv_timeout(LONG), Ok(b"prompt> ".to_vec()));
        assert!(begin.elapsed() >= Duration::from_millis(100));
        worker.write_all(b"the end").unwrap();
        let begin = Instant::now();
        output.finish();
        assert_eq!(written.recv_timeout(LONG), Ok(b"the end".to_vec()));
        assert!(begin.elapsed() < Duration::from_millis(100));
    }

    #[test]
    #[ignore = "prints on the real stderr"]
    fn it_is_printed() {
        let forwarder = Forwarder::new(Arc::new(|| {}));
        let (mut worker, output) = output(Output::Inherit, Some(forwarder.clone()));
        // Who holds this lock and waits for a job does not hinder the job's output.
        let held = std::io::stderr().lock();
        worker.write_all(b"from the worker\nand more").unwrap();
        output.read_available();
        assert!(forwarder.flush(LONG));
        drop(held);
        nix::unistd::close(2).unwrap();
        worker.write_all(b"to nobody\n").unwrap();
        output.read_available();
        assert!(forwarder.flush(LONG), "a closed stderr takes everything");
    }

    #[test]
    fn it_reaches_this_processs_own_stderr() {
        let outcome = alone("stderr::tests::it_is_printed");
        let text = String::from_utf8_lossy(&outcome.stderr);
        assert!(text.contains("from the worker\nand more"), "{text}");
    }
}
