//! The server's side of the pools that have connected.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sidestep_worker::lent::{Ends, WITH_ARENA, WITH_DIRECTORY, WITH_STDOUT};
use sidestep_worker::page::PROTOCOL;

use crate::process::Tether;

use super::borrower::WorkerEnds;
use super::ledger::Who;
use super::message::{Answer, Came, ClientReport, Counts, Garbled, Incoming, Request, encode};

/// A pool that has not heard by then that it is to give workers back hangs, or was stopped.
pub(super) const DEAF: Duration = Duration::from_secs(5);
/// Bytes that may wait for somebody who does not read.
const UNREAD: usize = 16 << 20;
/// Workers that one pool may wait for.
const WAITING: usize = 1 << 12;

/// A worker that is wanted.
pub(super) struct Wanted {
    pub(super) ticket: u64,
    pub(super) tether: Tether,
    pub(super) ends: WorkerEnds,
}

/// One connection.
pub(super) struct Client {
    stream: UnixStream,
    incoming: Incoming,
    out: Vec<u8>,
    pid: Option<u32>,
    since: Instant,
    role: Role,
    /// Since when it was asked for workers and has not said that it heard.
    unheard: Option<Instant>,
    pub(super) wanted: VecDeque<Wanted>,
    /// What it has last told of its jobs, if that was since it was asked.
    pub(super) counts: Option<Counts>,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// Nobody knows yet.
    New,
    /// It borrows workers, for this program.
    Pool(String),
    /// It wants to know what goes on.
    Viewer,
}

/// What somebody wants of the server.
pub(super) enum Want {
    Worker,
    Status,
}

impl Client {
    pub(super) fn new(stream: UnixStream, pid: Option<u32>, now: Instant) -> std::io::Result<Client> {
        stream.set_nonblocking(true)?;
        Ok(Client {
            stream,
            incoming: Incoming::default(),
            out: Vec::new(),
            pid,
            since: now,
            role: Role::New,
            unheard: None,
            wanted: VecDeque::new(),
            counts: None,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn is_pool(&self) -> bool {
        matches!(self.role, Role::Pool(_))
    }

    pub(super) fn has_to_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// When it counts as dead, unless it is heard of before.
    pub(super) fn deaf(&self) -> Option<Instant> {
        self.unheard.map(|since| since + DEAF)
    }

    /// Says something; `false` if it cannot be said.
    pub(super) fn say(&mut self, answer: &Answer) -> bool {
        let Ok(bytes) = encode(answer) else { return false };
        self.out.extend_from_slice(&bytes);
        self.write()
    }

    /// Asks for workers.
    pub(super) fn recall(&mut self, count: u32, now: Instant) -> bool {
        self.unheard.get_or_insert(now);
        self.say(&Answer::Recall { count })
    }

    /// Writes what waits, as far as there is room; `false` if nobody is there.
    pub(super) fn write(&mut self) -> bool {
        while !self.out.is_empty() {
            match (&self.stream).write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.out.len() <= UNREAD
    }

    /// Reads what has come. An error if it is to be hung up on.
    pub(super) fn read(&mut self) -> Result<(), String> {
        match self.incoming.read(self.stream.as_fd()) {
            Came::End => Err("it is gone".into()),
            Came::Something | Came::Nothing => Ok(()),
        }
    }

    /// The next that it wants; `welcome` is what it is told first.
    pub(super) fn next(&mut self, welcome: &dyn Fn() -> Answer) -> Result<Option<Want>, String> {
        let garbled = |garbled: Garbled| garbled.to_string();
        while let Some(request) = self.incoming.next::<Request>().map_err(garbled)? {
            match (request, &self.role) {
                (Request::Hello { protocol, program }, Role::New) => {
                    if protocol != PROTOCOL {
                        let why = format!(
                            "it speaks protocol {PROTOCOL} of sidestep {}, and this program {protocol}: use the same \
                             release on both sides",
                            env!("CARGO_PKG_VERSION")
                        );
                        self.say(&Answer::Refused { why: why.clone() });
                        return Err(why);
                    }
                    self.role = Role::Pool(program);
                    self.say(&welcome());
                }
                (Request::Status, Role::New) => {
                    self.role = Role::Viewer;
                    return Ok(Some(Want::Status));
                }
                (Request::Borrow { ticket, ends }, Role::Pool(_)) => {
                    let wanted = self.take_wanted(ticket, ends).map_err(garbled)?;
                    if self.wanted.len() >= WAITING {
                        return Err("it wants too many workers".into());
                    }
                    self.wanted.push_back(wanted.ok_or("the ends of a channel are missing")?);
                    return Ok(Some(Want::Worker));
                }
                (Request::Heard, Role::Pool(_)) => self.unheard = None,
                (Request::Told(counts), Role::Pool(_)) => self.counts = Some(counts),
                _ => return Err("it says what it cannot now".into()),
            }
        }
        Ok(None)
    }

    fn take_wanted(&mut self, ticket: u64, flags: u8) -> Result<Option<Wanted>, Garbled> {
        let count = 5 + (flags & (WITH_STDOUT | WITH_ARENA | WITH_DIRECTORY)).count_ones() as usize;
        let mut fds = self.incoming.take(count)?.into_iter();
        let tether = fds.next().map(Tether::from);
        let ends = Ends::from_order(flags, fds);
        Ok(tether.zip(ends).map(|(tether, ends)| Wanted { ticket, tether, ends }))
    }

    pub(super) fn report(&self, number: Who, workers: usize, now: Instant) -> Option<ClientReport> {
        let Role::Pool(program) = &self.role else { return None };
        Some(ClientReport {
            number,
            pid: self.pid,
            program: program.clone(),
            workers: workers as u32,
            waiting: self.wanted.len() as u32,
            since: now.saturating_duration_since(self.since).as_millis() as u64,
            counts: self.counts,
        })
    }
}

/// All of them, by number.
pub(super) type Clients = BTreeMap<Who, Client>;
