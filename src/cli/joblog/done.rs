//! Which jobs a log tells of, in as little memory as possible: a log may have many million lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::key::Run;
use super::read::{Entry, Unread, read};
use super::{Check, Format, LogError, Resume, Skip, tsv};
use crate::cli::input::Input;

/// Entries that lie together. Numbers in a log have few gaps.
const PAGE: u64 = 64;

/// How a job of a log has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Ok,
    Failed,
    /// It was ended with its run, and is as good as not begun.
    Interrupted,
}

/// What is to become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Run,
    Skip,
}

/// The jobs that are in a log.
#[derive(Debug)]
pub(crate) struct Done {
    path: PathBuf,
    format: Format,
    run: Run,
    /// Nobody goes on from it, if there is none.
    resume: Option<Resume>,
    pages: BTreeMap<u64, Box<Page>>,
}

#[derive(Debug)]
struct Page {
    /// A bit for each job that is there,
    there: u64,
    /// and for each that failed.
    failed: u64,
    checks: [u64; PAGE as usize],
}

impl Done {
    /// No job at all.
    pub(super) fn nothing(path: &Path, format: Format, run: Run) -> Done {
        Done { path: path.to_owned(), format, run, resume: None, pages: BTreeMap::new() }
    }

    /// Those in a file. Returns also how many bytes of it are whole lines.
    pub(super) fn read(
        file: impl BufRead,
        path: &Path,
        format: Format,
        run: Run,
        resume: Resume,
    ) -> Result<(Done, u64), LogError> {
        let mut done = Done { resume: Some(resume), ..Done::nothing(path, format, run) };
        match read(file, format, |_, entry| done.add(&entry)) {
            Ok(whole) => Ok((done, whole)),
            Err(Unread::Io(cause)) => Err(LogError::Read { path: path.to_owned(), cause }),
            Err(Unread::Line(line, text)) => Err(LogError::NoLog { path: path.to_owned(), line, text }),
        }
    }

    /// The last line about a job counts.
    fn add(&mut self, entry: &Entry) {
        let page = self
            .pages
            .entry(entry.seq / PAGE)
            .or_insert_with(|| Box::new(Page { there: 0, failed: 0, checks: [0; PAGE as usize] }));
        let (at, bit) = place(entry.seq);
        page.checks[at] = entry.check;
        page.there |= bit;
        page.failed &= !bit;
        match entry.end {
            End::Ok => {}
            End::Failed => page.failed |= bit,
            End::Interrupted => page.there &= !bit,
        }
    }

    /// How many jobs there are that need not run again.
    pub(crate) fn len(&self) -> u64 {
        self.pages.values().map(|page| u64::from((page.there & !self.repeated(page)).count_ones())).sum()
    }

    /// Those that run again although they are there.
    fn repeated(&self, page: &Page) -> u64 {
        match self.resume {
            Some(Resume { skip: Skip::Succeeded, .. }) => page.failed,
            _ => 0,
        }
    }

    /// What is to become of the job for an input; `command` is what a log would say of it.
    ///
    /// # Errors
    /// The log has another job with that number.
    pub(crate) fn decide(&self, input: &Input, command: &[u8]) -> Result<Decision, LogError> {
        let seq = input.number + 1;
        let Some((resume, page)) = self.resume.zip(self.pages.get(&(seq / PAGE))) else {
            return Ok(Decision::Run);
        };
        let (at, bit) = place(seq);
        if page.there & bit == 0 {
            return Ok(Decision::Run);
        }
        if resume.check == Check::Same && page.checks[at] != self.check(input, command) {
            return Err(self.other_run(seq, command));
        }
        Ok(if self.repeated(page) & bit == 0 { Decision::Skip } else { Decision::Run })
    }

    fn check(&self, input: &Input, command: &[u8]) -> u64 {
        match self.format {
            Format::Tsv => tsv::check(command),
            Format::Json => self.run.key(input, command).check(),
        }
    }

    /// Looks the line up, which is not kept: it is needed once at most.
    fn other_run(&self, seq: u64, command: &[u8]) -> LogError {
        let (mut line, mut theirs) = (0, Vec::new());
        let file = match File::open(&self.path) {
            Ok(file) => BufReader::new(file),
            Err(cause) => return LogError::Read { path: self.path.clone(), cause },
        };
        let found = read(file, self.format, |number, entry| {
            if entry.seq == seq {
                (line, theirs) = (number, entry.command);
            }
        });
        match found {
            Err(Unread::Io(cause)) => LogError::Read { path: self.path.clone(), cause },
            _ => LogError::OtherRun { path: self.path.clone(), line, seq, theirs, ours: command.to_owned() },
        }
    }
}

/// Where a job stands in its page.
fn place(seq: u64) -> (usize, u64) {
    let at = seq % PAGE;
    (at as usize, 1 << at)
}
