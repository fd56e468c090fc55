//! One worker process seen from the parent: how it is started, watched, signalled and reaped, and its outputs.
//!
//! Nothing here knows of jobs or pools. What only some systems have stands in [`sys`], so that the rest reads the
//! same everywhere.

mod background;
mod body;
mod capture;
mod child;
mod error;
mod forward;
mod lane;
mod launch;
#[cfg(feature = "connect")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a part of it is the server's, which is the command's")
)]
mod leash;
mod limits;
#[cfg(any(feature = "cli", feature = "connect"))]
mod lock;
mod memory;
mod oom;
mod output;
mod pipe;
mod poller;
mod reaper;
mod spawn;
mod stderr;
mod sys;
mod tail;
#[cfg(test)]
pub(crate) mod testing;
mod usage;

pub(crate) use child::{Child, Exit};
pub(crate) use error::SpawnError;
pub(crate) use forward::Forwarder;
#[cfg(feature = "connect")]
pub(crate) use launch::{Ours, channel, launch_lent, stdout_is_usable};
#[cfg(feature = "connect")]
pub(crate) use leash::{Leash, Tether, Wish};
pub(crate) use limits::raise_descriptor_limit;
#[cfg(any(feature = "cli", feature = "connect"))]
pub(crate) use lock::is_taken;
pub(crate) use memory::Memory;
pub(crate) use oom::OomKills;
pub use output::Output;
pub(crate) use pipe::{look_at_sigpipe, write};
pub(crate) use poller::{Interest, Poller, Ready};
#[cfg(feature = "connect")]
pub(crate) use spawn::{Done, in_background};
pub(crate) use spawn::{Plan, Program, Spawned, spawn};
pub(crate) use stderr::{Flow, Stderr};
pub(crate) use usage::{Gauge, Usage};
