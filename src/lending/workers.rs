//! The server's workers: each is started, greets, is lent and comes back, until it dies and another takes its place.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sidestep_worker::codec;
use sidestep_worker::lent;
use sidestep_worker::page::PROTOCOL;
use sidestep_worker::wire::{Hello, JobInfo};

use crate::process::{Child, Exit, Plan, SpawnError, Tether, Wish, launch_lent};

use super::borrower::WorkerEnds;
use super::ledger::Who;
use super::message::{WorkerReport, WorkerState};

/// Deaths before hello, one after the other, that end the server.
const STORM: u32 = 5;
/// The pause after the first of them; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A worker that has not greeted by then never will.
const START: Duration = Duration::from_secs(10);
/// No hello is longer, in bytes.
const LONGEST: usize = 8 << 20;

/// One worker's place.
#[derive(Debug)]
struct Place {
    state: State,
    since: Instant,
}

#[derive(Debug)]
enum State {
    /// Nobody is here; somebody is to be started.
    Absent,
    /// Its hello, as far as it has come.
    Starting(Crew, Vec<u8>),
    Free(Crew),
    Lent(Crew, Who, Tether),
    /// It was killed; somebody may want to know how it ends.
    Ending(Crew, Option<Tether>),
}

/// A worker's process, and the socket to it.
#[derive(Debug)]
struct Crew {
    child: Child,
    server: UnixStream,
    /// It has closed its end: a job that closes all that is open, or it is about to end.
    is_mute: bool,
}

/// What a descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// What a worker says.
    Voice(usize),
    /// Its end.
    Exit(usize),
    /// What its borrower wants.
    Tether(usize),
}

/// Why there are no workers.
#[derive(Debug)]
pub(crate) enum NoWorkers {
    Spawn(SpawnError),
    /// So many in a row have ended before they greeted, the last one in this way.
    Storm {
        deaths: u32,
        last: String,
    },
}

impl std::fmt::Display for NoWorkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoWorkers::Spawn(error) => error.fmt(f),
            NoWorkers::Storm { deaths, last } => write!(
                f,
                "{deaths} workers in a row have ended before they served, the last {last}: does the program call \
                 sidestep::init() in the first line of main?"
            ),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Workers {
    plan: Plan,
    places: Vec<Place>,
    /// What the first one has said of its jobs.
    jobs: Option<Vec<JobInfo>>,
    /// Deaths before hello since one last greeted.
    deaths: u32,
    /// Nobody is started before that.
    pause: Option<Instant>,
}

impl Workers {
    pub(super) fn new(plan: Plan, count: usize, now: Instant) -> Workers {
        let place = || Place { state: State::Absent, since: now };
        let places = std::iter::repeat_with(place).take(count).collect();
        Workers { plan, places, jobs: None, deaths: 0, pause: None }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    pub(super) fn jobs(&self) -> Option<&[JobInfo]> {
        self.jobs.as_deref()
    }

    /// Starts those that are missing, and ends those that hang; when to look again.
    pub(super) fn tend(&mut self, now: Instant) -> Result<Option<Instant>, NoWorkers> {
        let mut again = self.pause.filter(|pause| *pause > now);
        for place in &mut self.places {
            match &place.state {
                State::Absent if again.is_none() => match launch_lent(&self.plan) {
                    Ok((child, server)) => {
                        let _ = server.set_nonblocking(true);
                        place.state = State::Starting(Crew { child, server, is_mute: false }, Vec::new());
                        place.since = now;
                    }
                    Err(error) if !error.is_transient() => return Err(NoWorkers::Spawn(error)),
                    Err(_) => {
                        let pause = now + FIRST_PAUSE;
                        self.pause = Some(pause);
                        again = Some(pause);
                    }
                },
                State::Starting(crew, _) if now >= place.since + START => {
                    crew.child.kill_group(Signal::SIGKILL);
                    place.since = now;
                }
                _ => {}
            }
        }
        let starting = self.places.iter().filter(|place| matches!(place.state, State::Starting(..)));
        Ok(starting.map(|place| place.since + START).chain(again).min())
    }

    /// Everything that is to be waited for.
    pub(super) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = Vec::new();
        for (at, place) in self.places.iter().enumerate() {
            let Some(crew) = place.state.crew() else { continue };
            sources.push((Source::Exit(at), crew.child.exit_fd()));
            if !crew.is_mute {
                sources.push((Source::Voice(at), crew.server.as_fd()));
            }
            if let State::Lent(_, _, tether) = &place.state {
                sources.push((Source::Tether(at), tether.as_fd()));
            }
        }
        sources
    }

    /// Looks at one; whose worker it is no more, if it was somebody's.
    pub(super) fn look(&mut self, source: Source, now: Instant) -> Result<Option<Who>, NoWorkers> {
        match source {
            Source::Voice(at) => Ok(self.hear(at, now)),
            Source::Tether(at) => Ok(self.heed(at, now)),
            Source::Exit(at) => self.reap(at, now),
        }
    }

    fn hear(&mut self, at: usize, now: Instant) -> Option<Who> {
        let place = &mut self.places[at];
        let mut room = [0; 4096];
        let crew = place.state.crew_mut()?;
        let count = match (&crew.server).read(&mut room) {
            Ok(0) => {
                crew.is_mute = true;
                // Whoever has it sees what becomes of it; at the end of the loan it ends by itself.
                return if matches!(place.state, State::Free(_)) { self.kill(at, now) } else { None };
            }
            Ok(count) => count,
            Err(_) => return None,
        };
        match std::mem::replace(&mut place.state, State::Absent) {
            State::Starting(crew, mut greeting) => {
                greeting.extend_from_slice(&room[..count]);
                match greeted(&greeting) {
                    Ok(None) => place.state = State::Starting(crew, greeting),
                    Ok(Some(jobs)) => {
                        self.jobs.get_or_insert(jobs);
                        (self.deaths, self.pause) = (0, None);
                        place.set(State::Free(crew), now);
                    }
                    Err(()) => {
                        crew.child.kill_group(Signal::SIGKILL);
                        place.state = State::Starting(crew, Vec::new());
                    }
                }
                None
            }
            State::Lent(crew, who, tether) if room[..count] == [lent::FREE] => {
                tether.tell(Exit::Code(0));
                place.set(State::Free(crew), now);
                Some(who)
            }
            other => {
                place.state = other;
                None
            }
        }
    }

    /// Does what a borrower wants of his worker.
    fn heed(&mut self, at: usize, now: Instant) -> Option<Who> {
        let State::Lent(crew, _, tether) = &self.places[at].state else { return None };
        match tether.wish()? {
            Wish::Signal(signal) => {
                crew.child.kill_group(signal);
                None
            }
            Wish::Gone => self.kill(at, now),
        }
    }

    /// Kills one, which is nobody's any more; whose it was. The borrower hears how it has ended once it has.
    fn kill(&mut self, at: usize, now: Instant) -> Option<Who> {
        let place = &mut self.places[at];
        let (crew, whose) = match std::mem::replace(&mut place.state, State::Absent) {
            State::Lent(crew, who, tether) => (crew, Some((who, tether))),
            State::Free(crew) | State::Starting(crew, _) => (crew, None),
            other => {
                place.state = other;
                return None;
            }
        };
        crew.child.kill_group(Signal::SIGKILL);
        let (who, tether) = whose.unzip();
        place.set(State::Ending(crew, tether), now);
        who
    }

    fn reap(&mut self, at: usize, now: Instant) -> Result<Option<Who>, NoWorkers> {
        let place = &mut self.places[at];
        let Some(exit) = place.state.crew_mut().and_then(|crew| crew.child.try_reap()) else {
            return Ok(None);
        };
        let state = std::mem::replace(&mut place.state, State::Absent);
        place.since = now;
        match state {
            State::Lent(_, who, tether) => {
                tether.tell(exit);
                Ok(Some(who))
            }
            State::Starting(..) => {
                self.deaths += 1;
                let pause = FIRST_PAUSE.saturating_mul(1 << (self.deaths - 1).min(6));
                self.pause = Some(now + pause);
                if self.deaths < STORM {
                    return Ok(None);
                }
                Err(NoWorkers::Storm { deaths: STORM, last: words(exit) })
            }
            State::Ending(_, tether) => {
                tether.into_iter().for_each(|tether| tether.tell(exit));
                Ok(None)
            }
            State::Free(_) | State::Absent => Ok(None),
        }
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.places.iter().filter(|place| matches!(place.state, State::Free(_))).count()
    }

    /// How many will be before long, if nobody else gets them.
    pub(super) fn coming(&self) -> usize {
        let comes =
            |place: &&Place| matches!(place.state, State::Starting(..) | State::Ending(..) | State::Absent);
        self.places.iter().filter(comes).count()
    }

    /// Lends a free one, the one that was used last, and gives its process id. What was to be lent to comes back if that
    /// one could not be reached; then another can be tried.
    pub(super) fn lend(
        &mut self,
        who: Who,
        tether: Tether,
        ends: &WorkerEnds,
        now: Instant,
    ) -> Result<u32, Tether> {
        let free = |(_, place): &(usize, &Place)| matches!(place.state, State::Free(_));
        let last = self.places.iter().enumerate().filter(free).max_by_key(|(_, place)| place.since);
        let Some((at, _)) = last else { return Err(tether) };
        let place = &mut self.places[at];
        let State::Free(crew) = std::mem::replace(&mut place.state, State::Absent) else {
            return Err(tether);
        };
        let (flags, fds) = ends.in_order();
        let fds: Vec<_> = fds.map(AsRawFd::as_raw_fd).collect();
        if lent::send(crew.server.as_fd(), &[flags], &fds).is_err() {
            crew.child.kill_group(Signal::SIGKILL);
            place.set(State::Ending(crew, None), now);
            return Err(tether);
        }
        let pid = crew.child.pid();
        place.set(State::Lent(crew, who, tether), now);
        Ok(pid)
    }

    /// Kills whatever somebody has, who is gone.
    pub(super) fn take_from(&mut self, who: Who, now: Instant) {
        for at in 0..self.places.len() {
            if matches!(self.places[at].state, State::Lent(_, whose, _) if whose == who) {
                self.kill(at, now);
            }
        }
    }

    pub(super) fn report(&self, now: Instant) -> Vec<WorkerReport> {
        let report = |place: &Place| {
            let (state, client) = match &place.state {
                State::Absent | State::Ending(..) => (WorkerState::Absent, None),
                State::Starting(..) => (WorkerState::Starting, None),
                State::Free(_) => (WorkerState::Free, None),
                State::Lent(_, who, _) => (WorkerState::Lent, Some(*who)),
            };
            let since = now.saturating_duration_since(place.since).as_millis() as u64;
            WorkerReport { pid: place.state.crew().map(|crew| crew.child.pid()), state, client, since }
        };
        self.places.iter().map(report).collect()
    }
}

impl Place {
    fn set(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }
}

impl State {
    fn crew(&self) -> Option<&Crew> {
        match self {
            State::Absent => None,
            State::Starting(crew, _) | State::Free(crew) | State::Lent(crew, ..) | State::Ending(crew, _) => {
                Some(crew)
            }
        }
    }

    fn crew_mut(&mut self) -> Option<&mut Crew> {
        match self {
            State::Absent => None,
            State::Starting(crew, _) | State::Free(crew) | State::Lent(crew, ..) | State::Ending(crew, _) => {
                Some(crew)
            }
        }
    }
}

/// The jobs that a worker's greeting tells of, once it is whole; an error if it is none of this protocol.
fn greeted(greeting: &[u8]) -> Result<Option<Vec<JobInfo>>, ()> {
    let Some((length, rest)) = greeting.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > LONGEST {
        return Err(());
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    match codec::decode::<Hello>(body) {
        Ok(hello) if hello.protocol == PROTOCOL => Ok(Some(hello.jobs)),
        _ => Err(()),
    }
}

fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("with exit code {code}"),
        Exit::Signal { signal, .. } => format!("by signal {signal}"),
        Exit::Unknown => "in a way that nobody has seen".into(),
    }
}
