//! The least rate of a transfer.

use std::time::Duration;

use crate::Patience;

/// Watches that a transfer keeps moving: a server that gives or takes a byte now and then is given up.
#[derive(Debug)]
pub struct LeastRate {
    window: Duration,
    waited: Duration,
    moved: u64,
}

impl LeastRate {
    /// Counts for windows of such a length.
    pub fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, moved: 0 }
    }

    /// Counts bytes and how long the server was waited for to move them. Whether a window is over in which fewer than
    /// [`Patience::LEAST`] moved.
    pub fn is_too_slow(&mut self, bytes: u64, waited: Duration) -> bool {
        self.moved += bytes;
        self.waited += waited;
        if self.waited < self.window {
            return false;
        }
        let slow = self.moved < Patience::LEAST;
        *self = Self::new(self.window);
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_least_bytes() {
        let second = Duration::from_secs(1);
        let mut rate = LeastRate::new(second * 10);
        // Nothing is said before the first window is over.
        assert!((0..9).all(|_| !rate.is_too_slow(1, second)));
        assert!(rate.is_too_slow(1, second));
        assert!((0..100).all(|_| !rate.is_too_slow(Patience::LEAST / 10 + 1, second)));
        // What is waited for elsewhere does not count.
        assert!((0..100).all(|_| !rate.is_too_slow(1, Duration::ZERO)));
    }
}
