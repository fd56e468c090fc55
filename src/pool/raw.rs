//! Jobs called with arguments that are encoded already: what the command does.

use sidestep_worker::codec::CodecError;
use sidestep_worker::wire::Encoding;

use crate::engine::Captured;
use crate::engine::scheduler::TaskSpec;
use crate::error::JobError;

use super::Pool;
use super::imap::Imap;

impl Pool {
    /// Runs a job over arguments that are encoded already. Results come as jobs end; input is pulled as in `imap`.
    pub(crate) fn raw_unordered<I: Iterator<Item = Vec<u8>>>(
        &self,
        job: &str,
        encoding: Encoding,
        items: I,
    ) -> Result<RawResults<'_, I>, JobError> {
        let (number, _) = self.find(job)?;
        let spec = TaskSpec { job: number, encoding, chunk: None, lazy: true };
        fn append(item: Vec<u8>, out: &mut Vec<u8>) -> Result<(), CodecError> {
            out.extend_from_slice(&item);
            Ok(())
        }
        Ok(RawResults(Imap::raw(
            &self.engine,
            items,
            append,
            |bytes| Ok(bytes.to_vec()),
            job.to_owned(),
            spec,
        )))
    }
}

/// The results of [`Pool::raw_unordered`].
pub(crate) struct RawResults<'p, I: Iterator<Item = Vec<u8>>>(Imap<'p, I, Vec<u8>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct RawResult {
    /// The item's place in the input, from 0.
    pub(crate) index: u64,
    pub(crate) outcome: Result<Vec<u8>, JobError>,
    /// What the job has printed, if the pool captures it.
    pub(crate) output: Option<Captured>,
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for RawResults<'_, I> {
    type Item = RawResult;

    fn next(&mut self) -> Option<RawResult> {
        let (index, outcome) = self.0.advance(None)?;
        let output = self.0.take_output(index);
        Some(RawResult { index, outcome, output })
    }
}
