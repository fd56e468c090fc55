//! Appending lines, soon and cheaply.
//!
//! A line that comes after a rest is written at once: what is lost by a kill is then no more than what runs. Where many
//! jobs end within a moment, their lines share a write, so that a log costs tiny jobs little. Lines reach the disk by a
//! thread of its own, which lags behind by some 100 ms: that is what a loss of power costs, and nobody waits for it.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;

/// Lines are written when there are so many bytes of them,
const BUFFER: usize = 64 * 1024;
/// or this long after the first of them; that one at once, if it comes after a rest as long. It is less than results
/// wait for, so that these are rarely shown for long without their lines.
const DELAY: Duration = Duration::from_millis(3);
/// From one time that lines are brought to the disk to the next.
const SYNC: Duration = Duration::from_millis(100);
/// Between two looks whether another thread has finished writing.
const LOOK: Duration = Duration::from_millis(1);

type Before = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// A file that grows by whole lines.
#[derive(Debug)]
pub(super) struct Appender {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    file: File,
    before: OnceLock<Before>,
    inner: Mutex<Inner>,
    /// There are lines to write, or it is closed.
    filled: Condvar,
    /// There are lines to bring to the disk, or it is closed.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    pending: Vec<u8>,
    /// When lines were last written.
    last: Option<Instant>,
    unsynced: bool,
    closed: bool,
    /// What went wrong, on whichever thread. Nothing is written any more: no line may come behind half of another.
    failed: Option<io::Error>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("file", &self.file).field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Appender {
    /// Takes a file that is open for appending.
    pub(super) fn new(file: File) -> io::Result<Appender> {
        let shared = Arc::new(Shared {
            file,
            before: OnceLock::new(),
            inner: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
        });
        let appender = Appender { shared, threads: Mutex::default() };
        for (name, work) in [("log", Shared::keep_writing as fn(&Shared)), ("sync", Shared::keep_syncing)] {
            let shared = Arc::clone(&appender.shared);
            let thread = thread::Builder::new().name(name.into()).spawn(move || work(&shared))?;
            appender.threads().push(thread);
        }
        Ok(appender)
    }

    /// Has something done before lines are written. It must not come back here. As long as it fails, lines wait.
    pub(super) fn after(&mut self, before: Before) {
        let _ = self.shared.before.set(before);
    }

    /// Adds a line, now or in a moment.
    pub(super) fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut inner = self.shared.lock();
        inner.check()?;
        let first = inner.pending.is_empty();
        inner.pending.extend_from_slice(line);
        if inner.pending.len() >= BUFFER || inner.has_rested() {
            self.shared.write(&mut inner)
        } else {
            if first {
                self.shared.filled.notify_one();
            }
            Ok(())
        }
    }

    /// Writes what waits, and has it reach the disk.
    pub(super) fn finish(&self) -> io::Result<()> {
        let mut inner = self.shared.lock();
        let outcome = inner.check().and_then(|()| self.shared.write(&mut inner));
        let begun = !mem::replace(&mut inner.closed, true);
        drop(inner);
        self.shared.filled.notify_all();
        self.shared.written.notify_all();
        for thread in mem::take(&mut *self.threads()) {
            let _ = thread.join();
        }
        outcome?;
        if begun { self.shared.sync() } else { Ok(()) }
    }

    /// Writes what waits as it is, if nobody else writes for longer than that.
    pub(super) fn flush_within(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            if let Ok(mut inner) = self.shared.inner.try_lock() {
                let _ = self.shared.write_now(&mut inner);
                return;
            }
            if begun.elapsed() >= limit {
                return;
            }
            thread::sleep(LOOK);
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl Inner {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some(error) => Err(copy(error)),
            None => Ok(()),
        }
    }

    fn has_rested(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= DELAY)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, inner: &mut Inner) -> io::Result<()> {
        match self.before.get() {
            // Whoever shows results tells of it.
            Some(before) if !inner.pending.is_empty() && before().is_err() => inner.check(),
            _ => self.write_now(inner),
        }
    }

    fn write_now(&self, inner: &mut Inner) -> io::Result<()> {
        let pending = mem::take(&mut inner.pending);
        inner.check()?;
        if !pending.is_empty() {
            if let Err(error) = (&self.file).write_all(&pending) {
                inner.failed = Some(error);
            }
            inner.last = Some(Instant::now());
            if !mem::replace(&mut inner.unsynced, true) {
                self.written.notify_one();
            }
            // It is used again.
            inner.pending = pending;
            inner.pending.clear();
        }
        inner.check()
    }

    /// Writes lines after which no others came.
    fn keep_writing(&self) {
        let mut inner = self.lock();
        loop {
            inner = self
                .filled
                .wait_while(inner, |inner| inner.pending.is_empty() && !inner.closed)
                .unwrap_or_else(PoisonError::into_inner);
            inner = self.pause(&self.filled, inner, DELAY);
            if inner.closed {
                return;
            }
            // An error waits for whoever comes next.
            let _ = self.write(&mut inner);
        }
    }

    /// Brings lines to the disk, while others are written.
    fn keep_syncing(&self) {
        let mut inner = self.lock();
        loop {
            inner = self
                .written
                .wait_while(inner, |inner| !inner.unsynced && !inner.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if inner.closed {
                return;
            }
            inner.unsynced = false;
            drop(inner);
            let outcome = self.sync();
            inner = self.lock();
            if let Err(error) = outcome {
                inner.failed = Some(error);
            }
            inner = self.pause(&self.written, inner, SYNC);
        }
    }

    fn pause<'a>(
        &self,
        until: &Condvar,
        inner: MutexGuard<'a, Inner>,
        time: Duration,
    ) -> MutexGuard<'a, Inner> {
        let waited = until.wait_timeout_while(inner, time, |inner| !inner.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What is no file on a disk need not be brought there.
    fn sync(&self) -> io::Result<()> {
        let Err(error) = self.file.sync_data() else { return Ok(()) };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EINVAL | Errno::EROFS | Errno::ENOTSUP | Errno::ENOSYS) => Ok(()),
            _ => Err(error),
        }
    }
}

/// The same error once more.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tempfile::NamedTempFile;

    fn appender() -> (NamedTempFile, Appender) {
        let file = NamedTempFile::new().unwrap();
        let appender = Appender::new(File::options().append(true).open(file.path()).unwrap()).unwrap();
        (file, appender)
    }

    fn lines(file: &NamedTempFile) -> Vec<String> {
        fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_after_a_rest_is_written_at_once() {
        let (file, appender) = appender();
        appender.append(b"1\n").unwrap();
        assert_eq!(lines(&file), ["1"]);
    }

    #[test]
    fn a_line_in_a_rush_is_written_without_another_one() {
        let (file, appender) = appender();
        for _ in 0..100 {
            appender.append(b"x\n").unwrap();
        }
        while lines(&file).len() < 100 {
            thread::yield_now();
        }
    }

    #[test]
    fn lines_of_several_threads_are_whole() {
        let (file, appender) = appender();
        thread::scope(|scope| {
            for digit in ["1", "2", "3"] {
                let line = digit.repeat(99) + "\n";
                let appender = &appender;
                scope.spawn(move || (0..3000).for_each(|_| appender.append(line.as_bytes()).unwrap()));
            }
        });
        appender.finish().unwrap();
        let lines = lines(&file);
        assert_eq!(lines.len(), 9000);
        assert!(lines.iter().all(|line| line.len() == 99 && *line == line[..1].repeat(99)));
    }

    #[test]
    fn what_has_to_be_done_before_is_done_before() {
        let (file, mut appender) = appender();
        let (path, calls) = (file.path().to_owned(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        appender.after(Box::new(move || {
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(!first || fs::read(&path).unwrap().is_empty());
            Ok(())
        }));
        appender.append(b"1\n").unwrap();
        assert_eq!((lines(&file).len(), calls.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn as_long_as_that_fails_lines_wait() {
        let (file, mut appender) = appender();
        appender.after(Box::new(|| Err(io::Error::other("the disk is full"))));
        appender.append(b"1\n").unwrap();
        appender.finish().unwrap();
        assert!(lines(&file).is_empty());
    }

    #[test]
    fn a_full_disk_is_told_every_time() {
        let appender = Appender::new(File::options().append(true).open("/dev/full").unwrap()).unwrap();
        for _ in 0..2 {
            let error = appender.append(b"1\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert!(appender.finish().is_err());
    }

    #[test]
    fn a_full_disk_that_a_thread_finds_is_told_later() {
        let appender = Appender::new(File::options().append(true).open("/dev/full").unwrap()).unwrap();
        appender.shared.lock().last = Some(Instant::now() + Duration::from_secs(60));
        appender.append(b"1\n").unwrap();
        while appender.append(b"2\n").is_ok() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_pipe_need_not_reach_a_disk() {
        let (mut reader, writer) = io::pipe().unwrap();
        let appender = Appender::new(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        appender.append(b"1\n").unwrap();
        appender.finish().unwrap();
        drop(appender);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "1\n");
    }

    #[test]
    fn the_last_lines_are_written_unless_someone_stalls() {
        let (file, appender) = appender();
        appender.shared.lock().pending.extend_from_slice(b"1\n");
        let stalled = appender.shared.lock();
        appender.flush_within(Duration::ZERO);
        assert!(lines(&file).is_empty());
        drop(stalled);
        appender.flush_within(Duration::from_secs(20));
        assert_eq!(lines(&file), ["1"]);
    }
}
