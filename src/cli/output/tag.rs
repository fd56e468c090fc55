//! Tags before lines.

/// The text with the tag and a tab before each of its lines; nothing if there is none.
pub(super) fn tagged(tag: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + tag.len() + 1);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(tag);
        out.push(b'\t');
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_begins_with_the_tag() {
        for (text, expected) in
            [("", ""), ("x", "a\tx"), ("x\n", "a\tx\n"), ("\n\nx", "a\t\na\t\na\tx"), ("\r\n", "a\t\r\n")]
        {
            assert_eq!(tagged(b"a", text.as_bytes()), expected.as_bytes(), "{text:?}");
        }
    }
}
