//! Where inputs come from: `source` reads one source, `combine` makes inputs of several, `intake` reads ahead on a thread
//! of its own.

mod combine;
mod intake;
mod source;

pub(crate) use combine::{Input, Inputs, Join, Place, Sources};
pub(crate) use intake::{Intake, Next, intake};
pub(crate) use source::{Format, InputError, Source};
