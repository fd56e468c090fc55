//! Memory of a pool that its workers can read: a file without a name.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use memmap2::{MmapOptions, MmapRaw};

use super::sys;

/// A file in memory that grows and is never cut, so that what is mapped stays where it is.
#[derive(Debug)]
pub(crate) struct Memory {
    file: File,
}

impl Memory {
    /// An empty one; an error where the system has no such thing.
    pub(crate) fn new() -> io::Result<Memory> {
        let memory = Memory { file: sys::shared_file()?.into() };
        // So that it comes to light now if workers could not get it.
        memory.reader()?;
        Ok(memory)
    }

    /// A descriptor for a worker, which can only read with it.
    pub(crate) fn reader(&self) -> io::Result<OwnedFd> {
        sys::read_only(&self.file)
    }

    /// Maps a part of it for writing; the file is made as long as that needs, if it still may be.
    pub(crate) fn map(&self, offset: u64, len: usize) -> io::Result<MmapRaw> {
        let end = offset + len as u64;
        if self.file.metadata()?.len() < end {
            sys::extend(&self.file, end)?;
        }
        MmapOptions::new().offset(offset).len(len).map_raw(&self.file)
    }

    /// Has the system provide memory for a part of it: what was not provided for may fail when it is touched.
    pub(crate) fn provide(&self, offset: u64, len: usize) -> io::Result<()> {
        sys::provide(&self.file, offset, len)
    }

    /// Gives the memory of a part of it back; it reads as zeros from then on.
    pub(crate) fn forget(&self, offset: u64, len: usize) {
        sys::forget(&self.file, offset, len);
    }
}

#[cfg(all(test, target_os = "linux", not(sidestep_portable)))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_worker_sees_it_and_cannot_write() {
        let memory = Memory::new().unwrap();
        memory.provide(4096, 4096).unwrap();
        let map = memory.map(4096, 4096).unwrap();
        // SAFETY: nobody else has this mapping.
        unsafe { map.as_mut_ptr().write_bytes(7, 10) };
        let reader = File::from(memory.reader().unwrap());
        let mut seen = [0; 12];
        reader.read_exact_at(&mut seen, 4096).unwrap();
        assert_eq!(seen, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
        assert!(reader.write_at(&[1], 4096).is_err());
        assert!(MmapOptions::new().len(4096).map_raw(&reader).is_err());
        assert!(
            File::options().append(true).open(format!("/proc/self/fd/{}", memory.file.as_raw_fd())).is_ok()
        );
        assert!(memory.file.set_len(0).is_err(), "it cannot be cut");
        memory.forget(4096, 4096);
        reader.read_exact_at(&mut seen, 4096).unwrap();
        assert_eq!(seen, [0; 12]);
    }
}
