//! Starts workers, all of them from one thread that lasts as long as the process.
//!
//! Linux sends a worker its parent-death signal when the *thread* that started it ends, so a caller's thread must
//! never be that one.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use sidestep_worker::page::Page;

use super::background::Background;
use super::launch::launch;
use super::{Child, Memory, Output, SpawnError, raise_descriptor_limit};

/// What a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A copy of this process's own image.
    Image,
    /// Another program, which calls `sidestep::init` too.
    Path(PathBuf),
}

#[cfg(feature = "connect")]
impl Program {
    /// Where it lies, as far as that is known.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Program::Path(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            Program::Image => std::env::current_exe().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Path(path) => path.display().fmt(f),
            Program::Image => match std::env::current_exe() {
                Ok(path) => write!(f, "a copy of {}", path.display()),
                Err(_) => f.write_str("a copy of this program"),
            },
        }
    }
}

/// How workers are to be started; the same for all workers of a pool.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    /// Added to this process's environment; of two with one name the later counts.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    /// How many workers there may be: the descriptor limit is raised for these when it proves too low.
    pub(crate) max_workers_hint: usize,
    /// What workers are to be able to read.
    pub(crate) memory: Option<Arc<Memory>>,
    /// Large results are to come through the page.
    pub(crate) blocks: bool,
}

/// A worker that has been started, with the parent's ends of all that leads to it. The descriptors are
/// close-on-exec and non-blocking.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) jobs: OwnedFd,
    pub(crate) results: OwnedFd,
    pub(crate) page: Page,
    /// Only with [`Output::Capture`].
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: OwnedFd,
}

pub(crate) type Done = Box<dyn FnOnce(Result<Spawned, SpawnError>) + Send>;

type Order = Box<dyn FnOnce() + Send>;

static SPAWNER: Background<Order> = Background::new("sidestep-spawn", serve);

/// Has a worker started; `done` is called on the spawner's thread. (If that thread itself cannot be started, `done`
/// gets the error before this returns: so do not hold a lock here that `done` takes.)
pub(crate) fn spawn(plan: Arc<Plan>, done: Done) {
    let ordered = Arc::new(Mutex::new(Some(done)));
    let take = |done: &Mutex<Option<Done>>| done.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (done, program) = (ordered.clone(), plan.program.to_string());
    let order = in_background(move || {
        if let Some(done) = take(&done) {
            done(start(&plan));
        }
    });
    if let Err(source) = order
        && let Some(done) = take(&ordered)
    {
        done(Err(SpawnError { what: "start the thread that starts workers", source, program }));
    }
}

/// Has something done on the spawner's thread.
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    SPAWNER.send(Box::new(work)).map_err(|(_, source)| source)
}

fn serve(orders: Receiver<Order>) {
    for order in orders {
        // A panic must not end this thread: its workers would take that for the end of their parent.
        let _ = catch_unwind(AssertUnwindSafe(order));
    }
}

fn start(plan: &Plan) -> Result<Spawned, SpawnError> {
    match launch(plan, None) {
        Err(error) if error.errno() == nix::errno::Errno::EMFILE => {
            raise_descriptor_limit(plan.max_workers_hint.max(1));
            launch(plan, None)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::testing::{plan, reap};
    use super::*;

    #[test]
    fn one_thread_starts_all_and_outlives_a_panic() {
        let plan = Arc::new(plan("/bin/sh"));
        let (sender, receiver) = channel();
        spawn(plan.clone(), Box::new(|_| panic!("a panic that belongs to the test")));
        for _ in 0..2 {
            let sender = sender.clone();
            let done = move |result| sender.send((std::thread::current().id(), result)).unwrap();
            spawn(plan.clone(), Box::new(done));
        }
        let (first, second) = (receiver.recv().unwrap(), receiver.recv().unwrap());
        assert_eq!(first.0, second.0);
        assert_ne!(first.0, std::thread::current().id());
        for result in [first.1, second.1] {
            reap(&mut result.unwrap().child);
        }
    }

    #[test]
    fn a_copy_of_this_program_runs_by_itself() {
        // The test harness does not know the marker, which is enough to see that it ran.
        let (sender, receiver) = channel();
        let plan = Plan { program: Program::Image, ..plan("") };
        spawn(Arc::new(plan), Box::new(move |result| sender.send(result).unwrap()));
        let mut spawned = receiver.recv().unwrap().unwrap();
        assert!(matches!(reap(&mut spawned.child), super::super::Exit::Code(code) if code != 0));
    }
}
