//! When to ask a server again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use reqwest::header::{self, HeaderMap};

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
    /// No computed wait after failure number `failure` (from 0) is longer.
    pub fn longest(&self, failure: u32) -> Duration {
        self.first_wait.saturating_mul(2u32.saturating_pow(failure)).min(self.longest_wait)
    }

    /// The wait after failure number `failure` (from 0): anything up to a limit that doubles ("full jitter"), so that many
    /// clients that failed together do not come back together. A server's `Retry-After` is a minimum.
    pub fn wait(&self, failure: u32, retry_after: Option<Duration>) -> Duration {
        let full = self.longest(failure);
        // RandomState is seeded by the system: good enough to scatter clients, and no further dependency.
        let random = RandomState::new().build_hasher().finish() as u32;
        let wait = full.mul_f64(f64::from(random) / f64::from(u32::MAX));
        wait.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

/// How long a server wants to be left alone: seconds, or a time, which is compared with the server's own clock because
/// ours may be wrong.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(wanted)?.saturating_sub(http_date(text(header::DATE)?)?);
    // One that is over means now.
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or_default()))
}

/// An HTTP date (RFC 9110 §5.6.7) in seconds since 1970.
pub fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let wait = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, retry.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(" 7 ", None), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", None), None);
        assert_eq!(wait("soon", now), None);
        assert_eq!(wait("-5", now), None);
    }

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
