//! SIGINT and SIGTERM end the program soon, and leave nothing half-written behind.

use std::{
    process,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{output::Output, output::events::Line};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static EXIT_CODE: AtomicU8 = AtomicU8::new(0);

/// Work that has not ended by itself after this ends anyway. What it leaves is swept away by the next build. Containers
/// need seconds to go away, and whoever stops this one kills it after ten.
const PATIENCE: Duration = Duration::from_secs(8);

/// Is set when a signal came. Long work looks at it now and then, and cleans up after itself.
pub fn flag() -> Arc<AtomicBool> {
    INTERRUPTED.clone()
}

/// By convention 128 and the signal's number; `None` before there is one.
pub fn exit_code() -> Option<u8> {
    Some(EXIT_CODE.load(Ordering::Relaxed)).filter(|code| *code > 0)
}

/// Waits for the future, but not beyond a signal.
pub async fn until<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(future);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            result = &mut future => return Some(result),
            _ = look.tick() => if INTERRUPTED.load(Ordering::Relaxed) { return None },
        }
    }
}

/// Waits for signals on a thread of its own.
pub fn watch_signals(output: &Output) {
    let output = output.clone();
    // Without this thread the program only ends less politely.
    let _ = thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            EXIT_CODE.store(code, Ordering::Relaxed);
            INTERRUPTED.store(true, Ordering::Relaxed);
            // Whoever asks twice does not want to wait.
            tokio::select! {
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
            output.clear();
            output.event(&Line::Finished { exit_code: code });
            process::exit(code.into());
        });
    });
}
