//! What is shown of a job: `verdict` makes text of its outcome (with `problem`, if it failed), `reorder` holds it until
//! its turn, `live` shows output while its job runs, `tag` marks its lines,
//! `out` writes it, and `printer` has them do so.

mod live;
mod out;
mod printer;
mod problem;
mod reorder;
mod tag;
mod verdict;

pub(crate) use live::Live;
pub(crate) use out::{Out, Record};
pub(crate) use printer::Printer;
pub(crate) use problem::{SHOWN, show_input};
pub(crate) use reorder::{IN_MEMORY, Reorder};
pub(crate) use verdict::{Judge, Verdict};
