//! From bytes to values, by the types' own `Deserialize`, which may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use sidestep_worker::codec;

use crate::engine::Values;

/// How results of one type are made from their bytes.
pub(super) struct Decoder<R> {
    one: fn(&[u8]) -> Result<R, String>,
    many: fn(&mut Values<'_>, &mut Vec<R>) -> Result<(), String>,
}

impl<R> Clone for Decoder<R> {
    fn clone(&self) -> Decoder<R> {
        *self
    }
}

impl<R> Copy for Decoder<R> {}

impl<R: DeserializeOwned> Decoder<R> {
    /// The one for a job's results.
    pub(super) const CODEC: Decoder<R> = Decoder { one: decode::<R>, many: decode_many::<R> };
}

impl<R> Decoder<R> {
    pub(super) fn one(self, bytes: &[u8]) -> Result<R, String> {
        (self.one)(bytes)
    }

    /// Appends values as long as the bytes give some; what is wrong with the next ones if they do not.
    pub(super) fn many(self, bytes: &mut Values<'_>, into: &mut Vec<R>) -> Result<(), String> {
        (self.many)(bytes, into)
    }
}

pub(super) fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, String> {
    catch(|| codec::decode::<R>(bytes).map_err(|error| format!("the result: {error}")))
}

fn decode_many<R: DeserializeOwned>(bytes: &mut Values<'_>, into: &mut Vec<R>) -> Result<(), String> {
    catch(|| {
        for bytes in bytes {
            into.push(codec::decode::<R>(bytes).map_err(|error| format!("the result: {error}"))?);
        }
        Ok(())
    })
}

fn catch<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let what = sidestep_worker::panics::message_of(panic);
        Err(format!("the result: deserialising it panicked: {what}"))
    })
}
