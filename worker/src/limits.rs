//! What a worker imposes on itself when it is set up.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::wire::{Fault, Setup};

/// Limits and niceness, as the parent wants them.
pub(crate) fn impose(setup: &Setup) -> Result<(), Fault> {
    if let Some(bytes) = setup.data_limit {
        limit(Resource::RLIMIT_DATA, bytes as rlim_t).map_err(|error| refusal("limit its memory", error))?;
    }
    if setup.core_dumps {
        limit(Resource::RLIMIT_CORE, rlim_t::MAX).map_err(|error| refusal("allow core dumps", error))?;
    }
    if setup.nice != 0 {
        be_nicer(setup.nice).map_err(|error| refusal("change its niceness", error))?;
    }
    Ok(())
}

/// The soft limit, as far as the hard one allows.
fn limit(resource: Resource, wanted: rlim_t) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    setrlimit(resource, wanted.min(hard), hard)
}

/// The niceness of this thread, and of those and the programs that it starts from now on.
fn be_nicer(increment: i32) -> nix::Result<()> {
    Errno::clear();
    // SAFETY: `nice` takes any number.
    let niceness = unsafe { libc::nice(increment) };
    // It may rightly be -1.
    if niceness == -1 && Errno::last_raw() != 0 { Err(Errno::last()) } else { Ok(()) }
}

fn refusal(what: &str, error: Errno) -> Fault {
    Fault::plain(format!("the worker cannot {what}: {}", error.desc()))
}
