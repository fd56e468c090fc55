//! What the user's locale takes for printable and for white space.
//!
//! `wc` counts words by the locale of its environment, and Rust's own tables differ from the C library's in detail.
//! So the C library is asked: in a locale object of our own, because `setlocale` would change the whole process,
//! and with it what a user's jobs and their C libraries see.

use std::ffi::{CStr, c_int, c_uint};
use std::sync::OnceLock;

use nix::libc;

unsafe extern "C" {
    fn iswprint_l(c: c_uint, locale: libc::locale_t) -> c_int;
    fn iswspace_l(c: c_uint, locale: libc::locale_t) -> c_int;
    fn btowc(c: c_int) -> c_uint;
}

/// What a character is to someone who counts words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It ends a word.
    Space,
    /// It is part of a word, or begins one.
    Word,
    /// It cannot be printed: it neither begins a word nor ends one.
    Nothing,
}

/// A locale's view of characters.
pub(super) struct Locale {
    handle: libc::locale_t,
    /// Characters above ASCII take several bytes, in UTF-8.
    pub(super) utf8: bool,
    /// The class of each byte that is a character by itself.
    pub(super) bytes: [Class; 256],
    /// Non-breaking spaces separate words, unless POSIX is to be followed to the letter.
    wide_spaces: bool,
}

// SAFETY: a locale object is never changed after it was made, and the functions that take one may be called from any
// thread.
unsafe impl Send for Locale {}
// SAFETY: as above.
unsafe impl Sync for Locale {}

impl Locale {
    /// The one that `LC_ALL`, `LC_CTYPE` and `LANG` name.
    pub(super) fn of_environment() -> &'static Locale {
        static LOCALE: OnceLock<Locale> = OnceLock::new();
        LOCALE.get_or_init(|| Locale::named(c"").unwrap_or_else(Locale::ascii))
    }

    /// `None` if the system does not have it.
    pub(super) fn named(name: &CStr) -> Option<Locale> {
        // SAFETY: the name is a C string, and a null base asks for a new object.
        let handle = unsafe { libc::newlocale(libc::LC_CTYPE_MASK, name.as_ptr(), std::ptr::null_mut()) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: the handle is a valid locale; the text is copied before anything could change it.
        let codeset = unsafe { CStr::from_ptr(libc::nl_langinfo_l(libc::CODESET, handle)).to_owned() };
        let wide_spaces = std::env::var_os("POSIXLY_CORRECT").is_none();
        let utf8 = codeset.to_bytes().eq_ignore_ascii_case(b"UTF-8");
        let mut locale = Locale { handle, utf8, bytes: [Class::Nothing; 256], wide_spaces };
        locale.fill_bytes();
        Some(locale)
    }

    /// What is left when the environment names a locale that does not exist.
    fn ascii() -> Locale {
        Locale::named(c"C").unwrap_or_else(|| {
            let bytes = std::array::from_fn(|byte| match byte as u8 {
                b'\t'..=b'\r' | b' ' => Class::Space,
                b'!'..=b'~' => Class::Word,
                _ => Class::Nothing,
            });
            Locale { handle: std::ptr::null_mut(), utf8: false, bytes, wide_spaces: false }
        })
    }

    fn fill_bytes(&mut self) {
        // SAFETY: the handle is a valid locale. It is this thread's only until the next call of uselocale below.
        let before = unsafe { libc::uselocale(self.handle) };
        for byte in 0..=255u8 {
            // SAFETY: the argument is in the range of an unsigned char.
            let wide = unsafe { btowc(c_int::from(byte)) };
            self.bytes[usize::from(byte)] = match (byte, char::from_u32(wide)) {
                (b'\t'..=b'\r', _) => Class::Space,
                (_, Some(c)) => self.class_of(c),
                (_, None) => Class::Nothing,
            };
        }
        // SAFETY: `before` is what this thread used until now.
        unsafe { libc::uselocale(before) };
    }

    /// The class of a character above ASCII.
    pub(super) fn class_of(&self, c: char) -> Class {
        match c {
            _ if !self.is_printable(c) => Class::Nothing,
            // SAFETY: the handle is a valid locale, or no character would be printable.
            _ if unsafe { iswspace_l(c_uint::from(c), self.handle) } != 0 => Class::Space,
            '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{2060}' if self.wide_spaces => Class::Space,
            _ => Class::Word,
        }
    }

    /// Whether a character can be shown as it is.
    pub(super) fn is_printable(&self, c: char) -> bool {
        match self.handle.is_null() {
            true => matches!(c, ' '..='~'),
            // SAFETY: the handle is a valid locale.
            false => unsafe { iswprint_l(c_uint::from(c), self.handle) != 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_the_same_everywhere() {
        let plain = Locale::named(c"C").unwrap();
        let unicode = Locale::named(c"C.UTF-8").unwrap();
        assert!(unicode.utf8 && !plain.utf8);
        assert_eq!(plain.bytes[..128], unicode.bytes[..128]);
        for (byte, class) in
            [(b' ', Class::Space), (b'\x0b', Class::Space), (b'~', Class::Word), (7, Class::Nothing)]
        {
            assert_eq!(plain.bytes[usize::from(byte)], class, "{byte}");
        }
        assert_eq!(plain.bytes[0xa0], Class::Nothing);
    }

    #[test]
    fn characters_above_ascii_are_the_locales() {
        let unicode = Locale::named(c"C.UTF-8").unwrap();
        for (c, class) in [('é', Class::Word), ('\u{2003}', Class::Space), ('\u{a0}', Class::Space)] {
            assert_eq!(unicode.class_of(c), class, "{c:?}");
        }
        assert_eq!(unicode.class_of('\u{85}'), Class::Nothing);
    }
}
