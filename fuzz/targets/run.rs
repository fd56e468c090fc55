//! A run of items, as the worker takes it apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidestep_worker::wire::{RunHeader, push_piece, push_place, take_piece, take_place};

fuzz_target!(|body: &[u8]| {
    let Some((header, mut rest)) = RunHeader::read(body) else { return };
    let mut again = Vec::new();
    header.write(&mut again);
    assert_eq!(RunHeader::read(&again), Some((header, &[][..])));
    loop {
        if let Some(piece) = take_piece(&mut rest) {
            push_piece(&mut again, piece);
        } else if let Some(place) = take_place(&mut rest) {
            push_place(&mut again, place);
        } else {
            break;
        }
    }
    assert_eq!(again.len() + rest.len(), body.len());
    assert!(body[RunHeader::LEN..].starts_with(&again[RunHeader::LEN..]));
});
