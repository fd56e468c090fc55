//! The worker's main loop: what the parent sends, one after the other.

use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::blocks::Buffer;
use crate::blocks::arena::{Arena, Unreadable};
use crate::blocks::ring::ResultBlocks;
use crate::bytes::Host;
use crate::codec;
use crate::frame::Kind;
use crate::link::{Input, Link, Out};
use crate::marks::Marks;
use crate::page::{LastWords, PROTOCOL};
use crate::panics;
use crate::registry::Table;
use crate::shared::{self, Offer};
use crate::wire::{Encoding, Fault, Hello, NamedCall, Setup};
use crate::{build, limits, watcher};

/// Serves jobs until the parent says goodbye or is gone.
pub(crate) fn serve(link: &'static Link, arena: Option<Arena>, table: &'static Table) -> ! {
    prepare_process();
    serve_pool(link, arena, table);
    std::process::exit(0)
}

/// What has to be done once, before anything is served.
pub(crate) fn prepare_process() {
    own_signals();
    panics::install_hook();
}

/// What a worker says about itself first.
pub(crate) fn hello(table: &Table) -> Result<Vec<u8>, codec::CodecError> {
    let hello =
        Hello { protocol: PROTOCOL, build: build::fingerprint(), jobs: table.infos().cloned().collect() };
    let mut body = Vec::new();
    codec::encode(&hello, &mut body)?;
    Ok(body)
}

/// What one pool has left behind.
pub(crate) struct Left {
    pub(crate) watcher: JoinHandle<()>,
    /// A job has kept something that lies in the pool's memory.
    pub(crate) keeps: bool,
}

/// Serves one pool's jobs until it says goodbye. If it is gone this does not return.
pub(crate) fn serve_pool(link: &'static Link, arena: Option<Arena>, table: &'static Table) -> Left {
    let Ok(body) = hello(table) else { link.end(LastWords::None) };
    let mut out = Out::new(link);
    out.send(Kind::Hello, 0, &body);
    // Its start and the parent's look at the hello go side by side.
    let Ok(watcher) = watcher::start(link) else { link.end(LastWords::NoThread) };
    let mut server = Server {
        link,
        table,
        out,
        slot: 0,
        runs: 0,
        result: body,
        blocks: link.blocks(),
        arena,
        begin: Instant::now(),
        end: Instant::now(),
        pace: vec![0; table.infos().len()],
        finalizer: None,
        marks: None,
        notes_cpu: false,
        lingers: false,
        polls: false,
    };
    let mut input = Input::default();
    loop {
        link.receive(&mut input, &mut server.out, server.polls);
        match input.frames.next() {
            Ok(Some((header, _))) if header.kind == Kind::Bye => break,
            Ok(Some((header, body))) => server.take(header.kind, body),
            Ok(None) => {}
            Err(_) => link.end(LastWords::BadStream),
        }
    }
    server.leave();
    Left { watcher, keeps: server.arena.is_some_and(|arena| arena.keeps()) | shared::forget_all() }
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

pub(crate) struct Server {
    pub(crate) link: &'static Link,
    pub(crate) table: &'static Table,
    pub(crate) out: Out,
    pub(crate) slot: u32,
    /// Run frames taken so far.
    pub(crate) runs: u32,
    /// Where results are encoded,
    pub(crate) result: Vec<u8>,
    /// and where large ones are.
    pub(crate) blocks: Option<ResultBlocks>,
    /// Where large arguments lie.
    pub(crate) arena: Option<Arena>,
    /// When the items that were claimed last were to begin,
    pub(crate) begin: Instant,
    /// and when they had run.
    pub(crate) end: Instant,
    /// What an item of each job has cost of late, in nanoseconds; 0 if unknown.
    pub(crate) pace: Vec<u64>,
    finalizer: Option<NamedCall>,
    pub(crate) marks: Option<Marks>,
    pub(crate) notes_cpu: bool,
    /// Something that was to be forgotten is still in use.
    pub(crate) lingers: bool,
    /// A core is free to poll on.
    pub(crate) polls: bool,
}

impl Server {
    fn take(&mut self, kind: Kind, body: &[u8]) {
        self.out.before_work();
        match kind {
            Kind::Run => self.run(body),
            Kind::Setup => self.set_up(body),
            Kind::Share => self.share(body),
            Kind::Forget => self.forget(body),
            Kind::Bye
            | Kind::Hello
            | Kind::Ready
            | Kind::Done
            | Kind::Placed
            | Kind::Fault
            | Kind::Forgotten => self.link.end(LastWords::BadStream),
        }
    }

    fn share(&mut self, body: &[u8]) {
        let Some((id, offer)) = Offer::from_body(body) else { self.link.end(LastWords::BadStream) };
        let source: Result<Arc<dyn Host>, String> = match offer {
            Offer::Here(bytes) => Ok(Arc::new(bytes.to_vec())),
            Offer::Placed(place) => match self.arena.as_mut().map(|arena| arena.args(place)) {
                Some(Ok(args)) => Ok(args),
                Some(Err(Unreadable::System(error))) => Err(format!("this worker cannot map it: {error}")),
                Some(Err(Unreadable::Lost)) => self.link.end(LastWords::DescriptorLost),
                Some(Err(Unreadable::BadPlace)) | None => self.link.end(LastWords::BadStream),
            },
        };
        shared::offered(id, source);
    }

    fn forget(&mut self, body: &[u8]) {
        let Ok(id) = body.try_into().map(u64::from_le_bytes) else { self.link.end(LastWords::BadStream) };
        match shared::forget(id) {
            true => self.out.send(Kind::Forgotten, 0, &id.to_le_bytes()),
            false => self.lingers = true,
        }
    }

    /// Tells what could not be forgotten at once and can be now.
    pub(crate) fn forget_more(&mut self) {
        while let Some(id) = shared::next_forgotten() {
            self.out.send(Kind::Forgotten, 0, &id.to_le_bytes());
        }
        self.lingers = shared::any_lingers();
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
        let result_of = |result: &mut Vec<u8>| {
            table.serve(job, Encoding::Binary, &call.args, &mut Buffer::new(result, None))
        };
        panics::catch(|| result_of(result))?;
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

    /// The pool has no more for us: the finalizer runs, what was printed is written.
    fn leave(&mut self) {
        self.out.before_work();
        if let Some(call) = self.finalizer.take()
            && let Err(fault) = self.call_named(&call)
        {
            eprintln!("sidestep: the finalizer \"{}\" failed: {fault:?}", call.name);
        }
        self.out.flush();
    }
}

/// What jobs have printed and the standard library still holds, an unfinished line, would else be lost with a later
/// crash, or be taken for a later job's.
pub(crate) fn flush_standard_output() {
    use std::io::Write;
    let _ = std::io::stdout().flush();
}
