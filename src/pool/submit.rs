//! Arguments are encoded, and one job is sent on its way.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::{CodecError, MAX_BODY};
use sidestep_worker::shared::collect;
use sidestep_worker::wire::RunHeader;

use crate::engine::scheduler::{Load, Payload, TaskSpec};
use crate::engine::{Args, Engine};
use crate::error::Place;

use super::JobHandle;
use super::admission::admit;
use super::handle::Cell;

/// Encodes with the types' own `Serialize`, which may panic.
pub(super) fn guarded(
    out: &mut Buffer<'_>,
    encode: impl FnOnce(&mut Buffer<'_>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let start = out.bytes.len();
    let encoded = catch_unwind(AssertUnwindSafe(|| fitting(out, encode)));
    let outcome = encoded.unwrap_or_else(|panic| Err(panicked(panic)));
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

/// Encodes one item, a run of which must fit into a frame.
#[inline]
pub(super) fn fitting(
    out: &mut Buffer<'_>,
    encode: impl FnOnce(&mut Buffer<'_>) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let start = out.bytes.len();
    encode(out)?;
    if out.is_large(start) {
        let size = out.len(start) + RunHeader::LEN + RunHeader::PIECE;
        return if size > MAX_BODY { Err(CodecError::TooLarge { size }) } else { Ok(()) };
    }
    Ok(())
}

#[cold]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> CodecError {
    let what = sidestep_worker::panics::message_of(panic);
    CodecError::Invalid(format!("serialising the arguments panicked: {what}"))
}

/// Sends one job on its way; `encode` appends its arguments.
pub(super) fn submit<R: Send + 'static>(
    engine: &Arc<Engine>,
    cell: Arc<Cell<R>>,
    spec: TaskSpec,
    encode: impl FnOnce(&mut Buffer<'_>) -> Result<(), CodecError>,
) -> JobHandle<R> {
    let weak = Arc::downgrade(engine);
    let mut bytes = Vec::new();
    let mut buffer = Buffer::new(&mut bytes, engine.blocks());
    let tickets = match collect(engine.number(), || guarded(&mut buffer, encode)) {
        Ok(tickets) => tickets,
        Err(error) => {
            let id = engine.count_failed();
            cell.refuse(id, Place { job: cell.job.to_string(), id, pid: None }.encode(error));
            return JobHandle { cell, engine: weak, task: None };
        }
    };
    let block = buffer.finish(0);
    let args = Args::one(bytes, block, tickets);
    let grant = admit(engine, None, Load { jobs: 1, bytes: args.weight(1) }, None).unwrap_or_default();
    let submitted = engine.submit(cell.clone(), spec, args, grant);
    let task = submitted.map(|(task, id)| {
        cell.id.store(id, Ordering::Relaxed);
        task
    });
    if task.is_none() {
        cell.refuse(0, engine.refusal());
    }
    JobHandle { cell, engine: weak, task }
}
