//! The child's side of [sidestep](https://docs.rs/sidestep), and all that both sides must agree on.
//!
//! You want the crate `sidestep`, which shows what is public here; this one exists so that the child's code is small
//! and knows nothing of pools. Its parts, from the wire up:
//!
//! | module | what |
//! |---|---|
//! | [`codec`] | values to bytes and back, the only user of bincode |
//! | [`frame`] | the byte stream of a pipe, cut into checked frames |
//! | [`wire`] | what is in the frames |
//! | [`page`] | the shared mapping: claims, blame, results that outlive their worker |
//! | [`registry`] | names, numbers and types of jobs |
//! | `attribute` | what `#[job]` leaves in a binary |
//! | `entry`, `serve`, `run` | from the start of a copy to its serve loop, and what it does there |
//! | [`lent`] | a worker that serves one pool after the other |
//! | `link`, `watcher` | the worker's ends of the channel, and the thread that watches them |
//! | `kept`, `replay` | a job that has failed as a file, and how it runs again without a pool |
//! | [`orphaned`] | what a worker still does when its parent is gone |

#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod attribute;
#[doc(hidden)]
pub mod blocks;
#[doc(hidden)]
pub mod build;
#[doc(hidden)]
pub mod bytes;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod codec;
mod context;
#[doc(hidden)]
pub mod entry;
mod failure;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod job;
#[cfg(feature = "json")]
#[doc(hidden)]
pub mod kept;
#[doc(hidden)]
pub mod lent;
mod limits;
mod link;
mod marks;
#[doc(hidden)]
pub mod orphaned;
mod own;
#[doc(hidden)]
pub mod page;
#[doc(hidden)]
pub mod panics;
#[doc(hidden)]
pub mod patience;
#[doc(hidden)]
pub mod registry;
#[cfg(feature = "json")]
#[doc(hidden)]
pub mod replay;
mod run;
mod serve;
#[doc(hidden)]
pub mod shared;
#[cfg(feature = "json")]
mod text;
mod watcher;
#[doc(hidden)]
pub mod wire;

pub use bytes::Bytes;
pub use context::{Context, context, try_context};
pub use entry::{init, init_with};
pub use failure::Failure;
pub use job::{Arguments, Job};
#[cfg(feature = "fault-injection")]
#[doc(hidden)]
pub use link::committed;
pub use registry::Registry;
pub use shared::Shared;

#[cfg(feature = "macros")]
#[doc(hidden)]
pub use linkme;
