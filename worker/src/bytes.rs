//! Bytes that travel as one block.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::fence;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are sent as one block.
///
/// serde takes a `Vec<u8>` for a list of numbers and moves it one by one, many times slower. Use this type for an
/// argument or a result that is large and made of bytes.
///
/// Large ones are not copied when they are received: an argument is read where the caller has written it, in memory that
/// the job cannot write, and a result where it has arrived. They are copied when they are changed (by `DerefMut`) or
/// turned into a `Vec`, so only a `Vec` that was made a `Bytes` comes back without a copy.
///
/// ```
/// # use sidestep_worker as sidestep;
/// let bytes = sidestep::Bytes::from(vec![1, 2, 3]);
/// assert_eq!(bytes.len(), 3);
/// assert_eq!(Vec::from(bytes), [1, 2, 3]);
/// ```
#[derive(Clone)]
pub struct Bytes(Held);

#[derive(Clone)]
enum Held {
    Own(Vec<u8>),
    /// Most of what a host holds.
    Part {
        host: Arc<dyn Host>,
        part: Range<usize>,
    },
}

/// Memory in which bytes may stay that were decoded from it.
pub trait Host: Send + Sync {
    /// All of it. It does not change as long as the host lives.
    fn bytes(&self) -> &[u8];
}

impl Host for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

thread_local! {
    /// What is being decoded.
    static HOST: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// Lets bytes that are decoded on this thread stay in that host, if they lie in it, from now on; gives the one before.
pub fn set_host(host: Option<Arc<dyn Host>>) -> Option<Arc<dyn Host>> {
    // Without a place for it, while the thread ends, all are copied.
    HOST.try_with(|current| current.replace(host)).unwrap_or(None)
}

/// Does something with what a host holds, and lets bytes that are decoded from it stay there.
pub fn hosted<T>(host: Arc<dyn Host>, work: impl FnOnce(&[u8]) -> T) -> T {
    struct Back(Option<Arc<dyn Host>>);
    impl Drop for Back {
        fn drop(&mut self) {
            set_host(self.0.take());
        }
    }
    let _back = Back(set_host(Some(host.clone())));
    work(host.bytes())
}

/// Whether nobody else has this host any more. What others did with it has happened before this says so.
pub(crate) fn is_last<T: ?Sized>(host: &Arc<T>) -> bool {
    let is_last = Arc::strong_count(host) == 1;
    fence(Acquire);
    is_last
}

impl Bytes {
    /// Keeps the host instead of a copy, if these bytes lie there and are most of it: else few of them would keep much.
    fn decoded(bytes: &[u8]) -> Bytes {
        let hosted = HOST.try_with(|host| {
            let host = host.borrow();
            let host = host.as_ref()?;
            let all = host.bytes().as_ptr_range();
            let range = bytes.as_ptr_range();
            let lies_there = all.start <= range.start && range.end <= all.end;
            let part = || {
                let start = range.start.addr() - all.start.addr();
                Held::Part { host: host.clone(), part: start..start + bytes.len() }
            };
            (lies_there && bytes.len() > host.bytes().len() / 2).then(part)
        });
        Bytes(hosted.ok().flatten().unwrap_or_else(|| Held::Own(bytes.to_vec())))
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes::from(Vec::new())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Held::Own(bytes))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes::from(bytes.to_vec())
    }
}

/// Copies them if they lie where they were received; see [`Bytes`].
impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Vec<u8> {
        match bytes.0 {
            Held::Own(bytes) => bytes,
            Held::Part { host, part } => host.bytes()[part].to_vec(),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Own(bytes) => bytes,
            Held::Part { host, part } => &host.bytes()[part.clone()],
        }
    }
}

/// Copies them first if they lie where they were received; see [`Bytes`].
impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        if let Held::Part { host, part } = &self.0 {
            self.0 = Held::Own(host.bytes()[part.clone()].to_vec());
        }
        match &mut self.0 {
            Held::Own(bytes) => bytes,
            Held::Part { .. } => &mut [],
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Bytes) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Bytes) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Shows the length and the first bytes.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self[..self.len().min(32)];
        let dots = if shown.len() < self.len() { "…" } else { "" };
        write!(f, "Bytes({}, \"{}{dots}\")", self.len(), shown.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::decoded(bytes))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes::from(bytes))
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::from(text.as_bytes()))
    }

    /// What JSON makes of bytes: a list of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn they_travel_as_one_block() {
        let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
        let mut out = Vec::new();
        codec::encode(&bytes, &mut out).unwrap();
        assert_eq!(out.len(), 8 + 256);
        assert_eq!(codec::decode::<Bytes>(&out).unwrap(), bytes);
        assert!(format!("{bytes:?}").contains("256") && format!("{bytes:?}").len() < 200);
    }

    fn in_host(bytes: &Bytes) -> bool {
        matches!(bytes.0, Held::Part { .. })
    }

    #[test]
    fn most_of_a_host_stays_there_until_it_is_changed() {
        let mut out = Vec::new();
        codec::encode(&(Bytes::from(vec![7; 100]), 5u8), &mut out).unwrap();
        let host = Arc::new(out);
        let (mut bytes, _) = hosted(host.clone(), codec::decode::<(Bytes, u8)>).unwrap();
        assert!(in_host(&bytes) && *bytes == [7; 100]);
        assert_eq!(Arc::strong_count(&host), 2);
        let other = bytes.clone();
        bytes[3] = 8;
        assert!(!in_host(&bytes) && bytes[2..5] == [7, 8, 7] && other[2..5] == [7; 3]);
        assert_eq!(Vec::from(other), [7; 100]);
        assert_eq!(Arc::strong_count(&host), 1);
    }

    #[test]
    fn a_small_part_of_a_host_is_copied_and_so_is_what_lies_elsewhere() {
        let mut out = Vec::new();
        codec::encode(&(Bytes::from(vec![7; 100]), Bytes::from(vec![8; 200])), &mut out).unwrap();
        let (few, most) = hosted(Arc::new(out.clone()), codec::decode::<(Bytes, Bytes)>).unwrap();
        assert!(!in_host(&few) && in_host(&most));
        let (_, elsewhere) =
            hosted(Arc::new(vec![0; 10]), |_| codec::decode::<(Bytes, Bytes)>(&out)).unwrap();
        assert!(!in_host(&elsewhere));
        let (_, without) = codec::decode::<(Bytes, Bytes)>(&out).unwrap();
        assert!(!in_host(&without) && without == most);
    }
}
