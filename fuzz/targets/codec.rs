//! Arguments and results of all kinds of types. The first byte chooses which.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sidestep_worker::Bytes;
use sidestep_worker::codec::{decode, encode};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Line(f64, f64),
    Named { name: String, sides: Option<Vec<u16>> },
    Many(Vec<Shape>),
}

/// What was decoded survives the way back and forth.
fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    encode(&value, &mut once).expect("it was decoded from no more");
    let value: T = decode(&once).expect("it was encoded here");
    encode(&value, &mut twice).expect("it was encoded before");
    assert_eq!(once.len(), twice.len());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 9 {
        0 => check::<(u8, i64, bool, char)>(body),
        1 => check::<(String, Vec<String>)>(body),
        2 => check::<Vec<Option<Box<str>>>>(body),
        3 => check::<HashMap<String, u32>>(body),
        4 => check::<BTreeMap<i8, Vec<(u16, f32)>>>(body),
        5 => check::<Bytes>(body),
        6 => check::<(Bytes, Duration, ())>(body),
        7 => check::<Vec<[u64; 4]>>(body),
        _ => check::<Shape>(body),
    }
});
