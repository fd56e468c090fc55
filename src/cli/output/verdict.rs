//! What a job's outcome means: whether it is well, what it leaves to be shown, and what went wrong.

use std::time::{Duration, SystemTime};

use sidestep_worker::codec;
use sidestep_worker::wire::JobInfo;

use super::out::Record;
use super::problem::Problem;
use crate::cli::builtin::Finished;
use crate::cli::call::Style;
use crate::cli::event::{Status, Usage};
use crate::cli::list::signature;
use crate::pool::RawResult;
use crate::{Captured, Cause, JobError};

/// An outcome, understood.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) record: Record,
    pub(crate) problem: Option<Problem>,
    /// Its worker's process, if that is known,
    pub(crate) pid: Option<u32>,
    /// and number, from 1, if it says so itself.
    pub(crate) slot: Option<u32>,
    /// Bytes of standard output that were shown while it ran.
    pub(crate) received: Option<u64>,
    /// When it began and how long it took, if it says so itself.
    pub(crate) time: Option<(SystemTime, Duration)>,
    pub(crate) usage: Option<Usage>,
}

impl Verdict {
    fn new(status: Status, problem: Option<Problem>) -> Verdict {
        Verdict {
            status,
            record: Record::default(),
            problem,
            pid: None,
            slot: None,
            received: None,
            time: None,
            usage: None,
        }
    }

    fn ok(stdout: Vec<u8>) -> Verdict {
        let record = Record { stdout, ..Record::default() };
        Verdict { record, ..Verdict::new(Status::Ok, None) }
    }

    fn failed(problem: Problem) -> Verdict {
        Verdict::new(Status::Failed { code: 1 }, Some(problem))
    }

    /// That of an input that the job does not take.
    pub(crate) fn refused(why: String) -> Verdict {
        Verdict::new(Status::Refused, Some(Problem::new(why)))
    }

    /// That of a job that was ended, and had nothing to do with it.
    pub(crate) fn ended(why: &str) -> Verdict {
        Verdict::new(Status::Ended, Some(Problem::new(why)))
    }

    /// So many bytes were shown while it ran, if any are.
    pub(crate) fn shown(mut self, received: Option<u64>) -> Verdict {
        self.received = received;
        self
    }

    /// It was ended for a reason that its outcome does not tell.
    pub(crate) fn because(mut self, status: Status, why: String) -> Verdict {
        if self.status != Status::Ok {
            self.status = status;
            self.problem = Some(Problem::new(why));
        }
        self
    }
}

/// Reads outcomes of one job.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) job: &'a JobInfo,
    pub(crate) style: Style,
    pub(crate) json: bool,
}

impl Judge<'_> {
    pub(crate) fn judge(&self, result: RawResult) -> Verdict {
        let by = result.by;
        let printed = result.output.map(|output| printed(output, &result.outcome));
        let mut verdict = match (result.outcome, self.style) {
            (Err(error), _) => self.error(&error),
            (Ok(bytes), Style::Text | Style::Json) => self.value(bytes),
            (Ok(bytes), Style::Exec | Style::Shell) => self.program(&bytes),
        };
        verdict.pid = verdict.pid.or(by);
        if let Some(printed) = printed {
            verdict.record.stderr.splice(0..0, printed);
        }
        verdict
    }

    fn error(&self, error: &JobError) -> Verdict {
        let status = match error {
            JobError::WorkerLost { cause: Cause::Signal(signal), .. } => {
                Status::Crashed { signal: Some(*signal) }
            }
            JobError::WorkerLost { .. } | JobError::Protocol { .. } => Status::Crashed { signal: None },
            JobError::TimedOut { .. } => Status::TimedOut,
            JobError::MemoryLimit { .. } => Status::Crashed { signal: Some(9) },
            JobError::Cancelled => Status::Ended,
            JobError::Decode { .. } => Status::Refused,
            _ => Status::Failed { code: 1 },
        };
        let problem = Problem::of_error(error);
        let problem = match (error, self.style) {
            (JobError::Decode { .. }, Style::Text | Style::Json) => {
                problem.naming_argument(self.job).explained(&format!("the job is {}", signature(self.job)))
            }
            _ => problem,
        };
        let pid = match error {
            JobError::WorkerLost { pid, .. }
            | JobError::Panicked { pid, .. }
            | JobError::TimedOut { pid, .. }
            | JobError::MemoryLimit { pid, .. } => *pid,
            _ => None,
        };
        Verdict { pid, ..Verdict::new(status, Some(problem)) }
    }

    /// A value, or the job's own `Err`: its first byte says which.
    fn value(&self, mut bytes: Vec<u8>) -> Verdict {
        let Some((kind, text)) = bytes.split_first() else {
            return Verdict::failed(Problem::new("its result is damaged: it is empty"));
        };
        if *kind != 0 {
            return Verdict::failed(Problem::new(self.error_text(text)));
        }
        if text.is_empty() && self.job.returns_nothing() {
            return Verdict::ok(Vec::new());
        }
        bytes.remove(0);
        bytes.push(b'\n');
        Verdict::ok(bytes)
    }

    /// An error that is one string is shown as that, in JSON too.
    fn error_text(&self, text: &[u8]) -> String {
        match serde_json::from_slice::<String>(text) {
            Ok(inner) if self.style == Style::Json => inner,
            _ => String::from_utf8_lossy(text).into_owned(),
        }
    }

    /// A program's outputs, as they are.
    fn program(&self, bytes: &[u8]) -> Verdict {
        let mut finished: Finished = match codec::decode::<Result<Finished, String>>(bytes) {
            Ok(Ok(finished)) => finished,
            Ok(Err(why)) => {
                return Verdict {
                    status: Status::Failed { code: 127 },
                    ..Verdict::failed(Problem::new(why))
                };
            }
            Err(error) => {
                return Verdict::failed(Problem::new(format!("its result is damaged: {error}")));
            }
        };
        let time = Some((SystemTime::UNIX_EPOCH + finished.began, finished.took));
        let usage = Usage { user: finished.user, system: finished.system, max_rss: finished.max_rss };
        let slot = Some(finished.slot);
        let mut record = Record::default();
        if self.json {
            match serde_json::to_vec(&finished) {
                Ok(json) => record.stdout = [&json[..], b"\n"].concat(),
                Err(error) => {
                    return Verdict::failed(Problem::new(format!("its result is no JSON: {error}")));
                }
            }
        } else {
            record.stdout = std::mem::take(&mut finished.stdout.0);
            record.stderr = std::mem::take(&mut finished.stderr.0);
        }
        let status = match (finished.code, finished.signal) {
            (Some(0), _) => Status::Ok,
            (_, Some(signal)) => Status::Killed { signal },
            (code, None) => Status::Failed { code: code.unwrap_or(1) },
        };
        let verdict = Verdict::new(status, Problem::of_program(&finished));
        Verdict { record, pid: Some(finished.pid), slot, time, usage: Some(usage), ..verdict }
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
