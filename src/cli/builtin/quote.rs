//! How GNU's tools show a name that would break a line: quoted for the shell.

use super::locale::Locale;

/// `name` between single quotes, with what cannot be shown as `$'…'`: `a␊b` becomes `'a'$'\n''b'`.
pub(super) fn shell_escape(name: &[u8], locale: &Locale) -> Vec<u8> {
    let mut quoted = Quoted { out: vec![b'\''], escaping: false };
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            let plain = c.is_ascii() || locale.utf8;
            quoted.push(c.encode_utf8(&mut [0; 4]).as_bytes(), plain && locale.is_printable(c));
        }
        quoted.push(chunk.invalid(), false);
    }
    quoted.out.push(b'\'');
    quoted.out
}

struct Quoted {
    out: Vec<u8>,
    /// Within `$'…'`, as opposed to `'…'`.
    escaping: bool,
}

impl Quoted {
    fn push(&mut self, bytes: &[u8], printable: bool) {
        if bytes.is_empty() {
            return;
        }
        if bytes == b"'" {
            self.out.extend_from_slice(b"'\\''");
            self.escaping = false;
            return;
        }
        match (self.escaping, printable) {
            (true, true) => self.out.extend_from_slice(b"''"),
            (false, false) => self.out.extend_from_slice(b"'$'"),
            _ => {}
        }
        self.escaping = !printable;
        match printable {
            true => self.out.extend_from_slice(bytes),
            false => bytes.iter().for_each(|byte| self.escape(*byte)),
        }
    }

    fn escape(&mut self, byte: u8) {
        match b"abtnvfr".get(usize::from(byte).wrapping_sub(7)) {
            Some(letter) => self.out.extend_from_slice(&[b'\\', *letter]),
            None => self.out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_as_gnu_shows_them() {
        let unicode = Locale::named(c"C.UTF-8").unwrap();
        let plain = Locale::named(c"C").unwrap();
        let cases: [(&[u8], &str, &str); 8] = [
            (b"a\nb", r"'a'$'\n''b'", r"'a'$'\n''b'"),
            (b"a\n\tb", r"'a'$'\n\t''b'", r"'a'$'\n\t''b'"),
            (b"\na'b", r"''$'\n''a'\''b'", r"''$'\n''a'\''b'"),
            (b"a\n'b'", r"'a'$'\n'\''b'\'''", r"'a'$'\n'\''b'\'''"),
            ("é\nx".as_bytes(), r"'é'$'\n''x'", r"''$'\303\251\n''x'"),
            (b"\xff\nx", r"''$'\377\n''x'", r"''$'\377\n''x'"),
            (b"a\x01\n2", r"'a'$'\001\n''2'", r"'a'$'\001\n''2'"),
            (b"\n\x7f", r"''$'\n\177'", r"''$'\n\177'"),
        ];
        for (name, in_unicode, in_c) in cases {
            assert_eq!(String::from_utf8(shell_escape(name, &unicode)).unwrap(), in_unicode);
            assert_eq!(String::from_utf8(shell_escape(name, &plain)).unwrap(), in_c);
        }
    }
}
