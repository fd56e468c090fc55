//! The server: one thread that waits for everything and lends workers. No job goes through it.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::process::{Output, Plan, Program};

use super::clients::{Client, Clients, Want, Wanted};
use super::ledger::{Ledger, Who};
use super::message::{Answer, Report, WorkerState};
use super::socket::{self, Bound, SocketError};
use super::workers::{NoWorkers, Source, Workers};

/// Whoever asks for the server's state waits no longer for pools that do not answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// After an error of accepting, as when there are too many descriptors, nobody is accepted for so long.
const BREATH: Duration = Duration::from_millis(100);

/// What a server offers.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) workers: usize,
    /// What they run.
    pub(crate) program: Program,
    /// It ends after so long without anybody.
    pub(crate) idle: Option<Duration>,
}

/// Why a server cannot serve, or not any longer.
#[derive(Debug)]
pub(crate) enum ServeError {
    Socket(SocketError),
    Workers(NoWorkers),
    Wait(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Socket(error) => error.fmt(f),
            ServeError::Workers(error) => error.fmt(f),
            ServeError::Wait(error) => write!(f, "cannot wait for anybody: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Somebody wants to know the server's state.
struct Inquiry {
    by: Vec<Who>,
    since: Instant,
}

/// A server that has its name.
pub(crate) struct Server {
    bound: Option<Bound>,
    offer: Offer,
    workers: Workers,
    clients: Clients,
    ledger: Ledger,
    last: Who,
    inquiry: Option<Inquiry>,
    begun: Instant,
    /// When the last pool has left.
    idle_since: Instant,
    /// When it next looks whether somebody has to give workers back, for a turn that ends.
    next_turn: Option<Instant>,
    /// Nobody is accepted before that.
    breath: Option<Instant>,
}

/// What a descriptor belongs to.
#[derive(Debug, Clone, Copy)]
enum Token {
    Stop,
    Listener,
    Client(Who),
    Worker(Source),
}

impl Server {
    /// Takes the name.
    pub(crate) fn new(offer: Offer) -> Result<Server, ServeError> {
        let bound = socket::bind(&offer.name).map_err(ServeError::Socket)?;
        let now = Instant::now();
        let plan = Plan {
            program: offer.program.clone(),
            env: Vec::new(),
            stdout: Output::Null,
            stderr: Output::Inherit,
            max_workers_hint: offer.workers,
            memory: None,
            blocks: false,
        };
        Ok(Server {
            bound: Some(bound),
            workers: Workers::new(plan, offer.workers, now),
            offer,
            clients: Clients::new(),
            ledger: Ledger::default(),
            last: 0,
            inquiry: None,
            begun: now,
            idle_since: now,
            next_turn: None,
            breath: None,
        })
    }

    /// Serves. Once a byte comes from `stop` nobody else is let in, and it ends when the last pool has left; at the second
    /// byte it ends at once. `ready` is called when pools can be served.
    pub(crate) fn run(
        mut self,
        stop: BorrowedFd<'_>,
        mut ready: impl FnMut(&std::path::Path),
    ) -> Result<(), ServeError> {
        let mut is_ready = false;
        loop {
            let now = Instant::now();
            let tended = self.workers.tend(now).map_err(ServeError::Workers)?;
            if !is_ready && self.workers.jobs().is_some() {
                is_ready = true;
                self.idle_since = now;
                if let Some(bound) = &self.bound {
                    ready(bound.path());
                }
            }
            self.lend(now);
            self.recall(now);
            self.answer_inquiry(now);
            if self.is_over(now) {
                return Ok(());
            }
            let deadline = [tended, self.deadline(is_ready)].into_iter().flatten().min();
            let events = self.wait(stop, is_ready, deadline).map_err(ServeError::Wait)?;
            let now = Instant::now();
            for token in events {
                match token {
                    Token::Stop => {
                        let mut byte = [0];
                        let stopped = self.bound.take().is_none();
                        if stopped || !matches!(nix::unistd::read(stop, &mut byte), Ok(1)) {
                            return Ok(());
                        }
                    }
                    Token::Listener => self.accept(now),
                    Token::Client(who) => self.serve(who, now),
                    Token::Worker(source) => {
                        if let Some(who) = self.workers.look(source, now).map_err(ServeError::Workers)? {
                            self.ledger.give_back(who);
                        }
                    }
                }
            }
        }
    }

    /// Waits until there is something to do, or the deadline; workers first, clients last: what a worker has said of its
    /// end comes before what its borrower does about it.
    fn wait(
        &self,
        stop: BorrowedFd<'_>,
        is_ready: bool,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        for (source, fd) in self.workers.sources() {
            tokens.push(Token::Worker(source));
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        tokens.push(Token::Stop);
        fds.push(PollFd::new(stop, PollFlags::POLLIN));
        if let Some(bound) = self.bound.as_ref().filter(|_| is_ready && self.breath.is_none()) {
            tokens.push(Token::Listener);
            fds.push(PollFd::new(bound.fd(), PollFlags::POLLIN));
        }
        for (who, client) in &self.clients {
            let write = if client.has_to_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            tokens.push(Token::Client(*who));
            fds.push(PollFd::new(client.fd(), PollFlags::POLLIN | write));
        }
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            // Up, so that it does not come too early, again and again.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_due = |fd: &PollFd<'_>| fd.revents().is_none_or(|events| !events.is_empty());
        Ok(tokens.into_iter().zip(&fds).filter(|(_, fd)| is_due(fd)).map(|(token, _)| token).collect())
    }

    fn accept(&mut self, now: Instant) {
        let Some(bound) = &self.bound else { return };
        loop {
            match bound.accept() {
                Ok(Some((stream, pid))) => {
                    if let Ok(client) = Client::new(stream, pid, now) {
                        self.last += 1;
                        self.clients.insert(self.last, client);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.breath = Some(now + BREATH);
                    return;
                }
            }
        }
    }

    fn serve(&mut self, who: Who, now: Instant) {
        let workers = self.workers.count() as u32;
        let jobs = self.workers.jobs().unwrap_or_default();
        let program = self.offer.program.path().into_os_string().into_vec();
        let welcome = || Answer::Welcome { jobs: jobs.to_vec(), workers, program: program.clone() };
        let Some(client) = self.clients.get_mut(&who) else { return };
        if !client.write() || client.read().is_err() {
            return self.hang_up(who, now);
        }
        loop {
            match client.next(&welcome) {
                Ok(Some(Want::Worker)) => self.ledger.want(who, now),
                Ok(Some(Want::Status)) => {
                    let inquiry = self.inquiry.get_or_insert(Inquiry { by: Vec::new(), since: now });
                    inquiry.by.push(who);
                    if inquiry.by.len() == 1 {
                        self.ask_all();
                    }
                    return;
                }
                Ok(None) => return,
                Err(_) => return self.hang_up(who, now),
            }
        }
    }

    /// Somebody is gone, or as good as that.
    fn hang_up(&mut self, who: Who, now: Instant) {
        let was_pool = self.clients.remove(&who).is_some_and(|client| client.is_pool());
        self.workers.take_from(who, now);
        self.ledger.close(who);
        if was_pool && !self.clients.values().any(Client::is_pool) {
            self.idle_since = now;
        }
    }

    /// Gives free workers to those who wait for them.
    fn lend(&mut self, now: Instant) {
        while self.workers.free() > 0 {
            let Some(who) = self.ledger.next() else { return };
            let wanted = self.clients.get_mut(&who).and_then(|client| client.wanted.pop_front());
            let Some(Wanted { ticket, tether, ends }) = wanted else {
                self.ledger.forgo(who);
                continue;
            };
            if tether.wish().is_some() {
                self.ledger.forgo(who);
                continue;
            }
            match self.workers.lend(who, tether, &ends, now) {
                Ok(pid) => {
                    self.ledger.lend(who, now);
                    let said = self
                        .clients
                        .get_mut(&who)
                        .is_some_and(|client| client.say(&Answer::Lent { ticket, pid }));
                    if !said {
                        self.hang_up(who, now);
                    }
                }
                Err(tether) => {
                    if let Some(client) = self.clients.get_mut(&who) {
                        client.wanted.push_front(Wanted { ticket, tether, ends });
                    }
                }
            }
        }
    }

    /// Asks those who have more than their share for what others wait for; hangs up on those who do not hear.
    fn recall(&mut self, now: Instant) {
        let free = self.workers.free() + self.workers.coming();
        let (asked, later) = self.ledger.recall(free, now);
        self.next_turn = later;
        let mut counts = std::collections::BTreeMap::<Who, u32>::new();
        asked.into_iter().for_each(|who| *counts.entry(who).or_default() += 1);
        let mut dead = Vec::new();
        for (who, count) in counts {
            if !self.clients.get_mut(&who).is_some_and(|client| client.recall(count, now)) {
                dead.push(who);
            }
        }
        let deaf = |client: &Client| client.deaf().is_some_and(|deaf| deaf <= now);
        dead.extend(self.clients.iter().filter(|(_, client)| deaf(client)).map(|(who, _)| *who));
        dead.into_iter().for_each(|who| self.hang_up(who, now));
    }

    fn ask_all(&mut self) {
        for client in self.clients.values_mut().filter(|client| client.is_pool()) {
            client.counts = None;
            client.say(&Answer::Ask);
        }
    }

    fn answer_inquiry(&mut self, now: Instant) {
        let Some(Inquiry { by, since }) = &self.inquiry else { return };
        let all_told =
            self.clients.values().filter(|client| client.is_pool()).all(|client| client.counts.is_some());
        if !all_told && now < *since + PATIENCE {
            return;
        }
        let report = self.report(now);
        for who in by.clone() {
            if let Some(client) = self.clients.get_mut(&who) {
                client.say(&Answer::Status(report.clone()));
            }
        }
        self.inquiry = None;
    }

    fn report(&self, now: Instant) -> Report {
        let workers = self.workers.report(now);
        let held = |who: Who| {
            workers
                .iter()
                .filter(|worker| worker.state == WorkerState::Lent && worker.client == Some(who))
                .count()
        };
        let clients =
            self.clients.iter().filter_map(|(who, client)| client.report(*who, held(*who), now)).collect();
        Report {
            pid: std::process::id(),
            program: self.offer.program.path().display().to_string(),
            up: now.saturating_duration_since(self.begun).as_millis() as u64,
            workers,
            clients,
        }
    }

    fn has_pools(&self) -> bool {
        self.clients.values().any(Client::is_pool)
    }

    fn is_over(&self, now: Instant) -> bool {
        let forsaken = !self.has_pools();
        forsaken && (self.bound.is_none() || self.idle_end().is_some_and(|end| end <= now))
    }

    /// When it ends, if nobody comes.
    fn idle_end(&self) -> Option<Instant> {
        self.offer
            .idle
            .filter(|_| self.workers.jobs().is_some())
            .and_then(|idle| self.idle_since.checked_add(idle))
    }

    /// When it has to look again although nothing has come.
    fn deadline(&mut self, is_ready: bool) -> Option<Instant> {
        let now = Instant::now();
        self.breath = self.breath.filter(|breath| *breath > now);
        let idle = self.idle_end().filter(|_| is_ready && !self.has_pools());
        let inquiry = self.inquiry.as_ref().map(|inquiry| inquiry.since + PATIENCE);
        let deaf = self.clients.values().filter_map(Client::deaf).min();
        [idle, inquiry, deaf, self.next_turn, self.breath].into_iter().flatten().min()
    }
}
