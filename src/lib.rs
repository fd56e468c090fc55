//! A pool of worker *processes*: what `multiprocessing.Pool` is to Python, for Rust.
//!
//! It is for functions that need all cores and may crash, leak or hang, or that wrap a C library which is not
//! thread-safe. Every job resolves exactly once, with a typed outcome, whatever dies; a job that ended never runs
//! again; a crash costs the one job that was running, and no other.
//!
//! ```no_run
//! use sidestep::Pool;
//!
//! #[sidestep::job]
//! fn hello(name: String) -> String {
//!     format!("Hello: {name}")
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     sidestep::init(); // a worker copy serves jobs here and never returns
//!     let pool = Pool::new(16)?;
//!     let all = pool.map(hello, ["john_wick_1".to_string(), "john_wick_2".to_string()])?;
//!     let one = pool.apply_async(hello, ("john_wick_3".to_string(),));
//!     println!("{all:?} {}", one.get()?);
//!     Ok(())
//! }
//! ```
//!
//! If your function is safe Rust that neither crashes nor has to be killed, threads are the better choice: rayon lets
//! them borrow what you have, and copies nothing.
//!
//! # How it works
//!
//! A worker is another process that runs *your own program*. Its `main` comes to [`init`], which sees that it is in a
//! worker, serves jobs, and never returns. In the program that you started, `init` returns at once.
//!
//! ```text
//!   your program                                       a worker: your program once more
//!  +----------------------------------+               +----------------------------------+
//!  |  main -> init() -> ...           |               |  main -> init() -> loop:         |
//!  |                                  |   jobs, pipe  |                                  |
//!  |  pool.map(f, items) -> queue ----+-------------->|    take a job: a number for f,   |
//!  |                          ^       |               |    and its arguments             |
//!  |           scheduler -----+       |  page shared  |    note "this one is running"    |
//!  |              ^                   |<-- by both -->|    call f                        |
//!  |  results <---+-------------------+---------------|    commit the result             |
//!  |                                  | results, pipe |                                  |
//!  +----------------------------------+               +----------------------------------+
//!                                                       one such pair of pipes, and one such
//!                                                       page, for each worker and no other
//! ```
//!
//! Because both run the same program, a function travels as a number, and its arguments and its result as bytes that
//! serde makes. Because no two workers share anything, any of them may be killed at any instruction and no other
//! notices. And because the shared page says which job was running and which results are finished, exactly that one
//! job pays for the death of its worker; a new worker takes the place of the dead one.
//!
//! So a job is
//!
//! - a free function of 0 to 8 owned arguments, marked with [`#[job]`](macro@job); or any function, or a closure that
//!   captures nothing, that a [`Registry`] names for [`init_with`];
//! - with arguments and a result that implement serde's `Serialize` and `Deserialize`. Large blocks of bytes travel
//!   best as [`Bytes`], which a job reads where its caller has written them, and what many jobs look into as
//!   [`Shared`] values.
//!
//! It is called as it is named: `pool.map(hello, names)`. [`Pool`] has the eight methods that Python's has;
//! [`Pool::call`] gives one call options of its own, callbacks among them; [`JobHandle`] and [`MapHandle`] are also
//! futures, for any executor; [`as_completed`] gives handles as they finish.
//!
//! # What is promised
//!
//! - **Nothing waits for ever.** When a worker dies, its job ends in [`JobError::WorkerLost`], which says how the
//!   process ended and what it last wrote to stderr. When the pool ends, open handles get [`JobError::PoolClosed`].
//! - **At most once.** A job that has begun is not begun again, unless you do it. A job that was sent to a worker which
//!   died before beginning it goes to another one.
//! - **Nobody else pays.** Not for a crash, a panic, `exit`, a result that cannot be decoded, or a cancelled
//!   neighbour; also not when `map` sends many items at a time. A panic does not even end the worker.
//! - **Nothing stays behind.** Dropping the pool kills its workers and what their jobs have started, within a second.
//!   When your program is killed, they all end within a second by themselves.
//!
//! # What is not
//!
//! - Side effects are not undone. A job that died half-way may have written half a file.
//! - Programs that a job starts die with it, unless they leave its process group (`setsid`, a daemon). The command
//!   `pool-run` ends these too, on Linux; a library cannot tell them from other children of your program.
//! - Arguments and results are copied, and neither may take more than 1 GiB.
//! - What stands in `main` before `init` runs in every worker too. So do it after, or in the
//!   [initializer](Builder::initializer).
//! - A program built with `panic = "abort"` loses its worker by a panic.
//! - Limits of memory and processor time are kept from outside: a job may exceed them by what it takes in 10 ms, and the
//!   programs that it starts do not count.
//! - Linux is supported. The rest of Unix has a fallback for everything that only Linux has; the tests run it on Linux,
//!   and nobody has tried it elsewhere.
//!
//! # A job's own errors
//!
//! A job's own failure is a value. Let it return a `Result`, and two `?` tell the two kinds apart: the first is the
//! pool's [`JobError`], the second your own error. [`Failure`] is made from any error by `?`, and can travel.
//!
//! ```no_run
//! use sidestep::{Failure, Pool};
//!
//! #[sidestep::job]
//! fn count(path: String) -> Result<usize, Failure> {
//!     Ok(std::fs::read_to_string(path)?.lines().count())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pool = Pool::new(1)?;
//! let lines = pool.apply(count, ("Cargo.toml".to_owned(),))??;
//! # Ok(())
//! # }
//! ```
//!
//! [`map`](Pool::map) ends with the first item's [`JobError`]; [`imap`](Pool::imap) gives each item its own and goes on.
//!
//! # Limits and retries
//!
//! Nothing is limited unless you say so: for the pool, or for one call. Both hold for each item of a `map` alone.
//!
//! ```no_run
//! # use std::time::Duration;
//! # #[sidestep::job]
//! # fn shrink(path: String) -> Result<u64, String> { Ok(0) }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let paths = vec!["a".to_owned()];
//! let pool = sidestep::Pool::builder()
//!     .timeout(Duration::from_secs(60)) // then it is asked to end, and killed after the grace
//!     .retries(2) // after panics, crashes and time-outs
//!     .max_jobs_per_worker(10_000) // a library that leaks does so for a while only
//!     .queue_limit(100_000) // whoever submits more waits
//!     .build()?;
//! let sizes = pool.call(shrink).timeout(Duration::from_secs(5)).retry_if(Result::<u64, String>::is_err).map(paths)?;
//! # Ok(())
//! # }
//! ```
//!
//! # In tests and benchmarks
//!
//! A test or a bench binary has no `main` of its own. Write this once in each, at file level, in place of `init`:
//!
//! ```no_run
//! sidestep::worker_entry!();
//! # fn main() {}
//! ```
//!
//! It works with the `#[job]`s of that file and of the crates that it uses, under `cargo test`, nextest and
//! `cargo bench`. In a crate's own unit tests it stands in `lib.rs` under `#[cfg(test)]`.
//!
//! # How many workers
//!
//! [`Pool::builder`] takes as many as there are processors that this process may use, which is right for jobs that
//! compute. Take more if they wait for a disk or a network, and fewer if each needs much memory. [`Pool::resize`]
//! changes the number later. A worker costs a process and at most six descriptors here; the pool raises the soft limit
//! of descriptors itself when it must.
//!
//! # What jobs print
//!
//! What a job writes to stdout goes where your program's goes, and so does stderr, line by line. [`Builder::stdout`]
//! and [`Builder::stderr`] can drop it, or keep it for [`JobHandle::output`]. stdin is empty. Nothing that a job prints
//! or reads can get into the pool's own channel.
//!
//! # Pools inside jobs
//!
//! A job may make a pool. The whole tree of processes ends with its root.
//!
//! # Workers that several programs share
//!
//! `pool-run --serve NAME` keeps workers warm and lends them; [`Pool::connect`] is a pool of such workers. Each program has
//! as many as it has jobs, as long as no other one has fewer.
//!
//! # Features
//!
//! | feature | what it adds | on by default |
//! |---|---|---|
//! | `macros` | [`#[job]`](macro@job) | yes |
//! | `cli` | the command `pool-run`, and [`cli::main`], the same command with your own jobs | yes |
//! | `json` | workers that other programs can call with JSON or text, as `pool-run --exe` does; part of `cli` | yes |
//! | `connect` | [`Pool::connect`]: workers that several programs share; part of `cli` | yes |
//! | `fault-injection` | `sidestep::faults`: jobs that die on purpose, to test what your program does then | no |
//!
//! A library wants `default-features = false, features = ["macros"]`, which builds nothing of the command line.

#[cfg(feature = "cli")]
pub mod cli;
mod engine;
mod error;
#[cfg(feature = "fault-injection")]
pub mod faults;
#[cfg(feature = "connect")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a part of it is the server's, which is the command's")
)]
mod lending;
mod pool;
mod process;

pub use engine::Captured;
pub use error::{Cause, JobError, PoolError};
pub use pool::{
    Builder, Call, Imap, JobHandle, MapHandle, Pool, Quantiles, Stats, WorkerState, WorkerStats, as_completed,
};
pub use process::Output;
pub use sidestep_worker::{
    Arguments, Bytes, Context, Failure, Job, Registry, Shared, context, init, init_with, try_context,
    worker_entry,
};

#[cfg(feature = "macros")]
pub use sidestep_macros::job;

#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "macros")]
    pub use sidestep_worker::attribute::{Fit, JOBS, JobDef, Types, Unfit, argument, result};
    #[cfg(feature = "macros")]
    pub use sidestep_worker::linkme;
}
