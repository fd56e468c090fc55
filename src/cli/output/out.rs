//! Results on standard output, in few writes and without delay.
//!
//! Many small results share a write, but none waits for longer than a moment: a job that takes an hour must not hold
//! back what ended before it. The main thread is then busy waiting, so another one flushes.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};
use std::time::{Duration, Instant};

use crate::cli::{progress, say};

/// Results are written when there are so many bytes of them,
const BUFFER: usize = 64 * 1024;
/// or this long after the first of them; that one at once, if it comes after a rest as long.
const DELAY: Duration = Duration::from_millis(5);

/// What a job leaves behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its result.
    pub(crate) stdout: Vec<u8>,
    /// What it printed, and why it failed.
    pub(crate) stderr: Vec<u8>,
    /// What the log says of it, once it was shown.
    pub(crate) log: Vec<u8>,
}

impl Record {
    /// As bytes for a buffer.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let len = |part: &[u8]| (part.len() as u64).to_le_bytes();
        let (stdout, stderr) = (len(&self.stdout), len(&self.stderr));
        [&stdout[..], &stderr, &self.stdout, &self.stderr, &self.log].concat()
    }

    /// The contrary of [`Record::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Record> {
        let len = |len: &[u8; 8]| usize::try_from(u64::from_le_bytes(*len)).ok();
        let parts = bytes.split_first_chunk().and_then(|(out, rest)| {
            let (err, rest) = rest.split_first_chunk()?;
            let (out, rest) = rest.split_at_checked(len(out)?)?;
            let (err, log) = rest.split_at_checked(len(err)?)?;
            Some((out, err, log))
        });
        let (stdout, stderr, log) = parts.ok_or_else(|| io::Error::other("a record in it is damaged"))?;
        Ok(Record { stdout: stdout.to_vec(), stderr: stderr.to_vec(), log: log.to_vec() })
    }
}

/// Where records go.
pub(crate) struct Out {
    inner: Mutex<Inner>,
    filled: Condvar,
    /// Someone looks on.
    terminal: bool,
    /// A bar may be in the way.
    shared: bool,
}

struct Inner {
    writer: BufWriter<File>,
    waiting: bool,
    /// When results were last written.
    written: Option<Instant>,
}

impl Out {
    /// Takes standard output. `failed` is called, on another thread, when it cannot be written to.
    pub(crate) fn new(failed: impl FnOnce(io::Error) + Send + 'static) -> io::Result<Arc<Out>> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        // Not `Stdout` itself, which looks for line ends in every byte.
        let file = File::from(stdout.as_fd().try_clone_to_owned()?);
        let writer = BufWriter::with_capacity(BUFFER, file);
        let inner = Mutex::new(Inner { writer, waiting: false, written: None });
        let out =
            Arc::new(Out { inner, filled: Condvar::new(), terminal, shared: progress::shares_terminal() });
        let flusher = Arc::clone(&out);
        std::thread::Builder::new().name("flush".into()).spawn(move || {
            if let Err(error) = flusher.keep_flushing() {
                failed(error);
            }
        })?;
        Ok(out)
    }

    /// Shows a job's record: nothing of another job gets between its parts.
    pub(crate) fn show(&self, record: &Record) -> io::Result<()> {
        let mut inner = self.lock();
        if !record.stdout.is_empty() {
            match self.shared {
                true => progress::apart(&record.stdout, || self.print(&mut inner, &record.stdout))?,
                false => self.print(&mut inner, &record.stdout)?,
            }
        }
        if !record.stderr.is_empty() {
            say::write_all(&record.stderr);
        }
        Ok(())
    }

    fn print(&self, inner: &mut Inner, stdout: &[u8]) -> io::Result<()> {
        inner.writer.write_all(stdout)?;
        if self.terminal || inner.has_rested() {
            inner.flush()?;
        } else if !inner.waiting {
            inner.waiting = true;
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Writes what is left.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }

    /// Writes what is left, and shows nothing more. Does not wait for a reader that stalls; returns whether there was none.
    pub(crate) fn close_within(self: &Arc<Out>, limit: Duration) -> bool {
        let (done, wait) = mpsc::channel();
        let out = Arc::clone(self);
        let close = move || {
            let mut inner = out.lock();
            let _ = done.send(inner.flush().is_ok());
            // Whoever wants to show something now waits for the end of the process.
            std::mem::forget(inner);
        };
        std::thread::Builder::new().name("close".into()).spawn(close).is_ok()
            && wait.recv_timeout(limit) == Ok(true)
    }

    /// Whether someone waits at this moment for whoever reads results.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.inner.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn keep_flushing(&self) -> io::Result<()> {
        loop {
            let mut inner = self.lock();
            while !inner.waiting {
                inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            drop(inner);
            std::thread::sleep(DELAY);
            self.flush()?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn flush(&mut self) -> io::Result<()> {
        self.waiting = false;
        self.written = Some(Instant::now());
        self.writer.flush()
    }

    fn has_rested(&self) -> bool {
        !self.waiting && self.written.is_none_or(|written| written.elapsed() >= DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes() {
        for (stdout, stderr) in [(&b""[..], &b""[..]), (b"out", b""), (b"", b"err"), (b"\x00", b"\xff")] {
            let record = Record { stdout: stdout.into(), stderr: stderr.into(), log: b"log".into() };
            assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
        }
        assert!(Record::from_bytes(&[9, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
    }
}
