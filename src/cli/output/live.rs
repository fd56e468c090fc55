//! Output that is shown while its job runs (`--line-buffer`): whole lines, as they come.
//!
//! All workers write into one pipe, which they have as their standard output. A thread here reads it, puts lines together
//! and shows them. When a job is over, whoever has its result reads on until all that it has written is shown: its worker
//! has written that before the result.

use std::collections::HashMap;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::out::{Out, Record};
use super::tag::tagged;
use crate::cli::builtin::{Piece, Stream, Word};
use crate::cli::call::Tag;
use crate::cli::input::Input;

/// Bytes that are read at once: as many as a pipe holds.
const READ: usize = 64 << 10;
/// More than any pipe holds: after so many bytes all that was in it before has come.
const ALL: usize = 4 << 20;

/// Where output arrives.
pub(crate) struct Live {
    out: Arc<Out>,
    tag: Option<Tag>,
    inner: Mutex<Inner>,
}

struct Inner {
    pipe: PipeReader,
    buffer: Vec<u8>,
    /// A piece that has not come in full.
    rest: Vec<u8>,
    /// Jobs that run, by their numbers, from 1.
    jobs: HashMap<u64, Job>,
}

/// What a job has written.
#[derive(Default)]
struct Job {
    tag: Option<Word>,
    slot: u32,
    /// Lines that have not ended.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Bytes on standard output.
    received: u64,
}

impl Live {
    /// Takes the place of this process's standard output, so that workers have it as theirs. `failed` is called, on
    /// another thread, when something cannot be shown.
    pub(crate) fn new(
        out: Arc<Out>,
        tag: Option<Tag>,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Arc<Live>> {
        let (pipe, end) = io::pipe()?;
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        let wait = pipe.try_clone()?;
        nix::unistd::dup2_stdout(&end)?;
        let inner = Inner { pipe, buffer: vec![0; READ], rest: Vec::new(), jobs: HashMap::new() };
        let live = Arc::new(Live { out, tag, inner: Mutex::new(inner) });
        let reader = Arc::clone(&live);
        std::thread::Builder::new().name("live".into()).spawn(move || {
            if let Err(error) = reader.keep_reading(&wait) {
                failed(error);
            }
        })?;
        Ok(live)
    }

    /// A job is handed in.
    pub(crate) fn begin(&self, input: &Input) {
        if let Some(tag) = &self.tag {
            let job = Job { tag: Some(tag.of(input)), ..Job::default() };
            self.lock().jobs.insert(input.number + 1, job);
        }
    }

    /// A job is over, or it was ended, then without its last line's end: all that it has written is shown. Tells how many
    /// bytes that was on standard output.
    pub(crate) fn end(&self, input: &Input, by_itself: bool) -> io::Result<u64> {
        let mut inner = self.lock();
        let mut budget = ALL;
        while let Some(count) = inner.read(&self.out)?
            && budget > 0
        {
            budget = budget.saturating_sub(count);
        }
        let Some(mut job) = inner.jobs.remove(&(input.number + 1)) else { return Ok(0) };
        let (mut stdout, mut stderr) = (std::mem::take(&mut job.stdout), std::mem::take(&mut job.stderr));
        for part in [&mut stdout, &mut stderr] {
            if !by_itself && !part.is_empty() {
                part.push(b'\n');
            }
        }
        job.show(&self.out, stdout, stderr)?;
        Ok(job.received)
    }

    fn keep_reading(&self, pipe: &impl AsFd) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(pipe, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.lock().read(&self.out)?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Shows what is in the pipe; `None` if that is nothing, else how many bytes it was.
    fn read(&mut self, out: &Out) -> io::Result<Option<usize>> {
        let count = match self.pipe.read(&mut self.buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Some(0)),
            Err(error) => return Err(error),
        };
        self.rest.extend_from_slice(&self.buffer[..count]);
        let mut rest = &self.rest[..];
        while let Some((piece, behind)) = Piece::first(rest) {
            self.jobs.entry(piece.number).or_default().take(piece, out)?;
            rest = behind;
        }
        let done = self.rest.len() - rest.len();
        self.rest.drain(..done);
        Ok(Some(count))
    }
}

impl Job {
    /// Shows lines that have come to an end.
    fn take(&mut self, piece: Piece<'_>, out: &Out) -> io::Result<()> {
        self.slot = piece.slot;
        let unfinished = match piece.stream {
            Stream::Stdout => {
                self.received += piece.bytes.len() as u64;
                &mut self.stdout
            }
            Stream::Stderr => &mut self.stderr,
        };
        let end = memchr::memrchr(b'\n', piece.bytes).map_or(0, |at| at + 1);
        let (lines, rest) = piece.bytes.split_at(end);
        if lines.is_empty() {
            unfinished.extend_from_slice(rest);
            return Ok(());
        }
        let mut text = std::mem::replace(unfinished, rest.to_vec());
        text.extend_from_slice(lines);
        match piece.stream {
            Stream::Stdout => self.show(out, text, Vec::new()),
            Stream::Stderr => self.show(out, Vec::new(), text),
        }
    }

    fn show(&self, out: &Out, stdout: Vec<u8>, stderr: Vec<u8>) -> io::Result<()> {
        let record = Record { stdout, stderr, log: Vec::new() };
        out.show(&match &self.tag {
            None => record,
            Some(tag) => {
                let tag = tag.text(self.slot);
                let (stdout, stderr) = (tagged(&tag, &record.stdout), tagged(&tag, &record.stderr));
                Record { stdout, stderr, log: record.log }
            }
        })
    }
}
