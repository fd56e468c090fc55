//! Runs a job over its inputs.
//!
//! One thread does it all: it hands jobs in while there is room for more, waits for the first that is over, and shows it.
//! So nothing here is locked, and few inputs are read before a worker can use them. What others want of it (a signal, a
//! deadline) they say in [`Orders`]; what is done about that, and about the time, stands in `steering`.

mod gate;
mod halt;
mod orders;
mod steering;
mod table;
mod tally;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::time::{Duration, Instant, SystemTime};

use super::call::Arguments;
use super::ending::CliError;
use super::event::{Ended, Started, Status, Watcher};
use super::input::{Input, Inputs, Intake, Next, intake};
use super::joblog::{Decision, Done};
use super::options::{Halt, TermSeq, Timeout, When, Workers};
use super::output::{Judge, Live, Printer, Record, Verdict};
use crate::pool::{Desk, RawResult};
use crate::{JobError, Pool};
pub(super) use gate::Gate;
use halt::Count;
use orders::Grace;
pub(super) use orders::{Course, Orders};
use table::{Attempt, Job, Table};
pub(super) use tally::Tally;

/// So much work is handed in ahead for each worker, in nanoseconds,
const AHEAD: u64 = 2_000_000;
/// and no more jobs than these.
const MOST_AHEAD: usize = 512;
/// Bytes of inputs that may wait in all.
const AHEAD_BYTES: usize = 8 << 20;
/// A job that has killed so many workers is not tried again, whatever its retries.
const POISON: u32 = 3;
/// A share of the median means something once so many jobs have ended,
const ENOUGH: usize = 3;
/// and the median is that of so many of the last ones.
const SAMPLE: usize = 1000;
/// How often it is looked up how many workers there are to be.
const CREW_EVERY: Duration = Duration::from_millis(500);

/// What holds for each job, and for the run.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) timeout: Option<Timeout>,
    pub(super) term_seq: TermSeq,
    /// How often a job is tried at most.
    pub(super) attempts: u32,
    /// How often more, if its worker died.
    pub(super) crash_retries: u32,
    pub(super) retry_delay: Duration,
    /// How long a drain that a signal wants may take.
    pub(super) grace: Option<Duration>,
    pub(super) halt: Option<Halt>,
    pub(super) gate: Gate,
    /// When the whole run is to end.
    pub(super) deadline: Option<Instant>,
}

impl Terms {
    /// Whether it matters when exactly a job begins, so that none may wait in a worker.
    fn are_exact(&self) -> bool {
        self.timeout.is_some() || self.halt.is_some() || self.gate.is_needed()
    }
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There is nothing left to be done, or `--halt` has ended it: its exit code.
    Over(Option<u8>),
    /// Somebody ended it.
    Ordered,
    /// Its time was up.
    Deadline,
}

/// An attempt that is over.
#[derive(Clone, Copy)]
struct Past<'j> {
    input: &'j Input,
    attempt: Attempt,
    args: Option<&'j [u8]>,
    lane: Option<usize>,
    began: Instant,
}

impl Past<'_> {
    fn of(job: &Job) -> Past<'_> {
        let Job { input, attempt, args, lane, began, .. } = job;
        Past { input, attempt: *attempt, args: args.as_deref(), lane: *lane, began: *began }
    }

    /// One that has not begun.
    fn refused(input: &Input, attempt: Attempt, now: Instant) -> Past<'_> {
        Past { input, attempt, args: None, lane: None, began: now }
    }
}

/// A job that waits for its next attempt.
struct Again {
    input: Input,
    attempt: Attempt,
}

/// One run.
pub(super) struct Run<'a> {
    pub(super) pool: &'a Pool,
    pub(super) desk: Desk<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) judge: Judge<'a>,
    pub(super) printer: Printer<'a>,
    /// Where output is shown while jobs run, if it is.
    pub(super) live: Option<&'a Live>,
    pub(super) watchers: Vec<Box<dyn Watcher>>,
    /// Whether one of them wants to know what jobs were called with.
    pub(super) keeps_args: bool,
    /// What an earlier run has done already.
    pub(super) done: Option<&'a Done>,
    pub(super) tally: &'a Tally,
    pub(super) orders: &'a Orders,
    pub(super) terms: Terms,
    /// Where it stands how many workers there are to be, if that may change.
    pub(super) crew: Option<&'a Workers>,
    pub(super) workers: usize,
}

impl Run<'_> {
    /// Runs until there is nothing left to do, or it is to end.
    pub(super) fn run(self, inputs: Inputs) -> Result<End, CliError> {
        let (inlet, intake) = intake();
        self.orders.wake(Some(self.desk.rouser()));
        inlet.read(inputs, self.desk.rouser()).map_err(CliError::Thread)?;
        let count = Count::new(self.terms.halt);
        let state = State {
            table: Table::new(self.workers),
            again: BTreeMap::new(),
            intake: Some(intake),
            bytes: 0,
            count,
            course: Course::On,
            grace: Grace::new(self.terms.grace),
            late: false,
            took: Vec::new(),
            start: (Instant::now(), SystemTime::now()),
            next_start: None,
            next_crew: Instant::now() + CREW_EVERY,
        };
        let mut driver = Driver { run: self, state };
        let outcome = driver.drive();
        driver.run.orders.wake(None);
        // Also after an error: what is known is written.
        let closed = driver.run.watchers.iter_mut().map(|watcher| watcher.close()).fold(Ok(()), Result::and);
        let end = outcome?;
        closed.map(|()| end)
    }
}

/// What changes while it goes on.
struct State {
    table: Table,
    /// By when that is to be, and by the input's number.
    again: BTreeMap<(Instant, u64), Again>,
    /// `None` once there are no more inputs, or no more are wanted.
    intake: Option<Intake>,
    /// Bytes of the inputs in the table.
    bytes: usize,
    count: Count,
    course: Course,
    grace: Grace,
    /// The deadline has passed.
    late: bool,
    /// What the last jobs took, in nanoseconds.
    took: Vec<u64>,
    start: (Instant, SystemTime),
    /// When the gate is to be asked again.
    next_start: Option<Instant>,
    /// When the number of workers is looked up again.
    next_crew: Instant,
}

struct Driver<'a> {
    run: Run<'a>,
    state: State,
}

/// What can be begun next.
enum Begin {
    Job(Input, Attempt),
    Later,
}

impl Driver<'_> {
    fn drive(&mut self) -> Result<End, CliError> {
        loop {
            if let Some(stopped) = self.run.orders.take_stopped() {
                self.state.table.postpone(stopped);
            }
            let now = Instant::now();
            self.heed(now)?;
            self.begin_more(now)?;
            if self.is_over() {
                break;
            }
            self.run.tally.running(self.state.table.begun());
            let wants_input = self.wants_input();
            let (state, orders) = (&self.state, self.run.orders);
            let due = || {
                orders.course() > state.course
                    || wants_input && state.intake.as_ref().is_some_and(Intake::is_due)
            };
            if let Some(result) = self.run.desk.next(self.next_moment(), &due) {
                self.take(result)?;
            }
        }
        Ok(match (self.state.late, self.state.count.halted) {
            (true, _) => End::Deadline,
            (false, None) if self.run.orders.course() > Course::On => End::Ordered,
            (false, halted) => End::Over(halted),
        })
    }

    fn is_over(&self) -> bool {
        let State { table, again, intake, .. } = &self.state;
        table.is_empty() && again.is_empty() && intake.is_none()
    }

    // ---- beginning ----

    /// How many jobs may be handed in at a time: one for each worker, and more only of those that are over in a moment.
    fn window(&self) -> usize {
        let each = match self.run.terms.are_exact() {
            true => 1,
            false => AHEAD.checked_div(self.run.desk.pace()).map_or(1, |jobs| jobs as usize),
        };
        self.run.workers * each.clamp(1, MOST_AHEAD)
    }

    fn has_room(&self, window: usize) -> bool {
        let State { table, bytes, .. } = &self.state;
        table.len() < window && (*bytes < AHEAD_BYTES || table.len() < self.run.workers)
    }

    fn wants_input(&self) -> bool {
        self.state.next_start.is_none() && self.has_room(self.window())
    }

    fn begin_more(&mut self, now: Instant) -> Result<(), CliError> {
        self.state.next_start = None;
        let window = self.window();
        while self.state.course == Course::On && self.has_room(window) {
            if self.run.terms.gate.is_needed() && self.has_more(now) {
                if let Err(later) = self.run.terms.gate.is_open(now) {
                    self.state.next_start = Some(later);
                    return Ok(());
                }
                self.run.terms.gate.pass(now);
            }
            match self.next_job(now)? {
                Begin::Job(input, Attempt::FIRST) if self.is_done(&input)? => self.leave_out(&input)?,
                Begin::Job(input, attempt) => self.begin(input, attempt, now)?,
                Begin::Later => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether there may be a job to begin.
    fn has_more(&self, now: Instant) -> bool {
        self.state.intake.as_ref().is_some_and(Intake::has_some)
            || self.state.again.first_key_value().is_some_and(|((due, _), _)| *due <= now)
    }

    /// One that is to be tried again, if its time has come, or the next input.
    fn next_job(&mut self, now: Instant) -> Result<Begin, CliError> {
        if let Some(first) = self.state.again.first_entry().filter(|first| first.key().0 <= now) {
            let Again { input, attempt } = first.remove();
            return Ok(Begin::Job(input, attempt));
        }
        let Some(intake) = &mut self.state.intake else { return Ok(Begin::Later) };
        match intake.next() {
            Next::Input(input) => {
                self.run.tally.taken();
                Ok(Begin::Job(input, Attempt::FIRST))
            }
            Next::Later => Ok(Begin::Later),
            Next::End => {
                self.run.tally.drained();
                self.state.intake = None;
                Ok(Begin::Later)
            }
            Next::Failed(error) => {
                self.state.intake = None;
                // What has begun is still to be shown.
                self.state.course = Course::Drain;
                self.run.tally.broken(error);
                Ok(Begin::Later)
            }
        }
    }

    /// Whether an earlier run has done it.
    fn is_done(&self, input: &Input) -> Result<bool, CliError> {
        let Some(done) = self.run.done.filter(|done| done.len() > 0) else { return Ok(false) };
        let command = self.run.arguments.command(self.run.judge.job, input);
        Ok(done.decide(input, &command)? == Decision::Skip)
    }

    fn leave_out(&mut self, input: &Input) -> Result<(), CliError> {
        self.run.tally.left_out();
        self.run.watchers.iter_mut().for_each(|watcher| watcher.left_out());
        self.run.printer.skip(input.number)
    }

    fn begin(&mut self, mut input: Input, attempt: Attempt, now: Instant) -> Result<(), CliError> {
        // A block is kept only if it may be needed again.
        let again = self.run.terms.attempts > 1 || self.run.terms.crash_retries > 0;
        let block = input.block.clone().filter(|_| again);
        let args = self.run.arguments.of(&mut input);
        input.block = block;
        let args = match args {
            Ok(args) => args,
            Err(bad) => {
                let verdict = Verdict::refused(bad.to_string());
                return self.end_of(Past::refused(&input, attempt, now), verdict, now);
            }
        };
        if let Some(live) = self.run.live {
            live.begin(&input);
        }
        let kept = self.run.keeps_args.then(|| args.clone());
        let number = self.state.table.next();
        let ticket = match self.run.desk.submit(number, args) {
            Ok(ticket) => ticket,
            Err(error) if ends_all(&error) => return Err(CliError::Job(error)),
            Err(error) => {
                let verdict = Verdict::refused(error.to_string());
                let past = Past { args: kept.as_deref(), ..Past::refused(&input, attempt, now) };
                return self.end_of(past, verdict, now);
            }
        };
        self.state.bytes += input.len();
        if let Some(slot) = self.state.table.add(input, attempt, kept, ticket, now)
            && let Some(job) = self.state.table.get(number)
        {
            let at = self.state.start.1 + (now - self.state.start.0);
            let started = Started { input: &job.input, slot, pid: None, at };
            self.run.watchers.iter_mut().for_each(|watcher| watcher.started(&started));
        }
        Ok(())
    }

    // ---- ending ----

    /// A job has come back.
    fn take(&mut self, result: RawResult) -> Result<(), CliError> {
        let now = Instant::now();
        if let Err(error) = &result.outcome
            && ends_all(error)
        {
            return Err(CliError::Job(error.clone()));
        }
        let Some(job) = self.state.table.remove(result.number, now) else { return Ok(()) };
        self.state.bytes -= job.input.len();
        let shown = match self.run.live {
            Some(live) => Some(live.end(&job.input, result.outcome.is_ok()).map_err(CliError::Output)?),
            None => None,
        };
        let mut verdict = self.run.judge.judge(result).shown(shown);
        match job.ending.map(|ending| ending.why) {
            Some(Status::TimedOut) => {
                let why = format!("it was ended after {} (--timeout)", seconds(now - job.began));
                verdict = verdict.because(Status::TimedOut, why);
            }
            Some(_) if verdict.status != Status::Ok => return self.end_with_run(&job, &verdict, now),
            _ => {}
        }
        self.over(job, verdict, now)
    }

    /// A job is over, unless it is tried again.
    fn over(&mut self, job: Job, mut verdict: Verdict, now: Instant) -> Result<(), CliError> {
        let crashed = matches!(verdict.status, Status::Crashed { .. });
        let crashes = job.attempt.crashes + u32::from(crashed);
        let attempt = Attempt { crashes, ..job.attempt };
        if self.is_tried_again(verdict.status, attempt) {
            let command = self.command(&job.input);
            let ended = self.ended(Past { attempt, ..Past::of(&job) }, &command, &verdict, now);
            let ended = Ended { again: true, ..ended };
            self.run.watchers.iter_mut().try_for_each(|watcher| watcher.ended(&ended))?;
            let pause = self.pause(job.input.number, attempt.number);
            let again =
                Again { attempt: Attempt { number: attempt.number + 1, ..attempt }, input: job.input };
            self.state.again.insert((now + pause, again.input.number), again);
            self.run.tally.retried();
            return Ok(());
        }
        let tried = match attempt.number {
            _ if crashes >= POISON && crashed => {
                Some(format!("it has killed {crashes} workers, and is not tried again"))
            }
            number @ 2.. => Some(format!("it was tried {number} times")),
            _ => None,
        };
        if let Some(tried) = tried {
            verdict.problem = verdict.problem.map(|problem| problem.explained(&tried));
        }
        self.end_of(Past { attempt, ..Past::of(&job) }, verdict, now)
    }

    fn is_tried_again(&self, status: Status, attempt: Attempt) -> bool {
        let left = match status {
            Status::Failed { .. } | Status::Killed { .. } | Status::TimedOut => {
                attempt.number - attempt.crashes < self.run.terms.attempts
            }
            Status::Crashed { .. } => {
                attempt.crashes <= self.run.terms.crash_retries && attempt.crashes < POISON
            }
            Status::Ok | Status::Ended | Status::Refused => false,
        };
        left && self.state.course == Course::On
    }

    /// How long to wait before the next attempt: it doubles with each, less up to a half by chance.
    fn pause(&self, number: u64, attempts: u32) -> Duration {
        const LONGEST: Duration = Duration::from_secs(86_400);
        let doubled = self.run.terms.retry_delay.saturating_mul(1 << (attempts - 1).min(30)).min(LONGEST);
        let chance = std::hash::RandomState::new().hash_one((number, attempts)) as f64 / u64::MAX as f64;
        doubled.mul_f64(1.0 - 0.5 * chance)
    }

    /// A job is over: it is told, shown and counted.
    fn end_of(&mut self, past: Past<'_>, verdict: Verdict, now: Instant) -> Result<(), CliError> {
        let Past { input, lane, began, .. } = past;
        let command = self.command(input);
        let ended = self.ended(past, &command, &verdict, now);
        let mut record = Record::default();
        self.run.printer.log(&ended, &mut record)?;
        self.run.watchers.iter_mut().try_for_each(|watcher| watcher.ended(&ended))?;
        let Verdict { status, record: shown, problem, slot, .. } = verdict;
        let slot = slot.or(lane.map(|lane| lane as u32 + 1)).unwrap_or(0);
        let shown = if self.run.live.is_some() { Record::default() } else { shown };
        let record = Record { log: record.log, ..shown };
        self.run.printer.show(input, slot, record, problem.as_ref())?;
        self.run.tally.ended(status == Status::Ok);
        self.note_time(now - began);
        match self.state.count.add(status, self.run.tally.total()) {
            Some(When::Now) => self.steer(Course::End, now),
            Some(When::Soon) => self.steer(Course::Drain, now),
            None => Ok(()),
        }
    }

    /// What is run for an input, as one would type it.
    fn command(&self, input: &Input) -> Vec<u8> {
        self.run.arguments.command(self.run.judge.job, input)
    }

    fn ended<'e>(&self, past: Past<'e>, command: &'e [u8], verdict: &'e Verdict, now: Instant) -> Ended<'e> {
        let Past { input, attempt, args, lane, began } = past;
        let (start, clock) = self.state.start;
        let (began, took) = verdict.time.unwrap_or((clock + (began - start), now - began));
        Ended {
            input,
            command,
            status: verdict.status,
            began,
            took,
            attempt: attempt.number,
            again: false,
            slot: lane,
            pid: verdict.pid,
            usage: verdict.usage,
            sent: input.sent,
            received: verdict.received.unwrap_or(verdict.record.stdout.len() as u64),
            stdout: &verdict.record.stdout,
            stderr: &verdict.record.stderr,
            error: verdict.problem.as_ref().map(|problem| problem.text()),
            details: verdict.problem.as_ref().map_or("", |problem| problem.details()),
            args,
            worker: verdict.slot,
        }
    }

    fn note_time(&mut self, took: Duration) {
        if !matches!(self.run.terms.timeout, Some(Timeout::Percent(_))) {
            return;
        }
        let took = took.as_nanos() as u64;
        let at = (self.state.count.ok + self.state.count.failed) as usize % SAMPLE;
        match self.state.took.get_mut(at) {
            Some(place) => *place = took,
            None => self.state.took.push(took),
        }
    }
}

/// A time as a sentence has it.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Whether it is not about one job: the pool is at its end.
fn ends_all(error: &JobError) -> bool {
    matches!(
        error,
        JobError::PoolClosed
            | JobError::PoolBroken { .. }
            | JobError::NotRegistered { .. }
            | JobError::InvalidCall { .. }
    )
}
