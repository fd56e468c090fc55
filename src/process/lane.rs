//! What one worker has printed and what still has to be forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Bytes of one worker that may wait; beyond that its pipe is left to fill, so that the job that prints is slowed.
pub(super) const ROOM: usize = 256 << 10;
/// An unfinished line that is longer goes out as it is.
const LINE: usize = 8 << 10;

/// Called when there is room again for a worker that was told to wait.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// One worker's bytes on their way to this process's own stderr.
pub(super) struct Lane {
    bytes: Vec<u8>,
    /// How many of them may go: whole lines, or what has waited long enough.
    whole: usize,
    /// Since when there is an unfinished line behind these.
    since: Option<Instant>,
    /// Bytes that are being written just now.
    writing: usize,
    /// It stands in the line of lanes to be written.
    pub(super) queued: bool,
    /// Somebody waits for room.
    pub(super) paused: bool,
    /// The worker is gone; the lane goes when it is empty.
    pub(super) closed: bool,
    pub(super) wake: Wake,
    /// Bytes of all lanes of one pool that were not written yet.
    pub(super) unwritten: Arc<AtomicUsize>,
}

impl Lane {
    pub(super) fn new(wake: Wake, unwritten: Arc<AtomicUsize>) -> Lane {
        Lane {
            bytes: Vec::new(),
            whole: 0,
            since: None,
            writing: 0,
            queued: false,
            paused: false,
            closed: false,
            wake,
            unwritten,
        }
    }

    /// How many more bytes may come.
    pub(super) fn room(&self) -> usize {
        ROOM.saturating_sub(self.bytes.len() + self.writing)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.writing == 0
    }

    pub(super) fn has_whole_lines(&self) -> bool {
        self.whole > 0
    }

    /// Since when an unfinished line waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Tells whether the time of an unfinished line begins with these.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) -> bool {
        if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
            self.whole = self.bytes.len() + end + 1;
            self.since = None;
        }
        self.bytes.extend_from_slice(bytes);
        self.unwritten.fetch_add(bytes.len(), Ordering::Relaxed);
        match self.bytes.len() - self.whole {
            0 => false,
            LINE.. => {
                self.release();
                false
            }
            _ => self.since.replace(self.since.unwrap_or(now)).is_none(),
        }
    }

    /// The unfinished line goes as it is.
    pub(super) fn release(&mut self) {
        self.whole = self.bytes.len();
        self.since = None;
    }

    /// Moves what may go into `out`, which is empty.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, out);
        self.bytes.extend_from_slice(&out[self.whole..]);
        out.truncate(self.whole);
        self.writing = self.whole;
        self.whole = 0;
    }

    /// What [`take`](Self::take) gave was written.
    pub(super) fn written(&mut self) {
        self.unwritten.fetch_sub(self.writing, Ordering::Relaxed);
        self.writing = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane::new(Arc::new(|| {}), Arc::default())
    }

    fn taken(lane: &mut Lane) -> Vec<u8> {
        let mut out = Vec::new();
        lane.take(&mut out);
        lane.written();
        out
    }

    #[test]
    fn whole_lines_go_and_the_rest_waits() {
        let (mut lane, now) = (lane(), Instant::now());
        lane.push(b"one\ntwo\nthr", now);
        assert_eq!((taken(&mut lane), lane.since()), (b"one\ntwo\n".to_vec(), Some(now)));
        lane.push(b"ee\n", now);
        assert_eq!((taken(&mut lane), lane.since()), (b"three\n".to_vec(), None));
        assert!(lane.is_empty());
    }

    #[test]
    fn a_long_line_does_not_wait_for_its_end() {
        let mut lane = lane();
        lane.push(&[b'x'; LINE - 1], Instant::now());
        assert!(!lane.has_whole_lines());
        lane.push(b"x", Instant::now());
        assert!(lane.has_whole_lines() && lane.since().is_none());
    }

    #[test]
    fn bytes_count_until_they_are_written() {
        let mut lane = lane();
        lane.push(&[b'\n'; ROOM], Instant::now());
        let mut out = Vec::new();
        lane.take(&mut out);
        assert_eq!((lane.room(), lane.unwritten.load(Ordering::Relaxed)), (0, ROOM));
        lane.written();
        assert_eq!((lane.room(), lane.unwritten.load(Ordering::Relaxed)), (ROOM, 0));
    }
}
