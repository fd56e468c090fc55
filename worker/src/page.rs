//! The shared mapping of one worker and its parent: claims, notes about what runs, and a lane each way.
//!
//! It is what makes blame and withdrawal exact and results outlive their worker:
//!
//! - Each run in flight has a slot with two numbers, `claimed` and `end`. The worker raises `claimed` before it runs
//!   items, the parent lowers `end` to take items back, each by compare-and-swap on the one word. So an item
//!   is either run or withdrawn, never both.
//! - `current` names the item that is running. A worker that dies is charged with that one, or with none.
//! - `begun` says since when, in a run that is watched, or that nothing of one runs; `cpu_before` says what processor time
//!   the worker had used by then. Before each item of such a run the worker notes it and then looks at `halt`; the
//!   parent raises `halt` and then looks at `current`. So one of them sees the other, and a worker that is to die for one
//!   item never begins another. It claims nothing more either before it has noted the item's end, so that a clock never
//!   runs for an item that is over.
//! - Results are put into a [`Lane`] and count from then on. From there they go into the pipe, or the parent takes them
//!   himself. Jobs have a lane too. Large results lie behind the lanes, in [blocks](crate::blocks).
//!
//! Everything is an atomic, so that neither side can be made to break Rust's rules by what the other writes. The
//! parent believes nothing that it reads here: it compares it with what it knows, or it only uses it as a hint.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::clock;

mod blocks;
mod lane;

pub use lane::{Filled, Lane, Scribbled, Untaken};

/// Runs that may be in flight at a time; a run's slot is its sequence number modulo this.
pub const SLOTS: usize = 256;
/// Bytes of the lane for results.
pub const OUT: usize = 64 << 10;
/// Bytes of the lane for jobs.
pub const IN: usize = 32 << 10;
/// Items in one run at most: both numbers of a slot have 20 bits.
pub const MAX_RUN: u32 = (1 << 20) - 1;
/// Bytes of the mapping without blocks.
pub const PAGE: usize = CONTROL + OUT + IN;
/// Bytes for blocks behind that, where they can be had. They take no memory until they are used.
pub const BLOCKS: usize = 256 << 20;
/// Bytes of the whole mapping with blocks.
pub const WITH_BLOCKS: usize = BLOCKS_AT + BLOCKS;
/// Where blocks begin: no page of the system's, of whatever size, holds parts of both.
const BLOCKS_AT: usize = PAGE.next_multiple_of(64 << 10);

const CONTROL: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"sidestep");
/// Raised with every change to frames or to this page.
pub const PROTOCOL: u32 = 7;

/// What a worker says about its own end before it ends, in [`Page::last_words`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum LastWords {
    /// Nothing: it did not end by itself.
    None = 0,
    /// A job closed or replaced a descriptor of the protocol.
    DescriptorLost = 1,
    /// The parent's stream did not make sense.
    BadStream = 2,
    /// The system gave it no second thread.
    NoThread = 3,
}

/// An item that a worker has begun, in [`Page::running`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The run's number.
    pub run: u32,
    /// The item's place in the run.
    pub item: u32,
    /// Nanoseconds since then.
    pub age: u64,
    /// Nanoseconds of processor time that the worker had used by then, if it was told to note that.
    pub cpu_before: u64,
}

#[repr(C)]
struct Control {
    magic: AtomicU64,
    protocol: AtomicU32,
    parent: AtomicU32,
    /// The worker finds an arena among its descriptors.
    has_arena: AtomicU32,
    asks: Asks,
    notes: Notes,
    results: lane::State,
    jobs: lane::State,
    /// Both: `tag:24 end:20 claimed:20`.
    slots: [AtomicU64; SLOTS],
}

// What one side writes and the other one reads often lies in cache lines of its own.

/// Written by the parent.
#[repr(C, align(64))]
struct Asks {
    /// The job that runs is asked to stop.
    stop: AtomicU32,
    /// The worker is to begin nothing more that is watched.
    halt: AtomicU32,
    /// Large results that were copied.
    taken: AtomicU64,
}

/// Written by the worker.
#[repr(C, align(64))]
struct Notes {
    /// See [`LastWords`].
    last_words: AtomicU32,
    /// Run frames it has taken out of the pipe.
    consumed: AtomicU32,
    /// The item that runs, as run number and index, or [`NOTHING`].
    current: AtomicU64,
    /// When that item began, by [`clock::now`], or [`NEVER`]; only if its run is watched.
    begun: AtomicU64,
    /// Nanoseconds of processor time that it had used by then; 0 if nobody wants to know.
    cpu_before: AtomicU64,
    /// Where the block lies in the arena that a job has kept, or [`NOTHING`].
    kept: AtomicU64,
}

const _: () = assert!(size_of::<Control>() <= CONTROL);
const NOTHING: u64 = u64::MAX;
const NEVER: u64 = u64::MAX;
/// In a word that names an item: it may still be kept from beginning. An item's place has 20 bits.
const NOT_BEGUN: u64 = 1 << 31;

/// One side's view of the mapping.
#[derive(Debug)]
pub struct Page {
    map: MmapRaw,
}

/// A slot's word taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    tag: u32,
    end: u32,
    claimed: u32,
}

impl Slot {
    fn unpack(word: u64) -> Slot {
        Slot { tag: (word >> 40) as u32, end: (word >> 20) as u32 & MAX_RUN, claimed: word as u32 & MAX_RUN }
    }

    fn pack(self) -> u64 {
        (self.tag as u64) << 40 | (self.end as u64) << 20 | self.claimed as u64
    }

    /// The part of a run's number that its slot keeps.
    fn tag(run: u32) -> u32 {
        run & 0xFF_FFFF
    }
}

impl Page {
    /// Maps a file that is [`PAGE`] bytes long, or [`BLOCKS`] longer, as the parent does for a new worker.
    pub fn create(file: &File, parent: u32) -> std::io::Result<Page> {
        let page = Page::map(file)?;
        let control = page.control();
        control.notes.current.store(NOTHING, Ordering::Relaxed);
        control.notes.begun.store(NEVER, Ordering::Relaxed);
        control.notes.kept.store(NOTHING, Ordering::Relaxed);
        control.parent.store(parent, Ordering::Relaxed);
        control.protocol.store(PROTOCOL, Ordering::Relaxed);
        control.magic.store(MAGIC, Ordering::Release);
        Ok(page)
    }

    /// Maps the file that a parent has prepared; `None` if it is no such file.
    pub fn open(file: &File) -> Option<Page> {
        let page = Page::map(file).ok()?;
        let control = page.control();
        let ours = control.magic.load(Ordering::Acquire) == MAGIC;
        (ours && control.protocol.load(Ordering::Relaxed) == PROTOCOL).then_some(page)
    }

    /// Without blocks, if there is no room for them in this process.
    fn map(file: &File) -> std::io::Result<Page> {
        let len = usize::try_from(file.metadata()?.len()).ok();
        let map = |len| MmapOptions::new().len(len).map_raw(file);
        let map = match len {
            Some(PAGE) => map(PAGE)?,
            Some(WITH_BLOCKS) => map(WITH_BLOCKS).or_else(|_| map(PAGE))?,
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        };
        // What they hold is in no core dump of either process.
        #[cfg(target_os = "linux")]
        if map.len() > BLOCKS_AT {
            let _ = map.advise_range(memmap2::Advice::DontDump, BLOCKS_AT, map.len() - BLOCKS_AT);
        }
        Ok(Page { map })
    }

    fn control(&self) -> &Control {
        // SAFETY: the mapping is page-aligned, longer than `Control` and lives as long as `self`; the file cannot
        // shrink (sealed, or private to the two processes), and every field is an atomic, for which any bits are valid.
        unsafe { &*self.map.as_ptr().cast::<Control>() }
    }

    /// The worker's results, on their way to the parent.
    pub fn results(&self) -> Lane<'_> {
        Lane { state: &self.control().results, words: self.words(CONTROL, OUT) }
    }

    /// Jobs, on their way to the worker.
    pub fn jobs(&self) -> Lane<'_> {
        Lane { state: &self.control().jobs, words: self.words(CONTROL + OUT, IN) }
    }

    fn words(&self, at: usize, bytes: usize) -> &[AtomicU64] {
        assert!(at + bytes <= PAGE && at.is_multiple_of(8));
        // SAFETY: as in `control`; this part lies within the mapping, and begins where a word may.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at).cast::<AtomicU64>(), bytes / 8) }
    }

    /// The parent's process id, as it sees itself.
    pub fn parent(&self) -> u32 {
        self.control().parent.load(Ordering::Relaxed)
    }

    // ---- claims ----

    /// Parent: opens the slot of a run before its frame is sent.
    pub fn open_run(&self, run: u32, items: u32) {
        assert!(items <= MAX_RUN, "a run of {items} items");
        let slot = Slot { tag: Slot::tag(run), end: items, claimed: 0 };
        self.slot(run).store(slot.pack(), Ordering::Release);
    }

    /// Worker: takes up to `want` more items of a run; `None` when there is nothing left to take.
    pub fn claim(&self, run: u32, want: u32) -> Option<Range<u32>> {
        self.change(run, |slot| {
            let end = slot.end.min(slot.claimed.saturating_add(want));
            (slot.claimed < end).then_some((Slot { claimed: end, ..slot }, slot.claimed..end))
        })
    }

    /// Parent: takes back up to `most` items from a run's end that nobody has claimed.
    pub fn withdraw(&self, run: u32, most: u32) -> Option<Range<u32>> {
        self.change(run, |slot| {
            let end = slot.claimed.max(slot.end.saturating_sub(most));
            (end < slot.end).then_some((Slot { end, ..slot }, end..slot.end))
        })
    }

    /// Parent: how many items of a run have been claimed; `None` if the slot does not hold that run.
    pub fn claimed(&self, run: u32) -> Option<u32> {
        let slot = Slot::unpack(self.slot(run).load(Ordering::Acquire));
        (slot.tag == Slot::tag(run)).then_some(slot.claimed)
    }

    fn change(&self, run: u32, step: impl Fn(Slot) -> Option<(Slot, Range<u32>)>) -> Option<Range<u32>> {
        let word = self.slot(run);
        let mut old = word.load(Ordering::Acquire);
        loop {
            let slot = Slot::unpack(old);
            if slot.tag != Slot::tag(run) {
                return None;
            }
            let (new, range) = step(slot)?;
            match word.compare_exchange_weak(old, new.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(range),
                Err(now) => old = now,
            }
        }
    }

    fn slot(&self, run: u32) -> &AtomicU64 {
        &self.control().slots[run as usize % SLOTS]
    }

    // ---- notes ----

    /// Worker: says that it has taken one more run out of the pipe.
    pub fn note_consumed(&self, runs: u32) {
        self.control().notes.consumed.store(runs, Ordering::Release);
    }

    /// Parent: run frames that the worker says it has taken out of the pipe.
    pub fn consumed(&self) -> u32 {
        self.control().notes.consumed.load(Ordering::Acquire)
    }

    /// Worker: names the item that runs from now on.
    pub fn note_current(&self, run: u32, item: u32) {
        self.control().notes.current.store((run as u64) << 32 | item as u64, Ordering::Release);
    }

    /// Worker: the same in a run that is watched. `false` if the item may not begin now.
    pub fn begin_watched(&self, run: u32, item: u32, cpu_before: u64) -> bool {
        let current = (run as u64) << 32 | item as u64;
        self.control().notes.cpu_before.store(cpu_before, Ordering::Relaxed);
        self.control().notes.current.store(current | NOT_BEGUN, Ordering::SeqCst);
        let begins = self.control().asks.halt.load(Ordering::SeqCst) == 0;
        if begins {
            self.control().notes.begun.store(clock::now(), Ordering::Release);
            self.control().notes.current.store(current, Ordering::Release);
        }
        begins
    }

    /// Worker: the item has ended, be its result sent or not.
    pub fn end_watched(&self) {
        self.control().notes.begun.store(NEVER, Ordering::Release);
    }

    /// Parent: has the worker begin nothing more that is watched, or takes that back. An item that
    /// [`running`](Self::running) does not name after that has not begun.
    pub fn halt(&self, halt: bool) {
        self.control().asks.halt.store(halt as u32, Ordering::SeqCst);
    }

    /// Parent: the item of a watched run that the worker is in; `None` between two of them.
    pub fn running(&self) -> Option<Begun> {
        let control = self.control();
        // The next item's begin may stand here by now: then this one seems to have taken less, which harms nobody.
        let current = control.notes.current.load(Ordering::SeqCst);
        let begun = control.notes.begun.load(Ordering::Acquire);
        let cpu_before = control.notes.cpu_before.load(Ordering::Acquire);
        let age = clock::now().saturating_sub(begun);
        let (run, item) = ((current >> 32) as u32, (current & !NOT_BEGUN) as u32);
        (current != NOTHING && begun != NEVER).then_some(Begun { run, item, age, cpu_before })
    }

    /// Parent: the item that the worker ran last, as run number and index; `None` also if it was about to begin one that
    /// is watched.
    pub fn current(&self) -> Option<(u32, u32)> {
        match self.control().notes.current.load(Ordering::Acquire) {
            word if word & NOT_BEGUN != 0 => None,
            word => Some(((word >> 32) as u32, word as u32)),
        }
    }

    /// Parent: asks the job that runs to stop, or takes that back.
    pub fn ask_to_stop(&self, stop: bool) {
        self.control().asks.stop.store(stop as u32, Ordering::Release);
    }

    /// Worker: whether the parent asks the job to stop.
    pub fn asked_to_stop(&self) -> bool {
        self.control().asks.stop.load(Ordering::Acquire) != 0
    }

    /// Worker: says why it is about to end.
    pub fn say_last(&self, words: LastWords) {
        self.control().notes.last_words.store(words as u32, Ordering::Release);
    }

    /// Parent: why the worker ended, in its own words.
    pub fn last_words(&self) -> LastWords {
        match self.control().notes.last_words.load(Ordering::Acquire) {
            1 => LastWords::DescriptorLost,
            2 => LastWords::BadStream,
            3 => LastWords::NoThread,
            _ => LastWords::None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    #[cfg(target_os = "linux")]
    fn file() -> File {
        nix::sys::memfd::memfd_create("page", nix::sys::memfd::MFdFlags::empty()).unwrap().into()
    }

    #[cfg(not(target_os = "linux"))]
    fn file() -> File {
        let path = std::env::temp_dir().join(format!("sidestep-page-{:?}", std::thread::current().id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    pub(crate) fn page() -> Page {
        let file = file();
        file.set_len(WITH_BLOCKS as u64).unwrap();
        Page::create(&file, 1).unwrap()
    }

    #[test]
    fn an_item_is_claimed_or_withdrawn_never_both() {
        let page = Arc::new(page());
        for run in 0..2000u32 {
            page.open_run(run, 64);
            let worker = std::thread::spawn({
                let page = page.clone();
                move || std::iter::from_fn(|| page.claim(run, 3)).flatten().collect::<Vec<_>>()
            });
            let mut back: Vec<u32> = std::iter::from_fn(|| page.withdraw(run, 2)).flatten().collect();
            back.extend(worker.join().unwrap());
            back.sort_unstable();
            assert_eq!(back, (0..64).collect::<Vec<_>>(), "run {run}");
        }
    }

    #[test]
    fn a_slot_of_another_run_is_left_alone() {
        let page = page();
        page.open_run(5, 10);
        assert_eq!(page.claim(5 + SLOTS as u32, 1), None);
        assert_eq!(page.withdraw(5 + SLOTS as u32, 1), None);
        assert_eq!(page.claimed(5), Some(0));
    }
}
