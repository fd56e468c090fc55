//! From the start of a worker copy to its serve loop.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{SFlag, fstat};

use crate::blocks::arena::Arena;
use crate::lent;
use crate::link::{self, EXIT_PROTOCOL, Link};
use crate::own::Own;
use crate::page::Page;
use crate::registry::{self, Registry};
use crate::serve;

/// The argument that tells a copy that it is a worker. It is no environment variable, so that no program that a
/// job starts is mistaken for one.
pub const MARKER: &str = "--sidestep-worker";

/// The argument before a file with a job that has failed: `init` runs that job, in this process and without a pool, and
/// does not return. It is what `pool-run --replay FILE` executes the program of the job with. As with [`MARKER`], a program
/// that has other first arguments never notices.
pub const REPLAY: &str = "--sidestep-replay";

/// Where a worker finds its jobs.
pub const JOBS_FD: RawFd = 3;
/// Where a worker writes its results.
pub const RESULTS_FD: RawFd = 4;
/// Where a worker finds the shared page.
pub const PAGE_FD: RawFd = 5;
/// Where a worker finds the arena with large arguments, if its page says that there is one.
pub const ARENA_FD: RawFd = 6;

static SERVING: AtomicBool = AtomicBool::new(false);

/// Makes the `#[job]`s of this program known, and turns a worker copy into a worker. It is the first line of `main`.
///
/// In the program that a user starts it returns at once. In a copy that a pool has started it serves jobs and never
/// returns, so what stands before it runs in each worker too. In a program that `pool-run --replay` has turned into it runs
/// the one job that has failed, and ends. Test and bench binaries, which have no `main` of their own, use
/// [`worker_entry!`](crate::worker_entry) instead.
///
/// If two jobs have one name it says so on stderr, names both places, and ends the program with code 125.
pub fn init() {
    init_with(Registry::new());
}

/// [`init`], with the jobs of a [`Registry`] beside the `#[job]`s.
///
/// Of several calls the first one counts, and [`worker_entry!`](crate::worker_entry) is one: a registry that comes
/// later is not looked at.
pub fn init_with(registry: Registry) {
    let table = match registry::publish(registry) {
        Ok(table) => table,
        Err(duplicate) => refuse(&duplicate.to_string()),
    };
    if argument(1).as_deref() == Some(REPLAY.as_bytes()) {
        replay(table);
    }
    if !is_worker_copy() || SERVING.swap(true, Ordering::AcqRel) {
        return;
    }
    match take_channel() {
        Ok(Channel::Own(link, arena)) => serve::serve(link, arena, table),
        Ok(Channel::Lent(server)) => lent::serve(server, table),
        Err(why) => refuse(&format!("{MARKER} is for a pool's own use ({why}); run the program without it")),
    }
}

/// Whether this process was started as a worker, by its first argument.
pub fn is_worker_copy() -> bool {
    argument(1).as_deref() == Some(MARKER.as_bytes())
}

/// Whether this process is a worker that has reached `init`.
pub fn is_serving() -> bool {
    SERVING.load(Ordering::Acquire)
}

fn argument(number: usize) -> Option<Vec<u8>> {
    match std::env::args_os().nth(number) {
        Some(argument) => Some(argument.into_vec()),
        // Before `main` some systems have not told the standard library its arguments yet.
        None => {
            let line = std::fs::read("/proc/self/cmdline").ok()?;
            line.split(|byte| *byte == 0).nth(number).map(<[u8]>::to_vec)
        }
    }
}

#[cfg(feature = "json")]
fn replay(table: &registry::Table) -> ! {
    match argument(2).filter(|file| !file.is_empty()) {
        Some(file) => crate::replay::replay(std::ffi::OsString::from_vec(file).as_ref(), table),
        None => refuse(&format!("there is no file behind {REPLAY}")),
    }
}

#[cfg(not(feature = "json"))]
fn replay(_: &registry::Table) -> ! {
    refuse("this program was built without sidestep's feature `json`, which it takes to replay a job")
}

fn refuse(why: &str) -> ! {
    eprintln!("sidestep: {why}");
    std::process::exit(EXIT_PROTOCOL)
}

/// Who has started this worker.
enum Channel {
    /// The pool that it serves.
    Own(&'static Link, Option<Arena>),
    /// A server that lends it to pools.
    Lent(OwnedFd),
}

/// Takes the descriptors over, once it is sure that they are what a pool has put there.
fn take_channel() -> Result<Channel, String> {
    if kind_of(JOBS_FD)? == SFlag::S_IFSOCK {
        own_session();
        // SAFETY: this descriptor is open, was made for us by the parent, and this runs once.
        return Ok(Channel::Lent(unsafe { OwnedFd::from_raw_fd(JOBS_FD) }));
    }
    for fd in [JOBS_FD, RESULTS_FD, PAGE_FD] {
        let kind = kind_of(fd)?;
        if kind != SFlag::S_IFIFO && kind != SFlag::S_IFREG {
            return Err("its channel is something else".into());
        }
    }
    // SAFETY: these descriptors are open, were made for us by the parent, and this runs once.
    let [jobs, results, page] = [JOBS_FD, RESULTS_FD, PAGE_FD].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let page = Page::open(&File::from(page)).ok_or("its shared page is of another version")?;
    let above = link::high_number();
    let move_high = |fd| link::move_high(fd, above).map_err(|error| error.to_string());
    // SAFETY: as above; the page that says so is the parent's.
    let arena = page.has_arena().then(|| unsafe { OwnedFd::from_raw_fd(ARENA_FD) });
    let arena = arena.map(|fd| Own::new(move_high(fd)?, 4).map_err(|error| error.to_string())).transpose()?;
    own_session();
    let link = Link::install(page, move_high(jobs)?, move_high(results)?, above);
    Ok(Channel::Own(link.map_err(|error| error.to_string())?, arena.map(Arena::new)))
}

fn kind_of(fd: RawFd) -> Result<SFlag, String> {
    // SAFETY: the borrow ends before anything could close the descriptor; an unused number is an error of fstat.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    let stat = fstat(fd).map_err(|_| "its channel is missing".to_owned())?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT)
}

/// Own session and group, so that the terminal's signals reach the parent alone and the group can be killed as
/// one; no core dumps, which a crashing input would fill a disk with.
fn own_session() {
    // Fails if the parent has already made us a leader, which is as good.
    let _ = nix::unistd::setsid();
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

/// Lets the copies of a test or bench binary serve jobs: these binaries have no `main` that could call
/// [`init`](crate::init).
///
/// Write it once, at file level. It works under `cargo test`, under nextest and under `cargo bench`; a copy serves
/// before the test harness starts, so that no test runs twice and nothing is printed. With a function that gives a
/// [`Registry`](crate::Registry), its jobs are there beside the `#[job]`s.
///
/// ```
/// # use sidestep_worker as sidestep;
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// sidestep::worker_entry!(|| sidestep::Registry::new().job("add", add));
/// # fn main() {}
/// ```
///
/// The function that gives the registry runs before `main`, in every run of the binary: it must not panic.
///
/// Jobs then run before `main` too, where the standard library has not yet installed its own handler for a stack that
/// overflows: such a job dies by SIGSEGV instead of SIGABRT, without a message.
#[macro_export]
macro_rules! worker_entry {
    () => {
        $crate::worker_entry!($crate::Registry::new);
    };
    ($registry:expr) => {
        const _: () = {
            extern "C" fn enter() {
                $crate::init_with(($registry)());
            }

            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
            static ENTER: extern "C" fn() = enter;
        };
    };
}
