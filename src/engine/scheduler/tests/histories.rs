//! Random histories: whatever callers, workers and time do, in whatever order.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::*;
use super::rig::{Bound, Rig, TaskRecord};

/// One thing that happens. Numbers choose among what there is at the moment.
#[derive(Debug, Clone)]
enum Op {
    Submit {
        terms: Terms,
        job: u32,
    },
    Join {
        terms: Terms,
        job: u32,
        unique: bool,
    },
    Cancel {
        which: usize,
    },
    Ask {
        size: usize,
    },
    Bring {
        which: usize,
    },
    GiveUp {
        which: usize,
    },
    Open {
        terms: Terms,
        job: u32,
        chunk: Option<u32>,
        lazy: bool,
    },
    Push {
        task: usize,
        count: u32,
        size: usize,
    },
    Finish {
        task: usize,
    },
    Withdraw {
        task: usize,
        kill: bool,
    },
    CountFailed,
    Close,
    Resize {
        workers: usize,
    },
    Shut {
        phase: Phase,
    },
    Spawned {
        which: usize,
    },
    NotSpawned {
        which: usize,
    },
    Ready {
        at: usize,
    },
    Step {
        at: usize,
        want: u32,
        times: usize,
    },
    Read {
        at: usize,
        count: usize,
        nanos: u64,
        fail: bool,
    },
    Settle,
    Die {
        at: usize,
        protocol: bool,
    },
    Stop {
        at: usize,
        stopped: bool,
    },
    Use {
        at: usize,
        memory: u64,
        millis: u64,
    },
    Tick {
        millis: u64,
        results: usize,
    },
    /// A moment in which nothing goes wrong.
    Calm,
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..4usize;
    let any_task = 0..64usize;
    let size = prop_oneof![Just(0), Just(100), Just(3000), Just(40_000), Just(200_000)];
    let nanos = prop_oneof![Just(1), Just(1000), Just(100_000), Just(1_000_000), Just(20_000_000)];
    let chunk = prop_oneof![3 => Just(None), 1 => (1..40u32).prop_map(Some)];
    let count = prop_oneof![3 => 1..5u32, 2 => 5..60u32, 1 => 60..400u32];
    let phase = prop_oneof![Just(Phase::Broken), Just(Phase::Terminated)];
    let limit =
        prop_oneof![3 => Just(None), 1 => (1..200u64).prop_map(|limit| Some(Duration::from_millis(limit)))];
    let retries = prop_oneof![2 => Just(0), 1 => 1..5u32];
    let terms = (limit, retries).prop_map(|(limit, retries)| Terms { limit, retries });
    let millis = prop_oneof![0..5u64, Just(50), Just(500), Just(5000)];
    let results = prop_oneof![Just(0), Just(1), Just(usize::MAX)];
    prop_oneof![
        20 => (terms.clone(), 0..3u32).prop_map(|(terms, job)| Op::Submit { terms, job }),
        30 => (terms.clone(), 0..2u32, prop::bool::weighted(0.9))
            .prop_map(|(terms, job, unique)| Op::Join { terms, job, unique }),
        14 => (0..1000usize).prop_map(|which| Op::Cancel { which }),
        10 => size.clone().prop_map(|size| Op::Ask { size }),
        6 => any_task.clone().prop_map(|which| Op::Bring { which }),
        1 => any_task.clone().prop_map(|which| Op::GiveUp { which }),
        8 => (terms, 0..3u32, chunk, prop::bool::weighted(0.3))
            .prop_map(|(terms, job, chunk, lazy)| Op::Open { terms, job, chunk, lazy }),
        20 => (any_task.clone(), count, size).prop_map(|(task, count, size)| Op::Push { task, count, size }),
        6 => any_task.clone().prop_map(|task| Op::Finish { task }),
        14 => (any_task, any::<bool>()).prop_map(|(task, kill)| Op::Withdraw { task, kill }),
        1 => Just(Op::CountFailed),
        1 => Just(Op::Close),
        3 => (0..5usize).prop_map(|workers| Op::Resize { workers }),
        1 => phase.prop_map(|phase| Op::Shut { phase }),
        16 => (0..4usize).prop_map(|which| Op::Spawned { which }),
        2 => (0..4usize).prop_map(|which| Op::NotSpawned { which }),
        16 => at.clone().prop_map(|at| Op::Ready { at }),
        60 => (at.clone(), 1..20u32, 1..30usize).prop_map(|(at, want, times)| Op::Step { at, want, times }),
        30 => (at.clone(), 1..40usize, nanos, prop::bool::weighted(0.2))
            .prop_map(|(at, count, nanos, fail)| Op::Read { at, count, nanos, fail }),
        8 => Just(Op::Settle),
        10 => (at.clone(), prop::bool::weighted(0.2)).prop_map(|(at, protocol)| Op::Die { at, protocol }),
        5 => (at.clone(), any::<bool>()).prop_map(|(at, stopped)| Op::Stop { at, stopped }),
        5 => (at, 0..130u64, 0..30u64).prop_map(|(at, memory, millis)| Op::Use { at, memory, millis }),
        12 => (millis, results).prop_map(|(millis, results)| Op::Tick { millis, results }),
        2 => Just(Op::Calm),
    ]
}

/// Workers that serve so long that a history sees many of them, or for ever.
fn recycling() -> impl Strategy<Value = Recycling> {
    let max_jobs = prop_oneof![2 => Just(None), 1 => (1..60u64).prop_map(Some)];
    let age = prop_oneof![Just(1), Just(40), Just(3000)].prop_map(Duration::from_millis);
    let max_age = prop_oneof![2 => Just(None), 1 => age.prop_map(Some)];
    (max_jobs, max_age).prop_map(|(max_jobs, max_age)| Recycling { max_jobs, max_age })
}

/// Narrow limits, or none.
fn bounds() -> impl Strategy<Value = Bounds> {
    let jobs = prop_oneof![1 => Just(None), 1 => (1..20usize).prop_map(Some)];
    let bytes = prop_oneof![2 => Just(None), 1 => Just(Some(1000)), 1 => Just(Some(100_000))];
    (jobs, bytes).prop_map(|(jobs, bytes)| Bounds { jobs, bytes })
}

fn limits() -> impl Strategy<Value = Limits> {
    let memory = prop_oneof![Just(None), Just(Some(100))];
    let cpu = prop_oneof![Just(None), Just(Some(Duration::from_millis(50)))];
    (memory, cpu).prop_map(|(memory, cpu)| Limits { memory, cpu })
}

impl Rig {
    fn play(&mut self, op: Op) {
        let pick = |which: usize, of: usize| (of > 0).then(|| which % of);
        match op {
            Op::Submit { terms, job } => drop(self.submit_on(terms, job)),
            Op::Join { terms, job, unique } => drop(self.join_on(terms, job, unique)),
            Op::Cancel { which } => {
                let loose = |(task, record): (usize, &TaskRecord)| match record.key {
                    Bound::Loose(..) => Some((task, record.items)),
                    Bound::Call(_) => None,
                };
                let loose: Vec<_> = self.tasks.iter().enumerate().filter_map(loose).collect();
                if let Some(which) = pick(which, loose.iter().map(|(_, items)| *items as usize).sum()) {
                    let items = loose.iter().flat_map(|(task, items)| (0..*items).map(|item| (*task, item)));
                    let (task, item) = items.rev().nth(which).unwrap();
                    self.cancel(task, item);
                }
            }
            Op::Ask { size } => self.ask(size),
            Op::Bring { which } => self.bring(which),
            Op::GiveUp { which } => self.give_up(which),
            Op::Open { terms, job, chunk, lazy } => drop(self.open_on(terms, job, chunk, lazy)),
            Op::Push { task, count, size } => {
                let open: Vec<usize> = (0..self.tasks.len()).filter(|task| self.tasks[*task].open).collect();
                if let Some(task) = pick(task, open.len()) {
                    self.push(open[task], count, size);
                }
            }
            Op::Finish { task } => {
                if let Some(task) = pick(task, self.tasks.len()) {
                    self.finish(task);
                }
            }
            Op::Withdraw { task, kill } => {
                if let Some(task) = pick(task, self.tasks.len()) {
                    self.withdraw(task, kill);
                }
            }
            Op::CountFailed => self.count_failed(2),
            Op::Close => self.close(),
            Op::Resize { workers } => self.resize(workers),
            Op::Shut { phase } => self.shut(phase),
            Op::Spawned { which } => {
                if let Some(which) = pick(which, self.world.spawns.len()) {
                    self.spawned(which);
                }
            }
            Op::NotSpawned { which } => {
                if let Some(which) = pick(which, self.world.spawns.len()) {
                    self.not_spawned(which);
                }
            }
            Op::Ready { at } => self.ready(at),
            Op::Step { at, want, times } => {
                let _ = (0..times).all(|_| self.world.step(at, want));
            }
            Op::Read { at, count, nanos, fail } => self.read(at, count, nanos, fail),
            Op::Settle => self.settle(),
            Op::Die { at, protocol } => self.die(at, protocol),
            Op::Stop { at, stopped } => self.stop(at, stopped),
            Op::Use { at, memory, millis } => self.use_up(at, memory, Duration::from_millis(millis)),
            Op::Tick { millis, results } => self.tick_with(Duration::from_millis(millis), results),
            Op::Calm => self.drain(),
        }
    }
}

/// How many histories: `SIDESTEP_PROPTEST_CASES`, else `PROPTEST_CASES`, and new ones each time; else enough for every
/// day, and the same ones each time, so that a change is to blame for what it breaks.
fn config() -> ProptestConfig {
    let set = ["SIDESTEP_PROPTEST_CASES", "PROPTEST_CASES"].iter().find_map(|name| std::env::var(name).ok());
    let rng_seed = if set.is_some() { RngSeed::Random } else { RngSeed::Fixed(1) };
    let cases = set.and_then(|cases| cases.parse().ok()).unwrap_or(1500);
    ProptestConfig {
        cases,
        rng_seed,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_item_resolves_once_whatever_happens(
        workers in 1..4usize,
        recycling in recycling(),
        limits in limits(),
        bounds in bounds(),
        up: bool,
        history in vec(op(), 1..120),
    ) {
        let mut rig = Rig::with(workers, recycling, limits, bounds);
        if up {
            rig.raise();
        }
        for op in history {
            rig.play(op);
        }
        rig.finish_all();
    }
}
