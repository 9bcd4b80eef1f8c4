//! Waiting for the network, but not longer than the user does.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::Error;

/// How often it is looked whether somebody wants an end.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for the future; drops it, and with it what it had begun, when the build is interrupted.
pub async fn interruptible<T>(future: impl Future<Output = T>, interrupted: &AtomicBool) -> Result<T, Error> {
    tokio::pin!(future);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            biased;
            result = &mut future => return Ok(result),
            _ = look.tick() => if interrupted.load(Ordering::Relaxed) { return Err(Error::Interrupted) },
        }
    }
}
