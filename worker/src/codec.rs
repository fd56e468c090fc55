//! The one module that knows bincode.
//!
//! bincode's default configuration trusts the lengths it reads: nine corrupt bytes make it ask for more memory
//! than there is, which aborts the process. Here every decode has a hard limit, and a value must use all of its
//! bytes. Integers have a fixed width, because then the limit counts what is on the wire; with variable width it
//! counts the width in memory, so that a legal frame of small numbers could be refused.
//!
//! bincode is pinned to 2.0.1: it is unmaintained (RUSTSEC-2025-0141) and 3.0.0 does not compile. No type of it
//! leaves this module, so that another codec needs to be put in here only.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::{Serialize, de::DeserializeOwned};

use crate::blocks::{Buffer, LARGE, Large};

/// The largest body of a frame, in bytes.
pub const MAX_BODY: usize = 1 << 30;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MAX_BODY>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_BODY>();

/// Why a value could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// The encoded value would take `size` bytes, more than [`MAX_BODY`].
    TooLarge {
        /// What the value would take, in bytes.
        size: usize,
    },
    /// The type's own (de)serialisation said no, or the bytes do not fit the type.
    Invalid(String),
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CodecError::TooLarge { size } => write!(f, "{size} bytes are more than the limit of {MAX_BODY}"),
            CodecError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CodecError {}

/// Appends up to the limit; beyond it only counts, so that the error can tell the size.
struct Bounded<'a, 'b> {
    small: &'a mut Vec<u8>,
    large: &'a mut Large<'b>,
    start: usize,
    size: usize,
}

impl Writer for Bounded<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.size += bytes.len();
        if self.size <= LARGE {
            self.small.extend_from_slice(bytes);
        } else if self.size <= MAX_BODY {
            self.large.append(self.small, self.start, bytes);
        }
        Ok(())
    }
}

/// Appends the encoding of `value` to `out`; on an error `out` is as it was before.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_into(value, &mut Buffer::new(out, None))
}

/// The same into a buffer, which holds no large value yet.
#[inline]
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Buffer<'_>) -> Result<(), CodecError> {
    let start = out.bytes.len();
    let mut writer = Bounded { small: out.bytes, large: &mut out.large, start, size: 0 };
    let result = bincode::serde::encode_into_writer(value, &mut writer, CONFIG);
    let size = writer.size;
    let error = match result {
        Ok(()) if size <= MAX_BODY => return Ok(()),
        Ok(()) => CodecError::TooLarge { size },
        Err(error) => CodecError::Invalid(text_of(error)),
    };
    out.truncate(start);
    Err(error)
}

/// Decodes a value that takes exactly all of `bytes`.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_BODY {
        return Err(CodecError::TooLarge { size: bytes.len() });
    }
    // Borrowed, so that `Bytes` see where theirs lie.
    match bincode::serde::borrow_decode_from_slice(bytes, CONFIG) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError::Invalid(format!("{} bytes are left over", bytes.len() - used))),
        Err(error) => Err(CodecError::Invalid(error.to_string())),
    }
}

/// A custom error's text without bincode's wrapping.
fn text_of(error: EncodeError) -> String {
    match error {
        EncodeError::OtherString(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out).unwrap();
        out
    }

    #[test]
    fn a_claimed_length_beyond_the_bytes_is_an_error_not_an_abort() {
        for claimed in [1u64 << 44, 1 << 60, u64::MAX, (MAX_BODY as u64) + 1, 17] {
            let mut bytes = claimed.to_le_bytes().to_vec();
            bytes.push(b'x');
            assert!(decode::<String>(&bytes).is_err(), "String of {claimed}");
            assert!(decode::<Vec<u64>>(&bytes).is_err(), "Vec<u64> of {claimed}");
            assert!(decode::<Vec<String>>(&bytes).is_err(), "Vec<String> of {claimed}");
        }
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let mut bytes = bytes_of(&7u32);
        bytes.push(0);
        assert!(
            matches!(decode::<u32>(&bytes), Err(CodecError::Invalid(what)) if what.contains("left over"))
        );
    }

    #[test]
    fn a_failed_encode_leaves_the_buffer_alone() {
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut out = vec![1, 2, 3];
        assert_eq!(encode(&(5u64, Refuses), &mut out), Err(CodecError::Invalid("no".into())));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn the_limit_counts_wire_bytes() {
        // With a variable width this would be refused although it fits: the limit would count 8 bytes a number.
        let small = vec![1u64; 1000];
        assert_eq!(bytes_of(&small).len(), 8 + 8 * 1000);
    }

    proptest! {
        #[test]
        fn values_survive(value: (i64, String, Vec<Option<u16>>, Result<bool, char>, f64)) {
            let back: (i64, String, Vec<Option<u16>>, Result<bool, char>, f64) = decode(&bytes_of(&value)).unwrap();
            prop_assert_eq!(bytes_of(&back), bytes_of(&value));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes: Vec<u8>) {
            let _ = decode::<(String, Vec<Vec<u32>>, Option<Box<u64>>)>(&bytes);
            let _ = decode::<std::collections::BTreeMap<String, i8>>(&bytes);
        }
    }
}
