//! What a program writes, on its way to the parent while the program runs (`--line-buffer`).
//!
//! The pool gives results at the end of a job, and no sooner. So workers write pieces of output to their standard output,
//! which nobody else uses, and which is one pipe for all of them. The system takes a write of so few bytes whole or not at
//! all, so pieces of several workers are never mixed, and a worker that is killed leaves no half of one.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use nix::libc;

/// Bytes before those of the output: number of the job, of the worker, which output, and how many bytes follow.
const HEADER: usize = 8 + 4 + 1 + 2;
/// Bytes of output that a piece has at most.
const MOST: usize = libc::PIPE_BUF - HEADER;

/// One of the outputs of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// The number of the job, from 1,
    pub(crate) number: u64,
    /// and of its worker.
    pub(crate) slot: u32,
    pub(crate) stream: Stream,
    pub(crate) bytes: &'a [u8],
}

impl Piece<'_> {
    /// Writes it, in as many pieces as it takes.
    pub(super) fn send(self, to: impl AsFd) -> io::Result<()> {
        for bytes in self.bytes.chunks(MOST) {
            let part = Piece { bytes, ..self }.to_bytes();
            while let Err(error) = nix::unistd::write(to.as_fd(), &part).map_err(io::Error::from) {
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.bytes.len());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.push(u8::from(self.stream == Stream::Stderr));
        out.extend_from_slice(&(self.bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(self.bytes);
        out
    }
}

impl<'a> Piece<'a> {
    /// The first piece of a text, and what follows; `None` if not all of it has come.
    pub(crate) fn first(text: &'a [u8]) -> Option<(Piece<'a>, &'a [u8])> {
        let (number, rest) = text.split_first_chunk()?;
        let (slot, rest) = rest.split_first_chunk()?;
        let (stream, rest) = rest.split_first()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        let stream = if *stream == 0 { Stream::Stdout } else { Stream::Stderr };
        let (number, slot) = (u64::from_le_bytes(*number), u32::from_le_bytes(*slot));
        Some((Piece { number, slot, stream, bytes }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_long_text_arrives_in_pieces_that_a_pipe_takes_whole() {
        let text: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let (mut from, to) = io::pipe().unwrap();
        Piece { number: 7, slot: 3, stream: Stream::Stderr, bytes: &text }.send(&to).unwrap();
        drop(to);
        let mut sent = Vec::new();
        from.read_to_end(&mut sent).unwrap();
        let (mut rest, mut got) = (&sent[..], Vec::new());
        while let Some((piece, behind)) = Piece::first(rest) {
            assert_eq!((piece.number, piece.slot, piece.stream), (7, 3, Stream::Stderr));
            assert!(rest.len() - behind.len() <= libc::PIPE_BUF);
            got.extend_from_slice(piece.bytes);
            assert!(Piece::first(&rest[..rest.len() - behind.len() - 1]).is_none(), "half of a piece");
            rest = behind;
        }
        assert!(rest.is_empty() && got == text);
    }
}
