//! A worker that serves one pool after the other: a server has started it and lends it.
//!
//! Its third descriptor is a socket to the server. Whoever borrows the worker makes the channel himself, as for a worker
//! that he starts, and the server hands the worker's ends of it on. So each pool has pipes and a page of its own, and
//! nothing that one leaves in them is seen by the next. After a pool's goodbye the worker tells the server that it is
//! free; if a pool is gone without one the worker ends, as it does with a parent.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::blocks::arena::Arena;
use crate::link::{self, EXIT_PROTOCOL, Link, end_group, exit_now};
use crate::own::Own;
use crate::page::Page;
use crate::registry::Table;
use crate::serve::{self, Left};

/// Descriptors in one message at most.
pub const MOST: usize = 8;

/// The first byte of a message to the worker: its stdout comes too,
pub const WITH_STDOUT: u8 = 1;
/// an arena,
pub const WITH_ARENA: u8 = 2;
/// and the directory that it is to work in.
pub const WITH_DIRECTORY: u8 = 4;
/// What the worker says once it is free.
pub const FREE: u8 = 0x46;

/// The worker's ends of a channel, in the order in which they are sent.
#[derive(Debug)]
pub struct Ends<F> {
    /// Where jobs come from.
    pub jobs: F,
    /// Where results go.
    pub results: F,
    /// The file of the shared page.
    pub page: F,
    /// What jobs write to their outputs goes there;
    pub stderr: F,
    /// to nowhere if this is `None`.
    pub stdout: Option<F>,
    /// Where large arguments lie.
    pub arena: Option<F>,
    /// Where it works.
    pub directory: Option<F>,
}

impl<F> Ends<F> {
    /// The descriptors, and the byte that tells which there are.
    pub fn in_order(&self) -> (u8, impl Iterator<Item = &F>) {
        let flag = |fd: &Option<F>, flag| if fd.is_some() { flag } else { 0 };
        let flags = flag(&self.stdout, WITH_STDOUT)
            | flag(&self.arena, WITH_ARENA)
            | flag(&self.directory, WITH_DIRECTORY);
        let first = [&self.jobs, &self.results, &self.page, &self.stderr];
        (flags, first.into_iter().chain(&self.stdout).chain(&self.arena).chain(&self.directory))
    }

    /// The other way round; `None` if there are too many of them, or too few.
    pub fn from_order(flags: u8, fds: impl IntoIterator<Item = F>) -> Option<Ends<F>> {
        let mut fds = fds.into_iter();
        let [jobs, results, page, stderr] = [fds.next()?, fds.next()?, fds.next()?, fds.next()?];
        let mut next = |flag| if flags & flag == 0 { Some(None) } else { fds.next().map(Some) };
        let (stdout, arena, directory) = (next(WITH_STDOUT)?, next(WITH_ARENA)?, next(WITH_DIRECTORY)?);
        let known = flags & !(WITH_STDOUT | WITH_ARENA | WITH_DIRECTORY) == 0;
        let ends = Ends { jobs, results, page, stderr, stdout, arena, directory };
        (known && fds.next().is_none()).then_some(ends)
    }
}

/// Sends bytes with descriptors; at least one byte, all of which the socket has to take at once.
///
/// # Errors
/// The system's.
pub fn send(to: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> nix::Result<()> {
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
    #[cfg(target_os = "linux")]
    let flags = MsgFlags::MSG_NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = MsgFlags::empty();
    loop {
        match sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(bytes)], rights, flags, None) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives bytes, and the descriptors that came with them, close-on-exec. No bytes: the other side is gone.
///
/// # Errors
/// The system's; `EMFILE` if descriptors got lost on the way.
pub fn receive(from: BorrowedFd<'_>, bytes: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MOST]);
    let mut room = [IoSliceMut::new(bytes)];
    #[cfg(target_os = "linux")]
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = MsgFlags::empty();
    let message = loop {
        match recvmsg::<()>(from.as_raw_fd(), &mut room, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            // SAFETY: the kernel has just made these for this message, and nobody else knows them.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    #[cfg(not(target_os = "linux"))]
    for fd in &fds {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(Errno::EMFILE);
    }
    Ok((message.bytes, fds))
}

/// What the worker has from its server.
struct Home {
    server: Own,
    stdout: OwnedFd,
    stderr: OwnedFd,
    null: OwnedFd,
    above: RawFd,
}

/// Serves whoever borrows this worker, until the server is gone.
pub(crate) fn serve(server: OwnedFd, table: &'static Table) -> ! {
    serve::prepare_process();
    let home = Home::new(server).unwrap_or_else(|_| exit_now(EXIT_PROTOCOL));
    home.say_hello(table);
    loop {
        let mut flags = [0];
        let ends = match receive(home.server.as_fd(), &mut flags) {
            Ok((1, fds)) => Ends::from_order(flags[0], fds),
            Ok((0, _)) => end_group(),
            _ => None,
        };
        let Some((link, arena)) = ends.and_then(|ends| home.move_in(ends).ok()) else {
            exit_now(EXIT_PROTOCOL)
        };
        let Left { watcher, keeps } = serve::serve_pool(link, arena, table);
        if keeps {
            // What lies in the pool's memory goes with the pool; so does this process, which has something of it.
            std::process::exit(0);
        }
        link.close();
        if watcher.join().is_err() {
            exit_now(EXIT_PROTOCOL);
        }
        // SAFETY: the watcher has ended, and so has what else had the link: `serve_pool` gives back nothing of it.
        unsafe { Link::remove(link) };
        home.move_out();
        home.send(&[FREE]);
    }
}

impl Home {
    fn new(server: OwnedFd) -> std::io::Result<Home> {
        let above = link::high_number();
        let high = |fd: BorrowedFd<'_>| link::move_high(fd.try_clone_to_owned()?, above);
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let (stdout, stderr) = (high(std::io::stdout().as_fd()), high(std::io::stderr().as_fd()));
        Ok(Home {
            stdout: stdout.or_else(|_| high(null.as_fd()))?,
            stderr: stderr.or_else(|_| high(null.as_fd()))?,
            null: link::move_high(null.into(), above)?,
            server: Own::shared(link::move_high(server, above)?)?,
            above,
        })
    }

    fn say_hello(&self, table: &Table) {
        let Ok(body) = serve::hello(table) else { exit_now(EXIT_PROTOCOL) };
        let length = (body.len() as u32).to_le_bytes();
        let mut bytes = [&length[..], &body].concat();
        while !bytes.is_empty() {
            match nix::unistd::write(&self.server, &bytes) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(_) => end_group(),
            }
        }
    }

    /// Takes a channel over.
    fn move_in(&self, ends: Ends<OwnedFd>) -> std::io::Result<(&'static Link, Option<Arena>)> {
        let high = |fd| link::move_high(fd, self.above);
        nix::unistd::dup2_stdout(ends.stdout.as_ref().unwrap_or(&self.null))?;
        nix::unistd::dup2_stderr(&ends.stderr)?;
        if let Some(directory) = &ends.directory {
            nix::unistd::fchdir(directory)?;
        }
        let page = Page::open(&File::from(ends.page)).ok_or(std::io::ErrorKind::InvalidData)?;
        let arena = ends.arena.filter(|_| page.has_arena());
        let arena = arena.map(|fd| Own::new(high(fd)?, 4)).transpose()?;
        let link = Link::install(page, high(ends.jobs)?, high(ends.results)?, self.above)?;
        Ok((link, arena.map(Arena::new)))
    }

    /// What the pool has made of this process and can be undone.
    fn move_out(&self) {
        // What is buffered still belongs to the pool.
        serve::flush_standard_output();
        let back = nix::unistd::dup2_stdout(&self.stdout).and(nix::unistd::dup2_stderr(&self.stderr));
        let _ = std::env::set_current_dir("/");
        if back.is_err() {
            exit_now(EXIT_PROTOCOL);
        }
    }

    fn send(&self, bytes: &[u8]) {
        if !self.server.is_own() {
            exit_now(EXIT_PROTOCOL);
        }
        if send(self.server.as_fd(), bytes, &[]).is_err() {
            end_group();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ends_come_as_they_were_sent(others: [Option<u32>; 3], first: [u32; 4]) {
            let [stdout, arena, directory] = others;
            let [jobs, results, page, stderr] = first;
            let sent = Ends { jobs, results, page, stderr, stdout, arena, directory };
            let (flags, fds) = sent.in_order();
            let fds: Vec<u32> = fds.copied().collect();
            let came = Ends::from_order(flags, fds.iter().copied()).unwrap();
            prop_assert_eq!((came.jobs, came.page, came.directory), (jobs, page, directory));
            prop_assert_eq!((came.stdout, came.arena), (stdout, arena));
            prop_assert!(Ends::from_order(flags, fds[1..].iter().copied()).is_none());
            prop_assert!(Ends::from_order(flags, fds.iter().copied().chain([7])).is_none());
            prop_assert!(Ends::from_order(flags | 8, fds).is_none());
        }
    }

    #[test]
    fn descriptors_travel_with_bytes() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(one.as_fd(), b"abc", &[writer.as_raw_fd()]).unwrap();
        drop(writer);
        let mut bytes = [0; 16];
        let (count, fds) = receive(other.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..count], fds.len()), (&b"abc"[..], 1));
        nix::unistd::write(&fds[0], b"through").unwrap();
        drop(fds);
        assert_eq!(std::io::read_to_string(reader).unwrap(), "through");
        drop(one);
        assert_eq!(receive(other.as_fd(), &mut bytes).unwrap().0, 0);
    }
}
