//! Reads inputs on a thread of their own: whoever writes them may be slow, and results do not wait for that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::inputs::{Input, Inputs};
use super::source::InputError;
use crate::pool::Rouser;

/// Inputs come in batches: a batch is whatever is there at once, but no more inputs than this,
const MOST: usize = 256;
/// and no more bytes, about.
const BYTES: usize = 64 << 10;
/// So many batches are read ahead.
const BATCHES: usize = 2;

type Batch = Vec<Result<Input, InputError>>;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Input(Input),
    /// Nothing is there yet.
    Later,
    /// No more inputs come.
    End,
    /// And why not: they could not be read.
    Failed(InputError),
}

/// The end that inputs come out of.
pub(crate) struct Intake {
    batches: Receiver<Batch>,
    batch: std::vec::IntoIter<Result<Input, InputError>>,
    /// A batch has come since it was last looked for, or the end.
    due: Arc<AtomicBool>,
}

/// The end that they are read at.
pub(crate) struct Inlet {
    batches: SyncSender<Batch>,
    due: Arc<AtomicBool>,
}

/// Both ends. Nothing is read before [`Inlet::read`].
pub(crate) fn intake() -> (Inlet, Intake) {
    let (sender, receiver) = sync_channel(BATCHES);
    let due = Arc::new(AtomicBool::new(false));
    let inlet = Inlet { batches: sender, due: Arc::clone(&due) };
    (inlet, Intake { batches: receiver, batch: Vec::new().into_iter(), due })
}

impl Intake {
    /// The next input, if it is there.
    pub(crate) fn next(&mut self) -> Next {
        if self.batch.as_slice().is_empty() {
            self.due.store(false, Ordering::Release);
            match self.batches.try_recv() {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(TryRecvError::Empty) => return Next::Later,
                Err(TryRecvError::Disconnected) => return Next::End,
            }
        }
        match self.batch.next() {
            Some(Ok(input)) => Next::Input(input),
            Some(Err(error)) => Next::Failed(error),
            None => Next::Later,
        }
    }

    /// Whether there is an input, or there may be one.
    pub(crate) fn has_some(&self) -> bool {
        !self.batch.as_slice().is_empty() || self.is_due()
    }

    /// Whether something has come since there was nothing.
    pub(crate) fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }
}

impl Inlet {
    /// Reads all inputs, no sooner than they are wanted, and calls `rouser` when there are some after there were none.
    pub(crate) fn read(self, inputs: Inputs, rouser: Rouser) -> io::Result<()> {
        let body = move || {
            let Inlet { batches, due } = self;
            read_all(inputs, |batch| {
                let sent = batches.send(batch).is_ok();
                if sent && !due.swap(true, Ordering::AcqRel) {
                    rouser.rouse();
                }
                sent
            });
            drop(batches);
            due.store(true, Ordering::Release);
            rouser.rouse();
        };
        std::thread::Builder::new().name("inputs".to_owned()).spawn(body).map(drop)
    }
}

/// Hands on what is there whenever more would have to be waited for, until it is not taken any more.
fn read_all(mut inputs: Inputs, mut hand_on: impl FnMut(Batch) -> bool) {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    loop {
        let (input, more) = match inputs.next() {
            Ok(Some(input)) => (Some(Ok(input)), true),
            Ok(None) => (None, false),
            Err(error) => (Some(Err(error)), false),
        };
        if let Some(Ok(input)) = &input {
            bytes += input.len();
        }
        batch.extend(input);
        if more && inputs.is_there() && batch.len() < MOST && bytes < BYTES {
            continue;
        }
        bytes = 0;
        let batch = std::mem::take(&mut batch);
        if !(batch.is_empty() || hand_on(batch)) || !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::combine::Sources;
    use super::super::source::{Format, Source};
    use super::*;
    use std::io::Write;

    fn open(source: Source) -> Inputs {
        Sources::from(source).open(&Format { end: b'\n', columns: None }).unwrap()
    }

    fn batches_of(bytes: &[u8]) -> Vec<usize> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let inputs = open(Source::File(file.path().to_owned()));
        let mut sizes = Vec::new();
        read_all(inputs, |batch| {
            sizes.push(batch.len());
            true
        });
        sizes
    }

    #[test]
    fn batches_are_bounded() {
        assert!(batches_of(b"").is_empty());
        assert_eq!(batches_of(b"a\nb\n"), [2]);
        assert_eq!(batches_of("a\n".repeat(MOST + 1).as_bytes()), [MOST, 1]);
        let long = "x".repeat(BYTES / 4) + "\n";
        assert!(batches_of(long.repeat(9).as_bytes()).iter().all(|size| *size <= 4));
    }

    #[test]
    fn a_line_that_is_not_whole_holds_up_none_before_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let inputs = open(Source::File(path.into()));
        writer.write_all(b"a\nb\nc").unwrap();
        let mut writer = Some(writer);
        let mut sizes = Vec::new();
        read_all(inputs, |batch| {
            sizes.push(batch.len());
            // Only now that they have come the third one may end.
            drop(writer.take());
            true
        });
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn reading_ends_when_nobody_takes_it() {
        let inputs = open(Source::Given(vec!["a".into(); 3 * MOST]));
        let mut batches = 0;
        read_all(inputs, |_| {
            batches += 1;
            false
        });
        assert_eq!(batches, 1);
    }
}
