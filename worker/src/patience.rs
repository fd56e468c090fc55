//! Whether to poll for a moment before going to sleep.
//!
//! Waking a sleeper takes longer than a short job does, so it pays to poll if what one waits for mostly comes soon. It
//! harms if it does not: another thread could have had the core, and that may be the one that is waited for. So whoever
//! has polled in vain polls less often, and whoever has not polls each time.

use std::time::{Duration, Instant};

/// How long to poll: about as long as it takes to fall asleep and to be woken.
pub const POLL: Duration = Duration::from_micros(50);

/// Looks between two questions for the time.
const LOOKS: u32 = 16;
/// Waits that are not begun with polling after one that was so in vain, at most.
const SKIPPED: u32 = 255;

/// What the last few waits were like.
#[derive(Debug, Default)]
pub struct Patience {
    /// Waits to come that are not begun with polling.
    skip: u32,
    /// How many they were when polling was last in vain.
    skipped: u32,
}

impl Patience {
    /// A wait begins: whether it is worth polling.
    pub fn polls(&mut self) -> bool {
        let polls = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        polls
    }

    /// This side has polled: whether what it waited for came meanwhile.
    pub fn learn(&mut self, came: bool) {
        self.skipped = if came { 0 } else { (self.skipped * 2 + 1).min(SKIPPED) };
        self.skip = self.skipped;
    }
}

/// Polls until something is so, at the latest until `end`; tells whether it is.
pub fn poll_until(end: Instant, mut is_so: impl FnMut() -> bool) -> bool {
    loop {
        // Asking for the time takes longer than a look.
        for _ in 0..LOOKS {
            if is_so() {
                return true;
            }
            std::hint::spin_loop();
        }
        if Instant::now() >= end {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls(patience: &mut Patience, waits: usize) -> usize {
        (0..waits).filter(|_| patience.polls()).count()
    }

    #[test]
    fn who_polls_in_vain_does_so_less_and_less() {
        let mut patience = Patience::default();
        let mut polled = 0;
        for _ in 0..10_000 {
            if patience.polls() {
                polled += 1;
                patience.learn(false);
            }
        }
        assert!((30..60).contains(&polled), "{polled} of 10,000");
    }

    #[test]
    fn one_reward_is_enough_to_poll_each_time() {
        let mut patience = Patience::default();
        for _ in 0..20 {
            patience.learn(false);
        }
        assert_eq!(polls(&mut patience, 255), 0);
        assert!(patience.polls());
        patience.learn(true);
        assert_eq!(polls(&mut patience, 100), 100);
    }
}
