//! Streams of bytes that do not behave.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::time::Duration;

/// A reader or a writer through which bytes come in pieces, and late, cut off or changed if it is told so.
///
/// Every read and write moves a part of what it could, or is interrupted; which one follows from the seed, so that a test
/// that has failed can be run again.
///
/// ```
/// use std::io::Read;
/// use sidestep::faults::Unsteady;
///
/// let mut reader = Unsteady::new(&b"hello, world"[..], 7).cut(5).flip(1);
/// let mut text = String::new();
/// reader.read_to_string(&mut text).unwrap();
/// assert_eq!(text, "jello");
/// ```
#[derive(Debug)]
pub struct Unsteady<T> {
    inner: T,
    random: u64,
    /// Bytes that have come through.
    position: u64,
    end: u64,
    flipped: Option<u64>,
    delay: Duration,
}

impl<T> Unsteady<T> {
    /// A stream that comes in pieces, with nothing else wrong.
    pub fn new(inner: T, seed: u64) -> Unsteady<T> {
        // xorshift stays at zero once it is there.
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Unsteady { inner, random, position: 0, end: u64::MAX, flipped: None, delay: Duration::ZERO }
    }

    /// Ends it after so many bytes: a reader finds its end there, a writer a broken pipe.
    #[must_use]
    pub fn cut(self, bytes: u64) -> Unsteady<T> {
        Unsteady { end: bytes, ..self }
    }

    /// Flips one bit: bit 0 is the lowest of the first byte, bit 8 the lowest of the second.
    #[must_use]
    pub fn flip(self, bit: u64) -> Unsteady<T> {
        Unsteady { flipped: Some(bit), ..self }
    }

    /// Makes each read and write wait for up to this long.
    #[must_use]
    pub fn delay(self, most: Duration) -> Unsteady<T> {
        Unsteady { delay: most, ..self }
    }

    /// The stream inside.
    pub fn into_inner(self) -> T {
        self.inner
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit
    }

    /// How many of `wanted` bytes move this time; 0 behind the cut.
    fn piece(&mut self, wanted: usize) -> io::Result<usize> {
        if !self.delay.is_zero() {
            let nanos = self.delay.as_nanos().min(u128::from(u64::MAX)) as u64;
            std::thread::sleep(Duration::from_nanos(self.below(nanos)));
        }
        if self.below(8) == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = (wanted as u64).min(self.end - self.position);
        Ok(if most == 0 { 0 } else { 1 + self.below(most) as usize })
    }

    /// Flips the bit if it is among these bytes, the next ones of the stream.
    fn spoil(&self, bytes: &mut [u8]) {
        let Some(bit) = self.flipped else { return };
        let byte =
            (bit / 8).checked_sub(self.position).and_then(|at| bytes.get_mut(usize::try_from(at).ok()?));
        if let Some(byte) = byte {
            *byte ^= 1 << (bit % 8);
        }
    }
}

impl<T: Read> Read for Unsteady<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.piece(buffer.len())?;
        let count = self.inner.read(&mut buffer[..most])?;
        self.spoil(&mut buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Unsteady<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.piece(bytes.len())?;
        if most == 0 && !bytes.is_empty() {
            return Err(Error::new(ErrorKind::BrokenPipe, "the stream was cut here"));
        }
        let mut piece = bytes[..most].to_vec();
        self.spoil(&mut piece);
        let count = self.inner.write(&piece)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
