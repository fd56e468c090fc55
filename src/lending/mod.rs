//! Warm workers that several programs share: a server starts them and lends them to whoever connects.
//!
//! A borrowed worker is used as one's own. Whoever borrows it makes the channel and the server hands the worker's ends on;
//! from then on jobs and results go between the two without the server, and cost what they cost in a pool of one's own.
//! Everything above, from the scheduler to the handles, is the same code.
//!
//! | part | what |
//! |---|---|
//! | `socket` | where a server is found, and who may talk to it |
//! | `message` | what borrower and server say to each other |
//! | `borrower` | a pool's side |
//! | `ledger` | who gets the next worker, and who is to give one back: a pure state machine |
//! | `server`, `clients`, `workers` | the server |
//!
//! A pool borrows as many workers as it has jobs, and keeps them until somebody else wants them: then the server recalls
//! some, and the pool gives each back after the job that it runs. A pool that dies leaves its workers in the middle of
//! something, so the server kills these and starts others. When the server dies its workers do, and the pools break.

#[cfg(sidestep_borrowed)]
pub(crate) mod beside;
mod borrower;
mod clients;
mod ledger;
mod message;
mod server;
mod socket;
mod workers;

pub(crate) use borrower::{Borrower, Listening, Notice, Pool};
pub(crate) use message::Counts;
#[cfg(any(feature = "cli", sidestep_borrowed))]
pub(crate) use message::{Report, WorkerState};
#[cfg(any(feature = "cli", sidestep_borrowed))]
pub(crate) use server::{Offer, ServeError, Server};
