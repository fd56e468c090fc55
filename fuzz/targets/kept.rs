//! Files of jobs that have failed, which anyone may have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidestep_worker::kept::Kept;

fuzz_target!(|bytes: &[u8]| {
    let Ok(kept) = Kept::from_bytes(bytes) else { return };
    assert_eq!(kept.header.arguments.unwrap_or(0), kept.args.len() as u64);
    let line = kept.header.line().expect("it was read from one");
    let again = Kept::from_bytes(&[&line, &kept.args[..]].concat()).expect("what was written is read");
    assert_eq!(again, kept);
});
