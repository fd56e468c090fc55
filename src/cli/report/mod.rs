//! `--report FILE.html`: what a run has done, as one page for a browser.
//!
//! The page needs no network and no other file. It is written when the run is over, and takes the place of an older one
//! only when it is whole. Until then little is kept: some bytes a job, which go to a temporary file (`timeline`), and texts
//! of those jobs that someone will want to read about (`rows`). So a run of any length needs the same memory.

mod counts;
mod page;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use self::counts::Counts;
use self::rows::Rows;
use self::timeline::{Record, Timeline};
use super::ending::CliError;
use super::event::{Ended, Watcher};

/// Makes a page of a run.
#[derive(Debug)]
pub(crate) struct Report {
    path: PathBuf,
    /// What was run, as one would type it.
    command: String,
    began: SystemTime,
    timeline: Timeline,
    counts: Counts,
    rows: Rows,
}

/// What the page is told beside the timeline. Times are microseconds.
#[derive(Serialize)]
struct Head<'a> {
    command: &'a str,
    version: &'static str,
    /// When the run began, in milliseconds since 1970.
    began: u64,
    /// One in so many attempts stands in the timeline.
    step: u64,
    /// How many stand there.
    kept: u64,
    #[serde(flatten)]
    counts: &'a Counts,
    #[serde(flatten)]
    rows: rows::Told<'a>,
}

impl Report {
    /// Begins a report of the run of `command`, which begins now.
    ///
    /// # Errors
    /// It will not be possible to write the page.
    pub(crate) fn create(path: &Path, command: String, began: SystemTime) -> Result<Report, CliError> {
        page::check(path).map_err(|cause| CliError::File { path: path.to_owned(), cause })?;
        Ok(Report {
            path: path.to_owned(),
            command,
            began,
            timeline: Timeline::default(),
            counts: Counts::default(),
            rows: Rows::default(),
        })
    }

    fn write(&mut self) -> std::io::Result<()> {
        let since = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let head = Head {
            command: &self.command,
            version: env!("CARGO_PKG_VERSION"),
            began: since.as_millis() as u64,
            step: self.timeline.step(),
            kept: self.timeline.kept(),
            counts: &self.counts,
            rows: self.rows.told(),
        };
        page::write(&self.path, &self.command, &head, &mut self.timeline)
    }

    fn error(&self, cause: std::io::Error) -> CliError {
        CliError::File { path: self.path.clone(), cause }
    }
}

impl Watcher for Report {
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        let began = micros_after(self.began, job.began);
        let record = Record::new(job, began);
        self.counts.add(job, &record);
        self.rows.add(job, &record);
        self.timeline.add(record).map_err(CliError::Spill)
    }

    fn close(&mut self) -> Result<(), CliError> {
        self.write().map_err(|cause| self.error(cause))
    }
}

/// Microseconds from one moment to another. Clocks are set: it may be before.
fn micros_after(origin: SystemTime, at: SystemTime) -> i64 {
    match at.duration_since(origin) {
        Ok(after) => micros(after) as i64,
        Err(before) => -(micros(before.duration()) as i64),
    }
}

/// Whole microseconds. What does not fit would be 146 thousand years.
fn micros(time: Duration) -> u64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4) as u64
}
