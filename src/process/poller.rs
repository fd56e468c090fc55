//! Waiting for many descriptors at once.

use std::time::Duration;

use rustix::event::Timespec;

pub(crate) use super::sys::Poller;

/// No wait is longer: older kernels count milliseconds in 31 bits. That is 24 days; whoever sleeps for longer looks in
/// between whether it is time.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A timeout as the system takes it.
pub(super) fn timespec(timeout: Duration) -> Timespec {
    let timeout = timeout.min(LONGEST);
    Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ }
}

/// What is to be told of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    /// Nothing, not even its end.
    None,
}

impl Interest {
    pub(super) fn reads(self) -> bool {
        self == Interest::Read
    }

    pub(super) fn writes(self) -> bool {
        self == Interest::Write
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    /// There are bytes, or the other end is closed, or an error.
    pub(crate) readable: bool,
    /// There is room, or an error.
    pub(crate) writable: bool,
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, Write};
    use std::os::fd::AsFd;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use nix::sys::resource::{Resource, getrlimit};

    use super::super::testing::LONG;
    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    fn pair() -> (Poller, PipeReader, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Poller::new().unwrap(), reader, writer)
    }

    fn wait(poller: &Poller, timeout: Option<Duration>) -> Vec<Ready> {
        let mut ready = vec![Ready { token: 99, readable: true, writable: true }];
        poller.wait(&mut ready, timeout).unwrap();
        ready
    }

    #[test]
    fn what_is_ready_is_told_until_it_is_not() {
        let (poller, mut reader, mut writer) = pair();
        poller.add(reader.as_fd(), 7, Interest::Read).unwrap();
        assert_eq!(wait(&poller, AT_ONCE), []);
        writer.write_all(b"x").unwrap();
        let readable = Ready { token: 7, readable: true, writable: false };
        assert_eq!(wait(&poller, None), [readable]);
        assert_eq!(wait(&poller, None), [readable]);
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(wait(&poller, AT_ONCE), []);
        drop(writer);
        assert!(wait(&poller, None)[0].readable, "the end is readable");
    }

    #[test]
    fn room_and_a_closed_reader_are_told() {
        let (poller, reader, writer) = pair();
        poller.add(writer.as_fd(), 1, Interest::Write).unwrap();
        assert_eq!(wait(&poller, None), [Ready { token: 1, readable: false, writable: true }]);
        drop(reader);
        assert_eq!(wait(&poller, None), [Ready { token: 1, readable: true, writable: true }]);
    }

    #[test]
    fn without_interest_not_even_an_end_is_told() {
        let (poller, reader, writer) = pair();
        poller.add(reader.as_fd(), 1, Interest::None).unwrap();
        drop(writer);
        assert_eq!(wait(&poller, AT_ONCE), []);
        poller.modify(reader.as_fd(), 2, Interest::Read).unwrap();
        assert_eq!(wait(&poller, None)[0].token, 2);
        poller.modify(reader.as_fd(), 2, Interest::None).unwrap();
        assert_eq!(wait(&poller, AT_ONCE), []);
        poller.modify(reader.as_fd(), 3, Interest::Read).unwrap();
        poller.remove(reader.as_fd());
        poller.remove(reader.as_fd());
        assert_eq!(wait(&poller, AT_ONCE), []);
    }

    #[test]
    fn a_wake_ends_one_wait_be_it_the_next_one() {
        let poller = Poller::new().unwrap();
        for _ in 0..100_000 {
            poller.wake();
        }
        assert_eq!(wait(&poller, Some(LONG)), []);
        let begin = Instant::now();
        assert_eq!(wait(&poller, Some(Duration::from_millis(5))), []);
        assert!(begin.elapsed() >= Duration::from_millis(5), "it rang once");
    }

    #[test]
    fn a_short_timeout_is_neither_none_nor_a_millisecond() {
        let poller = Poller::new().unwrap();
        let begin = Instant::now();
        for _ in 0..100 {
            wait(&poller, Some(Duration::from_micros(100)));
        }
        assert!(begin.elapsed() >= Duration::from_millis(10));
    }

    #[test]
    fn no_timeout_is_too_long() {
        let (poller, reader, _writer) = pair();
        poller.add(reader.as_fd(), 1, Interest::Read).unwrap();
        for timeout in [LONGEST, LONGEST + Duration::from_millis(1), Duration::MAX] {
            assert_eq!(timespec(timeout), timespec(LONGEST));
            poller.wake();
            assert_eq!(wait(&poller, Some(timeout)), []);
        }
    }

    #[test]
    fn several_threads_may_wait() {
        let (poller, reader, mut writer) = pair();
        let (sender, seen) = channel();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (poller, sender) = (&poller, sender.clone());
                scope.spawn(move || {
                    loop {
                        match wait(poller, None).first() {
                            Some(ready) if ready.token == 0 => return,
                            Some(ready) => sender.send(ready.token).unwrap(),
                            None => sender.send(u64::MAX).unwrap(),
                        }
                    }
                });
            }
            // A wait that is under way learns of what is added.
            std::thread::sleep(Duration::from_millis(20));
            writer.write_all(b"x").unwrap();
            poller.add(reader.as_fd(), 5, Interest::Read).unwrap();
            assert_eq!(seen.recv_timeout(LONG), Ok(5));
            poller.remove(reader.as_fd());
            while seen.recv_timeout(Duration::from_millis(50)).is_ok() {}
            poller.wake();
            assert_eq!(seen.recv_timeout(LONG), Ok(u64::MAX));
            poller.add(reader.as_fd(), 0, Interest::Read).unwrap();
        });
    }

    #[test]
    fn more_is_ready_than_is_taken_at_once() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        if soft < 500 {
            return eprintln!("SKIPPED: this needs 500 descriptors, and the limit is {soft}");
        }
        let poller = Poller::new().unwrap();
        let pipes: Vec<_> = (0..200).map(|_| std::io::pipe().unwrap()).collect();
        for (token, (_, writer)) in pipes.iter().enumerate() {
            poller.add(writer.as_fd(), token as u64, Interest::Write).unwrap();
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            seen.extend(wait(&poller, None).iter().map(|ready| ready.token));
        }
        assert_eq!(seen.len(), 200);
    }
}
