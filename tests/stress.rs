//! Everything at once, while workers are killed and stopped. SIDESTEP_RACE_SECONDS says for how long.

mod scenario;
mod stress {
    pub(crate) mod log;
    pub(crate) mod random;
    pub(crate) mod tried;
    pub(crate) mod watch;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use scenario::{assert_all_over, assert_conserves, race_time, scenario};
use sidestep::{Builder, JobError, Pool, WorkerState, as_completed};
use stress::log::{Log, note};
use stress::random::Random;
use stress::tried::tried;
use stress::watch::{block_on, step};

sidestep::worker_entry!();

/// Runs for so many microseconds and notes its begin and its end; it may die in between.
#[sidestep::job]
fn work(ticket: u64, micros: u64, deadly: bool) -> u64 {
    note('B', ticket);
    if micros > 200 {
        std::thread::sleep(Duration::from_micros(micros));
    }
    if deadly {
        std::process::abort();
    }
    note('E', ticket);
    ticket
}

#[sidestep::job]
fn work_one(ticket: u64) -> u64 {
    work(ticket, ticket % 7 * 100, false)
}

#[test]
fn callers_race_on_one_pool_whose_workers_are_killed_and_stopped() {
    scenario(|| {
        let pool = bounded(4, &mut Random::new(7)).queue_limit(60).max_jobs_per_worker(300);
        let pool = Arc::new(pool.max_age(Duration::from_millis(400)).build().unwrap());
        let (log, over) = (Arc::new(Log::default()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for seed in 0..6 {
                let (pool, log, over) = (&pool, &log, &over);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    while !over.load(Ordering::Relaxed) {
                        caller(pool, log, &mut random);
                    }
                    step("over");
                });
            }
            scope.spawn(|| murderer(&pool, &over));
            scope.spawn(|| {
                let mut random = Random::new(99);
                while !over.load(Ordering::Relaxed) {
                    step("resize");
                    pool.resize(1 + random.below(6) as usize).unwrap();
                    assert_conserves(&pool.stats());
                    random.pause(30_000);
                }
                step("over");
            });
            std::thread::sleep(race_time());
            over.store(true, Ordering::Relaxed);
        });
        step("close");
        pool.close();
        step("join");
        pool.join().unwrap();
        step("over");
        assert_all_over(&pool.stats());
        drop(pool);
        log.check();
    });
}

#[test]
fn pools_come_and_go_in_every_way() {
    scenario(|| {
        let (log, over) = (Arc::new(Log::default()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (log, over) = (&log, &over);
                scope.spawn(move || {
                    let mut random = Random::new(1000 + seed);
                    while !over.load(Ordering::Relaxed) {
                        come_and_go(log, &mut random);
                    }
                    step("over");
                });
            }
            std::thread::sleep(race_time());
            over.store(true, Ordering::Relaxed);
        });
        log.check();
    });
}

/// SIDESTEP_SWEEP says for how many microseconds, one by one; ten thousand are for a release.
#[test]
fn a_kill_in_any_microsecond_of_a_mixed_run_costs_one_job_at_most() {
    scenario(|| {
        let rounds = std::env::var("SIDESTEP_SWEEP").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
        let pool = Pool::builder().workers(2).stderr(sidestep::Output::Null).build().unwrap();
        let (log, mut random) = (Log::default(), Random::new(5));
        for _ in 0..rounds {
            scenario::all_up(&pool, 2);
            let before = pool.stats().failed;
            let singles = log.tickets(10);
            let stream = log.tickets(60);
            let handles: Vec<_> =
                singles.iter().map(|ticket| pool.apply_async(work, (*ticket, 300, false))).collect();
            let victim = random.pick(&pool.pids());
            let kill_at = Instant::now() + Duration::from_micros(random.below(4000));
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    while Instant::now() < kill_at {
                        std::hint::spin_loop();
                    }
                    scenario::send(victim, Signal::SIGKILL);
                });
                for (ticket, outcome) in stream.iter().zip(pool.imap(work_one, stream.clone())) {
                    log.ended(*ticket, outcome);
                }
            });
            for (ticket, handle) in singles.iter().zip(handles) {
                log.ended(*ticket, handle.get());
            }
            assert!(pool.stats().failed <= before + 1, "one kill has cost more than one job");
            // The next round's victim is to be one that lives.
            scenario::eventually("the victim is gone", || !pool.pids().contains(&victim));
        }
        log.check();
    });
}

/// A pool with little patience, and with limits or without.
fn bounded(workers: usize, random: &mut Random) -> Builder {
    let mut pool = Pool::builder()
        .workers(workers)
        .grace(Duration::from_millis(20))
        .retry_delay(Duration::from_millis(1), Duration::from_millis(20))
        .stderr(sidestep::Output::Null);
    if random.below(2) == 0 {
        pool = pool.queue_limit(1 + random.below(50) as usize);
    }
    if random.below(2) == 0 {
        pool = pool.queue_bytes(1 + random.below(3000) as usize);
    }
    if random.below(2) == 0 {
        pool = pool.max_jobs_per_worker(1 + random.below(40));
    }
    if random.below(2) == 0 {
        pool = pool.max_age(Duration::from_millis(1 + random.below(30)));
    }
    pool
}

/// One thing that a caller does.
fn caller(pool: &Pool, log: &Log, random: &mut Random) {
    let micros = random.pick(&[0, 0, 0, 300, 1000, 5000, 20_000]);
    let deadly = random.below(100) == 0;
    match random.below(14) {
        0 => {
            let ticket = log.ticket();
            step("apply");
            log.ended(ticket, pool.apply(work, (ticket, micros, deadly)));
        }
        1 => {
            let tickets = log.tickets(random.below(40));
            let handles: Vec<_> =
                tickets.iter().map(|ticket| pool.apply_async(work, (*ticket, micros, false))).collect();
            let ids: Vec<u64> = handles.iter().map(|handle| handle.id()).collect();
            step("as_completed");
            for handle in as_completed(handles) {
                assert!(handle.ready());
                match ids.iter().position(|id| *id != 0 && *id == handle.id()) {
                    Some(at) => log.ended(tickets[at], handle.get()),
                    None => assert_eq!(handle.get(), Err(JobError::PoolClosed)),
                }
            }
        }
        2 => {
            let tickets = log.tickets(random.below(300));
            step("map");
            match pool.map(work_one, tickets.clone()) {
                Ok(values) => {
                    assert_eq!(values, tickets);
                    tickets.iter().for_each(|ticket| log.ended(*ticket, Ok(*ticket)));
                }
                Err(error) => log.one_of_many(&tickets, &error),
            }
        }
        3 | 4 => {
            let tickets = log.tickets(random.below(200));
            let most = random.below(400) as usize;
            step("imap");
            for (outcome, ticket) in pool.imap(work_one, tickets.clone()).zip(&tickets).take(most) {
                log.ended(*ticket, outcome);
            }
        }
        5 => {
            let ticket = log.ticket();
            let handle = pool.apply_async(work, (ticket, micros * 10, deadly));
            random.pause(3000);
            step("cancel");
            let cancelled = handle.cancel();
            step("get of a cancelled one");
            let outcome = handle.get();
            // A pool that is terminated meanwhile may be quicker than the death of a worker.
            let over = matches!(outcome, Err(JobError::Cancelled | JobError::PoolClosed));
            assert!(!cancelled || over, "cancelled, and yet {outcome:?}");
            log.ended(ticket, outcome);
        }
        6 => {
            let ticket = log.ticket();
            let mut handle = pool.apply_async(work, (ticket, micros, deadly));
            step("get_timeout");
            let outcome = loop {
                match handle.get_timeout(Duration::from_micros(random.below(2000))) {
                    Err(JobError::StillRunning) => {}
                    outcome => break outcome,
                }
            };
            log.ended(ticket, outcome);
        }
        7 => {
            let ticket = log.ticket();
            step("await");
            log.ended(ticket, block_on(pool.apply_async(work, (ticket, micros, deadly))));
        }
        8 => {
            let tickets = log.tickets(random.below(300));
            let handle = pool.map_async(work_one, tickets.clone());
            random.pause(3000);
            step("cancel a map");
            let cancelled = handle.cancel();
            step("get of a cancelled map");
            match handle.get() {
                Ok(values) => assert!(!cancelled && values == tickets),
                Err(error) => log.one_of_many(&tickets, &error),
            }
        }
        10.. => tried(pool, log, random),
        _ => {
            let ticket = log.ticket();
            let handle = Arc::new(pool.apply_async(work, (ticket, micros * 10, deadly)));
            let waiter = std::thread::spawn({
                let handle = handle.clone();
                move || {
                    step("wait for what another cancels");
                    assert!(handle.wait(Duration::from_secs(60)));
                    step("over");
                }
            });
            random.pause(2000);
            step("cancel what another waits for");
            handle.cancel();
            waiter.join().unwrap();
            log.ended(ticket, Arc::into_inner(handle).unwrap().get());
        }
    }
}

/// Kills and stops workers that serve.
fn murderer(pool: &Pool, over: &AtomicBool) {
    let mut random = Random::new(77);
    while !over.load(Ordering::Relaxed) {
        step("kill");
        let stats = pool.stats();
        assert_conserves(&stats);
        let up = |state| matches!(state, WorkerState::Idle | WorkerState::Busy);
        let pids: Vec<_> = stats.workers.iter().filter(|w| up(w.state)).filter_map(|w| w.pid).collect();
        if !pids.is_empty() {
            let pid = nix::unistd::Pid::from_raw(random.pick(&pids) as i32);
            let send = |signal| nix::sys::signal::kill(pid, signal).unwrap_or_default();
            if random.below(4) > 0 {
                send(Signal::SIGKILL);
            } else {
                send(Signal::SIGSTOP);
                random.pause(100_000);
                send(random.pick(&[Signal::SIGCONT, Signal::SIGKILL]));
            }
        }
        random.pause(8000);
    }
    step("over");
}

/// A pool that ends while it is used.
fn come_and_go(log: &Arc<Log>, random: &mut Random) {
    step("build");
    let workers = 1 + random.below(3) as usize;
    let pool = Arc::new(bounded(workers, random).build().unwrap());
    let users: Vec<_> = (0..2)
        .map(|_| {
            let (pool, log, mut random) = (pool.clone(), log.clone(), random.fork());
            std::thread::spawn(move || {
                for _ in 0..random.below(6) {
                    caller(&pool, &log, &mut random);
                }
                step("over");
            })
        })
        .collect();
    let tickets = log.tickets(random.below(20));
    let handles: Vec<_> =
        tickets.iter().map(|ticket| pool.apply_async(work, (*ticket, 500, false))).collect();
    if random.below(4) == 0 {
        pool.resize(1 + random.below(5) as usize).unwrap();
    }
    random.pause(10_000);
    let enders: Vec<_> = (0..random.below(3))
        .map(|_| {
            let (pool, mut random) = (pool.clone(), random.fork());
            std::thread::spawn(move || {
                for _ in 0..3 {
                    match random.below(3) {
                        0 => pool.close(),
                        1 => {
                            step("terminate");
                            let begin = Instant::now();
                            pool.terminate();
                            assert!(begin.elapsed() < Duration::from_secs(5));
                        }
                        _ => {
                            step("join_timeout");
                            drop(pool.join_timeout(Duration::from_millis(random.below(20))));
                        }
                    }
                }
                step("over");
            })
        })
        .collect();
    enders.into_iter().for_each(|ender| ender.join().unwrap());
    if random.below(2) == 0 {
        step("close and join");
        pool.close();
        pool.join().unwrap();
        assert_all_over(&pool.stats());
    }
    drop(pool);
    step("handles of a pool that has gone, or goes");
    for (ticket, handle) in tickets.iter().zip(handles) {
        log.ended(*ticket, handle.get());
    }
    step("users");
    users.into_iter().for_each(|user| user.join().unwrap());
}
