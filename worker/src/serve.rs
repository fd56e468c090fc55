//! The worker's main loop: take a run, run its items, commit each result.

use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::codec::{self, MAX_BODY};
use crate::context::{self, Context};
use crate::frame::{Kind, duration_code};
use crate::link::{Input, Link, Out};
use crate::marks::Marks;
use crate::page::{LastWords, PROTOCOL};
use crate::panics;
use crate::registry::Table;
use crate::wire::{Encoding, Fault, Hello, NamedCall, RunHeader, Setup, take_piece};
use crate::{build, clock, limits, watcher};

/// A worker claims about this much work at a time, in nanoseconds.
const CLAIM: u64 = 50_000;
/// And no more items than these.
const CLAIM_ITEMS: u32 = 1024;
/// A buffer for results that has grown beyond this is given back.
const KEEP: usize = 1 << 20;

/// How often a halted worker looks whether it may go on.
const HALTED: Duration = Duration::from_millis(1);

/// Serves jobs until the parent says goodbye or is gone.
pub(crate) fn serve(link: &'static Link, table: &'static Table) -> ! {
    own_signals();
    panics::install_hook();
    if watcher::start(link).is_err() {
        link.end(LastWords::NoThread);
    }
    let hello =
        Hello { protocol: PROTOCOL, build: build::fingerprint(), jobs: table.infos().cloned().collect() };
    let mut body = Vec::new();
    if codec::encode(&hello, &mut body).is_err() {
        link.end(LastWords::None);
    }
    let mut out = Out::new(link);
    out.send(Kind::Hello, 0, &body);
    let mut server = Server {
        link,
        table,
        out,
        slot: 0,
        runs: 0,
        result: body,
        pace: vec![0; table.infos().len()],
        finalizer: None,
        marks: None,
        notes_cpu: false,
        polls: false,
    };
    let mut input = Input::default();
    loop {
        link.receive(&mut input, &mut server.out, server.polls);
        match input.frames.next() {
            Ok(Some((header, body))) => server.take(header.kind, body),
            Ok(None) => {}
            Err(_) => link.end(LastWords::BadStream),
        }
    }
}

/// Programs that jobs start are to find default signal handling. Rust's runtime ignores SIGPIPE, and what is ignored
/// stays so across exec; a handler that does nothing does not.
fn own_signals() {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing is safe at any moment.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &action) };
}

struct Server {
    link: &'static Link,
    table: &'static Table,
    out: Out,
    slot: u32,
    /// Run frames taken so far.
    runs: u32,
    /// Where results are encoded.
    result: Vec<u8>,
    /// What an item of each job has cost of late, in nanoseconds; 0 if unknown.
    pace: Vec<u64>,
    finalizer: Option<NamedCall>,
    marks: Option<Marks>,
    notes_cpu: bool,
    /// A core is free to poll on.
    polls: bool,
}

impl Server {
    fn take(&mut self, kind: Kind, body: &[u8]) {
        match kind {
            Kind::Run => self.run(body),
            Kind::Setup => self.set_up(body),
            Kind::Bye => self.leave(),
            Kind::Hello | Kind::Ready | Kind::Done | Kind::Fault => self.link.end(LastWords::BadStream),
        }
    }

    fn set_up(&mut self, body: &[u8]) {
        let Ok(setup) = codec::decode::<Setup>(body) else { self.link.end(LastWords::BadStream) };
        self.slot = setup.slot;
        self.finalizer = setup.finalizer.clone();
        self.notes_cpu = setup.notes_cpu;
        let marks = Marks::new(&setup);
        let outcome = limits::impose(&setup).and_then(|()| self.prepare(setup.directory, setup.initializer));
        self.marks = marks.unwrap_or_else(|_| self.link.end(LastWords::None));
        self.result.clear();
        if codec::encode(&outcome, &mut self.result).is_err() {
            self.link.end(LastWords::None);
        }
        self.out.send(Kind::Ready, 0, &self.result);
    }

    /// The directory first: the initializer may use it.
    fn prepare(&mut self, directory: Option<Vec<u8>>, initializer: Option<NamedCall>) -> Result<(), Fault> {
        if let Some(directory) = directory {
            let directory = std::ffi::OsString::from_vec(directory);
            std::env::set_current_dir(&directory)
                .map_err(|error| Fault::plain(format!("cannot work in {}: {error}", directory.display())))?;
        }
        initializer.map_or(Ok(()), |call| self.call_named(&call))
    }

    /// Runs an initializer or a finalizer: its `Err` counts as much as its panic.
    fn call_named(&mut self, call: &NamedCall) -> Result<(), Fault> {
        let job =
            self.table.number_named(&call.name).ok_or_else(|| Fault::NotRegistered(call.name.clone()))?;
        let (table, result) = (self.table, &mut self.result);
        result.clear();
        panics::catch(|| table.serve(job, Encoding::Binary, &call.args, result))?;
        // A `Result` begins with its variant; 1 is `Err`.
        if self.table.is_fallible(job) && result.first_chunk::<4>() == Some(&1u32.to_le_bytes()) {
            let message = match codec::decode::<(u32, crate::Failure)>(result) {
                Ok((_, failure)) => format!("{failure:#}"),
                Err(_) => match codec::decode::<(u32, String)>(result) {
                    Ok((_, text)) => text,
                    Err(_) => format!("\"{}\" returned an Err", call.name),
                },
            };
            return Err(Fault::plain(message));
        }
        Ok(())
    }

    fn run(&mut self, body: &[u8]) {
        let Some((header, mut rest)) = RunHeader::read(body) else { self.link.end(LastWords::BadStream) };
        if header.run != self.runs {
            self.link.end(LastWords::BadStream);
        }
        self.runs = self.runs.wrapping_add(1);
        self.link.page.note_consumed(self.runs);
        self.polls = header.polls;
        context::begin_run(Context { id: header.first_id, attempt: header.attempt, slot: self.slot });
        let mut next = 0;
        loop {
            let pace = self.pace.get(header.job as usize).copied().unwrap_or(0);
            let want = CLAIM.checked_div(pace).map_or(1, |items| items.clamp(1, CLAIM_ITEMS as u64) as u32);
            let Some(claimed) = self.link.page.claim(header.run, want) else { break };
            if claimed.start != next {
                self.link.end(LastWords::BadStream);
            }
            next = claimed.end;
            let batch = claimed.len() > 1;
            let begin = Instant::now();
            self.link.in_batch.store(batch, Ordering::Release);
            for item in claimed.clone() {
                let Some(args) = take_piece(&mut rest) else { self.link.end(LastWords::BadStream) };
                self.item(&header, item, args, batch, begin);
            }
            if batch {
                self.link.check_channel();
                self.link.in_batch.store(false, Ordering::Release);
            }
            let end = Instant::now();
            self.note_pace(header.job, (end - begin).as_nanos() as u64 / claimed.len() as u64);
            flush_standard_output();
            self.out.pause(end);
        }
    }

    /// Runs one item and commits its result. A lone item's duration is its own, one of many has their average.
    fn item(&mut self, header: &RunHeader, item: u32, args: &[u8], one_of_many: bool, begin: Instant) {
        let id = header.first_id + u64::from(item);
        self.begin(header, item);
        context::set(Some(item));
        if let Some(marks) = &self.marks {
            marks.begin(id);
        }
        if self.result.capacity() > KEEP {
            self.result = Vec::new();
        }
        self.result.clear();
        let (table, result) = (self.table, &mut self.result);
        let outcome = panics::catch(|| table.serve(header.job, header.encoding, args, result));
        if header.watched {
            self.link.page.end_watched();
        }
        context::set(None);
        self.link.check_fork();
        if !one_of_many {
            self.link.check_channel();
        }
        if let Some(marks) = &self.marks {
            marks.end();
        }
        let nanos = match one_of_many {
            true => self.pace[header.job as usize],
            false => begin.elapsed().as_nanos() as u64,
        };
        match outcome {
            Ok(()) if self.result.len() <= MAX_BODY => {
                self.out.send(Kind::Done, duration_code(nanos), &self.result)
            }
            Ok(()) => self.fault(&Fault::TooLarge(self.result.len() as u64), nanos),
            Err(fault) => self.fault(&fault, nanos),
        }
        if one_of_many {
            // The next item may take longer than was thought.
            self.link.arm();
        }
    }

    /// Notes which item runs from now on.
    fn begin(&self, header: &RunHeader, item: u32) {
        if !header.watched {
            return self.link.page.note_current(header.run, item);
        }
        // Halted: an earlier item's end is about to take the whole worker along, or the parent finds that it need not.
        let cpu_before = if self.notes_cpu { clock::processor() } else { 0 };
        while !self.link.page.begin_watched(header.run, item, cpu_before) {
            std::thread::sleep(HALTED);
        }
    }

    fn fault(&mut self, fault: &Fault, nanos: u64) {
        self.result.clear();
        if codec::encode(fault, &mut self.result).is_err() {
            self.link.end(LastWords::None);
        }
        self.out.send(Kind::Fault, duration_code(nanos), &self.result);
    }

    fn note_pace(&mut self, job: u32, nanos: u64) {
        if let Some(pace) = self.pace.get_mut(job as usize) {
            *pace = if *pace == 0 { nanos.max(1) } else { (*pace * 3 + nanos) / 4 + 1 };
        }
    }

    /// The parent has no more for us: the finalizer runs, what was printed is written, the process ends.
    fn leave(&mut self) -> ! {
        if let Some(call) = self.finalizer.take()
            && let Err(fault) = self.call_named(&call)
        {
            eprintln!("sidestep: the finalizer \"{}\" failed: {fault:?}", call.name);
        }
        self.out.flush();
        std::process::exit(0)
    }
}

/// What jobs have printed and the standard library still holds, an unfinished line, would else be lost with a later
/// crash, or be taken for a later job's.
pub(crate) fn flush_standard_output() {
    use std::io::Write;
    let _ = std::io::stdout().flush();
}
