//! Results are read by callers who wait and by the pool's own thread: neither leaves to the other what nobody does.

mod scenario;

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use scenario::jobs::{hold, square};
use scenario::{Gate, SOON, all_up, assert_all_over, assert_usable, eventually, promptly, scenario, stop};
use serde::{Deserialize, Deserializer, Serialize};
use sidestep::{JobError, Pool, PoolError, as_completed};

sidestep::worker_entry!();

#[sidestep::job]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[test]
fn the_pools_thread_keeps_the_time_after_a_caller_has_read() {
    scenario(|| {
        for _ in 0..3 {
            let pool = Pool::new(1).unwrap();
            let worker = all_up(&pool, 1)[0];
            // It sleeps without a limit, and nothing wakes it while a caller reads.
            std::thread::sleep(Duration::from_millis(20));
            pool.apply(nap, (3,)).unwrap();
            stop(worker);
            let handle = pool.apply_async(square, (3,));
            let (sender, receiver) = channel();
            std::thread::spawn(move || {
                as_completed([handle]).for_each(|handle| sender.send(handle.get()).unwrap())
            });
            let outcome = receiver.recv_timeout(Duration::from_secs(5));
            assert_eq!(outcome, Ok(Ok(9)), "nobody looks after a job that its worker does not begin");
        }
    });
}

#[test]
fn work_is_moved_from_behind_a_long_item_while_a_caller_waits_for_another_job() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        all_up(&pool, 3);
        for _ in 0..200 {
            pool.apply(nap, (0,)).unwrap();
        }
        let gate = Gate::new("gate");
        let other = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        let waiter = std::thread::spawn(move || other.get());
        // He sleeps by now, until his job ends or it is time for a look.
        std::thread::sleep(Duration::from_millis(30));
        let mut took = Vec::new();
        for _ in 0..5 {
            let (sender, ended) = channel();
            let begin = Instant::now();
            let tell = move |millis: &u64| sender.send((*millis, begin.elapsed())).unwrap();
            let handle = pool.call(nap).chunk_size(2).on_success(tell).map_async([300, 0]);
            let (first, after) = ended.recv_timeout(SOON).unwrap();
            assert_eq!(first, 0, "it waited behind the long one");
            took.push(after);
            handle.get().unwrap();
        }
        gate.open();
        waiter.join().unwrap().unwrap();
        took.sort_unstable();
        assert!(took[2] < Duration::from_millis(30), "{took:?}");
    });
}

#[test]
fn a_caller_who_waits_learns_at_once_that_another_has_cancelled() {
    scenario(|| {
        let pool = Pool::new(1).unwrap();
        let gate = Gate::new("gate");
        let _running = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        let mut took = Vec::new();
        for _ in 0..5 {
            let handle = Arc::new(pool.apply_async(square, (1,)));
            let waiter = std::thread::spawn({
                let handle = handle.clone();
                move || {
                    assert!(handle.wait(Duration::from_secs(10)));
                    Instant::now()
                }
            });
            std::thread::sleep(Duration::from_millis(13));
            let begin = Instant::now();
            assert!(handle.cancel());
            took.push(waiter.join().unwrap().saturating_duration_since(begin));
        }
        took.sort_unstable();
        assert!(took[2] < Duration::from_millis(30), "{took:?}");
        gate.open();
    });
}

#[test]
fn waiting_costs_no_processor_time() {
    if scenario::lacks_descriptors(150) {
        return;
    }
    scenario(|| {
        let pool = Pool::new(16).unwrap();
        all_up(&pool, 16);
        // The last of the start's threads has gone to sleep.
        std::thread::sleep(Duration::from_millis(100));
        assert!(wake_ups(|| ()) < 20, "an idle pool");
        let gate = Gate::new("gate");
        let handle = pool.apply_async(hold, (gate.arg(),));
        gate.wait_for(1);
        assert!(wake_ups(|| ()) < 60, "a job that nobody waits for");
        assert!(wake_ups(|| assert!(!handle.wait(SOON))) < 100, "a job that a caller waits for");
        pool.close();
        drop(handle);
        assert!(wake_ups(|| ()) < 60, "a closed pool");
        gate.open();
        pool.join().unwrap();
    });
}

#[test]
fn work_that_cannot_be_moved_is_not_looked_at_all_the_time() {
    scenario(|| {
        let pool = Pool::new(3).unwrap();
        all_up(&pool, 3);
        for _ in 0..5 {
            pool.map(nap, vec![0; 2000]).unwrap();
        }
        // Items that were short are claimed together, before it shows that one of them is long.
        let (sender, first) = channel();
        let tell = move |_: &u64| sender.send(()).unwrap_or_default();
        let items = (0..50).map(|n| if n == 3 { 2500 } else { 0 });
        let handle = pool.call(nap).chunk_size(50).on_success(tell).map_async(items);
        first.recv_timeout(SOON).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(wake_ups(|| ()) < 60);
        assert_eq!(handle.get().unwrap().len(), 50);
    });
}

/// How often threads of this process have gone to sleep in a second.
fn wake_ups(meanwhile: impl FnOnce()) -> u64 {
    let count = || -> u64 {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
        let voluntary = status.filter_map(|text| {
            text.split("\nvoluntary_ctxt_switches:").nth(1)?.trim().split('\n').next()?.parse::<u64>().ok()
        });
        voluntary.sum()
    };
    let (begin, before) = (Instant::now(), count());
    meanwhile();
    std::thread::sleep(SOON.saturating_sub(begin.elapsed()));
    // A thread that has ended takes its count along.
    count().saturating_sub(before)
}

#[test]
fn a_caller_who_reads_to_the_end_leaves_the_pools_thread_to_end_too() {
    scenario(|| {
        for _ in 0..3 {
            let pool = Pool::new(1).unwrap();
            let gate = Gate::new("gate");
            let _running = pool.apply_async(hold, (gate.arg(),));
            gate.wait_for(1);
            let mut handles: Vec<_> = (0..50_000).map(|n| pool.apply_async(square, (n,))).collect();
            // The last one to be told, long after the worker is dead.
            let last = handles.pop().unwrap();
            let waiter = std::thread::spawn(move || last.get());
            // By now the pool's thread has seen that somebody else reads.
            std::thread::sleep(Duration::from_millis(250));
            let begin = Instant::now();
            // The first one still tells the handles when the second one has the end looked for.
            std::thread::scope(|scope| {
                (0..3).for_each(|_| drop(scope.spawn(|| pool.terminate())));
            });
            assert_eq!(waiter.join().unwrap(), Err(JobError::PoolClosed));
            assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        }
    });
}

static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Uses the pool while it is brought.
#[derive(Debug, PartialEq, Serialize)]
struct Busybody(i64);

impl<'de> Deserialize<'de> for Busybody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Busybody, D::Error> {
        let value = i64::deserialize(deserializer)?;
        let Some(pool) = POOL.lock().unwrap().clone() else { return Ok(Busybody(value)) };
        let mut seen = Vec::new();
        let refused = |error: Option<JobError>| matches!(error, Some(JobError::InvalidCall { .. }));
        seen.push(refused(pool.apply(square, (3,)).err()));
        seen.push(refused(pool.map(square, [3]).err()));
        seen.push(refused(pool.imap(square, [3]).next().and_then(Result::err)));
        seen.push(!pool.apply_async(square, (3,)).wait(Duration::from_secs(60)));
        let handles = [(); 2].map(|()| pool.apply_async(square, (3,)));
        let outcomes: Vec<_> = as_completed(handles).map(|handle| refused(handle.get().err())).collect();
        seen.push(outcomes == [true, true]);
        pool.close();
        seen.push(matches!(pool.join(), Err(PoolError::StillRunning)));
        SEEN.lock().unwrap().push(format!("{seen:?}"));
        Ok(Busybody(value))
    }
}

#[sidestep::job]
fn busybody(n: i64) -> Busybody {
    Busybody(n)
}

#[test]
fn waiting_inside_of_a_deserialize_is_refused_instead_of_for_ever() {
    scenario(|| {
        let pool = Arc::new(Pool::new(2).unwrap());
        *POOL.lock().unwrap() = Some(pool.clone());
        assert_eq!(promptly("a result", || pool.apply(busybody, (7,))), Ok(Busybody(7)));
        assert_eq!(*SEEN.lock().unwrap(), ["[true, true, true, true, true, true]"]);
        promptly("join", || pool.join()).unwrap();
        assert_all_over(&pool.stats());
        POOL.lock().unwrap().take();
    });
}

struct Waking(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        let work = self.0.lock().unwrap().take();
        work.into_iter().for_each(|work| work());
    }
}

/// A job whose end wakes somebody who does this.
fn waked(pool: &Pool, gate: &Gate, work: impl FnOnce() + Send + 'static) {
    let waker = Waker::from(Arc::new(Waking(Mutex::new(Some(Box::new(work))))));
    let handle = pool.apply_async(hold, (gate.arg(),));
    assert!(pin!(handle).poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let (gate, later) = (Gate::new("gate"), Gate::new("later"));
        waked(&pool, &gate, || panic!("on purpose"));
        let other = pool.apply_async(hold, (later.arg(),));
        later.wait_for(1);
        gate.open();
        eventually("the first job is over", || pool.stats().done == 1);
        later.open();
        promptly("the other job", || other.get()).unwrap();
        assert_usable(&pool);
        pool.close();
        promptly("join", || pool.join()).unwrap();
    });
}

#[test]
fn a_waker_may_drop_the_pool() {
    scenario(|| {
        let pool = Pool::new(2).unwrap();
        let (gate, other) = (Gate::new("gate"), Gate::new("other"));
        let mine: Arc<Mutex<Option<Pool>>> = Arc::default();
        let (sender, dropped) = channel();
        let theirs = mine.clone();
        waked(&pool, &gate, move || {
            let begin = Instant::now();
            drop(theirs.lock().unwrap().take());
            sender.send(begin.elapsed()).unwrap();
        });
        let handle = pool.apply_async(hold, (other.arg(),));
        other.wait_for(1);
        *mine.lock().unwrap() = Some(pool);
        gate.open();
        assert_eq!(handle.get(), Err(JobError::PoolClosed));
        let took = dropped.recv_timeout(SOON).unwrap();
        assert!(took < Duration::from_millis(500), "it waited for itself, {took:?}");
    });
}
