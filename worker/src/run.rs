//! A run: its items are claimed, a few at a time, run one by one, and each result is committed.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::blocks::arena::{self, Unreadable};
use crate::blocks::{Block, Blocks, Buffer, LARGE};
use crate::bytes::Host;
use crate::codec::{self, MAX_BODY};
use crate::context::{self, Context};
use crate::frame::{Kind, duration_code};
use crate::page::LastWords;
use crate::serve::{Server, flush_standard_output};
use crate::wire::{Encoding, Fault, RunHeader, take_piece, take_place};
use crate::{clock, panics};

/// A worker claims about this much work at a time, in nanoseconds.
const CLAIM: u64 = 50_000;
/// And no more items than these.
const CLAIM_ITEMS: u32 = 1024;
/// A buffer for results that has grown beyond this is given back.
const KEEP: usize = 1 << 20;

/// How often a halted worker looks whether it may go on.
const HALTED: Duration = Duration::from_millis(1);

impl Server {
    pub(crate) fn run(&mut self, body: &[u8]) {
        let Some((header, rest)) = RunHeader::read(body) else { self.link.end(LastWords::BadStream) };
        if header.run != self.runs {
            self.link.end(LastWords::BadStream);
        }
        self.runs = self.runs.wrapping_add(1);
        self.link.page.note_consumed(self.runs);
        self.polls = header.polls;
        context::begin_run(Context { id: header.first_id, attempt: header.attempt, slot: self.slot });
        let table = self.table;
        let args = Args::Here(&[]);
        let mut items = Items {
            server: self,
            header,
            rest,
            args,
            claimed: 0..0,
            more: 0,
            count: 0,
            is_batch: false,
            is_plain: false,
            pace_code: 0,
        };
        while items.claim() {
            table.run(header.job, &mut items);
            items.pause();
        }
    }

    fn note_pace(&mut self, job: u32, nanos: u64) {
        if let Some(pace) = self.pace.get_mut(job as usize) {
            *pace = if *pace == 0 { nanos.max(1) } else { (*pace * 3 + nanos) / 4 + 1 };
        }
    }
}

/// An item's arguments.
enum Args<'a> {
    /// In the run.
    Here(&'a [u8]),
    /// In the arena.
    Placed(Arc<arena::Args>),
}

impl Args<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Args::Here(bytes) => bytes,
            Args::Placed(args) => args.bytes(),
        }
    }
}

/// A run's items, of which some are claimed.
pub(crate) struct Items<'a> {
    server: &'a mut Server,
    header: RunHeader,
    /// The arguments of those that have not begun.
    rest: &'a [u8],
    /// Those of the one that runs.
    args: Args<'a>,
    /// Those that are to run now,
    claimed: Range<u32>,
    /// and how many more may be claimed, one by one, to be run with them.
    more: u32,
    /// How many of them have begun.
    count: u32,
    /// They are several.
    is_batch: bool,
    /// They are, and nothing is to be noted of each but that it runs.
    is_plain: bool,
    /// The code of what one item takes of late: told of each of several, which are not timed one by one.
    pace_code: u8,
}

impl<'a> Items<'a> {
    /// Runs those that were claimed. This is compiled for each job: what it does for each item should be little.
    #[inline]
    pub(crate) fn each(&mut self, serve: impl Fn(Encoding, &[u8], &mut Buffer<'_>) -> Result<(), Fault>) {
        while self.next() {
            let Server { result, blocks, .. } = &mut *self.server;
            let mut result = Buffer::new(result, blocks.as_ref().map(|blocks| blocks as &dyn Blocks));
            let (encoding, args) = (self.header.encoding, &self.args);
            let outcome = panics::catch(|| serve(encoding, args.bytes(), &mut result));
            let block = if result.is_large(0) { result.finish(0) } else { None };
            // Nothing long is moved for the many that are well.
            match outcome {
                Ok(()) if self.is_plain && block.is_none() => self.done_plainly(),
                Ok(()) => self.done(None, block),
                Err(fault) => self.done(Some(Box::new(fault)), None),
            }
        }
    }

    fn claim(&mut self) -> bool {
        let Server { link, ref pace, .. } = *self.server;
        let pace = pace.get(self.header.job as usize).copied().unwrap_or(0);
        let want = CLAIM.checked_div(pace).map_or(1, |items| items.clamp(1, CLAIM_ITEMS as u64) as u32);
        if !self.claim_some(if self.header.apart { 1 } else { want }) {
            return false;
        }
        let left = self.header.items.saturating_sub(self.claimed.end);
        self.more = if self.header.apart { left.min(want - 1) } else { 0 };
        self.count = 0;
        self.is_batch = self.claimed.len() as u32 + self.more > 1;
        self.is_plain = self.is_batch && !self.header.watched && self.server.marks.is_none();
        self.server.begin = Instant::now();
        self.pace_code = duration_code(pace);
        link.in_batch.store(self.is_batch, Ordering::Release);
        self.server.out.before_work();
        true
    }

    /// Claims up to `want` items. `false` if there are no more.
    #[inline]
    fn claim_some(&mut self, want: u32) -> bool {
        let link = self.server.link;
        let Some(claimed) = link.page.claim(self.header.run, want) else { return false };
        if claimed.start != self.claimed.end {
            link.end(LastWords::BadStream);
        }
        self.claimed = claimed;
        true
    }

    /// The next item that is claimed, or that can be.
    #[inline]
    fn next_claimed(&mut self) -> Option<u32> {
        if self.claimed.is_empty() {
            self.more = self.more.checked_sub(1)?;
            if !self.claim_some(1) {
                self.more = 0;
                return None;
            }
        }
        self.count += 1;
        self.claimed.next()
    }

    /// The claimed ones have run.
    fn pause(&mut self) {
        let link = self.server.link;
        if self.is_batch {
            link.check_channel();
            link.in_batch.store(false, Ordering::Release);
            self.server.end = Instant::now();
        }
        if self.server.result.capacity() > KEEP {
            self.server.result = Vec::new();
        }
        context::set(None);
        let took = self.took() / u64::from(self.count.max(1));
        self.server.note_pace(self.header.job, took);
        flush_standard_output();
        if self.server.lingers {
            self.server.forget_more();
        }
        let Server { out, end, .. } = &mut *self.server;
        out.pause(*end);
    }

    /// What the claimed ones have taken, in nanoseconds.
    fn took(&self) -> u64 {
        (self.server.end - self.server.begin).as_nanos() as u64
    }

    /// Takes the next item's arguments, if there is one; it counts as begun.
    #[inline]
    fn next(&mut self) -> bool {
        let Some(item) = self.next_claimed() else { return false };
        if self.is_plain
            && let Some(args) = take_piece(&mut self.rest)
        {
            self.args = Args::Here(args);
            self.server.link.page.note_current(self.header.run, item);
            context::set(Some(item));
            self.server.result.clear();
            return true;
        }
        self.next_of_any(item)
    }

    fn next_of_any(&mut self, mut item: u32) -> bool {
        loop {
            let taken = match take_piece(&mut self.rest) {
                Some(args) => {
                    self.args = Args::Here(args);
                    Ok(())
                }
                None => self.take_placed(),
            };
            self.begin(item);
            match taken {
                Ok(()) => return true,
                Err(fault) => self.done(Some(Box::new(fault)), None),
            }
            match self.next_claimed() {
                Some(next) => item = next,
                None => return false,
            }
        }
    }

    /// Arguments that lie in the arena.
    #[cold]
    fn take_placed(&mut self) -> Result<(), Fault> {
        let Server { link, arena, .. } = &mut *self.server;
        let (Some(place), Some(arena)) = (take_place(&mut self.rest), arena) else {
            link.end(LastWords::BadStream)
        };
        match arena.begin(place, &link.page) {
            Ok(args) => self.args = Args::Placed(args),
            Err(Unreadable::System(error)) => {
                self.args = Args::Here(&[]);
                return Err(Fault::Decode(format!("this worker cannot map them: {error}")));
            }
            Err(Unreadable::BadPlace) => link.end(LastWords::BadStream),
            Err(Unreadable::Lost) => link.end(LastWords::DescriptorLost),
        }
        Ok(())
    }

    /// The job is done with them.
    #[cold]
    fn give_back(&mut self) {
        let args = std::mem::replace(&mut self.args, Args::Here(&[]));
        if let (Args::Placed(args), Some(arena)) = (args, &mut self.server.arena) {
            arena.end(args, &self.server.link.page);
        }
    }

    fn begin(&mut self, item: u32) {
        self.note_begin(item);
        context::set(Some(item));
        if let Some(marks) = &self.server.marks {
            marks.begin(self.header.first_id + u64::from(item));
        }
        self.server.result.clear();
    }

    /// Notes which item runs from now on.
    fn note_begin(&self, item: u32) {
        let (page, run) = (&self.server.link.page, self.header.run);
        if !self.header.watched {
            return page.note_current(run, item);
        }
        // Halted: an earlier item's end is about to take the whole worker along, or the parent finds that it need not.
        let cpu_before = if self.server.notes_cpu { clock::processor() } else { 0 };
        while !page.begin_watched(run, item, cpu_before) {
            std::thread::sleep(HALTED);
        }
    }

    /// The item has run: commits its result, one of many.
    #[inline]
    fn done_plainly(&mut self) {
        let Server { link, out, result, .. } = &mut *self.server;
        if result.len() > LARGE || matches!(self.args, Args::Placed(_)) {
            return self.done(None, None);
        }
        link.check_fork();
        if self.header.apart {
            out.check_results();
        }
        out.send(Kind::Done, self.pace_code, result);
        // The next item may take longer than was thought.
        link.arm();
    }

    /// The item has run: commits its result. A lone item's duration is its own, one of many has their average.
    fn done(&mut self, fault: Option<Box<Fault>>, block: Option<Box<dyn Block>>) {
        let link = self.server.link;
        if self.header.watched {
            link.page.end_watched();
        }
        context::set(None);
        link.check_fork();
        // Of many items that are run as one, none pays for a channel that is lost: see `pause`.
        if !self.is_batch || self.header.apart {
            self.server.out.check_results();
        }
        if let Some(marks) = &self.server.marks {
            marks.end();
        }
        let code = match self.is_batch {
            true => self.pace_code,
            false => {
                self.server.end = Instant::now();
                duration_code(self.took())
            }
        };
        if matches!(self.args, Args::Placed(_)) {
            self.give_back();
        }
        let Server { out, result, .. } = &mut *self.server;
        match (fault, block) {
            (None, Some(mut block)) => out.send(Kind::Placed, code, &block.seal().to_bytes()),
            (None, None) if result.len() <= MAX_BODY => out.send(Kind::Done, code, result),
            (fault, _) => self.fault(fault, code),
        }
        if self.is_batch {
            // The next item may take longer than was thought.
            link.arm();
        }
    }

    #[cold]
    fn fault(&mut self, fault: Option<Box<Fault>>, code: u8) {
        let Server { link, out, result, .. } = &mut *self.server;
        let fault = fault.unwrap_or_else(|| Box::new(Fault::TooLarge(result.len() as u64)));
        result.clear();
        if codec::encode(&*fault, result).is_err() {
            link.end(LastWords::None);
        }
        out.send(Kind::Fault, code, result);
    }
}
