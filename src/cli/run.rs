//! Runs a job over its inputs.
//!
//! One thread does it: it asks the pool for the next result, the pool asks it for the next inputs, and what comes out
//! goes to the printer. So nothing here is locked, and few inputs are read before a worker can use them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::call::Arguments;
use super::ending::CliError;
use super::input::{Input, InputError, Inputs, Intake, intake};
use super::output::{Printer, Problem};
use crate::pool::{Pulled, Source};
use crate::{JobError, Pool};

/// How far a run has come, for whoever asks from another thread.
#[derive(Debug, Default)]
pub(super) struct Tally {
    taken: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    /// There are no more inputs than those taken.
    drained: AtomicBool,
    /// How many inputs there are, if that is known from the start.
    total: OnceLock<u64>,
}

impl Tally {
    fn ended(&self, ok: bool) {
        if ok { &self.ok } else { &self.failed }.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how many inputs there are.
    pub(super) fn expect(&self, total: usize) {
        let _ = self.total.set(total as u64);
    }

    /// How many jobs failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// What to say at the end, if anything went wrong.
    pub(super) fn summary(&self) -> Option<String> {
        let failed = self.failed();
        let all = failed + self.ok.load(Ordering::Relaxed);
        (failed > 0).then(|| format!("{failed} of {all} jobs failed"))
    }

    /// What to say when someone ends the run before its end.
    pub(super) fn interruption(&self) -> String {
        let (ok, failed) = (self.ok.load(Ordering::Relaxed), self.failed());
        let known = self.total.get().copied().unwrap_or(self.taken.load(Ordering::Relaxed));
        let more = self.total.get().is_none() && !self.drained.load(Ordering::Relaxed);
        let rest = if more { ", nor the inputs that were not read yet" } else { "" };
        let left = known.saturating_sub(ok + failed);
        format!("interrupted: {ok} ok, {failed} failed, {left} not run{rest}")
    }
}

/// What the two sides of a run share: what feeds the pool and what takes its results.
struct Session<'a> {
    printer: RefCell<Printer<'a>>,
    /// Inputs that the pool has, by its number for them: bad ones never get there.
    sent: RefCell<HashMap<u64, Input>>,
    broken: RefCell<Option<InputError>>,
    tally: &'a Tally,
}

impl Session<'_> {
    fn ended(&self, input: &Input, end: impl FnOnce(&mut Printer<'_>, &Input) -> bool) {
        let ok = end(&mut self.printer.borrow_mut(), input);
        self.tally.ended(ok);
    }
}

/// Turns inputs into arguments as the pool asks for them.
struct Feed<'a> {
    arguments: &'a Arguments,
    inputs: Intake,
    session: &'a Session<'a>,
    sent: u64,
}

impl Source for Feed<'_> {
    type Item = Vec<u8>;

    fn pull(&mut self) -> Pulled<Vec<u8>> {
        loop {
            let input = match self.inputs.next() {
                Pulled::Item(Ok(input)) => input,
                Pulled::Later => return Pulled::Later,
                Pulled::End => break,
                Pulled::Item(Err(error)) => {
                    self.session.broken.replace(Some(error));
                    break;
                }
            };
            self.session.tally.taken.fetch_add(1, Ordering::Relaxed);
            match self.arguments.of(&input) {
                Ok(arguments) => {
                    self.session.sent.borrow_mut().insert(self.sent, input);
                    self.sent += 1;
                    return Pulled::Item(arguments);
                }
                Err(bad) => {
                    let problem = Problem::new(bad.to_string());
                    self.session.ended(&input, |printer, input| printer.show_problem(input, &problem));
                }
            }
        }
        self.session.tally.drained.store(true, Ordering::Relaxed);
        Pulled::End
    }

    fn is_due(&self) -> bool {
        self.inputs.is_due()
    }
}

/// Runs until the inputs end and every job has ended.
pub(super) fn run(
    pool: &Pool,
    arguments: &Arguments,
    inputs: Inputs,
    printer: Printer<'_>,
    tally: &Tally,
) -> Result<(), CliError> {
    let (job, ending) = (printer.job, printer.ending);
    let session =
        Session { printer: printer.into(), sent: RefCell::default(), broken: RefCell::default(), tally };
    let (inlet, outlet) = intake();
    let feed = Feed { arguments, inputs: outlet, session: &session, sent: 0 };
    let results = pool.raw_unordered(&job.name, arguments.encoding(), feed).map_err(CliError::Job)?;
    inlet.read(inputs, results.rouser()).map_err(CliError::Thread)?;
    for result in results {
        if let Err(error) = &result.outcome
            && ends_all(error)
        {
            ending.fail(&CliError::Job(error.clone()));
        }
        let input = session.sent.borrow_mut().remove(&result.index);
        if let Some(input) = input {
            session.ended(&input, |printer, input| printer.show_result(input, result));
        }
    }
    match session.broken.take() {
        Some(error) => Err(CliError::Input(error)),
        None => Ok(()),
    }
}

/// Whether it is not about one job: the pool is at its end.
fn ends_all(error: &JobError) -> bool {
    matches!(error, JobError::PoolBroken { .. } | JobError::PoolClosed | JobError::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_tells_what_happened() {
        let tally = Tally::default();
        assert_eq!(tally.summary(), None);
        tally.taken.store(9, Ordering::Relaxed);
        [true, true, false].into_iter().for_each(|ok| tally.ended(ok));
        assert_eq!(tally.summary().unwrap(), "1 of 3 jobs failed");
        assert!(tally.interruption().contains("6 not run, nor the inputs"));
        tally.drained.store(true, Ordering::Relaxed);
        assert_eq!(tally.interruption(), "interrupted: 2 ok, 1 failed, 6 not run");
        tally.expect(20);
        assert_eq!(tally.interruption(), "interrupted: 2 ok, 1 failed, 17 not run");
    }
}
