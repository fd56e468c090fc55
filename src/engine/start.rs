//! From a worker's process to a worker that serves: hello, and the initializer's outcome.

use std::time::Duration;

use sidestep_worker::page::PROTOCOL;
use sidestep_worker::wire::{Fault, Hello, JobInfo};
use sidestep_worker::{build, codec, registry};

use crate::error::{Cause, PoolError};

use super::Core;

/// How far a worker has got with its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing was heard.
    Silent,
    /// It has said hello.
    Met,
    /// It serves.
    Ready,
    /// It was turned away; why the pool cannot use it.
    Refused(PoolError),
}

/// How far a pool has got with its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// No worker serves yet.
    Pending,
    /// One does, or did.
    Up,
    /// None will.
    Failed(PoolError),
}

/// The jobs of the program that the workers run, by their numbers there.
#[derive(Debug)]
pub(crate) struct JobTable {
    pub(crate) jobs: Vec<JobInfo>,
    /// The numbers of this program's own jobs there, by their numbers here.
    own: Vec<Option<u32>>,
}

impl JobTable {
    pub(super) fn new(jobs: Vec<JobInfo>) -> JobTable {
        let mut table = JobTable { jobs, own: Vec::new() };
        table.own = own_jobs().iter().map(|job| table.number(&job.name)).collect();
        table
    }

    /// The number of a job that has the number `own` in this program.
    pub(crate) fn number_of_own(&self, own: u32) -> Option<u32> {
        *self.own.get(own as usize)?
    }

    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.jobs.iter().position(|job| job.name == name).map(|at| at as u32)
    }
}

impl Core {
    /// Looks at a worker's hello: is it one of ours?
    pub(super) fn meet(&mut self, body: &[u8], same_image: bool) -> Result<(), PoolError> {
        let hello = read_hello(body)?;
        if same_image {
            let ours = build::fingerprint();
            if hello.build != ours {
                return Err(PoolError::Mismatch { ours, theirs: hello.build });
            }
        }
        let own = same_image.then(own_jobs);
        let known = self.table.get().map(|table| table.jobs.as_slice()).or(own.as_deref());
        if let Some((ours, theirs)) = known.and_then(|known| difference(known, &hello.jobs)) {
            return Err(PoolError::Mismatch { ours, theirs });
        }
        self.table.get_or_init(|| JobTable::new(hello.jobs));
        Ok(())
    }
}

/// The protocol's version stands first, so that it can be read whatever follows.
fn read_hello(body: &[u8]) -> Result<Hello, PoolError> {
    let theirs = body.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    match codec::decode::<Hello>(body) {
        Ok(hello) if hello.protocol == PROTOCOL => Ok(hello),
        _ => Err(PoolError::Mismatch {
            ours: format!("protocol {PROTOCOL} of sidestep {}", env!("CARGO_PKG_VERSION")),
            theirs: theirs
                .map_or_else(|| "no protocol at all".into(), |version| format!("protocol {version}")),
        }),
    }
}

fn own_jobs() -> Vec<JobInfo> {
    registry::table().map_or_else(Vec::new, |table| table.infos().cloned().collect())
}

/// The first job that the two tables do not have in common, as each sees it.
fn difference(ours: &[JobInfo], theirs: &[JobInfo]) -> Option<(String, String)> {
    let show = |job: Option<&JobInfo>| match job {
        Some(job) => {
            let args: Vec<_> = job.args.iter().map(|arg| arg.ty.as_str()).collect();
            format!("job {}({}) -> {}", job.name, args.join(", "), job.output)
        }
        None => "no further job".to_owned(),
    };
    let longer = ours.len().max(theirs.len());
    (0..longer).map(|at| (ours.get(at), theirs.get(at))).find_map(|(our, their)| {
        let same = matches!((our, their), (Some(our), Some(their))
            if our.name == their.name && our.signature == their.signature);
        (!same).then(|| (show(our), show(their)))
    })
}

/// What a worker said about its initializer.
pub(super) fn read_ready(body: &[u8]) -> Result<(), PoolError> {
    match codec::decode::<Result<(), Fault>>(body) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(PoolError::Initializer { message: initializer_message(fault) }),
        Err(error) => Err(PoolError::Initializer { message: error.to_string() }),
    }
}

fn initializer_message(fault: Fault) -> String {
    match fault {
        Fault::Panicked { message, location, .. } if location.is_empty() => message,
        Fault::Panicked { message, location, .. } => format!("it panicked at {location}: {message}"),
        Fault::Decode(message) | Fault::Encode(message) => message,
        Fault::TooLarge(size) => format!("its result takes {size} bytes"),
        Fault::NotRegistered(name) => format!("the worker's program has no job named \"{name}\""),
    }
}

/// A worker's process ended before it served.
pub(super) fn ended_early(cause: Cause, met: bool, stderr_tail: String) -> PoolError {
    let message = match (cause, met) {
        (Cause::Exit(0), false) => "it ran to its end without serving".to_owned(),
        (cause, false) => format!("it {cause} before it said hello"),
        (cause, true) => format!("it {cause} in its initializer"),
    };
    PoolError::Start { message, stderr_tail }
}

/// A worker has been silent for too long.
pub(super) fn too_slow(met: bool, timeout: Duration, stderr_tail: String) -> PoolError {
    let what = if met { "its initializer did not end" } else { "it said nothing" };
    PoolError::Start { message: format!("{what} within {timeout:?}"), stderr_tail }
}
