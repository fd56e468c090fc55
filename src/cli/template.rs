//! Where an input goes in the command of `exec` and in the line of `sh`.

use std::borrow::Cow;

/// Stands for the input.
const HOLE: &[u8] = b"{}";

/// The words of a command with the input in place of each `{}`, or behind them if there is none.
pub(super) fn fill_words(words: &[Vec<u8>], input: &[u8]) -> Vec<Vec<u8>> {
    let mut filled = Vec::with_capacity(words.len() + 1);
    let mut used = false;
    for word in words {
        let (word, hit) = replace(word, input);
        used |= hit;
        filled.push(word);
    }
    if !used {
        filled.push(input.to_vec());
    }
    filled
}

/// A line of shell with the input, quoted, in place of each `{}`, or behind it if there is none.
pub(super) fn fill_line(line: &[u8], input: &[u8]) -> Vec<u8> {
    let quoted = shell_quote(input);
    match replace(line, &quoted) {
        (line, true) => line,
        (line, false) => [&line, &b" "[..], &quoted].concat(),
    }
}

fn replace(text: &[u8], input: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(text.len() + input.len());
    let mut rest = text;
    while let Some(at) = rest.windows(HOLE.len()).position(|window| window == HOLE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(input);
        rest = &rest[at + HOLE.len()..];
    }
    out.extend_from_slice(rest);
    (out, rest.len() < text.len())
}

/// `text` as one word for a POSIX shell, whatever is in it.
fn shell_quote(text: &[u8]) -> Cow<'_, [u8]> {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:@%+,".contains(byte);
    if !text.is_empty() && text.iter().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'\'');
    for byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_input_goes_where_it_belongs() {
        assert_eq!(fill_words(&words(&["gzip", "-9"]), b"a b"), words(&["gzip", "-9", "a b"]));
        assert_eq!(fill_words(&words(&["cp", "{}", "{}.bak"]), b"a"), words(&["cp", "a", "a.bak"]));
        assert_eq!(fill_words(&words(&["{}"]), b"{}"), words(&["{}"]));
        assert_eq!(fill_words(&words(&["x{}{}y"]), b"-"), words(&["x--y"]));
        assert_eq!(fill_line(b"wc -l < {}", b"a b"), b"wc -l < 'a b'");
        assert_eq!(fill_line(b"echo", b"it's"), br"echo 'it'\''s'");
        assert_eq!(fill_line(b"echo", b""), b"echo ''");
        assert_eq!(fill_line(b"echo {} {}", b"-n"), b"echo -n -n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_any_input_as_one_word(input in proptest::collection::vec(1u8..=255, 0..40)) {
            let line = fill_line(b"printf %s,", &input);
            let output = std::process::Command::new("/bin/sh").arg("-c").arg(OsStr::from_bytes(&line)).output()?;
            // `printf %s, X`: the format, then the word and the comma.
            prop_assert_eq!(output.stdout, [&input[..], b","].concat());
        }
    }
}
