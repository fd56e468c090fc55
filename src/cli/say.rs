//! What the command tells people, on standard error and never on standard output.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use super::progress;

/// The command as it is installed.
pub(super) const POOL_RUN: &str = "pool-run";

/// The name by which this program was called.
pub(super) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::args_os().next().unwrap_or_default();
        match Path::new(&path).file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => POOL_RUN.to_owned(),
        }
    })
}

/// What was typed to start this program, quoted for a shell where that is needed.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once(program().to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:,=+@%^".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Writes one line. If nobody can read it, nobody can be told.
pub(super) fn say(message: impl Display) {
    write_all(format!("{}: {message}\n", program()).as_bytes());
}

/// Writes a text that is already whole, in one piece, so that no other process's lines get between, nor a bar.
pub(super) fn write_all(text: &[u8]) {
    let _ = progress::apart(text, || io::stderr().write_all(text));
}

/// What went wrong, as the shell's own tools say it: without the error's number, and without the name of a temporary file
/// that nobody has asked for.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    // So it stands behind the number where tempfile tells of an error.
    let has_number = error.raw_os_error().is_some() || text.contains(") at path \"");
    match text.rfind(" (os error ").filter(|_| has_number) {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them() {
        for (word, typed) in
            [("-w4", "-w4"), (":::", ":::"), ("a b", "'a b'"), ("", "''"), ("it's", "'it'\\''s'")]
        {
            assert_eq!(quoted(word), typed);
        }
    }

    #[test]
    fn a_reason_has_no_number() {
        assert_eq!(reason(&io::Error::from_raw_os_error(13)), "Permission denied");
        assert_eq!(reason(&io::Error::other("worn out (os error")), "worn out (os error");
        let of_temporary = tempfile::tempdir_in("/no/such").unwrap_err();
        assert_eq!(reason(&of_temporary), "No such file or directory");
    }
}
