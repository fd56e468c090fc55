//! What is shown of a job: `printer` makes text of its outcome (with `problem`, if it failed), `reorder` holds it until
//! its turn, `out` writes it.

mod out;
mod printer;
mod problem;
mod reorder;

pub(crate) use out::{Out, Record};
pub(crate) use printer::Printer;
pub(crate) use problem::Problem;
pub(crate) use reorder::{IN_MEMORY, Reorder};
