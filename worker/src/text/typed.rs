//! One value, decoded from what a person has typed by what its type asks for.

use std::str::FromStr;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, MapDeserializer};
use serde::de::{self, IgnoredAny, Visitor};

use super::arguments::Invalid;

type Json<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// The bytes of one argument.
pub(super) struct Typed<'de>(pub(super) &'de [u8]);

impl<'de> Typed<'de> {
    fn text(&self) -> Result<&'de str, Invalid> {
        let why = "not valid UTF-8, and the job takes text; a job that takes sidestep::Bytes takes any bytes";
        std::str::from_utf8(self.0).map_err(|_| Invalid(why.into()))
    }

    /// Spaces around it are left out: what other programs print often has some.
    fn parsed<T: FromStr>(&self, wanted: &str) -> Result<T, Invalid> {
        let text = std::str::from_utf8(self.0).ok();
        text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| Invalid(format!("not {wanted}")))
    }

    /// Has the JSON in the text decoded by `decode`.
    fn json<T>(
        &self,
        wanted: &str,
        decode: impl FnOnce(&mut Json<'de>) -> serde_json::Result<T>,
    ) -> Result<T, Invalid> {
        let mut json = serde_json::Deserializer::from_str(self.text()?);
        let value = decode(&mut json).and_then(|value| json.end().map(|()| value));
        value.map_err(|error| Invalid(format!("not {wanted} in JSON: {error}")))
    }
}

macro_rules! numbers {
    ($($deserialize:ident $visit:ident $ty:ident)*) => {
        $(
            fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
                visitor.$visit(self.parsed::<$ty>(concat!("a number that fits ", stringify!($ty)))?)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Typed<'de> {
    type Error = Invalid;

    numbers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_bool(self.parsed("a bool, which is true or false")?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_char(self.text()?.parse().map_err(|_| Invalid("not a single character".into()))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_byte_buf(self.0.to_vec())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.0 {
            b"" | b"()" => visitor.visit_unit(),
            _ => Err(Invalid("not empty, and the job takes () here".into())),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    /// A type that takes whatever comes: JSON if it is some, else the text itself.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.json("a value", |json| de::Deserialize::deserialize(json)) {
            Ok(IgnoredAny) => self.json("a value", |json| de::Deserializer::deserialize_any(json, visitor)),
            Err(_) => self.deserialize_str(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.json("a list", |json| de::Deserializer::deserialize_seq(json, visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Invalid> {
        let wanted = format!("a list of {len}");
        self.json(&wanted, |json| de::Deserializer::deserialize_tuple(json, len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.json(name, |json| de::Deserializer::deserialize_tuple_struct(json, name, len, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.json("a map", |json| de::Deserializer::deserialize_map(json, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        self.json(name, |json| de::Deserializer::deserialize_struct(json, name, fields, visitor))
    }

    /// A variant without data is its name; one with data is JSON.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        if (name, variants) == ("OsString", &["Unix", "Windows"]) {
            // Its way in serde is an enum of its bytes, which nobody would type.
            let bytes = MapDeserializer::new(std::iter::once(("Unix", self.0.to_vec())));
            return visitor.visit_enum(MapAccessDeserializer::new(bytes));
        }
        let text = self.text()?;
        if !variants.contains(&text) && text.trim_start().starts_with(['{', '"']) {
            return self.json(name, |json| de::Deserializer::deserialize_enum(json, name, variants, visitor));
        }
        visitor.visit_enum(BorrowedStrDeserializer::new(text))
    }
}
