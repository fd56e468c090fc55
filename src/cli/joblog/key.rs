//! What makes a job the same in another run: what is run, with which values, by which program.
//!
//! A key is made of all of it and stands in the log, so that a changed program, command or input is noticed, and not
//! only a changed number of inputs. It has to be the same on other machines and in years, hence SHA-256.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use sidestep_worker::wire::JobInfo;

use super::LogError;
use crate::cli::builtin;
use crate::cli::input::Input;

/// This program, also if its file was replaced or deleted since.
const OWN: &str = "/proc/self/exe";

/// The job of a run, and the program that has it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    job: String,
    /// Of a key, the part that all have in common.
    begun: Sha256,
}

/// Tells one job from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 16]);

impl Run {
    /// A run of a job that another program has, or this one.
    ///
    /// What counts of a program is its content, not where it is or from when. Built-in jobs do the same in all builds:
    /// that the command was updated keeps nobody from going on.
    ///
    /// # Errors
    /// The program cannot be read.
    pub(crate) fn new(job: &JobInfo, program: Option<&Path>) -> Result<Run, LogError> {
        match builtin::ALL.iter().any(|built_in| built_in.is(job)) {
            true => Ok(Run::of(&job.name, b"")),
            false => match digest(program) {
                Ok(digest) => Ok(Run::of(&job.name, &digest)),
                Err(cause) => {
                    Err(LogError::Program { path: program.unwrap_or(Path::new(OWN)).to_owned(), cause })
                }
            },
        }
    }

    /// A run of the job with this name, in a program with this content.
    pub(super) fn of(job: &str, program: &[u8]) -> Run {
        let mut begun = Sha256::new();
        add(&mut begun, job.as_bytes());
        add(&mut begun, program);
        Run { job: job.to_owned(), begun }
    }

    pub(super) fn job(&self) -> &str {
        &self.job
    }

    pub(super) fn key(&self, input: &Input, command: &[u8]) -> Key {
        let mut hasher = self.begun.clone();
        add(&mut hasher, command);
        input.values.iter().for_each(|value| add(&mut hasher, value));
        let digest: [u8; 32] = hasher.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Key(key)
    }
}

/// SHA-256 of another program, or of this one.
pub(crate) fn digest(program: Option<&Path>) -> io::Result<[u8; 32]> {
    let mut file = match program {
        Some(path) => File::open(path)?,
        None => File::open(OWN).or_else(|_| File::open(std::env::current_exe()?))?,
    };
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut Hashing(&mut hasher))?;
    Ok(hasher.finalize().into())
}

/// Adds a piece so that no two lists of pieces are the same bytes.
fn add(hasher: &mut Sha256, piece: &[u8]) {
    hasher.update((piece.len() as u64).to_le_bytes());
    hasher.update(piece);
}

struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Key {
    /// Written out.
    pub(super) fn text(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |at: u8| char::from(DIGITS[usize::from(at)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The part of it that is kept in memory.
    pub(super) fn check(self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }

    /// [`check`](Self::check) of a key that is written out.
    pub(super) fn check_of(text: &str) -> Option<u64> {
        let is_key = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = u128::from_str_radix(text, 16).ok().filter(|_| is_key)?;
        Some(Key(key.to_be_bytes()).check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::Write;

    fn input(values: &[&str]) -> Input {
        Input {
            number: 0,
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
            ..Input::default()
        }
    }

    fn job(name: &str) -> JobInfo {
        JobInfo { name: name.into(), args: vec![], output: "()".into(), signature: 0, doc: String::new() }
    }

    #[test]
    fn whatever_differs_makes_another_key() {
        let mut keys = HashSet::new();
        for (name, program, command, values) in [
            ("a", "", "b", &["c"][..]),
            ("x", "", "b", &["c"]),
            ("a", "x", "b", &["c"]),
            ("a", "", "x", &["c"]),
            ("a", "", "b", &["x"]),
            ("a", "", "b", &[]),
            ("a", "", "b", &["c", ""]),
            ("ab", "", "", &["c"]),
            ("", "a", "b", &["c"]),
        ] {
            let key = Run::of(name, program.as_bytes()).key(&input(values), command.as_bytes());
            assert!(keys.insert(key.text()), "{name} {program} {command} {values:?}");
            assert_eq!(Key::check_of(&key.text()), Some(key.check()));
        }
    }

    #[test]
    fn keys_are_the_same_for_ever() {
        let key = Run::of("sh", b"").key(&input(&["1"]), b"echo 1");
        assert_eq!(key.text(), "1f7fe5da280d9adea0bb7c446fd49759");
    }

    #[test]
    fn a_program_is_known_by_its_content() {
        let program = |content: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            Run::new(&job("mine"), Some(file.path())).unwrap().key(&input(&[]), b"mine")
        };
        assert_eq!(program("one"), program("one"));
        assert_ne!(program("one"), program("two"));
        assert!(Run::new(&job("mine"), Some(Path::new("/no/such"))).is_err());
    }

    #[test]
    fn only_a_whole_key_is_one() {
        for bad in ["", "1", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert_eq!(Key::check_of(bad), None, "{bad}");
        }
    }
}
