//! What borrower and server say to each other: a length, then bincode; descriptors come along with the message that is
//! about them. Both sides believe little: lengths are compared before anything is kept, and what does not decode ends the
//! connection.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sidestep_worker::codec;
use sidestep_worker::lent;
use sidestep_worker::wire::JobInfo;

/// No message is longer, in bytes: job tables are the longest.
const LONGEST: usize = 8 << 20;
/// Descriptors that have come and nobody has asked for.
const MOST: usize = 4 * lent::MOST;

/// To the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// First: who this is.
    Hello { protocol: u32, program: String },
    /// A worker is wanted; the tether and the worker's ends of a channel come along.
    Borrow { ticket: u64, ends: u8 },
    /// What was recalled will come, once its jobs are over.
    Heard,
    /// What this pool has done.
    Told(Counts),
    /// What does the server do? Asked by whoever wants to see it, instead of a hello.
    Status,
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is well: these are the workers' jobs, and the path of their program.
    Welcome { jobs: Vec<JobInfo>, workers: u32, program: Vec<u8> },
    /// It is not: why.
    Refused { why: String },
    /// A worker serves this pool from now on.
    Lent { ticket: u64, pid: u32 },
    /// So many workers are to be given back soon.
    Recall { count: u32 },
    /// What has this pool done?
    Ask,
    /// To `Status`.
    Status(Report),
}

/// What a pool has done and does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

/// A server at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) pid: u32,
    pub(crate) program: String,
    /// Milliseconds since it began.
    #[serde(rename = "up_ms")]
    pub(crate) up: u64,
    pub(crate) workers: Vec<WorkerReport>,
    pub(crate) clients: Vec<ClientReport>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerReport {
    pub(crate) pid: Option<u32>,
    pub(crate) state: WorkerState,
    /// The client that has it.
    pub(crate) client: Option<u64>,
    /// Milliseconds since its state began.
    #[serde(rename = "since_ms")]
    pub(crate) since: u64,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkerState {
    /// It is not there.
    Absent,
    /// It has not said that it is ready.
    Starting,
    /// It waits for somebody who wants it.
    Free,
    /// Somebody has it.
    Lent,
}

/// One pool that has connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientReport {
    pub(crate) number: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) program: String,
    /// Workers that it has, and that it waits for.
    pub(crate) workers: u32,
    pub(crate) waiting: u32,
    /// Milliseconds since it came.
    #[serde(rename = "since_ms")]
    pub(crate) since: u64,
    /// Its jobs; `None` if it has not answered in time.
    pub(crate) counts: Option<Counts>,
}

/// A message's bytes.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, codec::CodecError> {
    let mut bytes = vec![0; 4];
    codec::encode(message, &mut bytes)?;
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The other side says what it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Garbled(&'static str);

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what it sends makes no sense: {}", self.0)
    }
}

/// What has come of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Something,
    /// There is nothing now.
    Nothing,
    /// The other side is gone.
    End,
}

/// What has come and was not taken.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Incoming {
    /// Reads once.
    pub(super) fn read(&mut self, from: BorrowedFd<'_>) -> Came {
        let mut room = [0; 16 << 10];
        match lent::receive(from, &mut room) {
            Ok((0, _)) => Came::End,
            Ok((count, fds)) => {
                self.bytes.extend_from_slice(&room[..count]);
                self.fds.extend(fds);
                Came::Something
            }
            Err(Errno::EAGAIN) => Came::Nothing,
            Err(_) => Came::End,
        }
    }

    /// The next whole message.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Garbled> {
        if self.fds.len() > MOST {
            return Err(Garbled("too many descriptors"));
        }
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(Garbled("a message is too long"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = codec::decode(body).map_err(|_| Garbled("a message does not decode"))?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }

    /// The next so many descriptors.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<OwnedFd>, Garbled> {
        if count > self.fds.len() {
            return Err(Garbled("descriptors are missing"));
        }
        Ok(self.fds.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    fn through(bytes: &[u8]) -> Incoming {
        let (mut one, other) = UnixStream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let mut incoming = Incoming::default();
        for part in bytes.chunks(4096) {
            one.write_all(part).unwrap();
            assert_eq!(incoming.read(other.as_fd()), Came::Something);
        }
        assert_eq!(incoming.read(other.as_fd()), Came::Nothing);
        drop(one);
        assert_eq!(incoming.read(other.as_fd()), Came::End);
        incoming
    }

    proptest! {
        #[test]
        fn messages_come_whole_and_in_order(whys in prop::collection::vec(".{0,5000}", 1..5), cut: prop::sample::Index) {
            let sent: Vec<u8> =
                whys.iter().flat_map(|why| encode(&Answer::Refused { why: why.clone() }).unwrap()).collect();
            let mut incoming = through(&sent);
            for why in &whys {
                match incoming.next::<Answer>() {
                    Ok(Some(Answer::Refused { why: came })) => prop_assert_eq!(&came, why),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert!(matches!(incoming.next::<Answer>(), Ok(None)));
            let mut incoming = through(&sent[..cut.index(sent.len())]);
            let whole = std::iter::from_fn(|| incoming.next::<Answer>().unwrap()).count();
            prop_assert!(whole < whys.len());
        }

        #[test]
        fn any_bytes_are_messages_or_refused(bytes: Vec<u8>) {
            let mut incoming = Incoming { bytes, fds: VecDeque::new() };
            while let Ok(Some(_)) = incoming.next::<Request>() {}
            let mut incoming = Incoming { bytes: incoming.bytes, fds: VecDeque::new() };
            while let Ok(Some(_)) = incoming.next::<Answer>() {}
        }
    }

    #[test]
    fn a_length_is_not_believed() {
        let mut incoming = through(&u32::MAX.to_le_bytes());
        assert_eq!(incoming.next::<Request>().unwrap_err(), Garbled("a message is too long"));
    }

    #[test]
    fn descriptors_come_with_their_message() {
        let (one, other) = UnixStream::pair().unwrap();
        let bytes = encode(&Request::Borrow { ticket: 7, ends: 0 }).unwrap();
        lent::send(one.as_fd(), &bytes, &[one.as_raw_fd(), one.as_raw_fd()]).unwrap();
        lent::send(one.as_fd(), &encode(&Request::Heard).unwrap(), &[]).unwrap();
        let mut incoming = Incoming::default();
        while matches!(incoming.next::<Request>(), Ok(None)) {
            assert_eq!(incoming.read(other.as_fd()), Came::Something);
        }
        assert_eq!(incoming.take(2).unwrap().len(), 2);
        assert!(incoming.take(1).is_err());
    }
}
