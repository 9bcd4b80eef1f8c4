//! SIGINT and SIGTERM end the program at once, and leave nothing half-written behind.

use std::process;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for signals on a thread of its own. What is being written has no name yet, so leaving is enough: the next
/// build sweeps the remains of this one away.
pub fn exit_on_signals() {
    // Without signals the program only ends less politely.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            // By convention 128 and the signal's number.
            tokio::select! {
                _ = interrupt.recv() => process::exit(130),
                _ = terminate.recv() => process::exit(143),
            }
        });
    });
}
