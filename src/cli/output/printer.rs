//! Shows what came of jobs, in the order of their inputs or as they end.

use super::out::{Out, Record};
use super::problem::Problem;
use super::reorder::Reorder;
use crate::cli::ending::CliError;
use crate::cli::input::{Input, Place};

/// Shows records.
pub(crate) struct Printer<'a> {
    pub(crate) job: &'a str,
    pub(crate) place: Place,
    /// `None`: as they come.
    pub(crate) order: Option<Reorder>,
    pub(crate) out: &'a Out,
}

impl Printer<'_> {
    /// Shows what a job leaves, and what went wrong with it.
    pub(crate) fn show(
        &mut self,
        input: &Input,
        mut record: Record,
        problem: Option<&Problem>,
    ) -> Result<(), CliError> {
        if let Some(problem) = problem {
            if record.stderr.last().is_some_and(|last| *last != b'\n') {
                record.stderr.push(b'\n');
            }
            let text = input.text();
            let about = (!input.values.is_empty()).then(|| (&text[..], self.place.of(input.number)));
            record.stderr.extend_from_slice(problem.message(self.job, about).as_bytes());
        }
        self.show_in_turn(input.number, record)
    }

    /// Nothing is shown of a job: those behind it need not wait.
    pub(crate) fn skip(&mut self, number: u64) -> Result<(), CliError> {
        self.show_in_turn(number, Record::default())
    }

    fn show_in_turn(&mut self, number: u64, record: Record) -> Result<(), CliError> {
        let Some(order) = &mut self.order else { return self.out.show(&record).map_err(CliError::Output) };
        if !order.pass(number) {
            return order.keep(number, record.to_bytes()).map_err(CliError::Spill);
        }
        self.out.show(&record).map_err(CliError::Output)?;
        while let Some(bytes) = order.next().map_err(CliError::Spill)? {
            let record = Record::from_bytes(&bytes).map_err(CliError::Spill)?;
            self.out.show(&record).map_err(CliError::Output)?;
        }
        Ok(())
    }
}
