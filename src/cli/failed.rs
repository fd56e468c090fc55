//! Files of jobs that have failed (`--failed-dir`), with all that it takes to run each again.
//!
//! What is in them is the worker crate's (`kept`), because the program that has the job may read them itself. A job is
//! kept when it is over, so once, however often it was tried.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use sidestep_worker::kept::{Header, Program, Raw, VERSION};
use sidestep_worker::wire::{Encoding, JobInfo};

use super::builtin;
use super::ending::CliError;
use super::event::{Ended, Status, Watcher};
use super::joblog::digest;
use super::whole::{make, write};

/// Bytes that are kept of what a job wrote to standard error: the last ones.
const TAIL: usize = 16 << 10;
/// Bytes of a job's name that are in the name of its file.
const NAME: usize = 100;

/// Writes them.
#[derive(Debug)]
pub(crate) struct FailedDir {
    folder: PathBuf,
    /// What all of them have in common.
    common: Header,
    /// The command puts something into the environment of the job.
    has_environment: bool,
}

impl FailedDir {
    /// Makes the folder: better now than after an hour.
    pub(crate) fn create(
        folder: &Path,
        job: &JobInfo,
        encoding: Encoding,
        exe: Option<&Path>,
    ) -> Result<FailedDir, CliError> {
        make(folder)?;
        let directory = std::env::current_dir().unwrap_or_else(|_| ".".into());
        let common = Header {
            sidestep_failed_job: VERSION,
            job: job.name.clone(),
            number: 0,
            input: String::new(),
            status: String::new(),
            error: String::new(),
            stderr: String::new(),
            attempts: 0,
            slot: 0,
            program: program(job, exe),
            directory: Raw::from(directory.as_os_str()),
            environment: Vec::new(),
            encoding,
            arguments: None,
        };
        let has_environment = builtin::EXEC.is(job) || builtin::SH.is(job);
        Ok(FailedDir { folder: folder.to_owned(), common, has_environment })
    }

    fn header(&self, job: &Ended<'_>) -> Header {
        let number = job.input.number + 1;
        let slot = job.worker.map(|worker| worker.saturating_sub(1)).or(job.slot.map(|slot| slot as u32));
        let slot = slot.unwrap_or(0);
        let environment = match self.has_environment {
            true => {
                builtin::environment(number, slot + 1).map(|(name, value)| (text(name), text(&value))).into()
            }
            false => Vec::new(),
        };
        // What a lost worker had written last explains its loss; it stands there, and not twice.
        let is_lost = matches!(job.status, Status::Crashed { .. });
        let (error, stderr) = match (is_lost, job.error.unwrap_or_default()) {
            (true, error) => (error.to_owned(), [job.stderr, job.details.as_bytes()].concat()),
            (false, error) => ([error, job.details].join("\n").trim_end().to_owned(), job.stderr.to_vec()),
        };
        Header {
            number,
            input: String::from_utf8_lossy(&job.input.text()).into_owned(),
            status: job.status.name().to_owned(),
            error,
            stderr: String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(TAIL)..]).into_owned(),
            attempts: job.attempt,
            slot,
            environment,
            arguments: job.args.map(|args| args.len() as u64),
            ..self.common.clone()
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:06}-{}.failed", file_name(&self.common.job)))
    }
}

impl Watcher for FailedDir {
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        if job.again || job.status == Status::Ok {
            return Ok(());
        }
        let header = self.header(job);
        let path = self.path(header.number);
        let line = header.line().map_err(|cause| CliError::File { path: path.clone(), cause })?;
        write(&path, &[&line, job.args.unwrap_or_default()])
    }
}

/// The program that has the job; `None` for what every command has built in.
fn program(job: &JobInfo, exe: Option<&Path>) -> Option<Program> {
    if builtin::ALL.iter().any(|built_in| built_in.is(job)) {
        return None;
    }
    let path = match exe {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        None => std::env::current_exe().unwrap_or_default(),
    };
    let sha256 = digest(exe).ok().map(|digest| hex(&digest));
    Some(Program { path: Raw::from(path.as_os_str()), sha256, own: exe.is_none() })
}

/// A digest, written out.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn text(text: &str) -> Raw {
    Raw::Text(text.to_owned())
}

/// A job's name as a part of a file's name. The job's number tells it from others.
fn file_name(job: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    job.chars().take(NAME).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_job_has_a_name_that_leads_nowhere_else() {
        for (job, name) in [("thumb", "thumb"), ("../a b::c", ".._a_b__c"), ("é", "_"), ("", "")] {
            assert_eq!(file_name(job), name);
        }
        assert_eq!(file_name(&"x".repeat(1000)).len(), 100);
    }

    #[test]
    fn a_digest_is_written_as_others_write_it() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
