//! A captured stream, taken apart by the marks that the worker writes around each job's part of it.

use std::collections::HashMap;

use sidestep_worker::wire::Mark;

use super::body::Body;

/// Splits a worker's captured output into its jobs' parts. What comes between jobs is dropped.
#[derive(Debug)]
pub(super) struct Splitter {
    mark: Mark,
    /// The stream's last bytes, if they may be the beginning of a mark; fewer than a mark has.
    held: Vec<u8>,
    /// The job whose part has begun and not ended.
    open: Option<(u64, Body)>,
    /// Parts that have ended and were not taken.
    done: HashMap<u64, Body>,
}

impl Splitter {
    pub(super) fn new(mark: Mark) -> Splitter {
        Splitter { mark, held: Vec::new(), open: None, done: HashMap::new() }
    }

    /// Takes the stream's next bytes and shows all that is no mark, what comes between jobs too.
    pub(super) fn push(&mut self, bytes: &[u8], mut show: impl FnMut(&[u8])) {
        let joined;
        let mut rest = match self.held.is_empty() {
            true => bytes,
            false => {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(bytes);
                joined = held;
                &joined
            }
        };
        loop {
            let (data, from_mark) = rest.split_at(self.find(rest));
            self.data(data, &mut show);
            let Some((mark, behind)) = from_mark.split_first_chunk::<{ Mark::LEN }>() else {
                self.held = from_mark.to_vec();
                return;
            };
            self.begin(u64::from_le_bytes(*mark.last_chunk().unwrap_or(&[0; 8])));
            rest = behind;
        }
    }

    /// Nothing more will come: what might have become a mark is none.
    pub(super) fn finish(&mut self, mut show: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        self.data(&held, &mut show);
    }

    /// What a job has printed, once its part has ended. Of several attempts on this worker it is the last one's.
    pub(super) fn take(&mut self, id: u64) -> Option<Vec<u8>> {
        self.done.remove(&id).map(Body::into_bytes)
    }

    /// The job whose part did not end, because the worker did, and what it had printed.
    pub(super) fn take_open(&mut self) -> Option<(u64, Vec<u8>)> {
        self.finish(|_| {});
        self.open.take().map(|(id, body)| (id, body.into_bytes()))
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.done.contains_key(&id)
    }

    fn data(&mut self, data: &[u8], show: &mut impl FnMut(&[u8])) {
        if data.is_empty() {
            return;
        }
        show(data);
        if let Some((_, body)) = &mut self.open {
            body.push(data);
        }
    }

    fn begin(&mut self, id: u64) {
        if let Some((id, body)) = self.open.take() {
            self.done.insert(id, body);
        }
        if id != Mark::END {
            self.open = Some((id, Body::new()));
        }
    }

    /// Where the first mark begins, or what may become one at the end; the length if there is neither.
    fn find(&self, bytes: &[u8]) -> usize {
        let nonce = &self.mark.nonce;
        let mut at = 0;
        while let Some(step) = bytes[at..].iter().position(|byte| *byte == nonce[0]) {
            at += step;
            let here = &bytes[at..bytes.len().min(at + nonce.len())];
            if nonce.starts_with(here) {
                return at;
            }
            at += 1;
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With repeated bytes, so that data often looks like the beginning of it.
    const MARK: Mark = Mark { nonce: *b"aabaabaaabaabaab" };

    #[test]
    fn a_torn_mark_at_the_end_is_data() {
        let mut splitter = Splitter::new(MARK);
        splitter.push(&MARK.bytes(7), |_| {});
        splitter.push(b"text aab", |_| {});
        assert_eq!(splitter.take(7), None);
        assert_eq!(splitter.take_open(), Some((7, b"text aab".to_vec())));
        assert_eq!(splitter.take_open(), None);
    }

    #[test]
    fn the_last_attempt_counts() {
        let mut splitter = Splitter::new(MARK);
        for part in [&MARK.bytes(1)[..], b"first", &MARK.bytes(1), b"second", &MARK.bytes(2)] {
            splitter.push(part, |_| {});
        }
        assert_eq!(splitter.take(1), Some(b"second".to_vec()));
        assert_eq!(splitter.take(1), None);
    }

    /// The same from the whole stream, byte by byte.
    fn model(stream: &[u8]) -> (Vec<(u64, Vec<u8>)>, Vec<u8>) {
        let (mut parts, mut shown) = (vec![(Mark::END, Vec::new())], Vec::new());
        let mut at = 0;
        while at < stream.len() {
            if stream[at..].starts_with(&MARK.nonce) && stream.len() - at >= Mark::LEN {
                parts.push((u64::from_le_bytes(stream[at + 16..at + 24].try_into().unwrap()), Vec::new()));
                at += Mark::LEN;
            } else {
                parts.last_mut().unwrap().1.push(stream[at]);
                shown.push(stream[at]);
                at += 1;
            }
        }
        (parts, shown)
    }

    #[derive(Debug, Clone)]
    enum Piece {
        Data(Vec<u8>),
        Mark(Option<u64>),
        Torn(usize),
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let data = prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'x']), 0..40);
        prop::collection::vec(
            prop_oneof![
                data.prop_map(Piece::Data),
                any::<Option<u64>>().prop_map(Piece::Mark),
                (0..Mark::LEN).prop_map(Piece::Torn),
            ],
            0..20,
        )
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(pieces in pieces(), cuts in prop::collection::vec(1..60usize, 1..20)) {
            let mut stream = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Data(data) => stream.extend_from_slice(&data),
                    Piece::Mark(id) => stream.extend_from_slice(&MARK.bytes(id.unwrap_or(Mark::END))),
                    Piece::Torn(len) => stream.extend_from_slice(&MARK.bytes(5)[..len]),
                }
            }
            let (mut splitter, mut shown) = (Splitter::new(MARK), Vec::new());
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                splitter.push(piece, |bytes| shown.extend_from_slice(bytes));
                rest = more;
            }
            splitter.finish(|bytes| shown.extend_from_slice(bytes));

            let (mut parts, expected) = model(&stream);
            prop_assert_eq!(shown, expected);
            let (last, body) = parts.pop().unwrap();
            prop_assert_eq!(splitter.take_open(), (last != Mark::END).then_some((last, body)));
            let ended: HashMap<u64, Vec<u8>> = parts.into_iter().filter(|(id, _)| *id != Mark::END).collect();
            prop_assert_eq!(splitter.done.len(), ended.len());
            for (id, body) in ended {
                prop_assert_eq!(splitter.take(id), Some(body));
            }
        }
    }
}
