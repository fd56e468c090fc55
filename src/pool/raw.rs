//! Jobs called with arguments that are encoded already: what the command does.

use std::sync::{Arc, Weak};

use sidestep_worker::blocks::Buffer;
use sidestep_worker::codec::CodecError;
use sidestep_worker::wire::Encoding;

use crate::engine::scheduler::TaskSpec;
use crate::engine::{Captured, Engine};
use crate::error::JobError;

use super::decode::Decoder;
use super::hook::Hooks;
use super::pull::{Puller, Source};
use super::stream::{Order, Stream};
use super::{Name, Pool};

impl Pool {
    /// Runs a job over arguments that are encoded already. Results come as jobs end; input is pulled as in `imap`.
    pub(crate) fn raw_unordered<S: Source<Item = Vec<u8>>>(
        &self,
        job: &str,
        encoding: Encoding,
        source: S,
    ) -> Result<RawResults<'_, S>, JobError> {
        fn append(item: Vec<u8>, out: &mut Buffer<'_>) -> Result<(), CodecError> {
            out.bytes.extend_from_slice(&item);
            Ok(())
        }
        let (number, _) = self.find(job)?;
        let spec =
            TaskSpec { job: number, encoding, chunk: None, lazy: true, terms: self.engine.config.terms };
        let results =
            Stream::new(Name::Owned(job.to_owned()), Decoder::RAW, Hooks::default(), Order::Completion);
        Ok(RawResults(Puller::new(&self.engine, source, append, results, Ok(spec))))
    }
}

/// The results of [`Pool::raw_unordered`].
pub(crate) struct RawResults<'p, S: Source>(Puller<'p, S, Vec<u8>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct RawResult {
    /// The item's place in the input, from 0.
    pub(crate) index: u64,
    pub(crate) outcome: Result<Vec<u8>, JobError>,
    /// What the job has printed, if the pool captures it.
    pub(crate) output: Option<Captured>,
}

impl<S: Source> RawResults<'_, S> {
    /// What wakes the one who waits for a result when the source is due.
    pub(crate) fn rouser(&self) -> Rouser {
        Rouser { engine: self.0.engine(), results: self.0.results.clone() }
    }
}

impl<S: Source> Iterator for RawResults<'_, S> {
    type Item = RawResult;

    fn next(&mut self) -> Option<RawResult> {
        let (index, outcome) = self.0.advance(None)?;
        let output = self.0.take_output(index);
        Some(RawResult { index, outcome, output })
    }
}

/// Tells, from any thread, that a source is due.
pub(crate) struct Rouser {
    engine: Weak<Engine>,
    results: Arc<Stream<Vec<u8>>>,
}

impl Rouser {
    pub(crate) fn rouse(&self) {
        self.results.rouse();
        if let Some(engine) = self.engine.upgrade() {
            engine.ring();
        }
    }
}
