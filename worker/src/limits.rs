//! What a worker imposes on itself when it is set up.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::wire::{Fault, Setup};

/// Limits, as the parent wants them.
pub(crate) fn impose(setup: &Setup) -> Result<(), Fault> {
    if let Some(bytes) = setup.data_limit {
        limit(Resource::RLIMIT_DATA, bytes as rlim_t).map_err(|error| refusal("limit its memory", error))?;
    }
    Ok(())
}

/// The soft limit, as far as the hard one allows.
fn limit(resource: Resource, wanted: rlim_t) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    setrlimit(resource, wanted.min(hard), hard)
}

fn refusal(what: &str, error: Errno) -> Fault {
    Fault::plain(format!("the worker cannot {what}: {}", error.desc()))
}
