//! Opening a log, so that no two runs write to it, and it stays well-formed.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use super::done::Done;
use super::key::Run;
use super::{Format, LogError, Resume, tsv};
use crate::process::is_taken;

/// Opens a log to append to. What was there is forgotten, unless the run goes on from it: then a line that was not
/// written to its end is cut off.
pub(super) fn open(
    path: &Path,
    format: Format,
    run: Run,
    resume: Option<Resume>,
) -> Result<(File, Done), LogError> {
    let failed = |cause| LogError::open(path, cause);
    let file = File::options().create(true).append(true).read(resume.is_some()).open(path).map_err(failed)?;
    // A pipe or a device has no lines to go on from, nor can it be cut.
    let regular = file.metadata().map_err(failed)?.is_file();
    if regular && is_taken(&file) {
        return Err(LogError::Busy { path: path.to_owned() });
    }
    let (done, whole) = match resume {
        Some(resume) if regular => {
            Done::read(BufReader::with_capacity(256 * 1024, &file), path, format, run, resume)?
        }
        _ => (Done::nothing(path, format, run), 0),
    };
    let write = |cause| LogError::Write { path: path.to_owned(), cause };
    if regular {
        file.set_len(whole).map_err(write)?;
    }
    if whole == 0 && format == Format::Tsv {
        (&file).write_all(tsv::HEADER).map_err(write)?;
    }
    Ok((file, done))
}
