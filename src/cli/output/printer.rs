//! From a job's outcome to what is shown of it, and when.

use sidestep_worker::codec;
use sidestep_worker::wire::JobInfo;

use super::out::{Out, Record};
use super::problem::Problem;
use super::reorder::Reorder;
use crate::cli::builtin::Finished;
use crate::cli::call::Style;
use crate::cli::ending::{CliError, Ending};
use crate::cli::input::{Input, Place};
use crate::cli::list::signature;
use crate::pool::RawResult;
use crate::{Captured, JobError};

/// Shows outcomes, in the order of inputs or as they come.
pub(crate) struct Printer<'a> {
    pub(crate) job: &'a JobInfo,
    pub(crate) style: Style,
    pub(crate) json: bool,
    pub(crate) place: Place,
    /// `None`: as they come.
    pub(crate) order: Option<Reorder>,
    pub(crate) out: &'a Out,
    pub(crate) ending: &'a Ending,
}

impl Printer<'_> {
    /// Shows an outcome. Returns whether the job did what it should.
    pub(crate) fn show_result(&mut self, input: &Input, result: RawResult) -> bool {
        let mut record = Record::default();
        if let Some(output) = result.output {
            record.stderr = printed(output, &result.outcome);
        }
        let problem = match (result.outcome, self.style) {
            (Err(error), _) => Some(self.explain(&error)),
            (Ok(bytes), Style::Text | Style::Json) => self.value(bytes, &mut record),
            (Ok(bytes), Style::Exec | Style::Shell) => self.program(&bytes, &mut record),
        };
        if let Some(problem) = &problem {
            self.add_problem(input, problem, &mut record);
        }
        self.show(input.number, record);
        problem.is_none()
    }

    /// Shows why an input could not even be tried. Returns that the job failed.
    pub(crate) fn show_problem(&mut self, input: &Input, problem: &Problem) -> bool {
        let mut record = Record::default();
        self.add_problem(input, problem, &mut record);
        self.show(input.number, record);
        false
    }

    fn add_problem(&self, input: &Input, problem: &Problem, record: &mut Record) {
        if record.stderr.last().is_some_and(|last| *last != b'\n') {
            record.stderr.push(b'\n');
        }
        let text = input.text();
        let about = (!input.values.is_empty()).then(|| (&text[..], self.place.of(input.number)));
        record.stderr.extend_from_slice(problem.message(&self.job.name, about).as_bytes());
    }

    fn explain(&self, error: &JobError) -> Problem {
        let problem = Problem::of_error(error);
        match (error, self.style) {
            (JobError::Decode { .. }, Style::Text | Style::Json) => {
                problem.explained(&format!("the job is {}", signature(self.job)))
            }
            _ => problem,
        }
    }

    /// A value, or the job's own `Err`: its first byte says which.
    fn value(&self, mut bytes: Vec<u8>, record: &mut Record) -> Option<Problem> {
        let Some((kind, text)) = bytes.split_first() else {
            return Some(Problem::new("its result is damaged: it is empty"));
        };
        if *kind != 0 {
            return Some(Problem::new(self.error_text(text)));
        }
        if !(text.is_empty() && self.returns_nothing()) {
            bytes.remove(0);
            bytes.push(b'\n');
            record.stdout = bytes;
        }
        None
    }

    /// An error that is one string is shown as that, in JSON too.
    fn error_text(&self, text: &[u8]) -> String {
        match serde_json::from_slice::<String>(text) {
            Ok(inner) if self.style == Style::Json => inner,
            _ => String::from_utf8_lossy(text).into_owned(),
        }
    }

    fn returns_nothing(&self) -> bool {
        let output = &self.job.output;
        output == "()" || output.starts_with("Result<(), ") || output == "Option<()>"
    }

    /// A program's outputs, as they are.
    fn program(&self, bytes: &[u8], record: &mut Record) -> Option<Problem> {
        let mut finished: Finished = match codec::decode::<Result<Finished, String>>(bytes) {
            Ok(Ok(finished)) => finished,
            Ok(Err(why)) => return Some(Problem::new(why)),
            Err(error) => return Some(Problem::new(format!("its result is damaged: {error}"))),
        };
        if self.json {
            match serde_json::to_vec(&finished) {
                Ok(json) => record.stdout = [&json[..], b"\n"].concat(),
                Err(error) => return Some(Problem::new(format!("its result is no JSON: {error}"))),
            }
        } else {
            record.stdout = std::mem::take(&mut finished.stdout.0);
            record.stderr.append(&mut finished.stderr.0);
        }
        Problem::of_program(&finished)
    }

    fn show(&mut self, number: u64, record: Record) {
        if let Err(error) = self.try_show(number, record) {
            self.ending.fail(&error);
        }
    }

    fn try_show(&mut self, number: u64, record: Record) -> Result<(), CliError> {
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

/// What a job itself printed: not a result, so it goes where messages go. What a lost worker said last is shown with
/// its loss, and not twice.
fn printed(output: Captured, outcome: &Result<Vec<u8>, JobError>) -> Vec<u8> {
    let Captured { stdout: mut text, stderr } = output;
    match outcome {
        Err(JobError::WorkerLost { stderr_tail, .. }) if !stderr_tail.is_empty() => {}
        _ => text.extend_from_slice(&stderr),
    }
    text
}
