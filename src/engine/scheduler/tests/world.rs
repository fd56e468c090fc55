//! Workers as the scheduler meets them: their pages, their pipes and their deaths, one small step at a time.
//!
//! It keeps a record of every item and panics as soon as the scheduler breaks a promise about one.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use sidestep_worker::page::SLOTS;
use sidestep_worker::wire::RunHeader;

use crate::process::Usage;

use super::super::{Down, Effects, Item, Payload, Running, Verdict};
use super::items::{End, Items, Key};

/// Arguments that know whose they are.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) task: u32,
    pub(super) from: u64,
    pub(super) count: u32,
    /// Bytes of one item.
    pub(super) size: usize,
}

impl Payload for Load {
    fn split_off(&mut self, at: u32) -> Load {
        assert!(at <= self.count, "{self:?} is cut at {at}");
        let rest = Load { from: self.from + u64::from(at), count: self.count - at, ..*self };
        self.count = at;
        rest
    }

    fn part(&mut self, at: u32, count: u32) -> Load {
        assert!(at + count <= self.count, "{self:?} has no {count} items from {at}");
        Load { from: self.from + u64::from(at), count, ..*self }
    }

    fn weight(&self, count: u32) -> usize {
        assert!(count <= self.count, "{self:?} has no {count} items");
        self.size * count as usize
    }
}

/// A page's slot.
#[derive(Debug, Clone, Copy)]
struct Claim {
    run: u32,
    task: u32,
    from: u64,
    end: u32,
    claimed: u32,
}

#[derive(Debug)]
enum Frame {
    Run(RunHeader, Load),
    Bye,
}

/// The run that a worker is in.
#[derive(Debug)]
struct Current {
    run: u32,
    task: u32,
    from: u64,
    attempt: u32,
    watched: bool,
    apart: bool,
    claimed: Range<u32>,
    noted: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    pipe: VecDeque<Frame>,
    page: Vec<Option<Claim>>,
    consumed: u32,
    sent: u32,
    current: Option<(u32, u32)>,
    /// When that was noted, in a run that is watched.
    since: Instant,
    /// What it had used by then, and what it uses now.
    cpu_before: Duration,
    pub(super) usage: Usage,
    /// It may begin nothing that is watched.
    halted: bool,
    run: Option<Current>,
    /// Committed, and not yet read by the parent.
    pub(super) unread: VecDeque<Key>,
    /// It has greeted.
    pub(super) serves: bool,
    pub(super) stopped: bool,
    pub(super) killed: bool,
    /// It is asked to end.
    pub(super) asked: bool,
    /// It has taken its leave and ends by itself.
    pub(super) left: bool,
    /// Its process has ended; only the page is left.
    dead: bool,
}

impl Process {
    fn new(now: Instant) -> Process {
        Process {
            pipe: VecDeque::new(),
            page: vec![None; SLOTS],
            consumed: 0,
            sent: 0,
            current: None,
            since: now,
            cpu_before: Duration::ZERO,
            usage: Usage { memory: 1, cpu: Duration::ZERO },
            halted: false,
            run: None,
            unread: VecDeque::new(),
            serves: false,
            stopped: false,
            killed: false,
            asked: false,
            left: false,
            dead: false,
        }
    }

    fn claim(&self, run: u32) -> &Claim {
        let claim = self.page[run as usize % SLOTS].as_ref().expect("the run was sent");
        assert_eq!(claim.run, run, "the page's slot is another run's by now");
        claim
    }

    /// A job has written over what its worker has claimed.
    pub(super) fn scribble_claims(&mut self) {
        self.page.iter_mut().flatten().for_each(|claim| claim.claimed = 0);
    }

    fn claim_mut(&mut self, run: u32) -> &mut Claim {
        self.claim(run);
        self.page[run as usize % SLOTS].as_mut().unwrap()
    }

    /// The item that it runs.
    pub(super) fn runs(&self) -> Option<Key> {
        let run = self.run.as_ref().filter(|run| run.noted)?;
        Some((run.task, run.from + u64::from(run.claimed.start)))
    }

    /// Items that it has claimed and not committed.
    pub(super) fn begun(&self) -> impl Iterator<Item = Key> + '_ {
        self.run.iter().flat_map(|run| run.claimed.clone().map(|item| (run.task, run.from + u64::from(item))))
    }

    /// Items that were sent, not taken back and not claimed.
    pub(super) fn unclaimed(&self) -> u32 {
        let behind = self.pipe.iter().filter_map(|frame| match frame {
            Frame::Run(header, _) => Some(header.run),
            Frame::Bye => None,
        });
        let runs = self.run.iter().map(|run| run.run).chain(behind);
        runs.map(|run| self.claim(run)).map(|claim| claim.end - claim.claimed).sum()
    }
}

/// For whose sake the scheduler is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Other,
    /// A task is withdrawn, or one item of it, and what runs of it is killed.
    Killing(u32, Option<u64>),
    /// A worker is gone; the item that it had noted and not committed.
    Burying(Down, Option<Key>),
    /// A worker is gone, and its page says what it has not done.
    BuryingScribbled,
    /// This item has come to a limit.
    Expiring(Option<Key>),
    /// The pool ends.
    Shutting,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    /// Slots whose process is being made.
    pub(super) spawns: Vec<(usize, u32)>,
    pub(super) processes: Vec<Option<Process>>,
    pub(super) items: Items,
    pub(super) doing: Doing,
    /// Runs sent, in order: slot, items.
    pub(super) log: Vec<(usize, Vec<Key>)>,
}

impl World {
    pub(super) fn new() -> World {
        World {
            now: Instant::now() + Duration::from_secs(3600),
            spawns: Vec::new(),
            processes: Vec::new(),
            items: Items::default(),
            doing: Doing::Other,
            log: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, at: usize) {
        if self.processes.len() <= at {
            self.processes.resize_with(at + 1, || None);
        }
        assert!(self.processes[at].is_none(), "slot {at} has two processes");
        self.processes[at] = Some(Process::new(self.now));
    }

    pub(super) fn process(&self, at: usize) -> Option<&Process> {
        self.processes.get(at)?.as_ref()
    }

    pub(super) fn process_mut(&mut self, at: usize) -> Option<&mut Process> {
        self.processes.get_mut(at)?.as_mut()
    }

    fn live(&mut self, at: usize) -> &mut Process {
        let process = self.process_mut(at).unwrap_or_else(|| panic!("slot {at} has no process"));
        assert!(!process.dead, "the process of slot {at} has ended");
        process
    }

    /// Lets a worker do the next small thing, claiming up to `want` items if it is that. `false` if it can do nothing.
    pub(super) fn step(&mut self, at: usize, want: u32) -> bool {
        let World { processes, items, now, .. } = self;
        let Some(process) = processes.get_mut(at).and_then(Option::as_mut) else { return false };
        if !process.serves || process.stopped || process.left {
            return false;
        }
        let Some(run) = &mut process.run else {
            match process.pipe.pop_front() {
                Some(Frame::Run(header, load)) => {
                    assert_eq!(header.run, process.consumed, "a worker takes its runs in order");
                    process.consumed += 1;
                    let (task, from) = (load.task, load.from);
                    let (run, attempt, claimed, noted) = (header.run, header.attempt, 0..0, false);
                    let (watched, apart) = (header.watched, header.apart);
                    process.run = Some(Current { run, task, from, attempt, watched, apart, claimed, noted });
                }
                Some(Frame::Bye) => process.left = true,
                None => return false,
            }
            return true;
        };
        if run.claimed.is_empty() {
            let claim = process.page[run.run as usize % SLOTS].as_mut().unwrap();
            assert_eq!(claim.run, run.run, "the page's slot is another run's while the worker is in it");
            let want = if run.apart { 1 } else { want.max(1) };
            let end = claim.end.min(claim.claimed.saturating_add(want));
            if claim.claimed == end {
                process.run = None;
            } else {
                run.claimed = claim.claimed..end;
                claim.claimed = end;
            }
            return true;
        }
        let key = (run.task, run.from + u64::from(run.claimed.start));
        let record = &mut items[key];
        if !run.noted {
            process.current = Some((run.run, run.claimed.start));
            process.since = *now;
            process.cpu_before = process.usage.cpu;
            if run.watched && process.halted {
                process.current = None;
                return false;
            }
            assert!(!process.asked, "{key:?} runs although its worker is about to end");
            assert!(record.begun < run.attempt, "{key:?} runs a second time");
            assert!(process.killed || record.end.is_none(), "{key:?} runs although it is over");
            assert!(process.killed || record.holder == Some(at), "{key:?} runs where it was not sent");
            record.begun = run.attempt;
            run.noted = true;
        } else {
            record.committed = true;
            process.unread.push_back(key);
            run.claimed.start += 1;
            run.noted = false;
        }
        true
    }

    /// A process ends. Its page stays until [`forget`](Self::forget).
    pub(super) fn end(&mut self, at: usize) -> Option<(u32, u32)> {
        let process = self.live(at);
        process.dead = true;
        let current = process.current;
        for record in self.items.values_mut() {
            if record.holder == Some(at) && record.end.is_none() {
                record.holder = None;
            }
        }
        current
    }

    pub(super) fn forget(&mut self, at: usize) {
        self.processes[at] = None;
    }

    fn check_kill(&self, at: usize, task: u32, index: Option<u64>) {
        let process = self.process(at).unwrap();
        for key in process.begun() {
            let meant = key.0 == task && index.is_none_or(|index| key.1 == index);
            assert!(meant, "a kill for {index:?} of task {task} hits {key:?}");
        }
        assert_eq!(process.unclaimed(), 0, "the killed worker could still begin something");
    }
}

impl Effects<Load, u32> for World {
    fn spawn(&mut self, slot: usize, generation: u32) {
        assert!(self.process(slot).is_none_or(|process| process.dead), "slot {slot} has a process already");
        self.spawns.push((slot, generation));
    }

    fn send(&mut self, slot: usize, header: &RunHeader, payload: &Load) {
        assert!(header.items > 0 && header.items <= payload.count);
        let (task, from) = (payload.task, payload.from);
        let keys: Vec<Key> = (0..u64::from(header.items)).map(|offset| (task, from + offset)).collect();
        for (offset, key) in keys.iter().enumerate() {
            let record = &mut self.items[*key];
            let id = header.first_id + offset as u64;
            assert_eq!(*record.id.get_or_insert(id), id, "{key:?} has changed its id");
            assert_eq!(header.attempt, record.failed + 1, "{key:?} is sent under another attempt");
            assert!(record.begun < header.attempt, "{key:?} is sent again although it has begun");
            record.committed = false;
            assert_eq!(record.end, None, "{key:?} is sent although it is over");
            assert_eq!(record.holder, None, "{key:?} is sent to two workers");
            record.holder = Some(slot);
        }
        self.log.push((slot, keys));
        let process = self.live(slot);
        assert!(process.serves && !process.killed, "slot {slot} is sent a run before or after its time");
        assert_eq!(header.run, process.sent, "runs are numbered in the order sent");
        assert!(process.sent - process.consumed < SLOTS as u32, "a run in the pipe would lose its slot");
        process.sent += 1;
        let claim = Claim { run: header.run, task, from, end: header.items, claimed: 0 };
        process.page[header.run as usize % SLOTS] = Some(claim);
        process.pipe.push_back(Frame::Run(*header, payload.clone()));
    }

    fn withdraw(&mut self, slot: usize, run: u32, most: u32) -> u32 {
        let claim = self.live(slot).claim_mut(run);
        let end = claim.claimed.max(claim.end.saturating_sub(most));
        let (back, task, from) = (end..claim.end, claim.task, claim.from);
        claim.end = end;
        for item in back.clone() {
            let record = &mut self.items[(task, from + u64::from(item))];
            assert!(record.begun <= record.failed);
            record.holder = None;
        }
        back.len() as u32
    }

    fn claimed(&self, slot: usize, run: u32) -> u32 {
        self.process(slot).unwrap_or_else(|| panic!("slot {slot} has no page")).claim(run).claimed
    }

    fn consumed(&self, slot: usize) -> u32 {
        self.process(slot).unwrap_or_else(|| panic!("slot {slot} has no page")).consumed
    }

    fn bye(&mut self, slot: usize) {
        self.live(slot).pipe.push_back(Frame::Bye);
    }

    fn kill(&mut self, slot: usize) {
        let expiring = matches!(self.doing, Doing::Expiring(Some(_)));
        let process = self.live(slot);
        process.killed = true;
        assert!(process.halted || !expiring, "the next item could begin and be hit");
        if let Doing::Killing(task, index) = self.doing {
            self.check_kill(slot, task, index);
        }
    }

    fn stop(&mut self, slot: usize) {
        assert!(matches!(self.doing, Doing::Expiring(Some(_))), "slot {slot} runs nothing");
        let process = self.live(slot);
        assert!(process.halted, "the next item could begin and be hit");
        process.asked = true;
    }

    fn running(&self, slot: usize) -> Option<Running> {
        let process = self.process(slot)?;
        let (run, item) = process.current?;
        process.runs()?;
        let age = self.now.saturating_duration_since(process.since);
        Some(Running { run, item, age, cpu_before: process.cpu_before })
    }

    fn halt(&mut self, slot: usize, halt: bool) {
        self.live(slot).halted = halt;
    }

    fn resolve(&mut self, sink: &u32, item: Item, slot: Option<usize>, verdict: Verdict) {
        let key = (*sink, item.index);
        let record = &mut self.items[key];
        assert_eq!(*record.id.get_or_insert(item.id), item.id, "{key:?} has changed its id");
        assert_eq!(record.end, None, "{key:?} resolves twice");
        match (&verdict, self.doing) {
            (Verdict::Lost { .. } | Verdict::Poisoned { .. }, Doing::Burying(Down::Died(_), noted)) => {
                assert_eq!(noted, Some(key), "an item is blamed that did not run");
                assert!(slot.is_some());
                let tries = match verdict {
                    Verdict::Poisoned { deaths } => (deaths == 3).then_some(record.failed + 1),
                    Verdict::Lost { attempts } => Some(attempts),
                    _ => None,
                };
                assert_eq!(tries, Some(record.failed + 1));
            }
            (
                Verdict::TimedOut { .. }
                | Verdict::MemoryLimit { .. }
                | Verdict::CpuLimit { .. }
                | Verdict::Poisoned { .. },
                Doing::Expiring(running),
            ) => {
                assert_eq!(running, Some(key), "an item has come to a limit that did not run");
            }
            (Verdict::Protocol, Doing::Burying(Down::Protocol, _)) => {}
            (Verdict::Lost { .. } | Verdict::Protocol, Doing::BuryingScribbled) => {}
            (Verdict::Cancelled, Doing::Burying(..)) => {}
            (Verdict::PoolClosed | Verdict::PoolBroken, Doing::Shutting) => {}
            (verdict, doing) => panic!("{key:?} is {verdict:?} while {doing:?}"),
        }
        record.holder = None;
        record.end = Some(End::Resolved(verdict));
    }
}
