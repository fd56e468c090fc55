//! Frames and their bodies through streams that do not behave.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use sidestep::faults::Unsteady;
use sidestep_worker::codec;
use sidestep_worker::frame::{Assembler, FrameError, HEADER, Kind, push};

/// Bodies of all sizes that matter, and then some.
fn bodies() -> Vec<String> {
    (0..40usize).map(|n| "x".repeat([0, 1, 7, 300, 5000][n % 5] + n)).collect()
}

/// The bodies as one stream of frames, and where each frame begins.
fn stream() -> (Vec<u8>, Vec<usize>) {
    let (mut stream, mut starts) = (Vec::new(), Vec::new());
    for (number, body) in (0..).zip(bodies()) {
        let mut encoded = Vec::new();
        codec::encode(&body, &mut encoded).unwrap();
        starts.push(stream.len());
        push(&mut stream, number, Kind::Done, 0, &encoded);
    }
    (stream, starts)
}

/// Reads all frames that come, and how the stream ended.
fn receive(mut reader: impl Read) -> (Vec<Result<String, codec::CodecError>>, Result<(), FrameError>) {
    let mut assembler = Assembler::new();
    let mut bodies = Vec::new();
    loop {
        let room = match assembler.room(64) {
            Ok(room) => room,
            Err(error) => return (bodies, Err(error)),
        };
        match reader.read(room) {
            Ok(0) => return (bodies, Ok(())),
            Ok(count) => assembler.filled(count),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
        loop {
            match assembler.next() {
                Ok(Some((_, body))) => bodies.push(codec::decode(body)),
                Ok(None) => break,
                Err(error) => return (bodies, Err(error)),
            }
        }
    }
}

fn sent(count: usize) -> Vec<Result<String, codec::CodecError>> {
    bodies().into_iter().take(count).map(Ok).collect()
}

#[test]
fn frames_survive_short_reads_and_interruptions() {
    let (stream, starts) = stream();
    for seed in 0..50 {
        assert_eq!(receive(Unsteady::new(&stream[..], seed)), (sent(starts.len()), Ok(())), "seed {seed}");
    }
}

#[test]
fn frames_survive_short_writes_and_delays() {
    let (stream, starts) = stream();
    let mut writer = Unsteady::new(Vec::new(), 3).delay(Duration::from_nanos(100));
    writer.write_all(&stream).unwrap();
    assert_eq!(receive(&writer.into_inner()[..]), (sent(starts.len()), Ok(())));
}

#[test]
fn a_stream_that_is_cut_gives_the_frames_before_the_cut() {
    let (stream, mut starts) = stream();
    starts.push(stream.len());
    let near = |start: &usize| start.saturating_sub(3)..(start + HEADER + 3).min(stream.len());
    for cut in starts.iter().flat_map(near) {
        let whole = starts.iter().rposition(|start| *start <= cut).unwrap();
        let reader = Unsteady::new(&stream[..], cut as u64).cut(cut as u64);
        assert_eq!(receive(reader), (sent(whole), Ok(())), "cut after {cut} bytes");
        let mut writer = Unsteady::new(Vec::new(), cut as u64).cut(cut as u64);
        assert_eq!(writer.write_all(&stream).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.into_inner(), stream[..cut]);
    }
}

#[test]
fn a_bit_that_flips_in_a_header_ends_the_stream_there() {
    let (stream, starts) = stream();
    for (before, start) in starts.iter().enumerate() {
        for bit in start * 8..(start + HEADER) * 8 {
            let (bodies, end) = receive(Unsteady::new(&stream[..], bit as u64).flip(bit as u64));
            assert_eq!((bodies, end.is_err()), (sent(before), true), "bit {bit}");
        }
    }
}

#[test]
fn a_bit_that_flips_in_a_body_costs_that_body_alone() {
    let (stream, mut starts) = stream();
    starts.push(stream.len());
    for (at, frame) in starts.windows(2).enumerate() {
        let (body, end) = (frame[0] + HEADER, frame[1]);
        // The length in front, the text's ends: what is between them is all alike.
        for byte in (body..body + 8).chain(body + 8..end.min(body + 12)).chain(end - 1..end) {
            for bit in byte * 8..byte * 8 + 8 {
                let (mut bodies, end) = receive(Unsteady::new(&stream[..], bit as u64).flip(bit as u64));
                let mut expected = sent(starts.len() - 1);
                assert_ne!(bodies.remove(at), expected.remove(at), "bit {bit}");
                assert_eq!((bodies, end), (expected, Ok(())), "bit {bit}");
            }
        }
    }
}
