//! Arguments are encoded, and one job is sent on its way.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::{CodecError, MAX_BODY};
use sidestep_worker::shared::collect;
use sidestep_worker::wire::RunHeader;

use crate::engine::scheduler::TaskSpec;
use crate::engine::{Engine, Single};

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

/// Memory that single jobs are encoded in, one after the other on the same thread, is kept up to this many bytes.
const KEEP: usize = 64 << 10;

thread_local! {
    /// Empty, and with some room. It is not here while something is encoded, which may submit something else.
    static ROOM: std::cell::Cell<Vec<u8>> = const { std::cell::Cell::new(Vec::new()) };
}

/// Sends one job on its way; `encode` appends its arguments.
pub(super) fn submit<R: Send + 'static>(
    engine: &Arc<Engine>,
    cell: Cell<R>,
    spec: TaskSpec,
    encode: impl FnOnce(&mut Buffer<'_>) -> Result<(), CodecError>,
) -> JobHandle<R> {
    let mut bytes = ROOM.try_with(std::cell::Cell::take).unwrap_or_default();
    let mut buffer = Buffer::new(&mut bytes, engine.blocks());
    let tickets = match collect(engine.number(), || guarded(&mut buffer, encode)) {
        Ok(tickets) => tickets,
        Err(error) => {
            let id = engine.count_failed();
            cell.refuse(id, cell.place(id).encode(error));
            return JobHandle { cell: Arc::new(cell), engine: Arc::downgrade(engine) };
        }
    };
    let block = buffer.finish(0);
    let single = Single { bytes: &bytes, block, tickets };
    let load = single.load();
    let grant = admit(engine, None, load, None).unwrap_or_default();
    let handle = JobHandle { cell: Arc::new(cell), engine: Arc::downgrade(engine) };
    match engine.submit(handle.cell.clone(), spec, single, grant) {
        Some(key) => handle.cell.submitted(key, load.bytes),
        None => handle.cell.refuse(0, engine.refusal()),
    }
    bytes.clear();
    if bytes.capacity() <= KEEP {
        let _ = ROOM.try_with(|room| room.set(bytes));
    }
    handle
}
