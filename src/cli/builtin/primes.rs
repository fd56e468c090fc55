//! `primes`: a job that needs a processor and nothing else.

/// Odd numbers in a segment, a byte each: they fit a first-level cache.
const SEGMENT: usize = 32 * 1024;

/// How many primes are below `n`.
///
/// A segmented sieve of the odd numbers. Its memory grows with the square root of the numbers that it has reached,
/// not of `n`, so that an absurd `n` takes for ever but harms nobody.
pub(super) fn primes(n: u64) -> u64 {
    if n <= 2 {
        return 0;
    }
    let mut sieve = Sieve::new();
    // Index `i` stands for the odd number 2i + 1; there are n / 2 of them below n. Index 0 is no prime, and stands
    // in for 2.
    let end = n / 2;
    let mut start = 0;
    let mut count = 0;
    while start < end {
        let len = (end - start).min(SEGMENT as u64);
        count += sieve.count(start, len as usize);
        start += len;
    }
    count
}

struct Sieve {
    /// The odd primes up to `known`, each with the index of its next multiple to strike out.
    primes: Vec<(u64, u64)>,
    known: u64,
    struck: Vec<bool>,
}

impl Sieve {
    fn new() -> Sieve {
        Sieve { primes: Vec::new(), known: 2, struck: vec![false; SEGMENT] }
    }

    /// How many of the `len` odd numbers from index `start` are not struck out.
    fn count(&mut self, start: u64, len: usize) -> u64 {
        let end = start + len as u64;
        self.know_up_to((2 * (end - 1) + 1).isqrt(), start);
        let struck = &mut self.struck[..len];
        struck.fill(false);
        for (prime, next) in &mut self.primes {
            let mut at = *next - start;
            while let Some(number) = usize::try_from(at).ok().and_then(|at| struck.get_mut(at)) {
                *number = true;
                at += *prime;
            }
            *next = start + at;
        }
        struck.iter().filter(|struck| !**struck).count() as u64
    }

    /// Adds the odd primes up to `limit`, whose first multiples that nobody else strikes are not before `start`.
    fn know_up_to(&mut self, limit: u64, start: u64) {
        if limit <= self.known {
            return;
        }
        // Some more than are needed now, so that this is rarely called.
        let limit = limit.max((self.known + self.known / 4).min(u64::from(u32::MAX)));
        for candidate in (self.known + 1..=limit).filter(|number| number % 2 == 1) {
            let is_prime = self
                .primes
                .iter()
                .map(|(prime, _)| *prime)
                .take_while(|prime| prime * prime <= candidate)
                .all(|prime| candidate % prime != 0);
            if is_prime {
                let square = (candidate * candidate - 1) / 2;
                let behind = start.saturating_sub(square).div_ceil(candidate) * candidate;
                self.primes.push((candidate, square + behind));
            }
        }
        self.known = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_the_known_ones() {
        let known = [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 1),
            (4, 2),
            (5, 2),
            (6, 3),
            (10, 4),
            (11, 4),
            (12, 5),
            (100, 25),
            (1000, 168),
            (65_536, 6542),
            (65_537, 6542),
            (65_538, 6543),
            (100_000, 9592),
            (200_000, 17_984),
            (300_000, 25_997),
            (1_000_000, 78_498),
            (10_000_000, 664_579),
        ];
        for (n, count) in known {
            assert_eq!(primes(n), count, "below {n}");
        }
    }

    #[test]
    fn counts_agree_with_division_around_every_small_number() {
        let mut count = 0;
        for n in 0..2000u64 {
            assert_eq!(primes(n), count, "below {n}");
            count += u64::from(n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0));
        }
    }
}
