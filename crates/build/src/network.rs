//! The network as a blocking build sees it: futures are run to their end, events are handed on, interruptions end it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pixi_oci_registry::{Event as RegistryEvent, Events};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{Error, Event, OnEvent, runtime};

/// How often it is looked whether somebody wants an end.
const LOOK: Duration = Duration::from_millis(100);

/// A runtime, and the events of what runs on it.
pub struct Network<'a> {
    runtime: Runtime,
    events: Events,
    received: UnboundedReceiver<RegistryEvent>,
    interrupted: &'a AtomicBool,
    on_event: OnEvent<'a>,
}

impl<'a> Network<'a> {
    /// Events go to `on_event`, on the thread that waits.
    pub fn new(interrupted: &'a AtomicBool, on_event: OnEvent<'a>) -> Result<Self, Error> {
        let (sender, received) = unbounded_channel();
        // Nobody is left to hear it when the receiver is gone.
        let events: Events = Arc::new(move |event| drop(sender.send(event)));
        Ok(Self { runtime: runtime()?, events, received, interrupted, on_event })
    }

    /// For clients, whose events come out of [`run`](Self::run).
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Waits for the future; drops it when the build is interrupted.
    pub fn run<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Error> {
        let Self { runtime, received, interrupted, on_event, .. } = self;
        let result = runtime.block_on(async {
            tokio::pin!(future);
            let mut look = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    biased;
                    Some(event) = received.recv() => on_event(Event::Registry(event)),
                    result = &mut future => break Ok(result),
                    _ = look.tick() => if interrupted.load(Ordering::Relaxed) { break Err(Error::Interrupted) },
                }
            }
        });
        while let Ok(event) = received.try_recv() {
            on_event(Event::Registry(event));
        }
        result
    }
}
