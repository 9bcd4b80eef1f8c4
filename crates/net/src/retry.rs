//! When to ask a server again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// How often and how patiently a download is tried again after a failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all; 1 means no second one.
    pub attempts: u32,
    /// The longest wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// No computed wait is longer.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    /// Five tries over about ten seconds.
    fn default() -> Self {
        Self { attempts: 5, first_wait: Duration::from_millis(600), longest_wait: Duration::from_secs(20) }
    }
}

/// A server that asks for more patience than this is not waited for so long.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

impl RetryPolicy {
    /// The wait after failure number `failure` (from 0): anything up to a limit that doubles ("full jitter"), so that many
    /// clients that failed together do not come back together. A server's `Retry-After` is a minimum.
    pub fn wait(&self, failure: u32, retry_after: Option<Duration>) -> Duration {
        let full = self.first_wait.saturating_mul(2u32.saturating_pow(failure)).min(self.longest_wait);
        // RandomState is seeded by the system: good enough to scatter clients, and no further dependency.
        let random = RandomState::new().build_hasher().finish() as u32;
        let wait = full.mul_f64(f64::from(random) / f64::from(u32::MAX));
        wait.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let policy =
            RetryPolicy { attempts: 9, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(8) };
        for failure in 0..40 {
            let full = Duration::from_secs(8).min(Duration::from_secs(1 << failure.min(3)));
            let wait = policy.wait(failure, None);
            assert!(wait <= full, "{failure}: {wait:?}");
        }
        // Not all the same.
        let waits: std::collections::BTreeSet<Duration> = (0..20).map(|_| policy.wait(3, None)).collect();
        assert!(waits.len() > 1, "{waits:?}");
        assert_eq!(policy.wait(0, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(policy.wait(0, Some(Duration::from_secs(9999))), LONGEST_RETRY_AFTER);
    }
}
