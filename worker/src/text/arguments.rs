//! From text to the tuple of a job's arguments.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::Style;
use super::typed::Typed;
use crate::wire::take_piece;

/// So much of a text is shown in an error.
const SHOWN: usize = 48;

/// Decodes a JSON array, one element for each argument.
pub(super) fn from_json<Args: DeserializeOwned>(json: &[u8]) -> Result<Args, String> {
    let pieces: Vec<&RawValue> = serde_json::from_slice(json)
        .map_err(|error| format!("{} is not a JSON array of the arguments: {error}", shown(json)))?;
    decode(Style::Json, pieces.into_iter().map(|piece| piece.get().as_bytes()).collect())
}

/// Decodes length-prefixed pieces, one for each argument.
pub(super) fn from_pieces<Args: DeserializeOwned>(mut bytes: &[u8]) -> Result<Args, String> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        pieces.push(take_piece(&mut bytes).ok_or("the arguments are cut off")?);
    }
    decode(Style::Text, pieces)
}

fn decode<Args: DeserializeOwned>(style: Style, pieces: Vec<&[u8]>) -> Result<Args, String> {
    Args::deserialize(Arguments { style, pieces, next: 0 }).map_err(|Invalid(why)| why)
}

/// Why text is no value of a type.
#[derive(Debug)]
pub(super) struct Invalid(pub(super) String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl de::Error for Invalid {
    fn custom<T: fmt::Display>(what: T) -> Invalid {
        Invalid(what.to_string())
    }
}

/// All arguments of one call, from which only a tuple can be made.
struct Arguments<'de> {
    style: Style,
    pieces: Vec<&'de [u8]>,
    /// How many have been taken.
    next: usize,
}

impl Arguments<'_> {
    fn must_be(&self, wanted: usize) -> Result<(), Invalid> {
        let given = self.pieces.len();
        let wanted = match wanted {
            _ if wanted == given => return Ok(()),
            0 => "no arguments".to_owned(),
            1 => "1 argument".to_owned(),
            _ => format!("{wanted} arguments"),
        };
        Err(Invalid(format!("takes {wanted}, {given} given")))
    }
}

impl<'de> de::Deserializer<'de> for Arguments<'de> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_seq(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.must_be(0)?;
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Invalid> {
        self.must_be(len)?;
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Arguments<'de> {
    type Error = Invalid;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Invalid> {
        let Some(piece) = self.pieces.get(self.next).copied() else { return Ok(None) };
        self.next += 1;
        let value = match self.style {
            Style::Text => seed.deserialize(Typed(piece)),
            Style::Json => value_of_json(piece, seed).map_err(|error| Invalid(error.to_string())),
        };
        value
            .map(Some)
            .map_err(|Invalid(why)| Invalid(format!("argument {} ({}): {why}", self.next, shown(piece))))
    }
}

/// The value of a whole JSON text.
fn value_of_json<'de, T: DeserializeSeed<'de>>(json: &'de [u8], seed: T) -> serde_json::Result<T::Value> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let value = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A text as an error shows it: in quotes, in one line, and not too much of it.
fn shown(text: &[u8]) -> String {
    let (text, dots) = match text.get(..SHOWN) {
        Some(begin) if begin.len() < text.len() => (begin, "…"),
        _ => (text, ""),
    };
    let mut quoted = String::from('"');
    for chunk in text.utf8_chunks() {
        quoted.extend(chunk.valid().chars().flat_map(char::escape_debug));
        quoted.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    quoted + dots + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_short_and_in_one_line() {
        assert_eq!(shown(b"a\n\"\xff\xc3\xa9"), "\"a\\n\\\"\\xffé\"");
        let long = shown("é".repeat(500).as_bytes());
        assert!(long.ends_with("é…\"") && long.len() < 60, "{long}");
    }
}
