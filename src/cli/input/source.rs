//! One place where inputs come from, and how they stand there.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use memchr::memchr_iter;
use regex::bytes::Regex;

use super::blocks::{Blocks, Cut};
use crate::cli::say::reason;

/// Where the command line says that inputs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the command line itself.
    Given(Vec<OsString>),
    /// One a line, from a file.
    File(PathBuf),
    /// One a line, from standard input.
    Stdin,
    /// There is none: the job runs once, without an input.
    Once,
}

/// How inputs are told from each other, and what is one value of several.
#[derive(Debug, Clone)]
pub(crate) struct Format {
    /// An input in a file ends here.
    pub(crate) end: u8,
    /// Between the values of one input, if it has several.
    pub(crate) columns: Option<Regex>,
}

impl Format {
    /// The values of an input.
    fn split(&self, input: Vec<u8>) -> Vec<Vec<u8>> {
        match &self.columns {
            None => vec![input],
            Some(between) => between.split(&input).map(<[u8]>::to_vec).collect(),
        }
    }
}

/// Reading inputs failed.
#[derive(Debug)]
pub(crate) struct InputError {
    what: String,
    cause: io::Error,
}

impl InputError {
    pub(super) fn new(what: &str, cause: io::Error) -> InputError {
        InputError { what: what.to_owned(), cause }
    }
}

/// Something that is read, with what it is called in messages.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(super) name: String,
    pub(super) it: T,
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot read inputs from {}: {}", self.what, reason(&self.cause))
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Source {
    /// How many inputs there are, if that is known before they are read.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Source::Given(inputs) => Some(inputs.len()),
            Source::Once => Some(1),
            Source::File(_) | Source::Stdin => None,
        }
    }

    /// Whether someone has to type the inputs, and may not know it.
    pub(crate) fn is_terminal(&self) -> bool {
        *self == Source::Stdin && io::stdin().is_terminal()
    }

    /// What it is called in messages.
    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            _ => "standard input".to_owned(),
        }
    }

    /// Opens it.
    pub(crate) fn open(self, format: &Format) -> Result<Reader, InputError> {
        let name = self.name();
        let kind = match self {
            Source::Given(inputs) => Kind::Given(inputs.into_iter()),
            Source::Once => Kind::Once(true),
            Source::Stdin | Source::File(_) => {
                Kind::Lines(BufReader::with_capacity(64 * 1024, self.open_file(&name)?))
            }
        };
        Ok(Reader::new(name, kind, format))
    }

    /// Opens it to be cut into blocks. Only a stream can be.
    pub(super) fn open_blocks(self, cut: Cut) -> Result<Named<Blocks<File>>, InputError> {
        let name = self.name();
        let file = self.open_file(&name)?;
        Ok(Named { name, it: Blocks::new(file, cut) })
    }

    fn open_file(self, name: &str) -> Result<File, InputError> {
        let file = match self {
            Source::File(path) => File::open(path),
            _ => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        file.map_err(|cause| InputError::new(name, cause))
    }
}

/// A source that is being read.
#[derive(Debug)]
pub(crate) struct Reader {
    name: String,
    kind: Kind,
    format: Format,
}

#[derive(Debug)]
enum Kind {
    Given(std::vec::IntoIter<OsString>),
    Lines(BufReader<File>),
    /// Whether the one input without a value is still to come.
    Once(bool),
}

impl Reader {
    fn new(name: String, kind: Kind, format: &Format) -> Reader {
        Reader { name, kind, format: format.clone() }
    }

    /// Whether the next inputs are there, so many of them, so that nobody waits for them.
    pub(crate) fn are_there(&self, many: usize) -> bool {
        match &self.kind {
            Kind::Given(_) | Kind::Once(_) => true,
            Kind::Lines(lines) => {
                memchr_iter(self.format.end, lines.buffer()).nth(many.saturating_sub(1)).is_some()
            }
        }
    }

    /// The values of the next input; `None` at the end. A last line without its newline is one too, an empty line as well.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, InputError> {
        let input = match &mut self.kind {
            Kind::Given(inputs) => inputs.next().map(OsString::into_vec),
            Kind::Once(more) => return Ok(std::mem::take(more).then(Vec::new)),
            Kind::Lines(lines) => {
                next_line(lines, self.format.end).map_err(|cause| InputError::new(&self.name, cause))?
            }
        };
        Ok(input.map(|input| self.format.split(input)))
    }
}

fn next_line(lines: &mut impl BufRead, end: u8) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if lines.read_until(end, &mut line)? == 0 {
        return Ok(None);
    }
    line.pop_if(|last| *last == end);
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(bytes: &[u8], end: u8, columns: Option<&str>) -> Vec<Vec<Vec<u8>>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let format = Format { end, columns: columns.map(|between| Regex::new(between).unwrap()) };
        let mut reader = Source::File(file.path().to_owned()).open(&format).unwrap();
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    fn lines(bytes: &[u8], end: u8) -> Vec<Vec<u8>> {
        all(bytes, end, None).into_iter().flatten().collect()
    }

    #[test]
    fn lines_are_taken_as_they_are() {
        assert_eq!(lines(b"", b'\n'), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"a\n\nb\r\n\xff", b'\n'), [&b"a"[..], b"", b"b\r", b"\xff"]);
        assert_eq!(lines(b"\n", b'\n'), [b""]);
        assert_eq!(lines(b"a\nb\0\0c\0", 0), [&b"a\nb"[..], b"", b"c"]);
        assert_eq!(lines(b"a;b\n;c", b';'), [&b"a"[..], b"b\n", b"c"]);
    }

    #[test]
    fn a_line_may_have_columns() {
        let columns = all(b"a, b,\xff\n\nc\n", b'\n', Some(", *"));
        assert_eq!(columns[0], [&b"a"[..], b"b", b"\xff"]);
        assert_eq!(columns[1..], [vec![b"".to_vec()], vec![b"c".to_vec()]]);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_named() {
        let format = Format { end: b'\n', columns: None };
        let missing = Source::File("/no/such".into()).open(&format).expect_err("it does not exist");
        assert!(
            missing.to_string().starts_with("cannot read inputs from /no/such: No such file"),
            "{missing}"
        );
        let mut directory = Source::File("/".into()).open(&format).unwrap();
        assert!(directory.next().unwrap_err().to_string().contains("Is a directory"));
    }
}
