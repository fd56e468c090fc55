//! Where inputs come from, one by one and no sooner than they are wanted.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::say::reason;

/// Where the command line says that inputs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// From the command line itself.
    Given(Vec<OsString>),
    /// One a line, from a file.
    File(PathBuf),
    /// One a line, from standard input.
    Stdin,
    /// There is none: the job runs once, without an input.
    Once,
}

/// What one call of the job is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// Which one it is, from 0.
    pub(super) number: u64,
    /// `None` for the one call of a job that takes no input.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Inputs, in order.
pub(super) struct Inputs {
    reader: Reader,
    place: Place,
    taken: u64,
}

enum Reader {
    Given(std::vec::IntoIter<OsString>),
    Lines { lines: BufReader<File>, end: u8 },
    Once,
}

/// How a failure says which input it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The so manieth of the command line.
    Argument,
    /// The so manieth line or item of standard input.
    Stdin(&'static str),
    /// The so manieth line of a file.
    File(String),
}

/// Reading inputs failed.
#[derive(Debug)]
pub(super) struct InputError {
    what: String,
    cause: io::Error,
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
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Source::Given(inputs) => Some(inputs.len()),
            Source::Once => Some(1),
            Source::File(_) | Source::Stdin => None,
        }
    }

    /// Whether someone has to type the inputs, and may not know it.
    pub(super) fn is_terminal(&self) -> bool {
        *self == Source::Stdin && io::stdin().is_terminal()
    }

    /// Opens it. With `null`, inputs end in NUL instead of a newline.
    pub(super) fn open(self, null: bool) -> Result<Inputs, InputError> {
        let end = if null { 0 } else { b'\n' };
        let (reader, place) = match self {
            Source::Given(inputs) => (Reader::Given(inputs.into_iter()), Place::Argument),
            Source::Once => (Reader::Once, Place::Argument),
            Source::Stdin => {
                let place = Place::Stdin(if null { "item" } else { "line" });
                let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
                (lines(file, end, &place)?, place)
            }
            Source::File(path) => {
                let place = Place::File(path.display().to_string());
                (lines(File::open(&path), end, &place)?, place)
            }
        };
        Ok(Inputs { reader, place, taken: 0 })
    }
}

fn lines(file: io::Result<File>, end: u8, place: &Place) -> Result<Reader, InputError> {
    match file {
        Ok(file) => Ok(Reader::Lines { lines: BufReader::with_capacity(64 * 1024, file), end }),
        Err(cause) => Err(InputError { what: place.source(), cause }),
    }
}

impl Inputs {
    /// How to say which one an input is.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Whether the next input is there, so that nobody waits for it.
    pub(super) fn is_there(&self) -> bool {
        match &self.reader {
            Reader::Given(_) | Reader::Once => true,
            Reader::Lines { lines, end } => lines.buffer().contains(end),
        }
    }

    /// The next input; `None` at the end. A last line without its newline is one too, an empty line as well.
    pub(super) fn next(&mut self) -> Result<Option<Input>, InputError> {
        let bytes = match &mut self.reader {
            Reader::Given(inputs) => inputs.next().map(|input| Some(input.into_vec())),
            Reader::Lines { lines, end } => match next_line(lines, *end) {
                Ok(line) => line.map(Some),
                Err(cause) => return Err(InputError { what: self.place.source(), cause }),
            },
            Reader::Once => (self.taken == 0).then_some(None),
        };
        let number = self.taken;
        self.taken += u64::from(bytes.is_some());
        Ok(bytes.map(|bytes| Input { number, bytes }))
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

impl Place {
    /// Says which one the input with that number is.
    pub(super) fn of(&self, number: u64) -> String {
        let number = number + 1;
        match self {
            Place::Argument => format!("input {number}"),
            Place::Stdin(unit) => format!("{unit} {number}"),
            Place::File(file) => format!("{file}:{number}"),
        }
    }

    fn source(&self) -> String {
        match self {
            Place::File(file) => file.clone(),
            Place::Argument | Place::Stdin(_) => "standard input".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(bytes: &[u8], null: bool) -> Vec<Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut inputs = Source::File(file.path().to_owned()).open(null).unwrap();
        std::iter::from_fn(|| inputs.next().unwrap().map(|input| input.bytes.unwrap())).collect()
    }

    #[test]
    fn lines_are_taken_as_they_are() {
        assert_eq!(all(b"", false), Vec::<Vec<u8>>::new());
        assert_eq!(all(b"a\n\nb\r\n\xff", false), [&b"a"[..], b"", b"b\r", b"\xff"]);
        assert_eq!(all(b"\n", false), [b""]);
        assert_eq!(all(b"a\nb\0\0c\0", true), [&b"a\nb"[..], b"", b"c"]);
    }

    #[test]
    fn inputs_are_numbered_and_named() {
        let mut given = Source::Given(vec!["a".into(), "b".into()]).open(false).unwrap();
        let numbers: Vec<_> =
            std::iter::from_fn(|| given.next().unwrap()).map(|input| input.number).collect();
        assert_eq!(numbers, [0, 1]);
        let mut once = Source::Once.open(false).unwrap();
        assert_eq!(once.next().unwrap(), Some(Input { number: 0, bytes: None }));
        assert_eq!(once.next().unwrap(), None);
        assert_eq!(Place::Stdin("line").of(6), "line 7");
        assert_eq!(Place::File("list.txt".into()).of(6), "list.txt:7");
    }

    #[test]
    fn a_source_that_cannot_be_read_is_named() {
        let missing = Source::File("/no/such".into()).open(false).err().expect("it does not exist");
        assert!(
            missing.to_string().starts_with("cannot read inputs from /no/such: No such file"),
            "{missing}"
        );
        let mut directory = Source::File("/".into()).open(false).unwrap();
        assert!(directory.next().unwrap_err().to_string().contains("Is a directory"));
    }
}
