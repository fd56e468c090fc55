//! The stream of a pipe, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidestep_worker::frame::{Assembler, FrameError, HEADER, Header, push};

type Frames = Vec<(Header, Vec<u8>)>;

/// All frames of a stream that comes in pieces of this size, and how it ends.
fn frames(stream: &[u8], piece: usize) -> (Frames, Result<(), FrameError>) {
    let mut assembler = Assembler::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        if let Err(error) = assembler.extend(piece) {
            return (frames, Err(error));
        }
        loop {
            match assembler.next() {
                Ok(Some((header, body))) => frames.push((header, body.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = input;
    let whole = frames(stream, usize::MAX);
    assert_eq!(frames(stream, usize::from(piece) + 1), whole);
    // What was read is what was written.
    let mut again = Vec::new();
    for (number, (header, body)) in (0..).zip(&whole.0) {
        push(&mut again, number, header.kind, header.aux, body);
    }
    assert!(stream.starts_with(&again));
    assert!(whole.1.is_ok() || stream.len() >= again.len() + HEADER);
});
