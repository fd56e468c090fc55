//! From a job's result to text.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{self, Impossible};
use serde_json::Value;

use super::Style;
use crate::codec::MAX_BODY;
use crate::wire::Fault;

/// First byte of a result that is a value.
const VALUE: u8 = 0;
/// First byte of a result that is the job's own `Err`.
const ERROR: u8 = 1;

/// Appends a result to `out`; on an error `out` is as it was before.
pub(super) fn write<T: Serialize>(value: &T, style: Style, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    let mut bounded = Bounded { out, start, size: 0 };
    bounded.begin(VALUE);
    let outcome = match value.serialize(Plain { style, outermost: true, out: &mut bounded }) {
        Ok(()) => Ok(()),
        Err(NotPlain) => {
            bounded.begin(VALUE);
            serde_json::to_writer(&mut bounded, value)
        }
    };
    let size = bounded.size;
    let fault = match outcome {
        Ok(()) if size <= MAX_BODY => return Ok(()),
        Ok(()) => Fault::TooLarge(size as u64),
        Err(error) => Fault::Encode(error.to_string()),
    };
    out.truncate(start);
    Err(fault)
}

/// Appends up to the limit; beyond it only counts, so that the error can tell the size.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    /// Where the result begins.
    start: usize,
    size: usize,
}

impl Bounded<'_> {
    /// Forgets what it has and begins again.
    fn begin(&mut self, first: u8) {
        self.out.truncate(self.start);
        self.out.push(first);
        self.size = 1;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len());
        if self.size <= MAX_BODY {
            self.out.extend_from_slice(bytes);
        }
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error in one line: its text, or its message and causes, or its JSON.
fn error_text<E: Serialize + ?Sized>(error: &E) -> serde_json::Result<String> {
    let value = serde_json::to_value(error).unwrap_or_default();
    let text = match &value {
        Value::String(text) => text.clone(),
        value => match chain(value) {
            Some(chain) => chain.join(": "),
            // Not from the `Value`, which does not keep the order of fields and cannot hold every number.
            None => serde_json::to_string(error)?,
        },
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "))
}

/// The message and the causes, if the error has these two as a [`Failure`](crate::Failure) has.
fn chain(error: &Value) -> Option<Vec<&str>> {
    let fields = error.as_object().filter(|fields| fields.len() == 2)?;
    let causes = fields.get("causes")?.as_array()?.iter();
    std::iter::once(fields.get("message")?).chain(causes).map(Value::as_str).collect()
}

/// The value is to be JSON. Its own error, if it has one, is told by that attempt.
#[derive(Debug)]
struct NotPlain;

impl Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain")
    }
}

impl std::error::Error for NotPlain {}

impl ser::Error for NotPlain {
    fn custom<T: Display>(_: T) -> NotPlain {
        NotPlain
    }
}

/// Looks whether the result is a `Result`, and writes what a person would write without quotes and braces.
struct Plain<'a, 'b> {
    style: Style,
    /// Whether this is the result itself and not a part of it.
    outermost: bool,
    out: &'a mut Bounded<'b>,
}

impl Plain<'_, '_> {
    fn bytes(self, bytes: &[u8]) -> Result<(), NotPlain> {
        if self.style == Style::Json {
            return Err(NotPlain);
        }
        self.out.put(bytes);
        Ok(())
    }

    fn shown(self, value: impl Display) -> Result<(), NotPlain> {
        if self.style == Style::Json {
            return Err(NotPlain);
        }
        write!(self.out, "{value}").map_err(|_| NotPlain)
    }

    fn inner<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotPlain> {
        if self.style == Style::Json {
            return Err(NotPlain);
        }
        value.serialize(Plain { outermost: false, ..self })
    }

    /// The value of an `Ok`, which is all that is left of it.
    fn ok<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotPlain> {
        let (style, out) = (self.style, self.out);
        value.serialize(Plain { style, outermost: false, out: &mut *out }).or_else(|NotPlain| {
            out.begin(VALUE);
            serde_json::to_writer(out, value).map_err(|_| NotPlain)
        })
    }

    fn err<T: Serialize + ?Sized>(self, error: &T) -> Result<(), NotPlain> {
        let text = error_text(error).map_err(|_| NotPlain)?;
        self.out.begin(ERROR);
        self.out.put(text.as_bytes());
        Ok(())
    }
}

macro_rules! shown {
    ($($serialize:ident $ty:ty)*) => {
        $(
            fn $serialize(self, value: $ty) -> Result<(), NotPlain> {
                self.shown(value)
            }
        )*
    };
}

macro_rules! never_plain {
    ($($serialize:ident($($arg:ty),*) $compound:ident)*) => {
        $(
            fn $serialize(self, $(_: $arg),*) -> Result<Self::$compound, NotPlain> {
                Err(NotPlain)
            }
        )*
    };
}

impl ser::Serializer for Plain<'_, '_> {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = Impossible<(), NotPlain>;
    type SerializeTuple = Impossible<(), NotPlain>;
    type SerializeTupleStruct = Impossible<(), NotPlain>;
    type SerializeTupleVariant = Impossible<(), NotPlain>;
    type SerializeMap = Impossible<(), NotPlain>;
    type SerializeStruct = Impossible<(), NotPlain>;
    type SerializeStructVariant = Impossible<(), NotPlain>;

    shown! {
        serialize_bool bool
        serialize_i8 i8
        serialize_i16 i16
        serialize_i32 i32
        serialize_i64 i64
        serialize_i128 i128
        serialize_u8 u8
        serialize_u16 u16
        serialize_u32 u32
        serialize_u64 u64
        serialize_u128 u128
        serialize_f32 f32
        serialize_f64 f64
        serialize_char char
    }

    never_plain! {
        serialize_seq(Option<usize>) SerializeSeq
        serialize_tuple(usize) SerializeTuple
        serialize_tuple_struct(&'static str, usize) SerializeTupleStruct
        serialize_tuple_variant(&'static str, u32, &'static str, usize) SerializeTupleVariant
        serialize_map(Option<usize>) SerializeMap
        serialize_struct(&'static str, usize) SerializeStruct
        serialize_struct_variant(&'static str, u32, &'static str, usize) SerializeStructVariant
    }

    fn serialize_str(self, text: &str) -> Result<(), NotPlain> {
        self.bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), NotPlain> {
        self.bytes(bytes)
    }

    fn serialize_unit(self) -> Result<(), NotPlain> {
        self.bytes(b"")
    }

    fn serialize_none(self) -> Result<(), NotPlain> {
        self.bytes(b"")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotPlain> {
        self.bytes(b"")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotPlain> {
        self.bytes(variant.as_bytes())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotPlain> {
        self.inner(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotPlain> {
        self.inner(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotPlain> {
        match (name, variant) {
            ("Result", "Ok") if self.outermost => self.ok(value),
            ("Result", "Err") if self.outermost => self.err(value),
            // serde's way with an OsString is an enum of its bytes, which nobody would want to read.
            ("OsString", "Unix") if self.style == Style::Text => self.bytes(&byte_list(value)?),
            _ => Err(NotPlain),
        }
    }
}

fn byte_list<T: Serialize + ?Sized>(bytes: &T) -> Result<Vec<u8>, NotPlain> {
    serde_json::to_value(bytes).and_then(serde_json::from_value).map_err(|_| NotPlain)
}
