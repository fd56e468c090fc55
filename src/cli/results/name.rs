//! A folder's name for any value.
//!
//! What cannot stand in a name is written as GNU parallel does: `/` as `\_`, `\` as `\\`, a tab as `\t`, NUL as `\0`. Where
//! it leaves the folder, or two values share a name, other ways are gone: a value of nothing is `\e`, `.` and `..` have a
//! `\` before them, and of a value that is too long the beginning is shown, with its SHA-256.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Bytes that a name may have, on all file systems that matter.
const LONGEST: usize = 255;
/// Bytes that are shown of a value that is too long: escaped, and with the hash, they still fit.
const SHOWN: usize = 90;

/// The name for a value: no two values have the same one, and it is never one that leads elsewhere.
pub(super) fn name<'a>(value: Cow<'_, [u8]>) -> Cow<'a, [u8]> {
    Cow::Owned(match &value[..] {
        b"" => b"\\e".to_vec(),
        b"." | b".." => [b"\\", &value[..]].concat(),
        _ => {
            let name = escaped(&value);
            if name.len() <= LONGEST { name } else { shortened(&value) }
        }
    })
}

fn escaped(value: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'/' => name.extend_from_slice(b"\\_"),
            b'\\' => name.extend_from_slice(b"\\\\"),
            b'\t' => name.extend_from_slice(b"\\t"),
            0 => name.extend_from_slice(b"\\0"),
            other => name.push(*other),
        }
    }
    name
}

/// The beginning, at the end of a character if it is UTF-8, and what tells it from others that begin so.
fn shortened(value: &[u8]) -> Vec<u8> {
    let is_within = |at: usize| value.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (SHOWN - 3..=SHOWN).rev().find(|at| !is_within(*at)).unwrap_or(SHOWN).min(value.len());
    let mut hash = String::from("\\+");
    for byte in Sha256::digest(value) {
        let _ = write!(hash, "{byte:02x}");
    }
    [escaped(&value[..end]), hash.into_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(value: &[u8]) -> Vec<u8> {
        name(value.into()).into_owned()
    }

    #[test]
    fn names_are_those_of_gnu_parallel_where_they_are_safe() {
        for (value, expected) in [
            ("a b", "a b"),
            ("a/b", "a\\_b"),
            ("/abs", "\\_abs"),
            ("../c", "..\\_c"),
            ("a\\b", "a\\\\b"),
            ("\\_", "\\\\_"),
            ("a\tb\0", "a\\tb\\0"),
            ("*é'\n", "*é'\n"),
            ("", "\\e"),
            (".", "\\."),
            ("..", "\\.."),
            ("...", "..."),
        ] {
            assert_eq!(named(value.as_bytes()), expected.as_bytes(), "{value:?}");
        }
    }

    #[test]
    fn a_long_value_has_a_short_name_of_its_own() {
        assert_eq!(named(&[b'x'; 255]), [b'x'; 255]);
        let (one, other) = (named(&[b'x'; 256]), named(&[b'x'; 257]));
        assert!(one != other && one.starts_with(&[b'x'; 90]) && one.len() == 156, "{one:?}");
        let long = "é".repeat(500);
        assert!(
            str::from_utf8(&named(&long.as_bytes()[1..])).is_err()
                && str::from_utf8(&named(long.as_bytes())).is_ok()
        );
    }

    proptest! {
        #[test]
        fn any_value_has_a_name_of_its_own(
            one in proptest::collection::vec(proptest::sample::select(b"./\\+_e0xy\0\t\xff".to_vec()), 0..300),
            other in proptest::collection::vec(proptest::sample::select(b"./\\_e".to_vec()), 0..3),
        ) {
            for value in [&one, &other] {
                let name = named(value);
                prop_assert!((1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
                prop_assert!(name != b"." && name != b"..");
            }
            prop_assert_eq!(named(&one) == named(&other), one == other);
        }
    }
}
