//! Files of what each job has written (`--results`).
//!
//! The folders are those of GNU parallel: `DIR/1/VALUE/2/VALUE`, with the files `stdout`, `stderr` and `seq`, the job's
//! number. A file has its name only once it is whole, and `seq` comes last: where it is, the others are of the same job.

mod name;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::call::Template;
use super::ending::CliError;
use super::event::{Ended, Watcher};
use super::input::Input;
use super::whole::{make, write};

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Below this, by values.
    Folder(PathBuf),
    /// Where a text with placeholders says: into that folder, if it ends in a slash, or into files with that name.
    Named(Template, bool),
}

impl Target {
    pub(crate) fn new(text: PathBuf) -> Target {
        let bytes = text.as_os_str().as_bytes();
        let template = Template::new(bytes);
        match template.has_hole() {
            true => Target::Named(template, bytes.ends_with(b"/")),
            false => Target::Folder(text),
        }
    }

    fn files(&self, input: &Input, slot: u32) -> Files {
        let (path, folder) = match self {
            Target::Folder(folder) => (folder.join(below(input)), true),
            Target::Named(template, folder) => {
                let path = template.fill(input, name::name).text(slot);
                (OsString::from_vec(path).into(), *folder)
            }
        };
        match folder {
            true => Files { stdout: path.join("stdout"), stderr: path.join("stderr"), seq: path.join("seq") },
            false => Files { stderr: with(&path, ".err"), seq: with(&path, ".seq"), stdout: path },
        }
    }
}

/// The folder of a job: by its values, or by its number if it has none.
fn below(input: &Input) -> PathBuf {
    if input.values.is_empty() {
        return (input.number + 1).to_string().into();
    }
    let mut path = PathBuf::new();
    for (at, value) in input.values.iter().enumerate() {
        path.push((at + 1).to_string());
        path.push(OsString::from_vec(name::name(value.into()).into_owned()));
    }
    path
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

struct Files {
    stdout: PathBuf,
    stderr: PathBuf,
    seq: PathBuf,
}

/// Writes them.
#[derive(Debug)]
pub(crate) struct Results(Target);

impl Results {
    /// Makes the folder: better now than after an hour.
    pub(crate) fn create(target: &Target) -> Result<Results, CliError> {
        if let Target::Folder(folder) = target {
            make(folder)?;
        }
        Ok(Results(target.clone()))
    }
}

impl Watcher for Results {
    fn ended(&mut self, job: &Ended<'_>) -> Result<(), CliError> {
        if job.again {
            return Ok(());
        }
        let slot = job.slot.map_or(0, |slot| slot as u32 + 1);
        let Files { stdout, stderr, seq } = self.0.files(job.input, slot);
        if let Some(folder) = stdout.parent() {
            make(folder)?;
        }
        write(&stdout, &[job.stdout])?;
        write(&stderr, &[job.stderr])?;
        write(&seq, &[(job.input.number + 1).to_string().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(target: &str, values: &[&str]) -> String {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let input = Input { number: 6, values, ..Input::default() };
        Target::new(target.into()).files(&input, 3).stdout.to_str().unwrap().to_owned()
    }

    #[test]
    fn folders_are_named_by_values() {
        assert_eq!(stdout("d", &["a"]), "d/1/a/stdout");
        assert_eq!(stdout("d/", &["a/b", "..", ""]), "d/1/a\\_b/2/\\../3/\\e/stdout");
        assert_eq!(stdout("d", &[]), "d/7/stdout");
    }

    #[test]
    fn a_text_with_placeholders_names_files_or_folders() {
        assert_eq!(stdout("d/{#}-{%}", &["a"]), "d/7-3");
        assert_eq!(stdout("d/{2}/{1/.}/", &["x/y.z", ".."]), "d/\\../y/stdout");
        let files =
            Target::new("d/{}".into()).files(&Input { values: vec![b"../a".into()], ..Input::default() }, 1);
        assert_eq!(files.stdout, Path::new("d/..\\_a"));
        assert_eq!((files.stderr, files.seq), ("d/..\\_a.err".into(), "d/..\\_a.seq".into()));
    }
}
