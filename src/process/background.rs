//! Threads that serve the whole process: each is started when it is first needed and never ends.

use std::io;
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{SigSet, SigmaskHow};

/// A thread of this process and the way to hand things to it.
///
/// A copy of the process that `fork` has made has none of its parent's threads, so it gets one of its own.
pub(super) struct Background<T> {
    name: &'static str,
    run: fn(Receiver<T>),
    inbox: Mutex<Option<Inbox<T>>>,
}

struct Inbox<T> {
    /// The process that the thread lives in.
    process: u32,
    sender: Sender<T>,
}

impl<T: Send + 'static> Background<T> {
    pub(super) const fn new(name: &'static str, run: fn(Receiver<T>)) -> Background<T> {
        Background { name, run, inbox: Mutex::new(None) }
    }

    /// Hands `item` over; gives it back if there is no thread and none can be started.
    pub(super) fn send(&self, item: T) -> Result<(), (T, io::Error)> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        let item = match &*inbox {
            Some(open) if open.process == process => match open.sender.send(item) {
                Ok(()) => return Ok(()),
                Err(SendError(item)) => item,
            },
            _ => item,
        };
        let (sender, receiver) = channel();
        let run = self.run;
        if let Err(error) = start(self.name, move || run(receiver)) {
            return Err((item, error));
        }
        let sent = sender.send(item).map_err(|SendError(item)| (item, io::ErrorKind::BrokenPipe.into()));
        *inbox = Some(Inbox { process, sender });
        sent
    }
}

/// Starts a thread that no signal handler of the program ever runs on, and that SIGPIPE cannot kill the process
/// through.
pub(super) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // The new thread has its creator's mask from its first instruction.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = std::thread::Builder::new().name(name.into()).spawn(run);
    if let Ok(mask) = mask {
        let _ = mask.thread_set_mask();
    }
    started.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_ended_is_replaced() {
        static ONCE: Background<Sender<&str>> = Background::new("once", |inbox| {
            let answer = inbox.recv().unwrap();
            drop(inbox);
            answer.send("served").unwrap();
        });
        for _ in 0..3 {
            let (sender, receiver) = channel();
            assert!(ONCE.send(sender).is_ok());
            assert_eq!(receiver.recv(), Ok("served"));
        }
    }
}
