//! Bytes that are a text for whoever reads them, in the encoding of whoever wrote them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidestep_worker::Bytes;

/// Output of a program, or a line with a file's name in it: mostly UTF-8, sometimes not.
///
/// It travels as one block of bytes. JSON shows it as a string where it is UTF-8, and else as a list of numbers, so
/// that nothing is ever replaced or lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(&self.0) {
            Ok(text) if serializer.is_human_readable() => serializer.serialize_str(text),
            _ => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| Text(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidestep_worker::codec;

    #[test]
    fn it_travels_as_bytes_and_reads_as_text() {
        for bytes in [&b"plain"[..], b"", b"caf\xc3\xa9", b"\xff\x00"] {
            let text = Text(bytes.to_vec());
            let mut out = Vec::new();
            codec::encode(&text, &mut out).unwrap();
            assert_eq!(codec::decode::<Text>(&out).unwrap(), text);
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
        }
        assert_eq!(serde_json::to_string(&Text(b"a".to_vec())).unwrap(), "\"a\"");
        assert_eq!(serde_json::to_string(&Text(vec![255])).unwrap(), "[255]");
    }
}
