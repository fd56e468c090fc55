//! Files that have their names only once they are whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::ending::CliError;

/// Makes a folder, if it is not there.
pub(super) fn make(folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|cause| CliError::File { path: folder.to_owned(), cause })
}

/// Writes a file of these parts.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> Result<(), CliError> {
    let mut part = OsString::from(".");
    part.push(path.file_name().unwrap_or_default());
    part.push(".part");
    let part = path.with_file_name(part);
    File::create(&part)
        .and_then(|mut file| parts.iter().try_for_each(|bytes| file.write_all(bytes)))
        .and_then(|()| fs::rename(&part, path))
        .map_err(|cause| {
            let _ = fs::remove_file(&part);
            CliError::File { path: path.to_owned(), cause }
        })
}
