//! `wc`: what `wc FILE` prints for one file.
//!
//! GNU's `wc` makes its columns as wide as the *total* of the files it was given, which one job for one file cannot
//! know. So a line here is the one of `wc FILE` by itself; of several files the numbers are the same, and the blanks
//! may differ.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use sidestep_worker::Bytes;

use super::locale::{Class, Locale};
use super::quote::shell_escape;
use super::{Text, with_block};
use crate::cli::say::reason;

/// Lines, words, bytes and name of a file.
pub(super) fn wc(path: Bytes) -> Result<Text, String> {
    let locale = Locale::of_environment();
    let counted = File::open(OsStr::from_bytes(&path)).and_then(|mut file| {
        let width = width(&file.metadata()?);
        Ok((width, count(&mut file, locale)?))
    });
    let (width, counts) = counted.map_err(|error| reason(&error))?;
    Ok(Text(line(&counts, width, &path, locale)))
}

/// The numbers are as wide as the largest one could be; where the size says nothing, seven digits.
fn width(metadata: &Metadata) -> usize {
    match metadata.is_file() {
        true => metadata.len().checked_ilog10().unwrap_or(0) as usize + 1,
        false => 7,
    }
}

fn line(counts: &Counts, width: usize, path: &[u8], locale: &Locale) -> Vec<u8> {
    let Counts { lines, words, bytes, .. } = counts;
    let mut line = format!("{lines:width$} {words:width$} {bytes:width$} ").into_bytes();
    match path.contains(&b'\n') {
        true => line.extend_from_slice(&shell_escape(path, locale)),
        false => line.extend_from_slice(path),
    }
    line
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    in_word: bool,
}

fn count(input: &mut impl Read, locale: &Locale) -> io::Result<Counts> {
    with_block(|block| count_through(block, input, locale))
}

fn count_through(block: &mut [u8], input: &mut impl Read, locale: &Locale) -> io::Result<Counts> {
    let mut counts = Counts::default();
    // Bytes at the block's front that begin a character whose rest has not been read yet.
    let mut kept = 0;
    loop {
        let read = match input.read(&mut block[kept..]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        counts.bytes += read as u64;
        let end = kept + read;
        let rest = counts.take(&block[..end], locale);
        kept = rest;
        block.copy_within(end - rest..end, 0);
    }
    counts.words += u64::from(counts.in_word);
    Ok(counts)
}

impl Counts {
    /// Returns how many bytes at the end are an unfinished character. None of them ends a line.
    fn take(&mut self, block: &[u8], locale: &Locale) -> usize {
        self.lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut rest = block;
        while let Some((byte, after)) = rest.split_first() {
            if byte.is_ascii() || !locale.utf8 {
                self.step(locale.bytes[usize::from(*byte)]);
                rest = after;
                continue;
            }
            match first_char(rest) {
                First::Char(c) => {
                    self.step(locale.class_of(c));
                    rest = &rest[c.len_utf8()..];
                }
                First::Invalid => rest = after,
                First::Unfinished => return rest.len(),
            }
        }
        0
    }

    #[inline]
    fn step(&mut self, class: Class) {
        match class {
            Class::Space => {
                self.words += u64::from(self.in_word);
                self.in_word = false;
            }
            Class::Word => self.in_word = true,
            Class::Nothing => {}
        }
    }
}

enum First {
    Char(char),
    Invalid,
    Unfinished,
}

/// The UTF-8 character that begins with a byte above ASCII.
fn first_char(bytes: &[u8]) -> First {
    let front = &bytes[..bytes.len().min(4)];
    let (valid, error) = match str::from_utf8(front) {
        Ok(text) => (text, None),
        Err(error) => (str::from_utf8(&front[..error.valid_up_to()]).unwrap_or_default(), Some(error)),
    };
    match (valid.chars().next(), error.map(|error| error.error_len())) {
        (Some(c), _) => First::Char(c),
        (None, Some(None)) => First::Unfinished,
        (None, _) => First::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one by one, the worst that a reader can do.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = 1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    fn counts(bytes: &[u8], locale: &Locale) -> (u64, u64, u64) {
        let all = count(&mut &bytes[..], locale).unwrap();
        assert_eq!(all, count(&mut Trickle(bytes), locale).unwrap());
        (all.lines, all.words, all.bytes)
    }

    #[test]
    fn words_are_what_the_locale_says() {
        let unicode = Locale::named(c"C.UTF-8").unwrap();
        let plain = Locale::named(c"C").unwrap();
        let mixed = b"a\xc2\xa0b c\xe2\x80\x83d \xff\xfe g\x01h i\x1cj k\n";
        assert_eq!(counts(mixed, &plain), (1, 5, 24));
        assert_eq!(counts(mixed, &unicode), (1, 7, 24));
        assert_eq!(counts(b"", &plain), (0, 0, 0));
        assert_eq!(counts(b"no newline", &plain), (0, 2, 10));
        assert_eq!(counts(b"\x00\x01\x02 \x7f", &plain), (0, 0, 5));
        assert_eq!(counts("日本 語\u{3000}x".as_bytes(), &unicode), (0, 3, 14));
        assert_eq!(counts(b"cut \xe2\x82", &unicode), (0, 1, 6));
        assert_eq!(counts(b"\xe2 \xe2A", &unicode), (0, 1, 4));
    }

    #[test]
    fn columns_are_as_wide_as_the_size() {
        let plain = Locale::named(c"C").unwrap();
        let counts = Counts { lines: 3, words: 14, bytes: 200, in_word: false };
        assert_eq!(line(&counts, 3, b"x", &plain), b"  3  14 200 x");
        assert_eq!(line(&counts, 7, b"a\nb", &plain), br"      3      14     200 'a'$'\n''b'");
    }
}
