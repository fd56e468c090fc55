//! What happens when a value does not serialise or deserialise, or is large.

mod common;

use common::{finish, limited, pool};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidestep::{Bytes, JobError, Pool};

sidestep::worker_entry!();

#[sidestep::job]
fn square(x: i64) -> i64 {
    x * x
}

#[sidestep::job]
fn echo(bytes: Bytes) -> Bytes {
    bytes
}

#[sidestep::job]
fn tricky_argument(_: Tricky) -> u32 {
    std::process::id()
}

#[sidestep::job]
fn tricky_result(how: How) -> Tricky {
    Tricky(how)
}

#[sidestep::job]
fn zeros(len: usize) -> Bytes {
    vec![0; len].into()
}

#[sidestep::job]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

type Nested = (String, Option<Vec<u16>>, Result<(), char>);

#[sidestep::job]
fn nested(value: Vec<Nested>) -> Vec<Nested> {
    value
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum How {
    Well,
    /// The one who sends it refuses, or panics.
    EncodeError,
    EncodePanic,
    /// The one who gets it does.
    DecodeError,
    DecodePanic,
    /// It takes fewer bytes than it has put.
    LeftOver,
    /// It takes more.
    TooFew,
}

#[derive(Debug, PartialEq)]
struct Tricky(How);

impl Serialize for Tricky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            How::EncodeError => Err(serde::ser::Error::custom("it cannot be told")),
            How::EncodePanic => panic!("it panics when it is told"),
            How::LeftOver => (self.0, 77u64).serialize(serializer),
            how => how.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Tricky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tricky, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Tricky;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("something tricky")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Tricky, A::Error> {
                let how =
                    parts.next_element()?.ok_or_else(|| serde::de::Error::custom("nothing is there"))?;
                match how {
                    How::DecodeError => return Err(serde::de::Error::custom("it is not understood")),
                    How::DecodePanic => panic!("it panics when it is heard"),
                    How::TooFew => drop(parts.next_element::<u64>()?),
                    _ => {}
                }
                Ok(Tricky(how))
            }
        }
        deserializer.deserialize_tuple(2, Visitor)
    }
}

/// From here on this worker rests most of the time, whatever it does.
#[sidestep::job]
fn slow_down() {
    extern "C" fn rest(_: i32) {
        let rest = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let interval = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let timer =
            libc::itimerval { it_interval: interval, it_value: libc::timeval { tv_sec: 0, tv_usec: 100 } };
        // SAFETY: both may be called in a signal handler, and what they are given lives long enough.
        unsafe {
            libc::nanosleep(&rest, std::ptr::null_mut());
            libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
        }
    }
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
    let action = SigAction::new(SigHandler::Handler(rest), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing but what is allowed in one.
    unsafe { sigaction(Signal::SIGALRM, &action) }.expect("it can be caught");
    raise(Signal::SIGALRM).expect("it is caught");
}

fn usable(pool: &Pool) {
    assert_eq!(pool.map(square, 0..10), Ok((0..10).map(|x| x * x).collect()));
}

/// Made a page at a time, for a debug build takes seconds to make large ones byte by byte.
fn patterned(len: usize, first: u8) -> Bytes {
    let mut bytes = vec![first; len];
    for (at, page) in bytes.chunks_mut(4093).enumerate() {
        page[0] = at as u8;
    }
    bytes.into()
}

/// The error's kind, job and text.
fn told<T: std::fmt::Debug>(outcome: Result<T, JobError>) -> (&'static str, String, String) {
    match outcome {
        Err(JobError::Encode { job, message, .. }) => ("encode", job, message),
        Err(JobError::Decode { job, message, .. }) => ("decode", job, message),
        Err(JobError::Panicked { job, message, .. }) => ("panicked", job, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_argument_that_does_not_encode_costs_its_own_job() {
    limited(|| {
        let pool = pool(2);
        for round in 0..5 {
            for (how, text) in
                [(How::EncodeError, "it cannot be told"), (How::EncodePanic, "it panics when it is told")]
            {
                let (kind, job, message) = told(pool.apply(tricky_argument, (Tricky(how),)));
                assert_eq!((kind, job.as_str()), ("encode", "tricky_argument"));
                assert!(message.contains(text), "{message}");
                let handle = pool.apply_async(tricky_argument, (Tricky(how),));
                assert!(handle.ready() && handle.id() > 0 && !handle.cancel());
                assert_eq!(told(handle.get()).0, "encode");
            }
            assert_eq!(pool.stats().failed, 4 * (round + 1));
        }
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn among_many_arguments_only_the_bad_one_fails() {
    limited(|| {
        let pool = pool(2);
        let items = || (0..100).map(|n| Tricky(if n == 37 { How::EncodePanic } else { How::Well }));
        for chunk in [1, 10, 1000] {
            let all: Vec<_> = pool.call(tricky_argument).chunk_size(chunk).imap(items()).collect();
            assert_eq!(all.len(), 100);
            for (n, outcome) in all.into_iter().enumerate() {
                if n == 37 {
                    assert_eq!(told(outcome).0, "encode");
                } else {
                    assert!(outcome.is_ok(), "{n}: {outcome:?}");
                }
            }
            assert_eq!(told(pool.call(tricky_argument).chunk_size(chunk).map(items())).0, "encode");
        }
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn an_argument_that_does_not_decode_costs_its_own_job() {
    limited(|| {
        let pool = pool(1);
        let pids = pool.pids();
        for (how, expected, text) in [
            (How::DecodeError, "decode", "it is not understood"),
            (How::DecodePanic, "panicked", "it panics when it is heard"),
            (How::LeftOver, "decode", "left over"),
            (How::TooFew, "decode", ""),
        ] {
            for _ in 0..5 {
                let (kind, job, message) = told(pool.apply(tricky_argument, (Tricky(how),)));
                assert_eq!((kind, job.as_str()), (expected, "tricky_argument"), "{how:?}: {message}");
                assert!(message.contains(text), "{message}");
            }
        }
        usable(&pool);
        assert_eq!(pool.pids(), pids);
        finish(&pool);
    });
}

#[test]
fn a_result_that_does_not_encode_costs_its_own_job() {
    limited(|| {
        let pool = pool(1);
        let pids = pool.pids();
        for _ in 0..20 {
            let (kind, job, message) = told(pool.apply(tricky_result, (How::EncodeError,)));
            assert_eq!((kind, job.as_str()), ("encode", "tricky_result"));
            assert!(message.contains("it cannot be told"), "{message}");
            let (kind, _, message) = told(pool.apply(tricky_result, (How::EncodePanic,)));
            assert!(kind == "panicked" && message.contains("it panics when it is told"), "{message}");
        }
        assert_eq!(pool.apply(tricky_result, (How::Well,)), Ok(Tricky(How::Well)));
        assert_eq!(pool.pids(), pids);
        finish(&pool);
    });
}

#[test]
fn a_result_that_does_not_decode_costs_its_own_job() {
    limited(|| {
        let pool = pool(2);
        let pids = pool.pids();
        for (how, text) in [
            (How::DecodeError, "it is not understood"),
            (How::DecodePanic, "it panics when it is heard"),
            (How::LeftOver, "left over"),
            (How::TooFew, ""),
        ] {
            for _ in 0..5 {
                let (kind, job, message) = told(pool.apply(tricky_result, (how,)));
                assert_eq!((kind, job.as_str()), ("decode", "tricky_result"), "{how:?}");
                assert!(message.contains(text), "{message}");
            }
            let items = (0..50).map(|n| if n == 20 { how } else { How::Well });
            let all: Vec<_> = pool.call(tricky_result).chunk_size(10).imap(items.clone()).collect();
            assert_eq!(all.iter().filter(|outcome| outcome.is_ok()).count(), 49);
            assert!(all[20].is_err());
            assert_eq!(told(pool.map(tricky_result, items)).0, "decode");
            usable(&pool);
        }
        assert_eq!(pool.pids(), pids);
        let stats = pool.stats();
        assert_eq!(stats.failed, 4 * (5 + 1 + 1), "{stats:?}");
        finish(&pool);
    });
}

#[test]
fn a_callback_gets_a_value_only_if_it_decodes() {
    limited(|| {
        let pool = pool(1);
        let (sender, receiver) = std::sync::mpsc::channel();
        let failed = sender.clone();
        let call =
            pool.call(tricky_result).on_success(move |value: &Tricky| sender.send(Some(value.0)).unwrap());
        let call = call.on_error(move |_| failed.send(None).unwrap());
        let all = call.imap([How::Well, How::DecodePanic, How::EncodePanic, How::Well]);
        assert_eq!(all.filter(Result::is_ok).count(), 2);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Some(How::Well), None, None, Some(How::Well)]);
        finish(&pool);
    });
}

#[test]
fn large_values_go_both_ways_at_once() {
    limited(|| {
        let pool = pool(2);
        let value = |n: u8| patterned(64 << 20, n);
        let handles: Vec<_> = (0..3).map(|n| (n, pool.apply_async(echo, (value(n),)))).collect();
        for (n, handle) in handles {
            assert!(handle.get().unwrap() == value(n), "value {n} came back changed");
        }
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn an_argument_that_takes_long_to_arrive_is_not_sent_about() {
    limited(|| {
        let pool = Pool::builder().workers(2).initializer(slow_down, ()).build().expect("a pool");
        let pids = pool.pids();
        assert_eq!(pool.apply(length, (patterned(16 << 20, 1),)), Ok(16 << 20));
        assert_eq!(pool.pids(), pids, "slow is not stopped");
    });
}

#[test]
fn sizes_around_every_buffer_come_back_whole() {
    limited(|| {
        let pool = pool(2);
        // With the frame's header before it a value fills this and that buffer exactly.
        let around = [16 << 10, 64 << 10, 128 << 10].into_iter().flat_map(|size| size - 50..size + 5);
        let lengths = (0..70).chain(around).chain([(1 << 20) - 1, 1 << 20, (1 << 20) + 1]);
        let values: Vec<_> = lengths.map(|len| patterned(len, len as u8)).collect();
        let all = pool.imap(echo, values.iter().cloned());
        for (value, back) in values.iter().zip(all) {
            assert!(back.unwrap() == *value, "{} bytes came back changed", value.len());
        }
        finish(&pool);
    });
}

#[test]
fn many_shapes_of_values_survive() {
    limited(|| {
        let pool = pool(1);
        let value = vec![
            (String::new(), None, Ok(())),
            ("ünïcode \0 \u{10FFFF}".into(), Some(vec![]), Err('\u{0}')),
            ("x".repeat(100_000), Some((0..u16::MAX).collect()), Err('é')),
        ];
        assert_eq!(pool.apply(nested, (value.clone(),)), Ok(value));
    });
}

#[test]
fn an_argument_beyond_the_limit_is_refused_before_it_is_sent() {
    limited(|| {
        let pool = pool(1);
        // Zeroed memory that nobody touches takes no room.
        match pool.apply(length, (vec![0; (1 << 30) + 1].into(),)) {
            Err(JobError::TooLarge { job, size, limit, pid, .. }) => {
                assert_eq!((job.as_str(), pid), ("length", None));
                assert!(size > limit && limit >= 1 << 29, "{size} of {limit}");
            }
            other => panic!("{other:?}"),
        }
        let all = [Bytes::from(vec![1]), vec![0; (1 << 30) + 1].into(), vec![1, 2].into()];
        let all: Vec<_> = pool.imap(length, all).collect();
        assert!(matches!(&all[..], [Ok(1), Err(JobError::TooLarge { .. }), Ok(2)]), "{all:?}");
        usable(&pool);
        finish(&pool);
    });
}

#[test]
fn a_result_beyond_the_limit_is_an_error_and_its_worker_lives() {
    limited(|| {
        let pool = pool(1);
        let pids = pool.pids();
        match pool.apply(zeros, ((1 << 30) + 1,)) {
            Err(JobError::TooLarge { job, size, limit, pid, .. }) => {
                assert_eq!((job.as_str(), pid), ("zeros", Some(pids[0])));
                assert!(size > limit, "{size} of {limit}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.pids(), pids);
        usable(&pool);
        finish(&pool);
    });
}
