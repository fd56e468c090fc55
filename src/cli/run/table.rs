//! The jobs that were handed in: which of them run, on which lane, since when, and which are on their way to an end.
//!
//! There are as many lanes as workers. A job that is handed in while all are taken waits in its worker, and begins when
//! the first lane is free: that is also when its worker has ended the one before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cli::event::Status;
use crate::cli::input::Input;
use crate::pool::Ticket;

/// How often a job was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// From 1.
    pub(super) number: u32,
    /// Workers that have died of it.
    pub(super) crashes: u32,
}

impl Attempt {
    pub(super) const FIRST: Attempt = Attempt { number: 1, crashes: 0 };
}

/// A job that is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) why: Status,
    /// Signals that it was sent.
    pub(super) step: usize,
    /// When the next one is due.
    pub(super) next: Instant,
}

/// A job that was handed in.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) input: Input,
    pub(super) attempt: Attempt,
    /// What it was called with, if somebody wants to keep that.
    pub(super) args: Option<Vec<u8>>,
    pub(super) ticket: Ticket,
    pub(super) lane: Option<usize>,
    /// When it began; when it was handed in, until then.
    pub(super) began: Instant,
    pub(super) ending: Option<Ending>,
}

/// All of them, by numbers of their own: a job that is tried again has another one.
#[derive(Debug)]
pub(super) struct Table {
    jobs: HashMap<u64, Job>,
    next: u64,
    lanes: BinaryHeap<Reverse<usize>>,
    /// Lanes that are to vanish, once they are free: there are fewer workers now.
    lanes_made: usize,
    waiting: VecDeque<u64>,
    /// Those that run and are not being ended, by when they began.
    running: BTreeMap<(Instant, u64), ()>,
    ending: Vec<u64>,
}

impl Table {
    pub(super) fn new(lanes: usize) -> Table {
        Table {
            jobs: HashMap::new(),
            next: 0,
            lanes: (0..lanes).map(Reverse).collect(),
            lanes_made: lanes,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            ending: Vec::new(),
        }
    }

    /// There are so many workers from now on.
    pub(super) fn resize(&mut self, lanes: usize, now: Instant) {
        self.lanes.extend((self.lanes_made..lanes).map(Reverse));
        self.lanes_made = lanes;
        self.lanes.retain(|lane| lane.0 < lanes);
        self.fill(now);
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> usize {
        self.jobs.len() - self.waiting.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Job> {
        self.jobs.get(&number)
    }

    /// The number that the next job is to be handed in with.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// A job was handed in; its lane, if it has begun.
    pub(super) fn add(
        &mut self,
        input: Input,
        attempt: Attempt,
        args: Option<Vec<u8>>,
        ticket: Ticket,
        now: Instant,
    ) -> Option<usize> {
        let number = self.next;
        self.next += 1;
        let job = Job { input, attempt, args, ticket, lane: None, began: now, ending: None };
        self.jobs.insert(number, job);
        self.waiting.push_back(number);
        self.fill(now);
        self.jobs[&number].lane
    }

    /// Those that wait longest begin on lanes that are free.
    fn fill(&mut self, now: Instant) {
        while !self.lanes.is_empty()
            && let Some(number) = self.waiting.pop_front()
        {
            self.begin(number, now);
        }
    }

    fn begin(&mut self, number: u64, now: Instant) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.lane = self.lanes.pop().map(|lane| lane.0);
            job.began = now;
            self.running.insert((now, number), ());
        }
    }

    /// A job has come back, or was withdrawn.
    pub(super) fn remove(&mut self, number: u64, now: Instant) -> Option<Job> {
        let mut job = self.jobs.remove(&number)?;
        self.running.remove(&(job.began, number));
        self.ending.retain(|other| *other != number);
        match job.lane {
            Some(lane) if lane < self.lanes_made => self.lanes.push(Reverse(lane)),
            Some(_) => {}
            // It has overtaken those before it: nobody knows where it ran.
            None => {
                self.waiting.retain(|other| *other != number);
                job.lane = Some(0);
                job.began = now;
            }
        }
        self.fill(now);
        Some(job)
    }

    /// Those that began so long ago, and are not being ended.
    pub(super) fn older(&self, than: Duration, now: Instant) -> Vec<u64> {
        let old = |(began, _): &&(Instant, u64)| now.saturating_duration_since(*began) >= than;
        self.running.keys().take_while(old).map(|(_, number)| *number).collect()
    }

    /// When the oldest began that is not being ended.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.running.keys().next().map(|(began, _)| *began)
    }

    /// The one that began last.
    pub(super) fn youngest(&self) -> Option<u64> {
        self.running.keys().next_back().map(|(_, number)| *number)
    }

    /// Those that are not being ended.
    pub(super) fn unended(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| job.ending.is_none()).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// A job is to be ended, or the next step of it was done.
    pub(super) fn set_ending(&mut self, number: u64, ending: Ending) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        if job.ending.replace(ending).is_none() {
            self.running.remove(&(job.began, number));
            self.ending.push(number);
        }
    }

    /// Those that are being ended.
    pub(super) fn ending(&self) -> impl Iterator<Item = (u64, Ending)> + '_ {
        self.ending.iter().filter_map(|number| Some((*number, self.jobs.get(number)?.ending?)))
    }

    /// The clock was not to count for so long: the command was stopped.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.running.clear();
        for (number, job) in &mut self.jobs {
            job.began += by;
            if let Some(ending) = &mut job.ending {
                ending.next += by;
            } else if job.lane.is_some() {
                self.running.insert((job.began, *number), ());
            }
        }
    }
}
