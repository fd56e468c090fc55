//! Workers that die: it is noticed at once, one job pays, the others do not notice.

mod scenario;

use std::collections::HashSet;

use nix::sys::signal::Signal;
use scenario::jobs::{die, hold, square};
use scenario::{
    Gate, SOON, all_up, assert_all_over, assert_usable, cause, eventually, is_lost, kill_all, promptly,
    scenario, send, within,
};
use sidestep::{Cause, JobError, Pool};

sidestep::worker_entry!();

#[test]
fn an_idle_worker_that_is_killed_is_replaced_and_nobody_fails() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        let before = all_up(&pool, 3);
        send(before[1], Signal::SIGKILL);
        within(SOON, "its successor serves", || {
            let stats = pool.stats();
            stats.restarts == 1
                && stats.workers.iter().all(|worker| worker.state == sidestep::WorkerState::Idle)
        });
        let after = pool.pids();
        assert_eq!((after.len(), after[0], after[2]), (3, before[0], before[2]));
        assert_ne!(after[1], before[1]);
        assert_usable(&pool);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.restarts), (0, 1));
    });
}

#[sidestep::job]
fn complain_and_hold(gate: String) -> u32 {
    eprintln!("about to wait at {gate}");
    eprint!("and no more than that");
    hold(gate)
}

#[test]
fn a_busy_worker_that_is_killed_costs_its_job_and_says_everything_about_it() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let gate = Gate::new("gate");
        let victim = pool.apply_async(complain_and_hold, (gate.arg(),));
        let [worker] = gate.wait_for(1)[..] else { panic!("one job, one worker") };
        let id = victim.id();
        send(worker, Signal::SIGKILL);
        let error = promptly("the loss", || victim.get()).unwrap_err();
        let text = error.to_string();
        let JobError::WorkerLost { job, id: lost, pid, cause, hint, stderr_tail, attempts, .. } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((job.as_str(), lost, pid), ("complain_and_hold", id, Some(worker)));
        assert_eq!((cause, attempts), (Cause::Signal(9), 1));
        assert!(stderr_tail.contains("about to wait at") && stderr_tail.ends_with("no more than that"));
        assert!(hint.is_some_and(|hint| hint.contains("somebody killed it")));
        for part in ["complain_and_hold", &worker.to_string(), &id.to_string(), "SIGKILL"] {
            assert!(text.contains(part), "{text} does not say {part}");
        }
        assert_usable(&pool);
    });
}

#[test]
fn the_tail_of_stderr_is_short_and_of_the_worker_that_died() {
    #[sidestep::job]
    fn chatter(lines: u32) {
        (0..lines).for_each(|line| eprintln!("line {line:06}"));
        std::process::abort();
    }
    scenario(|| {
        let pool = Pool::builder().workers(1).stderr(sidestep::Output::Null).build().unwrap();
        for lines in [10_000, 1] {
            match pool.apply(chatter, (lines,)) {
                Err(JobError::WorkerLost { stderr_tail, .. }) => {
                    assert!(stderr_tail.len() <= 8 << 10, "{} bytes", stderr_tail.len());
                    assert!(stderr_tail.trim_end().ends_with(&format!("line {:06}", lines - 1)));
                    assert_eq!(lines == 1, stderr_tail.trim_end() == "line 000000");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn one_of_a_hundred_jobs_pays_for_one_death() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..100).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        let victim = gate.wait_for(4)[0];
        send(victim, Signal::SIGKILL);
        within(SOON, "one job pays", || pool.stats().failed == 1);
        gate.open();
        let mut lost: Vec<_> = handles.into_iter().filter_map(|handle| handle.get().err()).collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        let error = lost.remove(0);
        assert_eq!((error.pid(), cause::<u32>(Err(error))), (Some(victim), Cause::Signal(9)));
        assert_usable(&pool);
    });
}

#[test]
fn when_all_workers_are_killed_each_costs_one_job() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> = (0..100).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        let victims = gate.wait_for(4);
        kill_all(&victims);
        within(SOON, "four jobs pay", || pool.stats().failed == 4);
        gate.open();
        let lost: Vec<_> = handles.into_iter().filter_map(|handle| handle.get().err()).collect();
        let pids: HashSet<_> = lost.iter().filter_map(JobError::pid).collect();
        let ids: HashSet<_> = lost.iter().filter_map(JobError::id).collect();
        assert_eq!((lost.len(), ids.len()), (4, 4), "each has an error of its own: {lost:?}");
        assert_eq!(pids, victims.into_iter().collect());
        assert_usable(&pool);
        assert_eq!(pool.stats().restarts, 4);
    });
}

#[test]
fn every_kind_of_end_is_told_by_its_code_or_signal() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let ends = [
            ("0", Cause::Exit(0)),
            ("1", Cause::Exit(1)),
            ("42", Cause::Exit(42)),
            ("_exit", Cause::Exit(99)),
            ("abort", Cause::Signal(libc::SIGABRT)),
            ("segv", Cause::Signal(libc::SIGSEGV)),
            ("pointer", Cause::Signal(libc::SIGSEGV)),
            ("bus", Cause::Signal(libc::SIGBUS)),
            ("fpe", Cause::Signal(libc::SIGFPE)),
            ("ill", Cause::Signal(libc::SIGILL)),
            ("term", Cause::Signal(libc::SIGTERM)),
            ("kill", Cause::Signal(libc::SIGKILL)),
        ];
        for (how, wanted) in ends {
            let outcome = promptly(how, || pool.apply(die, (how.to_owned(),)));
            assert_eq!(cause(outcome), wanted, "{how}");
            assert_usable(&pool);
        }
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.restarts), (ends.len() as u64, ends.len() as u64));
        assert_all_over(&stats);
    });
}

#[test]
fn a_hundred_jobs_that_all_crash_are_a_hundred_losses() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let results: Vec<_> = pool.imap(die, vec!["abort".to_owned(); 100]).collect();
        assert_eq!(results.len(), 100);
        let workers: HashSet<_> = results.iter().filter_map(|result| result.as_ref().err()?.pid()).collect();
        assert_eq!(workers.len(), 100, "each had a worker of its own");
        assert!(results.into_iter().all(|result| cause(result) == Cause::Signal(6)));
        assert_usable(&pool);
        assert_eq!(pool.stats().restarts, 100);
    });
}

/// The item says how it ends, and notes that it has run.
#[sidestep::job]
fn note_and_end(notes: String, item: u32, deadly: bool) -> u32 {
    let runs = std::fs::OpenOptions::new().append(true).create(true).open(notes);
    std::io::Write::write_all(&mut runs.unwrap(), &item.to_le_bytes()).unwrap();
    if deadly {
        std::process::abort();
    }
    item
}

#[test]
fn a_crash_in_a_chunk_costs_one_item_and_no_item_runs_twice() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let notes = scenario::dir().join("notes");
        let name = notes.to_str().unwrap().to_owned();
        for round in 0..20 {
            let handle = pool.call(note_and_end).chunk_size(10);
            let items = (0..40).map(|item| (name.clone(), item, item % 10 == 4));
            let handles: Vec<_> = match round % 2 {
                0 => items.map(|item| pool.apply_async(note_and_end, item)).collect(),
                _ => {
                    // A `starmap` ends with the lowest failing item's error, and the items before that one were run.
                    assert_eq!(cause(handle.starmap(items)), Cause::Signal(6));
                    eventually("what ran has ended", || pool.stats().running == 0);
                    let runs = std::fs::read(&notes).unwrap();
                    assert!((0..5).all(|item| count(&runs, item) == 1), "{runs:?}");
                    assert!((5..40).all(|item| count(&runs, item) <= 1), "{runs:?}");
                    std::fs::remove_file(&notes).unwrap();
                    continue;
                }
            };
            for (item, handle) in (0..).zip(handles) {
                match handle.get() {
                    Ok(n) => assert!(n == item && item % 10 != 4),
                    result => assert!(item % 10 == 4 && is_lost(&result), "{item}: {result:?}"),
                }
            }
            let runs = std::fs::read(&notes).unwrap();
            assert!((0..40).all(|item| count(&runs, item) == 1), "each has run once: {runs:?}");
            std::fs::remove_file(&notes).unwrap();
        }
    });
}

fn count(runs: &[u8], item: u32) -> usize {
    runs.chunks(4).filter(|run| *run == item.to_le_bytes()).count()
}

#[test]
fn everything_that_jobs_can_end_in_is_counted_once() {
    scenario(|| {
        let pool = Pool::new(4).unwrap();
        let gate = Gate::new("gate");
        let held: Vec<_> = (0..2).map(|_| pool.apply_async(hold, (gate.arg(),))).collect();
        let workers = gate.wait_for(2);
        let good: Vec<_> = (0..50).map(|n| pool.apply_async(square, (n,))).collect();
        let bad: Vec<_> = (0..50).map(|_| pool.apply_async(fails, ())).collect();
        let deadly: Vec<_> = (0..3).map(|_| pool.apply_async(die, ("abort".to_owned(),))).collect();
        scenario::assert_conserves(&pool.stats());
        send(workers[0], Signal::SIGKILL);
        eventually("the kill is seen", || held.iter().any(sidestep::JobHandle::ready));
        assert_eq!(held.iter().filter(|handle| handle.cancel()).count(), 1);
        assert!(good.into_iter().all(|handle| handle.get().is_ok()));
        assert!(bad.into_iter().all(|handle| matches!(handle.get(), Err(JobError::Panicked { .. }))));
        assert!(deadly.into_iter().all(|handle| is_lost(&handle.get())));
        eventually("all is over", || held.iter().all(sidestep::JobHandle::ready));
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.done, stats.failed, stats.cancelled), (105, 50, 54, 1));
        assert_eq!(stats.restarts, 4, "the one that was killed to cancel a job did not die by itself");
        assert_all_over(&stats);
    });
}

#[sidestep::job]
fn fails() {
    panic!("on purpose");
}

#[test]
fn no_replacement_escapes_the_end() {
    scenario(|| {
        for round in 0..20u64 {
            let pool = Pool::new(4).unwrap();
            let doomed: Vec<_> = (0..200).map(|_| pool.apply_async(die, ("abort".to_owned(),))).collect();
            eventually("workers die and are replaced", || pool.stats().restarts >= round);
            promptly("drop", || drop(pool));
            assert!(scenario::processes_below(std::process::id()).is_empty());
            for handle in doomed {
                let outcome = handle.get();
                assert!(is_lost(&outcome) || outcome == Err(JobError::PoolClosed), "{outcome:?}");
            }
        }
    });
}

#[test]
fn a_death_is_told_as_what_it_is_on_a_machine_with_too_much_to_do() {
    if scenario::lacks_descriptors(400) {
        return;
    }
    scenario(|| {
        let pool = Pool::new(60).unwrap();
        let gate = Gate::new("gate");
        let handles: Vec<_> =
            (0..60).map(|_| pool.apply_async(scenario::jobs::spin, (gate.arg(),))).collect();
        let victims = gate.wait_for(60);
        kill_all(&victims[..20]);
        eventually("all twenty are seen", || pool.stats().failed == 20);
        for handle in handles.into_iter().filter(sidestep::JobHandle::ready) {
            assert_eq!(cause(handle.get()), Cause::Signal(9));
        }
    });
}
