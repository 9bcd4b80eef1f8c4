//! When to try again, and when to stop.

mod clock;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pixi_oci_net::RetryPolicy;
use reqwest::{StatusCode, header::HeaderMap};

pub use clock::{Clock, SystemClock};

use crate::{
    error::{Error, ErrorKind},
    error_body::ErrorBody,
    event::{Event, Events},
};

/// If one request in five fails, an upload, which is several, fails ten times in a row once in thirty thousand uploads.
const POLICY: RetryPolicy =
    RetryPolicy { attempts: 10, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(60) };
/// A registry that is asked for the first time; more would only delay the news that its name is wrong.
pub(crate) const PING_ATTEMPTS: u32 = 5;
/// A registry that wants us to wait longer gets its wish: we stop.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Registries that say "too many" with status 403 mean it (ghcr.io's secondary limit).
const LIMIT_WAIT: Duration = Duration::from_secs(60);

/// How one attempt failed for a reason that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transient {
    pub(crate) why: String,
    /// How long the registry wants us to wait at least.
    pub(crate) floor: Duration,
    pub(crate) limited: bool,
    /// How many attempts it counts for.
    pub(crate) weight: u32,
}

#[derive(Debug)]
pub(crate) enum Failure {
    Transient(Transient),
    Final(Error),
}

impl Failure {
    pub(crate) fn transient(why: impl Into<String>) -> Self {
        Self::Transient(Transient { why: why.into(), floor: Duration::ZERO, limited: false, weight: 1 })
    }

    /// A failure that took long, or will hardly pass: it is tried again, but not often.
    pub(crate) fn slow(why: impl Into<String>) -> Self {
        Self::Transient(Transient { why: why.into(), floor: Duration::ZERO, limited: false, weight: 4 })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// What all requests of a registry wait together.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    left: Mutex<Duration>,
}

impl RetryBudget {
    pub(crate) fn new(total: Duration) -> Self {
        Self { left: Mutex::new(total) }
    }

    fn take(&self, wait: Duration) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.checked_sub(wait) {
            Some(rest) => *left = rest,
            None => return false,
        }
        true
    }
}

#[derive(Debug)]
pub(crate) struct Attempts {
    made: u32,
    max: u32,
}

impl Default for Attempts {
    fn default() -> Self {
        Self::at_most(POLICY.attempts)
    }
}

impl Attempts {
    pub(crate) fn at_most(max: u32) -> Self {
        Self { made: 0, max }
    }

    /// Waits before the next attempt: between nothing and twice as long as before, so that clients that failed together
    /// do not come back together, and never shorter than the registry asked for.
    ///
    /// # Errors
    ///
    /// There is no next attempt; the failure is the reason.
    pub(crate) async fn wait(
        &mut self,
        host: &str,
        what: &str,
        failure: Failure,
        (clock, budget, events): (&dyn Clock, &RetryBudget, &Events),
    ) -> Result<(), Error> {
        let transient = match failure {
            Failure::Transient(transient) => transient,
            Failure::Final(error) => return Err(error),
        };
        self.made += transient.weight;
        let wait = POLICY.longest(self.made - 1).mul_f64(clock.random()).max(transient.floor);
        if transient.floor > MAX_RETRY_AFTER || self.made >= self.max || !budget.take(wait) {
            return Err(give_up(host, what, transient));
        }
        events(Event::Retry { what: what.to_owned(), why: transient.why, wait });
        clock.sleep(wait).await;
        Ok(())
    }
}

fn give_up(host: &str, what: &str, transient: Transient) -> Error {
    if transient.limited {
        let hint = format!("try again in {} seconds", transient.floor.as_secs());
        return Error::new(ErrorKind::RateLimited, host, "", transient.why).with_hint(hint);
    }
    Error::new(ErrorKind::RegistryDown, host, "", format!("{what}: {}", transient.why))
}

/// Statuses after which the same request may work (409 and 425 are not used by registries).
pub(crate) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
}

/// What an answer with an error status says about another attempt; `None`: that it would fail as well.
pub(crate) fn after_status(status: StatusCode, headers: &HeaderMap, error: &ErrorBody) -> Option<Transient> {
    let why = || error.with_status(status);
    if status == StatusCode::FORBIDDEN && error.is_rate_limit() {
        let floor = retry_after(headers, error).max(LIMIT_WAIT);
        return Some(Transient { why: why(), floor, limited: true, weight: 1 });
    }
    let limited = status == StatusCode::TOO_MANY_REQUESTS;
    may_pass(status).then(|| Transient { why: why(), floor: retry_after(headers, error), limited, weight: 1 })
}

/// How long the registry wants us to wait: `Retry-After` in seconds or as a date, which is compared with the answer's
/// own `Date` and not with our clock, or ghcr.io's `retry-after: 10.48ms` in the body.
fn retry_after(headers: &HeaderMap, error: &ErrorBody) -> Duration {
    if headers.contains_key("retry-after") {
        return pixi_oci_net::retry_after(headers).unwrap_or_default();
    }
    let text = error.text.to_ascii_lowercase();
    let Some((_, rest)) = text.split_once("retry-after:") else { return Duration::ZERO };
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let Ok(number) = rest[..end].parse::<f64>() else { return Duration::ZERO };
    let unit = if rest[end..].starts_with("ms") { 0.001 } else { 1.0 };
    Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::credentials::Secrets;

    fn floor(headers: &[(&'static str, &'static str)], body: &str) -> Duration {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        after_status(StatusCode::TOO_MANY_REQUESTS, &headers, &ErrorBody::of(body.as_bytes(), &Secrets::default()))
            .unwrap()
            .floor
    }

    #[test]
    fn what_the_registry_wants_us_to_wait() {
        let seconds = Duration::from_secs;
        assert_eq!(floor(&[], ""), seconds(0));
        assert_eq!(floor(&[("retry-after", "7")], ""), seconds(7));
        let dates = [("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")];
        assert_eq!(floor(&dates, ""), seconds(30));
        assert_eq!(floor(&dates[..1], ""), seconds(0));
        assert_eq!(floor(&[dates[0], ("date", "Wed, 21 Oct 2015 08:00:00 GMT")], ""), seconds(0));
        assert_eq!(floor(&[], "retry-after: 10.48ms, allowed: 2000/minute"), Duration::from_micros(10480));
        assert_eq!(floor(&[], "Retry-After: 2, x"), seconds(2));
        assert_eq!(floor(&[], "retry-after: 1e999"), seconds(1));
        for bad in ["", "-1", "soon", "99999999999999999999", "Wed, 99 Oct"] {
            let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), bad.parse().unwrap())]);
            assert_eq!(retry_after(&headers, &ErrorBody::default()), seconds(0), "{bad}");
        }
    }

    #[test]
    fn which_answers_may_pass() {
        let after = |status: u16, body: &str| {
            after_status(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                &ErrorBody::of(body.as_bytes(), &Secrets::default()),
            )
        };
        for status in [408, 429, 499, 500, 502, 503, 504, 520, 522, 524] {
            assert!(after(status, "").is_some(), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 412, 413, 416, 501, 505, 525] {
            assert!(after(status, "").is_none(), "{status}");
        }
        let limited = after(403, "You have exceeded a secondary rate limit").unwrap();
        assert_eq!((limited.floor, limited.limited), (LIMIT_WAIT, true));
    }
}
