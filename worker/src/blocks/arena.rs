//! The worker's view of the pool's arena, where large arguments lie. It cannot write there.
//!
//! A job may keep [`Bytes`](crate::Bytes) that lie there for as long as it likes. So that the parent does not put others in
//! their place, the worker names the block in its page before it commits the result; and as it can name only one, it
//! copies what comes while something is kept.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use super::Place;
use crate::bytes::{self, Host, is_last};
use crate::own::Own;
use crate::page::Page;

/// The arena, as far as it was needed so far.
#[derive(Debug)]
pub(crate) struct Arena {
    file: Own,
    map: Option<Arc<Mmap>>,
    /// What an earlier job has kept.
    kept: Option<Arc<Args>>,
}

/// The arguments of one item, or a shared value.
#[derive(Debug)]
pub(crate) struct Args {
    map: Arc<Mmap>,
    place: Place,
}

impl Host for Args {
    fn bytes(&self) -> &[u8] {
        // `Arena::args` has looked that they lie in there.
        &self.map[self.place.offset as usize..][..self.place.len as usize]
    }
}

/// Why arguments cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// A job has closed the file, or put another in its place.
    Lost,
    /// The parent has named a place that is none.
    BadPlace,
    /// The system says no.
    System(io::Error),
}

impl Arena {
    pub(crate) fn new(file: Own) -> Arena {
        Arena { file, map: None, kept: None }
    }

    /// The arguments at a place. Bytes decoded from them on this thread may stay there, until [`end`](Self::end).
    pub(crate) fn begin(&mut self, place: Place, page: &Page) -> Result<Arc<Args>, Unreadable> {
        let args = self.args(place)?;
        self.kept = self.kept.take().filter(|kept| !is_last(kept));
        if self.kept.is_none() {
            page.note_kept(None);
            bytes::set_host(Some(args.clone()));
        }
        Ok(args)
    }

    /// What lies at a place.
    pub(crate) fn args(&mut self, place: Place) -> Result<Arc<Args>, Unreadable> {
        let end = place.offset.checked_add(place.len).ok_or(Unreadable::BadPlace)?;
        let map = match &self.map {
            Some(map) if end <= map.len() as u64 => map.clone(),
            _ => self.map(end)?,
        };
        Ok(Arc::new(Args { map, place }))
    }

    /// The job has run, and its result is not committed yet.
    pub(crate) fn end(&mut self, args: Arc<Args>, page: &Page) {
        bytes::set_host(None);
        if !is_last(&args) {
            page.note_kept(Some(args.place.offset));
            self.kept = Some(args);
        }
    }

    /// Whether a job still has something that lies here.
    pub(crate) fn keeps(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| !is_last(kept))
    }

    /// The parent makes the file longer from time to time; then it is mapped again.
    fn map(&mut self, end: u64) -> Result<Arc<Mmap>, Unreadable> {
        if !self.file.is_own() {
            return Err(Unreadable::Lost);
        }
        // SAFETY: the file cannot be cut. The parent writes into a block of it only while no worker has it: neither
        // in flight, nor named as kept.
        let map =
            unsafe { MmapOptions::new().map(self.file.as_fd().as_raw_fd()) }.map_err(Unreadable::System)?;
        if end > map.len() as u64 {
            return Err(Unreadable::BadPlace);
        }
        let map = Arc::new(map);
        self.map = Some(map.clone());
        Ok(map)
    }
}
