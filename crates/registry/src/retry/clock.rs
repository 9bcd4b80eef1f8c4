//! Time and chance, as values that tests can replace.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    time::Duration,
};

/// Waiting between attempts, the lifetime of tokens, and the jitter that keeps clients apart.
pub trait Clock: Send + Sync {
    /// Time since some moment; it never goes back.
    fn elapsed(&self) -> Duration;

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// A number from 0 to below 1.
    fn random(&self) -> f64;
}

#[derive(Debug)]
pub struct SystemClock(std::time::Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(time))
    }

    fn random(&self) -> f64 {
        // std seeds each hasher from the system's random numbers; jitter needs no better ones.
        let bits = RandomState::new().hash_one(self.0.elapsed().as_nanos());
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}
