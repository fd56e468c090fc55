//! What a worker prints, as the parent takes it apart: captured parts, and the last words.
#![no_main]

#[path = "../../src/process/body.rs"]
mod body;
#[path = "../../src/process/capture.rs"]
#[expect(dead_code, reason = "the parent asks more of it than this")]
mod capture;
#[path = "../../src/process/tail.rs"]
mod tail;

use libfuzzer_sys::fuzz_target;
use sidestep_worker::wire::Mark;

/// With repeated bytes, so that data often looks like the beginning of it.
const MARK: Mark = Mark { nonce: *b"aabaabaaabaabaab" };

/// What is shown of a stream that comes in pieces of this size, and what its last job has printed.
fn split(stream: &[u8], piece: usize) -> (Vec<u8>, Option<(u64, Vec<u8>)>) {
    let mut splitter = capture::Splitter::new(MARK);
    let mut shown = Vec::new();
    for piece in stream.chunks(piece) {
        splitter.push(piece, |bytes| shown.extend_from_slice(bytes));
    }
    splitter.finish(|bytes| shown.extend_from_slice(bytes));
    (shown, splitter.take_open())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stream) = input;
    let piece = usize::from(piece) + 1;
    assert_eq!(split(stream, piece), split(stream, usize::MAX));
    let [mut at_once, mut in_pieces] = [tail::Tail::new(), tail::Tail::new()];
    at_once.push(stream);
    stream.chunks(piece).for_each(|piece| in_pieces.push(piece));
    assert_eq!(at_once.to_string_lossy(), in_pieces.to_string_lossy());
});
