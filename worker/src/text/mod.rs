//! Jobs that are called with what a person has typed, or with JSON.
//!
//! The command cannot know the types of a job in another program; the job does. So the text travels as it is,
//! and the worker makes the arguments out of it: in `arguments` each is cut out and decoded by its own type,
//! with an error that tells which one it was; `typed` makes a value of a piece of text; `result` goes the
//! other way.

mod arguments;
mod result;
mod typed;

use serde::de::DeserializeOwned;

use crate::job::Job;
use crate::wire::Fault;

/// How arguments and results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Each value is JSON.
    Json,
    /// As a person would write it.
    Text,
}

/// Calls a job with a JSON array of its arguments. The result is a byte that tells a value (0) from the job's
/// own `Err` (1), and then its JSON or the error's text.
pub(crate) fn serve_json<F, Args>(f: F, args: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>
where
    F: Job<Args>,
    Args: DeserializeOwned,
{
    let args = arguments::from_json(args).map_err(Fault::Decode)?;
    result::write(&f.call(args), Style::Json, out)
}

/// Calls a job with one [piece](crate::wire::take_piece) of text for each argument. The result is as in
/// [`serve_json`], but written as a person would.
pub(crate) fn serve_text<F, Args>(f: F, args: &[u8], out: &mut Vec<u8>) -> Result<(), Fault>
where
    F: Job<Args>,
    Args: DeserializeOwned,
{
    let args = arguments::from_pieces(args).map_err(Fault::Decode)?;
    result::write(&f.call(args), Style::Text, out)
}

#[cfg(test)]
mod tests;
