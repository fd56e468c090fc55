//! Says who hangs, and in what.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

/// Nothing that a thread does takes this long.
const HANG: Duration = Duration::from_secs(20);

static STEPS: Mutex<Option<HashMap<ThreadId, (&str, Instant)>>> = Mutex::new(None);

/// What this thread does from here on; `over` ends the watch.
pub(crate) fn step(what: &'static str) {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| drop(std::thread::spawn(watch)));
    let mut steps = STEPS.lock().unwrap();
    let (steps, me) = (steps.get_or_insert_default(), std::thread::current().id());
    match what {
        "over" => drop(steps.remove(&me)),
        _ => drop(steps.insert(me, (what, Instant::now()))),
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let steps = STEPS.lock().unwrap();
        let late = |(_, since): &(&str, Instant)| since.elapsed() > HANG;
        if steps.iter().flatten().any(|(_, step)| late(step)) {
            let all: Vec<_> =
                steps.iter().flatten().map(|(_, (what, since))| (what, since.elapsed())).collect();
            eprintln!("somebody hangs: {all:?}");
            if std::env::var_os("SIDESTEP_RACE_STAY").is_some() {
                std::thread::sleep(Duration::from_secs(3600));
            }
            std::process::abort();
        }
    }
}

/// The least of executors.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
