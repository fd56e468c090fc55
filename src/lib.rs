//! A pool of worker processes.

mod engine;
mod error;
mod pool;
mod process;

pub use engine::Captured;
pub use error::{Cause, JobError, PoolError};
pub use pool::{
    Builder, Call, Imap, JobHandle, MapHandle, Pool, Quantiles, Stats, WorkerState, WorkerStats, as_completed,
};
pub use process::Output;
pub use sidestep_worker::{
    Arguments, Bytes, Context, Failure, Job, Registry, context, init, init_with, try_context, worker_entry,
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
