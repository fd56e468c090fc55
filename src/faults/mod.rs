//! Faults on purpose, for tests of what your program does when a job dies (feature `fault-injection`).
//!
//! A [`Fault`] is a way in which a job can die or hang; [`strike`] does it to the process that calls it. A [`Trap`]
//! is a fault and its [`Moment`]: an argument that harms the worker in which it is read, at that moment and not
//! before. The job [`trap`] is ready to be registered.
//!
//! ```no_run
//! use sidestep::faults::{self, Fault, Moment, Trap};
//! use sidestep::{JobError, Pool, Registry};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     sidestep::init_with(Registry::new().job("trap", faults::trap));
//!     let pool = Pool::new(2)?;
//!     let killed = Trap::new(Moment::Result, Fault::Kill);
//!     match pool.apply(faults::trap, (killed,)) {
//!         Err(JobError::WorkerLost { cause, .. }) => println!("here you would try again: {cause}"),
//!         other => println!("that should not be: {other:?}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A job of your own can take a [`Trap`] too, beside its other arguments, and say when it has begun:
//!
//! ```no_run
//! use sidestep::faults::{Moment, Trap};
//!
//! #[sidestep::job]
//! fn convert(path: String, trap: Trap) -> Result<usize, sidestep::Failure> {
//!     trap.at(Moment::Start);
//!     let text = std::fs::read_to_string(path)?;
//!     trap.at(Moment::Middle);
//!     Ok(text.lines().count())
//! }
//! # fn main() {}
//! ```
//!
//! [`Unsteady`] does to streams of bytes what a trap does to jobs.

mod fault;
mod trap;
mod unsteady;

pub use fault::{Fault, strike};
pub use trap::{Moment, Trap, trap};
pub use unsteady::Unsteady;
