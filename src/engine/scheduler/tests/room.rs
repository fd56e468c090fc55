//! The queue's bounds, and those who wait for room.

use super::super::*;
use super::items::End;
use super::rig::Rig;

/// Callers of one item each who ask before they bring it.
#[derive(Debug)]
pub(super) struct Line {
    bounds: Bounds,
    room: Room<u32>,
    /// Bytes of the item of each who has asked.
    sizes: Vec<usize>,
    /// Those in line, in order.
    waiting: Vec<u32>,
    /// Those who have a grant and have not come.
    granted: Vec<(u32, Grant)>,
}

impl Line {
    pub(super) fn new(bounds: Bounds) -> Line {
        Line { bounds, room: Room::new(bounds), sizes: Vec::new(), waiting: Vec::new(), granted: Vec::new() }
    }

    fn bytes(&self) -> usize {
        self.granted.iter().map(|(who, _)| self.sizes[*who as usize]).sum()
    }
}

impl Rig {
    fn fits(&self, who: u32) -> bool {
        let (line, backlog) = (&self.line, self.scheduler.backlog());
        let jobs = backlog.jobs + line.granted.len() as u64;
        let bytes = backlog.bytes + line.bytes();
        let size = line.sizes[who as usize];
        line.bounds.jobs.is_none_or(|limit| jobs < limit as u64)
            && line.bounds.bytes.is_none_or(|limit| bytes == 0 || bytes + size <= limit)
    }

    pub(super) fn ask(&mut self, size: usize) {
        let who = self.line.sizes.len() as u32;
        self.line.sizes.push(size);
        let due = self.scheduler.phase() == Phase::Open && self.line.waiting.is_empty() && self.fits(who);
        match self.line.room.ask(&self.scheduler, None, Load { jobs: 1, bytes: size }) {
            Some(grant) => {
                assert!(
                    due || self.scheduler.phase() != Phase::Open,
                    "there was no room, or it was another's"
                );
                self.hold(who, grant);
            }
            None => {
                assert!(!due, "there was room");
                self.line.room.line_up(None, Load { jobs: 1, bytes: size }, who);
                self.line.waiting.push(who);
            }
        }
        self.check();
    }

    /// A grant of a pool that is closed keeps no room.
    fn hold(&mut self, who: u32, grant: Grant) {
        if self.scheduler.phase() != Phase::Open {
            self.line.sizes[who as usize] = 0;
        }
        self.line.granted.push((who, grant));
    }

    /// One who has a grant brings his item.
    pub(super) fn bring(&mut self, which: usize) {
        if self.line.granted.is_empty() {
            return;
        }
        let (who, grant) = self.line.granted.remove(which % self.line.granted.len());
        self.line.room.redeem(grant);
        if let Some(task) = self.open(who % 3, None, false) {
            self.push(task, 1, self.line.sizes[who as usize]);
            self.finish(task);
        }
        self.check();
    }

    pub(super) fn bring_all(&mut self) {
        while !self.line.granted.is_empty() {
            self.bring(0);
        }
    }

    /// One who waits does so no more.
    pub(super) fn give_up(&mut self, which: usize) {
        if self.line.waiting.is_empty() {
            return;
        }
        let who = self.line.waiting.remove(which % self.line.waiting.len());
        self.line.room.leave(|other| *other == who);
        self.check();
    }

    /// Lets in who can come, as the engine does after each step; nobody else could.
    pub(super) fn check_line(&mut self) {
        let mut admitted = Vec::new();
        let any = self.line.room.admit(&self.scheduler, |who, grant| admitted.push((who, grant)));
        assert_eq!(any, !admitted.is_empty());
        for (who, grant) in admitted {
            assert_eq!(self.line.waiting.remove(0), who, "another's turn was before");
            assert!(self.scheduler.phase() != Phase::Open || self.fits(who), "{who} has no room");
            self.hold(who, grant);
        }
        if let Some(first) = self.line.waiting.first() {
            assert!(self.scheduler.phase() == Phase::Open && !self.fits(*first), "{first} waits for nothing");
        }
        assert_eq!(self.line.room.is_awaited(), !self.line.waiting.is_empty());
    }

    pub(super) fn check_line_is_over(&self) {
        assert!(self.line.waiting.is_empty() && self.line.granted.is_empty(), "{:?}", self.line);
    }
}

fn up(workers: usize, jobs: Option<usize>, bytes: Option<usize>) -> Rig {
    let mut rig = Rig::with(workers, Recycling::default(), Limits::default(), Bounds { jobs, bytes });
    rig.raise();
    rig
}

#[test]
fn what_runs_is_not_counted() {
    let mut rig = up(2, Some(3), None);
    for _ in 0..7 {
        rig.ask(100);
        rig.bring_all();
    }
    assert_eq!(rig.scheduler.backlog().jobs, 3);
    assert_eq!(rig.line.waiting, [5, 6]);
    rig.finish_all();
}

#[test]
fn a_grant_keeps_its_room() {
    let mut rig = up(1, Some(2), None);
    for _ in 0..3 {
        rig.ask(100);
    }
    assert_eq!((rig.line.granted.len(), rig.line.waiting.len()), (2, 1));
    rig.bring(0);
    assert_eq!(rig.line.granted.len(), 2, "that one runs");
    rig.finish_all();
}

#[test]
fn a_large_item_comes_in_alone() {
    let mut rig = up(1, None, Some(1000));
    let first = rig.submit(0).unwrap();
    rig.begin(0);
    rig.ask(5000);
    rig.bring_all();
    rig.ask(1);
    assert_eq!((rig.scheduler.backlog().bytes, rig.line.waiting.len()), (5000, 1));
    rig.serve(0, 1000);
    assert_eq!(rig.world.items[(first as u32, 0)].end, Some(End::Answered { cancelled: false }));
    assert_eq!(rig.line.waiting.len(), 0);
    rig.finish_all();
}

#[test]
fn nobody_overtakes_one_who_waits() {
    let mut rig = up(1, None, Some(1000));
    rig.submit(0);
    rig.begin(0);
    rig.ask(900);
    rig.bring_all();
    rig.ask(200);
    rig.ask(50);
    assert_eq!(rig.line.waiting, [1, 2], "the small one would fit");
    rig.give_up(0);
    assert_eq!(rig.line.granted.len(), 1);
    rig.finish_all();
}

#[test]
fn nobody_waits_for_a_pool_that_takes_no_more() {
    let mut rig = up(1, Some(1), None);
    for _ in 0..5 {
        rig.ask(100);
        rig.bring_all();
    }
    assert_eq!(rig.line.waiting.len(), 3);
    rig.close();
    assert_eq!(rig.line.waiting.len(), 0);
    rig.finish_all();
}
