//! The last words of a byte stream, for the error of a job whose worker has died.

/// The last [`Tail::LEN`] bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Up to twice the length, so that it is moved together only now and then.
    bytes: Vec<u8>,
    /// Bytes were let go that came before these.
    cut: bool,
}

impl Tail {
    pub(super) const LEN: usize = 8 << 10;
    /// One more than is shown: the byte before tells whether the part shown begins with a line.
    const KEPT: usize = Tail::LEN + 1;

    pub(super) fn new() -> Tail {
        Tail::default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = match bytes.len().checked_sub(Tail::KEPT) {
            Some(more) => {
                self.cut |= more > 0 || !self.bytes.is_empty();
                self.bytes.clear();
                &bytes[more..]
            }
            None => bytes,
        };
        if self.bytes.len() + bytes.len() > 2 * Tail::KEPT {
            let surplus = (self.bytes.len() + bytes.len() - Tail::KEPT).min(self.bytes.len());
            self.bytes.drain(..surplus);
            self.cut = true;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The text without blanks around it. If earlier bytes are missing it begins with a whole line, where there is
    /// one.
    pub(super) fn to_string_lossy(&self) -> String {
        let start = self.bytes.len().saturating_sub(Tail::LEN);
        let (before, shown) = self.bytes.split_at(start);
        let torn = match before.last() {
            Some(byte) => *byte != b'\n',
            None => self.cut,
        };
        let shown = if torn { from_a_line_on(shown) } else { shown };
        String::from_utf8_lossy(shown).trim().to_owned()
    }
}

/// What follows the first line's rest; if there is no more than that, this rest from its first whole character on.
fn from_a_line_on(text: &[u8]) -> &[u8] {
    if let Some(end) = text.iter().position(|byte| *byte == b'\n')
        && text[end..].iter().any(|byte| !byte.is_ascii_whitespace())
    {
        return &text[end + 1..];
    }
    let torn = text.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    &text[torn..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_tail_begins_with_a_whole_line() {
        let mut tail = Tail::new();
        for line in 0..5000 {
            tail.push(format!("line {line}\n").as_bytes());
        }
        let text = tail.to_string_lossy();
        assert!(text.starts_with("line ") && text.ends_with("line 4999"), "{text}");
        assert!(text.len() > Tail::LEN - 20);
    }

    #[test]
    fn a_line_longer_than_the_tail_is_shown_from_a_character_on() {
        let mut tail = Tail::new();
        tail.push("ü".repeat(Tail::LEN).as_bytes());
        tail.push(b"x\n");
        let text = tail.to_string_lossy();
        assert!(text.starts_with('ü') && text.ends_with("üx"));
    }

    #[test]
    fn an_uncut_tail_is_whole() {
        let mut tail = Tail::new();
        tail.push(b"half a line");
        tail.push(b" and the rest\n\n");
        assert_eq!(tail.to_string_lossy(), "half a line and the rest");
    }

    /// The same from the whole stream.
    fn model(stream: &[u8]) -> String {
        let start = stream.len().saturating_sub(Tail::LEN);
        let torn = start > 0 && stream[start - 1] != b'\n';
        let shown = if torn { from_a_line_on(&stream[start..]) } else { &stream[start..] };
        String::from_utf8_lossy(shown).trim().to_owned()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_the_end_of_the_stream(
            pieces in prop::collection::vec((prop::sample::select(vec![b'a', b'\n', b' ', 0xC3]), 0..12_000usize), 0..8)
        ) {
            let (mut tail, mut stream) = (Tail::new(), Vec::new());
            for (byte, count) in pieces {
                let mut piece = vec![byte; count];
                piece.push(b'.');
                tail.push(&piece);
                stream.extend_from_slice(&piece);
            }
            prop_assert_eq!(tail.to_string_lossy(), model(&stream));
        }
    }
}
