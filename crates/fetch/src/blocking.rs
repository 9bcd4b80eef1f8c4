//! Work that blocks, beside what does not.

/// Runs something that blocks on a thread made for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the runtime is being shut down, and then nothing waits for this future.
            Err(_) => std::future::pending().await,
        },
    }
}
