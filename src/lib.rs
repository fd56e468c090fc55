//! A pool of worker processes.

pub use sidestep_worker::{Bytes, Context, Failure, Job, Registry, context, init, init_with, try_context, worker_entry};

#[cfg(feature = "macros")]
pub use sidestep_macros::job;

#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "macros")]
    pub use sidestep_worker::{linkme, registry::{JOBS, JobDef}};
}
