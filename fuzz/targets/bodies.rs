//! The bodies of frames: those that are serde types, and offers of shared values. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use sidestep_worker::Failure;
use sidestep_worker::codec::{decode, encode};
use sidestep_worker::shared::Offer;
use sidestep_worker::wire::{Fault, Hello, Setup};

/// What decodes is encoded to the same bytes: there is one way only to say a thing.
fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        let mut again = Vec::new();
        encode(&value, &mut again).expect("it was decoded from no more");
        assert_eq!(again, bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => check::<Setup>(body),
        1 => check::<Hello>(body),
        2 => check::<Fault>(body),
        3 => check::<Result<(), Fault>>(body),
        4 => {
            if let Some((id, offer)) = Offer::from_body(body) {
                assert_eq!(offer.to_body(id), body);
            }
        }
        _ => check::<Result<u32, Failure>>(body),
    }
});
