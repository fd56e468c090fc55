//! A pool's side: asks for workers, and hears what the server wants.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use sidestep_worker::lent::{self, Ends};
use sidestep_worker::page::PROTOCOL;
use sidestep_worker::wire::JobInfo;

use crate::error::PoolError;
use crate::process::{self, Child, Done, Leash, Ours, Output, Plan, SpawnError, stdout_is_usable};

use super::message::{Answer, Came, Counts, Incoming, Report, Request, encode};
use super::socket;

/// A server that takes longer to read a short message hangs.
const SEND: Duration = Duration::from_secs(5);
/// So does one that takes longer to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A pool's connection to a server.
#[derive(Debug)]
pub(crate) struct Borrower {
    name: String,
    jobs: Vec<JobInfo>,
    workers: usize,
    /// What the workers run.
    program: PathBuf,
    /// Where this process was then: jobs run there, whatever becomes of the name.
    directory: Option<File>,
    /// For whoever sends.
    stream: Mutex<UnixStream>,
    waiting: Mutex<Waiting>,
}

/// Workers that were asked for.
#[derive(Default)]
struct Waiting {
    last: u64,
    tickets: BTreeMap<u64, Wanted>,
    /// Nothing comes any more.
    over: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tickets.keys()).finish()
    }
}

struct Wanted {
    ours: Ours,
    leash: Leash,
    done: Done,
}

/// What a pool has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Give so many workers back, each after the job that it runs.
    Recall(usize),
    /// Break: the server is gone.
    Gone,
}

/// What the pool is asked for, and told, on the connection's thread.
pub(crate) trait Pool: Send {
    /// Something is to be done.
    fn notice(&self, notice: Notice);
    /// What it has done.
    fn counts(&self) -> Counts;
}

fn unreachable(name: &str, why: &dyn std::fmt::Display) -> PoolError {
    PoolError::Server { name: name.to_owned(), message: why.to_string() }
}

impl Borrower {
    /// Connects to a server.
    pub(crate) fn connect(name: &str) -> Result<(Arc<Borrower>, Listening), PoolError> {
        let failed = |why: &dyn std::fmt::Display| unreachable(name, why);
        let (stream, mut incoming) = dial(name).map_err(|error| failed(&error))?;
        let program = std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned();
        let answer = ask(&stream, &mut incoming, &Request::Hello { protocol: PROTOCOL, program });
        let (jobs, workers, program) = match answer.map_err(|error| failed(&error))? {
            Answer::Welcome { jobs, workers, program } => (jobs, workers as usize, program),
            Answer::Refused { why } => return Err(failed(&why)),
            _ => return Err(failed(&"what it says makes no sense")),
        };
        let reader = stream.try_clone().map_err(|error| failed(&error))?;
        reader.set_read_timeout(None).map_err(|error| failed(&error))?;
        let borrower = Borrower {
            name: name.to_owned(),
            jobs,
            workers: workers.max(1),
            program: OsString::from_vec(program).into(),
            directory: File::open(".").ok(),
            stream: Mutex::new(stream),
            waiting: Mutex::default(),
        };
        Ok((Arc::new(borrower), Listening { reader, incoming }))
    }

    /// What a server does.
    pub(crate) fn status(name: &str) -> Result<Report, PoolError> {
        let failed = |why: &dyn std::fmt::Display| unreachable(name, why);
        let (stream, mut incoming) = dial(name).map_err(|error| failed(&error))?;
        match ask(&stream, &mut incoming, &Request::Status).map_err(|error| failed(&error))? {
            Answer::Status(report) => Ok(report),
            Answer::Refused { why } => Err(failed(&why)),
            _ => Err(failed(&"what it says makes no sense")),
        }
    }

    pub(crate) fn jobs(&self) -> &[JobInfo] {
        &self.jobs
    }

    /// The path of the workers' program.
    #[cfg(feature = "cli")]
    pub(crate) fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// How many workers the server has.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Why nothing comes any more.
    pub(crate) fn gone(&self) -> PoolError {
        unreachable(&self.name, &"the server is gone, and its workers with it")
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a worker; `done` is called once there is one, or none will come.
    pub(crate) fn borrow(self: &Arc<Self>, plan: Arc<Plan>, done: Done) {
        let ordered = Arc::new(Mutex::new(Some(done)));
        let take = |done: &Mutex<Option<Done>>| done.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (borrower, done) = (self.clone(), ordered.clone());
        let order = process::in_background(move || {
            if let Some(done) = take(&done) {
                borrower.ask_for(&plan, done);
            }
        });
        if let Err(error) = order
            && let Some(done) = take(&ordered)
        {
            done(Err(self.failed("start the thread that asks for workers", error)));
        }
    }

    fn failed(&self, what: &'static str, source: io::Error) -> SpawnError {
        SpawnError { what, source, program: format!("a worker of the shared pool {}", self.name) }
    }

    fn ask_for(&self, plan: &Plan, done: Done) {
        let made = process::channel(plan).and_then(|channel| {
            let leash = Leash::new().map_err(|error| self.failed("make a socket", error))?;
            Ok((channel, leash))
        });
        let ((ours, mut theirs), (leash, tether)) = match made {
            Ok(made) => made,
            Err(error) => return done(Err(error)),
        };
        if plan.stdout == Output::Inherit && stdout_is_usable() {
            theirs.stdout = io::stdout().as_fd().try_clone_to_owned().ok();
        }
        theirs.directory =
            self.directory.as_ref().and_then(|directory| directory.as_fd().try_clone_to_owned().ok());
        let ticket = {
            let mut waiting = self.waiting();
            if waiting.over {
                drop(waiting);
                return done(Err(self.failed("borrow one", Errno::EAGAIN.into())));
            }
            waiting.last += 1;
            let ticket = waiting.last;
            waiting.tickets.insert(ticket, Wanted { ours, leash, done });
            ticket
        };
        let (flags, fds) = theirs.in_order();
        let fds: Vec<_> =
            std::iter::once(tether.as_fd().as_raw_fd()).chain(fds.map(AsRawFd::as_raw_fd)).collect();
        let sent = match encode(&Request::Borrow { ticket, ends: flags }) {
            Ok(bytes) => lent::send(self.stream().as_fd(), &bytes, &fds),
            Err(_) => Err(Errno::EINVAL),
        };
        // Whatever it is may pass; if the server is gone the reader sees it, and tells.
        if sent.is_err()
            && let Some(wanted) = self.take(ticket)
        {
            (wanted.done)(Err(self.failed("borrow one", Errno::EAGAIN.into())));
        }
    }

    fn stream(&self) -> MutexGuard<'_, UnixStream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, ticket: u64) -> Option<Wanted> {
        self.waiting().tickets.remove(&ticket)
    }

    fn say(&self, request: &Request) {
        if let Ok(bytes) = encode(request) {
            // If it cannot be sent the server is gone, which the reader sees.
            let _ = lent::send(self.stream().as_fd(), &bytes, &[]);
        }
    }

    /// Waits for no worker any more.
    pub(crate) fn give_up(&self) {
        let tickets = {
            let mut waiting = self.waiting();
            waiting.over = true;
            std::mem::take(&mut waiting.tickets)
        };
        for wanted in tickets.into_values() {
            (wanted.done)(Err(self.failed("borrow one", Errno::EAGAIN.into())));
        }
    }

    /// Ends the connection; workers that are still borrowed are killed by the server.
    pub(crate) fn hang_up(&self) {
        self.give_up();
        let _ = self.stream().shutdown(std::net::Shutdown::Both);
    }

    /// Does what the server's answer asks for; `false` if it makes no sense.
    fn hear(&self, answer: Answer, pool: &dyn Pool) -> bool {
        match answer {
            Answer::Lent { ticket, pid } => {
                // One that nobody waits for any more goes with its leash.
                if let Some(Wanted { ours, leash, done }) = self.take(ticket) {
                    done(Ok(ours.with(Child::borrowed(leash.of(pid)))));
                }
            }
            Answer::Recall { count } => {
                self.say(&Request::Heard);
                pool.notice(Notice::Recall(count as usize));
            }
            Answer::Ask => self.say(&Request::Told(pool.counts())),
            Answer::Welcome { .. } | Answer::Refused { .. } | Answer::Status(_) => return false,
        }
        true
    }
}

/// The reading side of a connection, until a pool is there that hears.
pub(crate) struct Listening {
    reader: UnixStream,
    incoming: Incoming,
}

impl Listening {
    /// Reads, on a thread of its own, until the connection ends.
    pub(crate) fn start(mut self, borrower: Arc<Borrower>, pool: Box<dyn Pool>) -> io::Result<()> {
        let listen = move || {
            loop {
                let makes_sense = match self.incoming.next::<Answer>() {
                    Ok(Some(answer)) => borrower.hear(answer, &*pool),
                    Ok(None) => self.incoming.read(self.reader.as_fd()) != Came::End,
                    Err(_) => false,
                };
                if !makes_sense {
                    break;
                }
            }
            borrower.hang_up();
            pool.notice(Notice::Gone);
        };
        std::thread::Builder::new().name("sidestep-borrow".into()).spawn(listen).map(drop)
    }
}

fn dial(name: &str) -> Result<(UnixStream, Incoming), socket::SocketError> {
    let stream = socket::connect(name)?;
    let set = stream.set_write_timeout(Some(SEND)).and_then(|()| stream.set_read_timeout(Some(ANSWER)));
    set.map_err(|error| socket::SocketError::System(name.into(), error))?;
    Ok((stream, Incoming::default()))
}

/// Says something, and waits for an answer.
fn ask(stream: &UnixStream, incoming: &mut Incoming, request: &Request) -> Result<Answer, String> {
    let bytes = encode(request).map_err(|error| error.to_string())?;
    lent::send(stream.as_fd(), &bytes, &[]).map_err(|error| format!("it takes nothing: {}", error.desc()))?;
    loop {
        match incoming.next() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(garbled) => return Err(garbled.to_string()),
        }
        match incoming.read(stream.as_fd()) {
            Came::Something => {}
            Came::Nothing => return Err(format!("it has not answered within {ANSWER:?}")),
            Came::End => return Err("it has hung up".into()),
        }
    }
}

/// What a worker is sent, as the server passes it on.
pub(super) type WorkerEnds = Ends<std::os::fd::OwnedFd>;
