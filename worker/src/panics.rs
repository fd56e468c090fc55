//! A job's panic becomes a [`Fault`], and the worker lives on.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use crate::wire::Fault;

thread_local! {
    /// Whether a job runs on this thread.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Where the hook leaves what it saw meanwhile,
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
    /// and whether it has left anything: asked for each job, which is faster of a value that needs no drop.
    static HAS_SEEN: Cell<bool> = const { Cell::new(false) };
}

struct Seen {
    location: String,
    backtrace: String,
}

/// Makes panics of jobs silent; all others are reported as before. Those that cannot be caught are not silent, nor is any
/// with `panic=abort`: the text on stderr is then all that the parent can learn.
pub(crate) fn install_hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_last = ends_the_process(info);
        if CATCHING.get() && !is_last {
            return note(info);
        }
        before(info);
        if is_last {
            say_last(info);
        }
    }));
}

/// A long backtrace may leave nothing of the message in the tail that the parent keeps, so it is said again.
fn say_last(info: &PanicHookInfo<'_>) {
    if let Some(before) = SEEN.take() {
        eprintln!("sidestep: a panic at {} came before", before.location);
    }
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    eprintln!(
        "sidestep: the worker ends because it panicked at {place}:\n{}",
        text_of(info).unwrap_or_default()
    );
}

/// What the standard library says in panics that do not unwind; `PanicHookInfo` does not tell them yet.
const NO_UNWINDING: [&str; 5] = [
    "panic in a destructor during cleanup",
    "panic in a function that cannot unwind",
    "unsafe precondition(s) violated",
    "misaligned pointer dereference",
    "null pointer dereference occurred",
];

fn ends_the_process(info: &PanicHookInfo<'_>) -> bool {
    let no_unwinding = |text: &str| NO_UNWINDING.iter().any(|start| text.starts_with(start));
    cfg!(panic = "abort") || text_of(info).is_some_and(no_unwinding)
}

fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    let payload = info.payload();
    payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str))
}

fn note(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => String::new(),
    };
    HAS_SEEN.set(true);
    SEEN.set(Some(Seen {
        location: info.location().map(ToString::to_string).unwrap_or_default(),
        backtrace,
    }));
}

/// Runs `job`; a panic in it is its outcome.
#[inline]
pub(crate) fn catch(job: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    begin();
    let outcome = panic::catch_unwind(AssertUnwindSafe(job));
    CATCHING.set(false);
    outcome.unwrap_or_else(|payload| Err(panicked(payload)))
}

fn begin() {
    // What an earlier job caught itself is of no interest any more.
    if HAS_SEEN.replace(false) {
        SEEN.set(None);
    }
    CATCHING.set(true);
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>) -> Fault {
    let seen = SEEN.take();
    let (location, backtrace) = seen.map(|seen| (seen.location, seen.backtrace)).unwrap_or_default();
    Fault::Panicked { message: message_of(payload), location, backtrace }
}

/// What a panic said. A payload that is no text is not dropped: its drop could panic again.
pub fn message_of(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => {
                std::mem::forget(payload);
                "a value that is no text".to_owned()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(job: impl FnOnce()) -> String {
        let outcome = catch(|| {
            job();
            Ok(())
        });
        match outcome {
            Err(Fault::Panicked { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_payload_has_a_message() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        assert_eq!(message(|| panic!("plain")), "plain");
        assert_eq!(message(|| panic!("with {}", 1)), "with 1");
        assert_eq!(message(|| std::panic::panic_any(42u32)), "a value that is no text");
        assert_eq!(message(|| std::panic::panic_any(Bomb)), "a value that is no text");
    }
}
