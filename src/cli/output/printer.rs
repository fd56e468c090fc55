//! Shows what came of jobs, in the order of their inputs or as they end.

use super::out::{Out, Record};
use super::problem::Problem;
use super::reorder::Reorder;
use super::tag::tagged;
use crate::cli::call::Tag;
use crate::cli::ending::CliError;
use crate::cli::event::Ended;
use crate::cli::input::{Input, Place};
use crate::cli::joblog::JobLog;

/// Shows records.
pub(crate) struct Printer<'a> {
    pub(crate) job: &'a str,
    pub(crate) place: Place,
    /// What lines of output begin with.
    pub(crate) tag: Option<&'a Tag>,
    /// `None`: as they come.
    pub(crate) order: Option<Reorder>,
    pub(crate) out: &'a Out,
    pub(crate) log: Option<&'a JobLog>,
}

impl Printer<'_> {
    /// Has a job's line in the log, when its record is shown: at once, if there is nothing that would have to wait.
    pub(crate) fn log(&self, job: &Ended<'_>, record: &mut Record) -> Result<(), CliError> {
        let Some(log) = self.log else { return Ok(()) };
        if let Some(line) = log.line(job)? {
            match job.stdout.is_empty() {
                true => log.append(&line)?,
                false => record.log = line,
            }
        }
        Ok(())
    }

    /// Shows what a job leaves, and what went wrong with it. `slot` is the number of its worker, from 1.
    pub(crate) fn show(
        &mut self,
        input: &Input,
        slot: u32,
        mut record: Record,
        problem: Option<&Problem>,
    ) -> Result<(), CliError> {
        if let Some(tag) = self.tag {
            let tag = tag.of(input).text(slot);
            record.stdout = tagged(&tag, &record.stdout);
            record.stderr = tagged(&tag, &record.stderr);
        }
        if let Some(problem) = problem {
            if record.stderr.last().is_some_and(|last| *last != b'\n') {
                record.stderr.push(b'\n');
            }
            let text = input.text();
            let shown = (!input.values.is_empty()).then_some(&text[..]);
            let about = (shown.is_some() || input.sent > 0).then(|| (shown, self.place.of(input.number)));
            record.stderr.extend_from_slice(problem.message(self.job, about).as_bytes());
        }
        self.show_in_turn(input.number, record)
    }

    /// Nothing is shown of a job: those behind it need not wait.
    pub(crate) fn skip(&mut self, number: u64) -> Result<(), CliError> {
        self.show_in_turn(number, Record::default())
    }

    fn show_in_turn(&mut self, number: u64, record: Record) -> Result<(), CliError> {
        let (out, log) = (self.out, self.log);
        let Some(order) = &mut self.order else { return show_and_log(out, log, &record) };
        if !order.pass(number) {
            return order.keep(number, record.to_bytes()).map_err(CliError::Spill);
        }
        show_and_log(out, log, &record)?;
        while let Some(bytes) = order.next().map_err(CliError::Spill)? {
            let record = Record::from_bytes(&bytes).map_err(CliError::Spill)?;
            show_and_log(out, log, &record)?;
        }
        Ok(())
    }
}

fn show_and_log(out: &Out, log: Option<&JobLog>, record: &Record) -> Result<(), CliError> {
    out.show(record).map_err(CliError::Output)?;
    match log {
        Some(log) if !record.log.is_empty() => Ok(log.append(&record.log)?),
        _ => Ok(()),
    }
}
