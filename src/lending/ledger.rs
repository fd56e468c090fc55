//! Who gets the next free worker, and who is to give one back. It does nothing itself, and knows no process.
//!
//! Whoever has fewest gets the next one; of several the one who has waited longest. Somebody who has at least two more
//! than one who waits is asked for one, so that in the end all who want workers have as many, or one more. Where there
//! are fewer workers than pools each has one for a moment, in turns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long somebody who has a single worker may keep it while others have none.
pub(super) const TURN: Duration = Duration::from_millis(20);

/// A pool, by a number that is never given again.
pub(super) type Who = u64;

#[derive(Debug, Clone, Copy)]
struct Account {
    /// Workers that it has,
    held: usize,
    /// how many of them it was asked to give back,
    recalled: usize,
    /// and how many more it wants.
    wanted: usize,
    /// Its place among those who wait.
    turn: u64,
    /// When it got its last worker.
    since: Instant,
}

/// What every pool has and wants.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<Who, Account>,
    turns: u64,
}

impl Ledger {
    /// Somebody wants one more worker.
    pub(super) fn want(&mut self, who: Who, now: Instant) {
        self.turns += 1;
        let turn = self.turns;
        let fresh = Account { held: 0, recalled: 0, wanted: 0, turn, since: now };
        let account = self.accounts.entry(who).or_insert(fresh);
        if account.wanted == 0 {
            account.turn = turn;
        }
        account.wanted += 1;
    }

    /// He no longer wants one of those.
    pub(super) fn forgo(&mut self, who: Who) {
        if let Some(account) = self.accounts.get_mut(&who) {
            account.wanted = account.wanted.saturating_sub(1);
        }
    }

    /// Who gets the next worker.
    pub(super) fn next(&self) -> Option<Who> {
        let waiting = self.accounts.iter().filter(|(_, account)| account.wanted > 0);
        waiting.min_by_key(|(_, account)| (account.held, account.turn)).map(|(who, _)| *who)
    }

    /// He has it.
    pub(super) fn lend(&mut self, who: Who, now: Instant) {
        self.turns += 1;
        if let Some(account) = self.accounts.get_mut(&who) {
            account.wanted = account.wanted.saturating_sub(1);
            account.held += 1;
            account.turn = self.turns;
            account.since = now;
        }
    }

    /// A worker of his is his no more.
    pub(super) fn give_back(&mut self, who: Who) {
        if let Some(account) = self.accounts.get_mut(&who) {
            account.held = account.held.saturating_sub(1);
            account.recalled = account.recalled.saturating_sub(1);
        }
    }

    /// He is gone.
    pub(super) fn close(&mut self, who: Who) {
        self.accounts.remove(&who);
    }

    /// Whom to ask now for one worker each; he may stand there several times. `free` workers are nobody's, or about to be.
    /// And when to ask again, if somebody's turn is to end then.
    pub(super) fn recall(&mut self, free: usize, now: Instant) -> (Vec<Who>, Option<Instant>) {
        let mut shares: BTreeMap<Who, Share> =
            self.accounts.iter().map(|(who, account)| (*who, Share::of(account))).collect();
        // What is free, and what was asked for, will be given out.
        let coming = free + self.accounts.values().map(|account| account.recalled).sum::<usize>();
        (0..coming).for_each(|_| give_one(&mut shares, now));
        let mut asked = Vec::new();
        let later = loop {
            let poorest = shares.values().filter(|share| share.wanted > 0).map(|share| share.has).min();
            // Of several the one who has what he has for longest.
            let wealth = |share: &Share| (share.has, std::cmp::Reverse(share.since));
            let owners = shares.iter_mut().filter(|(_, share)| share.own > 0);
            let (Some(least), Some((who, richest))) =
                (poorest, owners.max_by_key(|(_, share)| wealth(share)))
            else {
                break None;
            };
            let turn_ends = richest.since + TURN;
            match richest.has.saturating_sub(least) {
                0 => break None,
                // Fewer workers than pools.
                1 if least > 0 => break None,
                1 if turn_ends > now => break Some(turn_ends),
                _ => {}
            }
            richest.has -= 1;
            richest.own -= 1;
            asked.push(*who);
            give_one(&mut shares, now);
        };
        for who in &asked {
            if let Some(account) = self.accounts.get_mut(who) {
                account.recalled += 1;
            }
        }
        (asked, later)
    }
}

/// What somebody will have.
#[derive(Debug, Clone, Copy)]
struct Share {
    has: usize,
    /// Of these: workers that he has already, and was not asked for.
    own: usize,
    wanted: usize,
    turn: u64,
    since: Instant,
}

impl Share {
    fn of(account: &Account) -> Share {
        let own = account.held - account.recalled;
        Share { has: own, own, wanted: account.wanted, turn: account.turn, since: account.since }
    }
}

fn give_one(shares: &mut BTreeMap<Who, Share>, now: Instant) {
    let waiting = shares.values_mut().filter(|share| share.wanted > 0);
    if let Some(poorest) = waiting.min_by_key(|share| (share.has, share.turn)) {
        poorest.has += 1;
        poorest.wanted -= 1;
        poorest.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pools that give back at once what they are asked for, and want it again.
    struct World {
        ledger: Ledger,
        free: usize,
        held: BTreeMap<Who, usize>,
        wanted: BTreeMap<Who, usize>,
        now: Instant,
    }

    impl World {
        fn new(workers: usize) -> World {
            let (held, wanted) = (BTreeMap::new(), BTreeMap::new());
            World { ledger: Ledger::default(), free: workers, held, wanted, now: Instant::now() }
        }

        fn want(&mut self, who: Who, count: usize) {
            (0..count).for_each(|_| self.ledger.want(who, self.now));
            *self.wanted.entry(who).or_default() += count;
            self.held.entry(who).or_default();
        }

        fn give(&mut self) {
            while self.free > 0
                && let Some(who) = self.ledger.next()
            {
                self.ledger.lend(who, self.now);
                self.free -= 1;
                *self.held.get_mut(&who).unwrap() += 1;
                let wanted = self.wanted.get_mut(&who).unwrap();
                *wanted = wanted.checked_sub(1).expect("nobody gets more than he wants");
            }
        }

        /// One round; tells whom it took from.
        fn step(&mut self) -> Vec<Who> {
            self.give();
            let (asked, later) = self.ledger.recall(self.free, self.now);
            for who in &asked {
                self.ledger.give_back(*who);
                let held = self.held.get_mut(who).unwrap();
                *held = held.checked_sub(1).expect("nobody is asked for more than he has");
                self.free += 1;
                self.want(*who, 1);
            }
            self.give();
            if let Some(later) = later {
                self.now = later;
            }
            asked
        }

        fn settle(&mut self) {
            for _ in 0..200 {
                if self.step().is_empty() {
                    return;
                }
            }
            panic!("it never comes to rest: {:?}", self.held);
        }
    }

    #[test]
    fn one_pool_gets_all() {
        let mut world = World::new(4);
        world.want(1, 9);
        world.settle();
        assert_eq!(world.held[&1], 4);
    }

    #[test]
    fn a_second_one_gets_half_of_it_or_what_it_wants() {
        let mut world = World::new(16);
        world.want(1, 16);
        world.settle();
        world.want(2, 1);
        world.settle();
        assert_eq!((world.held[&1], world.held[&2]), (15, 1));
        world.want(3, 16);
        world.settle();
        assert_eq!((world.held[&1], world.held[&2], world.held[&3]), (8, 1, 7));
    }

    #[test]
    fn with_too_few_workers_each_has_a_turn() {
        let mut world = World::new(1);
        (1..=3).for_each(|who| world.want(who, 1));
        let mut turns = Vec::new();
        for _ in 0..60 {
            turns.extend(world.step());
            world.now += TURN / 2;
        }
        assert!(turns.len() > 9, "{turns:?}");
        assert!(turns.windows(3).all(|three| three[0] != three[1] && three[1] != three[2]), "{turns:?}");
    }

    proptest! {
        #[test]
        fn nobody_is_asked_for_what_he_has_not(steps in prop::collection::vec((0u8..5, 1u64..5), 1..200)) {
            let (mut ledger, mut now) = (Ledger::default(), Instant::now());
            let mut held = BTreeMap::<Who, (usize, usize)>::new();
            let mut free = 3;
            for (step, who) in steps {
                let (has, recalled) = held.entry(who).or_default();
                match step {
                    0 => ledger.want(who, now),
                    1 if *has > 0 => {
                        ledger.give_back(who);
                        (*has, *recalled) = (*has - 1, recalled.saturating_sub(1));
                        free += 1;
                    }
                    2 => {
                        free += *has;
                        held.remove(&who);
                        ledger.close(who);
                    }
                    3 => now += TURN,
                    _ => {}
                }
                while free > 0 && let Some(next) = ledger.next() {
                    ledger.lend(next, now);
                    held.entry(next).or_default().0 += 1;
                    free -= 1;
                }
                for asked in ledger.recall(free, now).0 {
                    let (has, recalled) = held.entry(asked).or_default();
                    *recalled += 1;
                    prop_assert!(*recalled <= *has, "{} was asked for {recalled} of {has}", asked);
                }
            }
        }

        #[test]
        fn shares_are_even(workers in 1usize..20, wants in prop::collection::vec(1usize..20, 1..6)) {
            let mut world = World::new(workers);
            for (who, count) in (0..).zip(&wants) {
                world.want(who, *count);
                for _ in 0..50 {
                    world.step();
                }
            }
            let total: usize = world.held.values().sum();
            prop_assert_eq!(total, workers.min(wants.iter().sum()), "no worker is idle while somebody wants one");
            let most = world.held.values().max().copied().unwrap();
            for (who, held) in &world.held {
                let content = world.wanted[who] == 0;
                prop_assert!(content || held + 1 >= most || most <= 1, "{:?}", world.held);
            }
        }
    }
}
