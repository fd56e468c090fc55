//! What jobs have done, in a file that outlives them: how often each has begun and ended.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of an entry: how often it has begun, how often it has ended, how often it may begin.
const ENTRY: u64 = 3;

/// The parent's view.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    entries: AtomicU64,
}

impl Ledger {
    pub(crate) fn create() -> Ledger {
        let path = std::env::temp_dir().join(format!("sidestep-soak-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        Ledger { file: file.expect("a file for the ledger"), path, entries: AtomicU64::new(0) }
    }

    /// Where jobs find it.
    pub(crate) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// An entry for a new job, which may begin so many times.
    pub(crate) fn entry(&self, attempts: u32) -> u64 {
        let entry = self.entries.fetch_add(1, Ordering::Relaxed);
        self.file.write_all_at(&[0, 0, attempts as u8], entry * ENTRY).expect("a byte for the ledger");
        entry
    }

    /// Whether a job has ended.
    pub(crate) fn has_ended(&self, entry: u64) -> bool {
        let mut bytes = [0; ENTRY as usize];
        self.file.read_exact_at(&mut bytes, entry * ENTRY).expect("the entry is there");
        bytes[1] > 0
    }

    /// No job has begun more often than it may.
    pub(crate) fn check(&self) {
        for entry in 0..self.entries.load(Ordering::Relaxed) {
            let mut bytes = [0; ENTRY as usize];
            self.file.read_exact_at(&mut bytes, entry * ENTRY).expect("the entry is there");
            let [begun, ended, most] = bytes;
            assert!(begun <= most, "job {entry} has begun {begun} times, and ended {ended} times, of {most}");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A job begins.
pub(crate) fn begin(ledger: &Path, entry: u64) {
    add_one(ledger, entry * ENTRY);
}

/// A job ends.
pub(crate) fn end(ledger: &Path, entry: u64) {
    add_one(ledger, entry * ENTRY + 1);
}

/// No two attempts of a job run at a time, so nobody else changes this byte.
fn add_one(ledger: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(ledger).expect("the ledger");
    let mut count = [0];
    file.read_exact_at(&mut count, at).expect("the entry is there");
    file.write_all_at(&[count[0] + 1], at).expect("a byte for the ledger");
}
