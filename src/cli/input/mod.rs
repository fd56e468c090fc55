//! Where inputs come from: `source` reads one source, `combine` puts several together, `portion` says what of them a call
//! gets, `blocks` cuts a stream, `inputs` is what a run takes, and `intake` reads ahead on a thread of its own.

mod blocks;
mod combine;
mod inputs;
mod intake;
mod portion;
mod source;

pub(crate) use blocks::{Cut, Size};
pub(crate) use combine::{Join, Sources};
pub(crate) use inputs::{Input, Inputs, Place};
pub(crate) use intake::{Intake, Next, intake};
pub(crate) use portion::{Portion, Shuffle};
pub(crate) use source::{Format, InputError, Source};
