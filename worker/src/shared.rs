//! Values that a pool shares with all its workers: each worker is sent one once, and decodes it once.
//!
//! A job's arguments hold only the number of such a value. The parent sees which values the arguments name, and tells a
//! worker where they lie before the first run that needs them. When the caller and all jobs are done with one, workers
//! are told to forget it, and answer once nothing of theirs lies in it any more.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::blocks::Place;
use crate::bytes::{Host, hosted, is_last};
use crate::codec::{self, CodecError};

/// A value that all workers of a pool can read, for jobs that take it as an argument.
///
/// [`Pool::share`](../sidestep/struct.Pool.html#method.share) makes one: a model, a table, an index that many jobs look
/// into. It is encoded once, each worker decodes it once, and large [`Bytes`](crate::Bytes) in it are not copied at all:
/// they lie in memory that all workers see. To clone it costs next to nothing.
///
/// It travels in the arguments of jobs of its own pool, and in values shared with that pool; anywhere else it is an error
/// to serialise it. What a job receives it can keep, but not send on.
pub struct Shared<T> {
    value: Arc<T>,
    /// `None` in a job.
    ticket: Option<Arc<dyn Ticket>>,
}

/// The caller's side of a shared value. The value is kept for the workers as long as there is one.
pub trait Ticket: Send + Sync {
    /// The value's number.
    fn id(&self) -> u64;
    /// The pool's number.
    fn pool(&self) -> u64;
    /// The body of the frame that tells a worker of it: see [`Offer`].
    fn offer(&self) -> Vec<u8>;
    /// What the value refers to.
    fn inner(&self) -> &[Arc<dyn Ticket>];
}

impl<T> Shared<T> {
    /// One in the process that shares it.
    pub fn new(value: T, ticket: Arc<dyn Ticket>) -> Shared<T> {
        IN_USE.store(true, Ordering::Relaxed);
        Shared { value: Arc::new(value), ticket: Some(ticket) }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared { value: self.value.clone(), ticket: self.ticket.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.value).finish()
    }
}

impl<T> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ticket = self.ticket.as_ref().filter(|_| !serializer.is_human_readable());
        let Some(ticket) = ticket else {
            return Err(S::Error::custom("a shared value travels only from its pool's caller to a job"));
        };
        let _ = NAMED.try_with(|named| {
            let mut named = named.borrow_mut();
            if !named.iter().any(|other| Arc::ptr_eq(other, ticket)) {
                named.push(ticket.clone());
            }
        });
        serializer.serialize_u64(ticket.id())
    }
}

impl<'de, T: DeserializeOwned + Send + Sync + 'static> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        let value = received(u64::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Ok(Shared { value, ticket: None })
    }
}

// ---- the caller's side ----

/// Any value was ever shared in this process.
static IN_USE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Those that were serialised on this thread since somebody last asked.
    static NAMED: RefCell<Vec<Arc<dyn Ticket>>> = const { RefCell::new(Vec::new()) };
}

/// Whether [`collect`] may find anything.
#[inline]
pub fn is_in_use() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

/// Encodes something with `encode`; gives what it names of the values that are shared with that pool.
pub fn collect(
    pool: u64,
    encode: impl FnOnce() -> Result<(), CodecError>,
) -> Result<Vec<Arc<dyn Ticket>>, CodecError> {
    if !is_in_use() {
        return encode().map(|()| Vec::new());
    }
    // What was serialised for another purpose is nobody's.
    drop(take_named());
    let encoded = encode();
    let named = take_named();
    encoded?;
    if named.iter().any(|ticket| ticket.pool() != pool) {
        return Err(CodecError::Invalid("it holds a value that is shared with another pool".into()));
    }
    Ok(named)
}

fn take_named() -> Vec<Arc<dyn Ticket>> {
    NAMED.try_with(|named| std::mem::take(&mut *named.borrow_mut())).unwrap_or_default()
}

// ---- the worker's side ----

/// What the parent tells of a shared value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer<'a> {
    /// It lies in the arena.
    Placed(Place),
    /// These are its bytes.
    Here(&'a [u8]),
}

impl Offer<'_> {
    /// A frame's body: the value's number, and one of the two.
    pub fn to_body(self, id: u64) -> Vec<u8> {
        let mut body = id.to_le_bytes().to_vec();
        match self {
            Offer::Placed(place) => {
                body.push(1);
                body.extend_from_slice(&place.to_bytes());
            }
            Offer::Here(bytes) => {
                body.push(0);
                body.extend_from_slice(bytes);
            }
        }
        body
    }

    /// Reads a frame's body.
    pub fn from_body(body: &[u8]) -> Option<(u64, Offer<'_>)> {
        let (id, rest) = body.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let offer = match kind {
            0 => Offer::Here(rest),
            1 => Offer::Placed(Place::from_bytes(rest.try_into().ok()?)),
            _ => return None,
        };
        Some((u64::from_le_bytes(*id), offer))
    }
}

type Value = Arc<dyn Any + Send + Sync>;

struct Entry {
    /// The encoded value, or why there is none.
    source: Result<Arc<dyn Host>, String>,
    /// The decoded one.
    value: Option<Value>,
}

#[derive(Default)]
struct Store {
    entries: BTreeMap<u64, Entry>,
    /// What was to be forgotten while a job still had something of it.
    lingering: Vec<(u64, Arc<dyn Host>)>,
}

static STORE: Mutex<Store> = Mutex::new(Store { entries: BTreeMap::new(), lingering: Vec::new() });

fn store() -> MutexGuard<'static, Store> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value may be asked for from now on.
pub(crate) fn offered(id: u64, source: Result<Arc<dyn Host>, String>) {
    store().entries.insert(id, Entry { source, value: None });
}

/// The value with that number, which is decoded if nobody has done that.
fn received<T: DeserializeOwned + Send + Sync + 'static>(id: u64) -> Result<Arc<T>, String> {
    let unknown = || format!("no value with the number {id} is shared with this process");
    let (source, value) = {
        let store = store();
        let entry = store.entries.get(&id).ok_or_else(unknown)?;
        (entry.source.clone()?, entry.value.clone())
    };
    let value = match value {
        Some(value) => value,
        None => {
            // Without the lock: it may hold other shared values.
            let value: Value =
                Arc::new(hosted(source, codec::decode::<T>).map_err(|error| error.to_string())?);
            let mut store = store();
            let entry = store.entries.get_mut(&id).ok_or_else(unknown)?;
            entry.value.get_or_insert_with(|| value.clone()).clone()
        }
    };
    value.downcast().map_err(|_| format!("the shared value {id} is no {}", std::any::type_name::<T>()))
}

/// Nobody will ask for it again. `true` if nothing of it is left.
pub(crate) fn forget(id: u64) -> bool {
    let Some(entry) = store().entries.remove(&id) else { return true };
    // A `Drop` of the user's, which may panic.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(entry.value)));
    let Ok(source) = entry.source else { return true };
    let is_free = is_last(&source);
    if !is_free {
        store().lingering.push((id, source));
    }
    is_free
}

/// One of those that could not be forgotten at once and that nobody has any more.
pub(crate) fn next_forgotten() -> Option<u64> {
    let mut store = store();
    let at = store.lingering.iter().position(|(_, source)| is_last(source))?;
    Some(store.lingering.swap_remove(at).0)
}

/// The pool is gone. Whether a job still has something of what it has shared.
pub(crate) fn forget_all() -> bool {
    let ids: Vec<u64> = store().entries.keys().copied().collect();
    ids.into_iter().for_each(|id| {
        forget(id);
    });
    while next_forgotten().is_some() {}
    any_lingers()
}

/// Whether there are such.
pub(crate) fn any_lingers() -> bool {
    !store().lingering.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use proptest::prelude::*;

    fn offer(id: u64, value: &impl Serialize) {
        let mut bytes = Vec::new();
        codec::encode(value, &mut bytes).unwrap();
        offered(id, Ok(Arc::new(bytes)));
    }

    #[test]
    fn a_value_is_decoded_once_and_only_as_what_it_is() {
        offer(100, &vec![1u32, 2, 3]);
        let (first, second) = (received::<Vec<u32>>(100).unwrap(), received::<Vec<u32>>(100).unwrap());
        assert!(Arc::ptr_eq(&first, &second) && *first == [1, 2, 3]);
        assert!(received::<String>(100).unwrap_err().contains("no alloc::string::String"));
        assert!(forget(100) && received::<Vec<u32>>(100).unwrap_err().contains("no value"));
        assert_eq!(*first, [1, 2, 3]);
        offered(101, Err("no memory".into()));
        assert_eq!(received::<u8>(101), Err("no memory".into()));
        offered(102, Ok(Arc::new(vec![1])));
        assert!(received::<u64>(102).is_err());
    }

    #[test]
    fn what_a_job_has_kept_lingers() {
        offer(200, &Bytes::from(vec![7; 100]));
        let value = received::<Bytes>(200).unwrap();
        assert!(!forget(200));
        assert!(next_forgotten() != Some(200));
        let part = Bytes::clone(&value);
        drop(value);
        assert!(next_forgotten() != Some(200) && *part == [7; 100]);
        drop(part);
        assert_eq!(next_forgotten(), Some(200));
        assert!(forget(200), "it was never here");
    }

    proptest! {
        #[test]
        fn offers_survive(id: u64, offset: u64, len: u64, bytes: Vec<u8>) {
            let place = Place { offset, len };
            for offer in [Offer::Placed(place), Offer::Here(&bytes)] {
                let body = offer.to_body(id);
                prop_assert_eq!(Offer::from_body(&body), Some((id, offer)));
            }
        }

        #[test]
        fn any_bytes_are_an_offer_or_nothing(bytes: Vec<u8>) {
            let _ = Offer::from_body(&bytes);
        }
    }
}
