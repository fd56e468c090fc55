//! What the machine allows: the same work with nothing but pipes and processes.
//!
//! The other end is a copy of this binary too, started with a [`Role`], so that both sides of a comparison are the same
//! program.

pub(crate) mod echo;
pub(crate) mod frames;
pub(crate) mod present;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;
use echo::Waits;

const MARKER: &str = "--raw";

/// What a copy does until its standard input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends each block of that many bytes back.
    Echo { size: usize, waits: Waits },
    /// Answers jobs in frames.
    Frames,
    /// Keeps a processor busy.
    Burn,
    /// Says that it is there, with one byte.
    Wait,
}

impl Role {
    fn arguments(self) -> Vec<String> {
        let words = match self {
            Role::Echo { size, waits } => vec!["echo".to_owned(), size.to_string(), waits.name().to_owned()],
            Role::Frames => vec!["frames".to_owned()],
            Role::Burn => vec!["burn".to_owned()],
            Role::Wait => vec!["wait".to_owned()],
        };
        std::iter::once(MARKER.to_owned()).chain(words).collect()
    }

    fn parse(words: &[&str]) -> Option<Role> {
        match words {
            ["echo", size, waits] => {
                Some(Role::Echo { size: size.parse().ok()?, waits: Waits::parse(waits)? })
            }
            ["frames"] => Some(Role::Frames),
            ["burn"] => Some(Role::Burn),
            ["wait"] => Some(Role::Wait),
            _ => None,
        }
    }
}

/// Plays the role that the arguments name, if they name one.
pub(crate) fn play(arguments: &[String]) -> Option<Outcome<()>> {
    let (marker, words) = arguments.split_first()?;
    if marker != MARKER {
        return None;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match Role::parse(&words)? {
        Role::Echo { size, waits } => echo::answer(size, waits),
        Role::Frames => frames::answer(),
        Role::Burn => burn(),
        Role::Wait => present::wait(),
    })
}

/// One thread computes, the other waits for the end.
fn burn() -> Outcome<()> {
    std::thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A copy of this binary that plays a role. It ends when this is dropped.
pub(crate) struct Copy {
    process: Child,
    /// Taken by the one who says that there is no more.
    pub(crate) to: Option<ChildStdin>,
    pub(crate) from: ChildStdout,
}

impl Copy {
    pub(crate) fn start(role: Role) -> Outcome<Copy> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(role.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let from = process.stdout.take().ok_or("its output is piped")?;
        Ok(Copy { to: process.stdin.take(), process, from })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.process.wait();
    }
}

/// The child's ends, without the buffers of the standard library's stdin and stdout.
fn own_ends() -> Outcome<(File, File)> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let output = std::io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

/// Fills the buffer; polls if the reader does not block. False at the end.
fn fill(reader: &mut impl Read, mut buffer: &mut [u8]) -> Outcome<bool> {
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
