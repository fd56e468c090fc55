//! `sha256`: what `sha256sum FILE` prints.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};
use sidestep_worker::Bytes;

use super::{Text, with_block};
use crate::cli::say::reason;

/// Digest and name of a file.
pub(super) fn sha256(path: Bytes) -> Result<Text, String> {
    let digest = File::open(OsStr::from_bytes(&path)).and_then(digest).map_err(|error| reason(&error))?;
    Ok(Text(line(&digest, &path)))
}

fn digest(mut file: File) -> io::Result<[u8; 32]> {
    with_block(|block| digest_through(block, &mut file))
}

fn digest_through(block: &mut [u8], file: &mut File) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    loop {
        match file.read(block) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => hasher.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A name that would break the line, or be mistaken for an escaped one, is escaped, and a backslash in front of the
/// whole line says so: then `sha256sum --check` reads it back.
fn line(digest: &[u8], path: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(67 + path.len());
    if path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        line.push(b'\\');
    }
    for byte in digest {
        line.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    line.extend_from_slice(b"  ");
    for byte in path {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(*other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn digests_are_right_whatever_the_size() {
        let cases: [(&[u8], usize, &str); 3] = [
            (b"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (b"a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for (unit, times, digest) in cases {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&unit.repeat(times)).unwrap();
            let name = file.path().to_str().unwrap();
            let line = sha256(name.as_bytes().into()).unwrap();
            assert_eq!(String::from_utf8(line.0).unwrap(), format!("{digest}  {name}"));
        }
    }

    #[test]
    fn names_that_would_break_the_line_are_escaped() {
        assert_eq!(line(&[0xab], b"plain \xff"), b"ab  plain \xff");
        assert_eq!(line(&[0x01], b"a\\b\nc\rd"), b"\\01  a\\\\b\\nc\\rd");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(sha256(b"/"[..].into()).unwrap_err(), "Is a directory");
        assert_eq!(sha256(b"/no/such"[..].into()).unwrap_err(), "No such file or directory");
    }
}
