//! What one job has printed, with a limit.

/// Bytes of one job that are kept; of more, the first and the last half of these.
const LIMIT: usize = 64 << 20;

/// A job's captured bytes.
#[derive(Debug)]
pub(super) struct Body {
    /// Up to the limit as they came. Beyond it the second half is a ring whose oldest byte stands at `oldest`.
    bytes: Vec<u8>,
    oldest: usize,
    left_out: u64,
    half: usize,
}

impl Body {
    pub(super) fn new() -> Body {
        Body::with_limit(LIMIT)
    }

    fn with_limit(limit: usize) -> Body {
        Body { bytes: Vec::new(), oldest: limit / 2, left_out: 0, half: limit / 2 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let limit = 2 * self.half;
        let (fits, mut rest) = bytes.split_at(bytes.len().min(limit - self.bytes.len()));
        self.bytes.extend_from_slice(fits);
        self.left_out += rest.len() as u64;
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(limit - self.oldest));
            self.bytes[self.oldest..][..part.len()].copy_from_slice(part);
            self.oldest += part.len();
            if self.oldest == limit {
                self.oldest = self.half;
            }
            rest = more;
        }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.left_out > 0 {
            self.bytes[self.half..].rotate_left(self.oldest - self.half);
            let note = format!("\n[sidestep: {} bytes are left out here]\n", self.left_out);
            self.bytes.splice(self.half..self.half, note.into_bytes());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_beginning_and_the_end(pieces: Vec<Vec<u8>>) {
            let mut body = Body::with_limit(64);
            pieces.iter().for_each(|piece| body.push(piece));
            let all = pieces.concat();
            let expected = match all.len().checked_sub(64) {
                None | Some(0) => all,
                Some(more) => {
                    let note = format!("\n[sidestep: {more} bytes are left out here]\n");
                    [&all[..32], note.as_bytes(), &all[all.len() - 32..]].concat()
                }
            };
            prop_assert_eq!(body.into_bytes(), expected);
        }
    }
}
