//! A program that runs: what it reads and writes, and its end.
//!
//! One thread does all of it, so that a worker stays as it is. The standard library does not tell what a child has used,
//! so its end is waited for here.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{Outputs, Piece, Stream};

/// Bytes that are read at once: as many as a pipe holds.
const READ: usize = 64 << 10;

/// A program that has run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// In bytes.
    pub(super) max_rss: u64,
}

/// Takes what a program writes.
#[derive(Debug)]
pub(super) struct Taker {
    outputs: Outputs,
    number: u64,
    slot: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Taker {
    /// That for the job with that number, in the worker with that number.
    pub(super) fn new(outputs: Outputs, number: u64, slot: u32) -> Taker {
        Taker { outputs, number, slot, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Taker { outputs, number, slot, .. } = *self;
        if matches!(outputs, Outputs::Sent { .. }) {
            Piece { number, slot, stream, bytes }.send(io::stdout())?;
        }
        if outputs != (Outputs::Sent { kept: false }) {
            match stream {
                Stream::Stdout => self.stdout.extend_from_slice(bytes),
                Stream::Stderr => self.stderr.extend_from_slice(bytes),
            }
        }
        Ok(())
    }
}

/// Gives a program what it reads, takes what it writes, and waits for its end.
pub(super) fn finish(mut child: Child, input: &[u8], mut taker: Taker) -> io::Result<Ran> {
    let pipes = Pipes { stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take() };
    let moved = pipes.pump(input, &mut taker);
    // Whatever has happened to its pipes, now closed, it must not stay as a zombie.
    let (status, usage) = wait_for(child.id())?;
    moved?;
    let Taker { stdout, stderr, .. } = taker;
    let (user, system) = (duration(usage.ru_utime), duration(usage.ru_stime));
    Ok(Ran { status, stdout, stderr, user, system, max_rss: max_rss(&usage) })
}

/// Our ends of what a program reads and writes, as long as the other ends are open.
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Pipes {
    /// Moves bytes until all pipes are closed. A program that does not read all that it is given is none that fails.
    fn pump(mut self, input: &[u8], taker: &mut Taker) -> io::Result<()> {
        self.stdin.as_ref().map(never_block).transpose()?;
        self.stdout.as_ref().map(never_block).transpose()?;
        self.stderr.as_ref().map(never_block).transpose()?;
        let (mut rest, mut buffer) = (input, vec![0; READ]);
        while self.wait()? {
            close_if(&mut self.stdin, |pipe| write_some(pipe, &mut rest))?;
            close_if(&mut self.stdout, |pipe| {
                read_some(pipe, &mut buffer, |bytes| taker.take(Stream::Stdout, bytes))
            })?;
            close_if(&mut self.stderr, |pipe| {
                read_some(pipe, &mut buffer, |bytes| taker.take(Stream::Stderr, bytes))
            })?;
        }
        Ok(())
    }

    /// Waits until one of them can go on; `false` when there is none any more.
    fn wait(&self) -> io::Result<bool> {
        let fds = [
            self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)),
            self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)),
            self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        ];
        let mut fds: Vec<PollFd<'_>> = fds.into_iter().flatten().collect();
        if fds.is_empty() {
            return Ok(false);
        }
        match poll(&mut fds, None) {
            // After a signal each is tried: that harms nothing.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn never_block(pipe: &impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(pipe)?;
    Ok(fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?)
}

/// Lets a pipe go on, and closes it at its end.
fn close_if<P>(pipe: &mut Option<P>, go_on: impl FnOnce(&mut P) -> io::Result<bool>) -> io::Result<()> {
    let ended = match pipe.as_mut().map(go_on) {
        None => return Ok(()),
        Some(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
        Some(ended) => ended?,
    };
    if ended {
        *pipe = None;
    }
    Ok(())
}

/// Whether it was the end.
fn read_some(
    pipe: &mut impl Read,
    buffer: &mut [u8],
    take: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let count = pipe.read(buffer)?;
    take(&buffer[..count])?;
    Ok(count == 0)
}

/// Whether it was the end: all is written, or nobody reads it.
fn write_some(pipe: &mut impl Write, rest: &mut &[u8]) -> io::Result<bool> {
    match pipe.write(rest) {
        Ok(count) => *rest = &rest[count..],
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(true),
        Err(error) => return Err(error),
    }
    Ok(rest.is_empty())
}

/// Waits for the end of a child of ours.
fn wait_for(pid: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to places of the right types, which live as long as the call.
        let ended = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
        match Errno::result(ended) {
            // SAFETY: it is made of numbers, and was all zeros before the system wrote it.
            Ok(_) => return Ok((ExitStatus::from_raw(status), unsafe { usage.assume_init() })),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

fn max_rss(usage: &libc::rusage) -> u64 {
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    usage.ru_maxrss as u64 * unit
}
