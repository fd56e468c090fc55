//! Calls with text and with JSON, as another program sends them. The first byte chooses the job.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use sidestep_worker::Job;
use sidestep_worker::blocks::Buffer;
use sidestep_worker::wire::Encoding;

#[derive(Debug, Serialize, Deserialize)]
enum Colour {
    Red,
    Grey(u8),
    Mixed { parts: Vec<Colour> },
}

fn numbers(a: i64, b: u8, c: f64) -> String {
    format!("{a} {b} {c}")
}

fn words(text: String, letter: char, path: Option<PathBuf>) -> (String, char, Option<PathBuf>) {
    (text, letter, path)
}

fn lists(numbers: Vec<i32>, map: BTreeMap<String, bool>) -> Result<Vec<i32>, BTreeMap<String, bool>> {
    if map.is_empty() { Ok(numbers) } else { Err(map) }
}

fn colour(colour: Colour) -> Colour {
    colour
}

fn call<Args>(job: impl Job<Args>, encoding: Encoding, args: &[u8]) {
    let mut result = Vec::new();
    if job.serve(encoding, args, &mut Buffer::new(&mut result, None)).is_ok() {
        assert!(matches!(result.first(), Some(0 | 1)), "a value, or the job's own error");
        assert!(encoding == Encoding::Text || std::str::from_utf8(&result[1..]).is_ok());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, args)) = bytes.split_first() else { return };
    let encoding = if kind & 1 == 0 { Encoding::Json } else { Encoding::Text };
    match (kind >> 1) % 5 {
        0 => call(numbers, encoding, args),
        1 => call(words, encoding, args),
        2 => call(lists, encoding, args),
        3 => call(colour, encoding, args),
        _ => call(|| (), encoding, args),
    }
});
