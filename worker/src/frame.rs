//! Frames: how the byte stream of a pipe is cut into messages.
//!
//! ```text
//!   0       4      5     6       8
//!   | length | kind | aux | check | body: `length` bytes ...
//! ```
//!
//! The check covers length, kind, aux and the frame's number in its stream, so that a flipped bit in a header, a
//! byte that got lost or a foreign write into the pipe is noticed at the next header. The length is compared with
//! the limit before anything is allocated for it. Bodies have no checksum: a pipe inside one kernel does not flip
//! bits, and a worker gone mad would compute a right one.

use std::ops::Range;

use crate::codec::MAX_BODY;

/// Bytes of a header.
pub const HEADER: usize = 8;

/// A buffer that holds more than this is given back once it is empty.
const KEEP: usize = 1 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Parent to worker, once: how the worker is to set itself up.
    Setup = 0x51,
    /// Parent to worker: a run of items of one job.
    Run = 0x52,
    /// Parent to worker: end in good order.
    Bye = 0x53,
    /// Parent to worker: a value that runs may name from now on; see [`Offer`](crate::shared::Offer).
    Share = 0x54,
    /// Parent to worker: the number of one that they will not name any more.
    Forget = 0x55,
    /// Worker to parent, first: who it is and which jobs it has.
    Hello = 0xA1,
    /// Worker to parent, second: the initializer's outcome.
    Ready = 0xA2,
    /// Worker to parent: an item's result; `aux` is the [duration code](duration_code).
    Done = 0xA3,
    /// Worker to parent: an item that has no result, and why.
    Fault = 0xA4,
    /// Worker to parent: as `Done`, but the body tells in which [place](crate::blocks::Place) the result lies.
    Placed = 0xA5,
    /// Worker to parent: nothing of that value is left here.
    Forgotten = 0xA6,
}

impl Kind {
    #[inline]
    fn from_byte(byte: u8) -> Option<Kind> {
        KINDS[usize::from(byte)]
    }
}

/// The kinds by their bytes.
static KINDS: [Option<Kind>; 256] = {
    use Kind::*;
    let all = [Setup, Run, Bye, Share, Forget, Hello, Ready, Done, Fault, Placed, Forgotten];
    let (mut kinds, mut at) = ([None; 256], 0);
    while at < all.len() {
        kinds[all[at] as usize] = Some(all[at]);
        at += 1;
    }
    kinds
};

/// A stream that is no sequence of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The header's check does not fit its fields or its place in the stream.
    BadHeader,
    /// The body would be longer than [`MAX_BODY`].
    TooLong(u32),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::BadHeader => f.write_str("a frame's header does not check"),
            FrameError::TooLong(len) => write!(f, "a frame claims {len} bytes, more than {MAX_BODY}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// A frame's header without its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the body.
    pub len: u32,
    /// What the body is.
    pub kind: Kind,
    /// A byte of the kind's own.
    pub aux: u8,
}

/// Folds the fields so that one flipped bit anywhere flips one bit of the result.
#[inline]
fn check(len: u32, kind: u8, aux: u8, number: u64) -> u16 {
    let low = len as u16;
    let high = (len >> 16) as u16;
    low ^ high.rotate_left(5)
        ^ u16::from_le_bytes([kind, aux]).rotate_left(11)
        ^ (number as u16).rotate_left(3)
        ^ 0x5D57
}

impl Header {
    /// The header's bytes as the `number`-th frame of its stream.
    #[inline]
    pub fn to_bytes(self, number: u64) -> [u8; HEADER] {
        let [a, b, c, d] = self.len.to_le_bytes();
        let [e, f] = check(self.len, self.kind as u8, self.aux, number).to_le_bytes();
        [a, b, c, d, self.kind as u8, self.aux, e, f]
    }

    /// Reads and checks the header of the `number`-th frame of a stream.
    #[inline]
    pub fn from_bytes(bytes: [u8; HEADER], number: u64) -> Result<Header, FrameError> {
        let [a, b, c, d, kind, aux, e, f] = bytes;
        let len = u32::from_le_bytes([a, b, c, d]);
        if check(len, kind, aux, number) != u16::from_le_bytes([e, f]) {
            return Err(FrameError::BadHeader);
        }
        let kind = Kind::from_byte(kind).ok_or(FrameError::BadHeader)?;
        if len as usize > MAX_BODY {
            return Err(FrameError::TooLong(len));
        }
        Ok(Header { len, kind, aux })
    }
}

/// Appends one frame to `out`.
///
/// # Panics
/// If the body is longer than [`MAX_BODY`]; the codec refuses such a value before.
pub fn push(out: &mut Vec<u8>, number: u64, kind: Kind, aux: u8, body: &[u8]) {
    assert!(body.len() <= MAX_BODY, "a body of {} bytes was never checked", body.len());
    out.extend_from_slice(&Header { len: body.len() as u32, kind, aux }.to_bytes(number));
    out.extend_from_slice(body);
}

/// Cuts frames out of the bytes of a stream as they come.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Always initialised to its full length; `start..end` holds bytes that wait.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Frames taken so far.
    number: u64,
}

impl Assembler {
    /// An empty one; it takes memory when the first bytes come.
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// Bytes that came but are no whole frame yet, or whole frames not taken yet.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.end - self.start
    }

    /// Those bytes.
    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Room to read into, at least `least` bytes or what the frame that has begun still lacks.
    pub fn room(&mut self, least: usize) -> Result<&mut [u8], FrameError> {
        let whole = match self.header()? {
            Some(header) => HEADER + header.len as usize,
            None => 0,
        };
        let wanted = whole.saturating_sub(self.waiting()).max(least);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEEP && wanted <= KEEP {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < wanted {
            let held = self.start..self.end;
            (self.start, self.end) = (0, held.len());
            if self.buffer.len() - self.end >= wanted {
                self.buffer.copy_within(held, 0);
            } else {
                // Fresh zeroed memory is not written to before it is needed; grown memory would be. With `least` bytes
                // more a large frame's last part does not make it grow again.
                let mut larger = vec![0; self.end + wanted + least];
                larger[..self.end].copy_from_slice(&self.buffer[held]);
                self.buffer = larger;
            }
        }
        Ok(&mut self.buffer[self.end..])
    }

    /// Says that the first `count` bytes of [`room`](Self::room) have been filled.
    pub fn filled(&mut self, count: usize) {
        assert!(self.end + count <= self.buffer.len(), "more was read than there was room for");
        self.end += count;
    }

    /// Adds bytes that are at hand already.
    pub fn extend(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len().min(KEEP))?;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Whether [`next`](Self::next) would give a frame.
    pub fn has_frame(&self) -> bool {
        matches!(self.header(), Ok(Some(header)) if self.waiting() >= HEADER + header.len as usize)
    }

    /// The next whole frame, if all of its bytes are here.
    #[expect(clippy::should_implement_trait, reason = "it borrows from self, which an Iterator cannot")]
    pub fn next(&mut self) -> Result<Option<(Header, &[u8])>, FrameError> {
        let frame = self.next_range()?;
        Ok(frame.map(|(header, body)| (header, self.bytes(body))))
    }

    /// [`next`](Self::next), with the place of the body: it stays there until the next [`room`](Self::room).
    #[inline]
    pub fn next_range(&mut self) -> Result<Option<(Header, Range<usize>)>, FrameError> {
        let Some(header) = self.header()? else { return Ok(None) };
        let whole = HEADER + header.len as usize;
        if self.waiting() < whole {
            return Ok(None);
        }
        let body = self.start + HEADER..self.start + whole;
        self.start += whole;
        self.number += 1;
        Ok(Some((header, body)))
    }

    /// Takes whole frames, with the places of their bodies as in [`next_range`](Self::next_range), until `take` says
    /// `false` or there are no more.
    #[inline]
    pub fn take_while(
        &mut self,
        mut take: impl FnMut(Header, Range<usize>) -> bool,
    ) -> Result<(), FrameError> {
        while let Some(header) = self.header()? {
            let body = self.start + HEADER..self.start + HEADER + header.len as usize;
            if body.end > self.end {
                break;
            }
            self.start = body.end;
            self.number += 1;
            if !take(header, body) {
                break;
            }
        }
        Ok(())
    }

    /// The body at a place that [`next_range`](Self::next_range) gave.
    #[inline]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    #[inline]
    fn header(&self) -> Result<Option<Header>, FrameError> {
        match self.buffer[self.start..self.end].first_chunk::<HEADER>() {
            Some(bytes) => Header::from_bytes(*bytes, self.number).map(Some),
            None => Ok(None),
        }
    }
}

/// A duration in one byte: four steps to each doubling of nanoseconds, so that it is right to within 10 %.
pub fn duration_code(nanos: u64) -> u8 {
    if nanos == 0 {
        return 0;
    }
    let power = 63 - nanos.leading_zeros();
    let quarter = if power >= 2 { (nanos >> (power - 2)) & 3 } else { (nanos << (2 - power)) & 3 };
    (power * 4 + quarter as u32 + 1).min(255) as u8
}

/// The middle of the durations that share a [code](duration_code), in nanoseconds.
pub fn duration_of(code: u8) -> u64 {
    match code {
        0 => 0,
        code => {
            let (power, quarter) = ((code as u32 - 1) / 4, (code as u64 - 1) % 4);
            let base = 1u128 << power;
            (base + base * quarter as u128 / 4 + base / 8).min(u64::MAX as u128) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_single_bit_flip_in_a_header_is_noticed() {
        for (len, number) in [(0u32, 0u64), (1, 1), (65_536, 77), (MAX_BODY as u32, 1 << 40)] {
            let bytes = Header { len, kind: Kind::Done, aux: 19 }.to_bytes(number);
            for bit in 0..64 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(Header::from_bytes(bad, number).is_err(), "bit {bit} of {bytes:?}");
            }
        }
    }

    #[test]
    fn a_frame_out_of_place_is_noticed() {
        let bytes = Header { len: 5, kind: Kind::Run, aux: 0 }.to_bytes(3);
        assert_eq!(Header::from_bytes(bytes, 4), Err(FrameError::BadHeader));
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes[4] = Kind::Done as u8;
        let right = check(u32::MAX, bytes[4], 0, 0).to_le_bytes();
        bytes[6..].copy_from_slice(&right);
        let mut assembler = Assembler::new();
        assembler.extend(&bytes).unwrap();
        assert_eq!(assembler.next(), Err(FrameError::TooLong(u32::MAX)));
        assert!(assembler.room(1).is_err());
        assert!(assembler.buffer.len() < 4096);
    }

    #[test]
    fn durations_keep_their_size() {
        for nanos in [1u64, 2, 3, 7, 50, 999, 1_000_000, 3_600_000_000_000, u64::MAX / 3] {
            let back = duration_of(duration_code(nanos)) as f64;
            assert!((back / nanos as f64 - 1.0).abs() < 0.26, "{nanos} became {back}");
        }
        assert_eq!(duration_of(duration_code(0)), 0);
        assert!((0..=254u8).all(|code| duration_of(code) <= duration_of(code + 1)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(bodies: Vec<Vec<u8>>, cuts: Vec<u8>) {
            let mut stream = Vec::new();
            for (number, body) in bodies.iter().enumerate() {
                push(&mut stream, number as u64, Kind::Run, number as u8, body);
            }
            let mut cuts = cuts.iter().cycle();
            let mut assembler = Assembler::new();
            let mut rest = stream.as_slice();
            let mut seen = Vec::new();
            while !rest.is_empty() {
                let count = (*cuts.next().unwrap_or(&0) as usize + 1).min(rest.len());
                assembler.extend(&rest[..count]).unwrap();
                rest = &rest[count..];
                while let Some((header, body)) = assembler.next().unwrap() {
                    prop_assert_eq!(header.aux, seen.len() as u8);
                    seen.push(body.to_vec());
                }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert_eq!(assembler.waiting(), 0);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
            let mut assembler = Assembler::new();
            if assembler.extend(&bytes).is_ok() {
                while let Ok(Some(_)) = assembler.next() {}
            }
        }
    }
}
