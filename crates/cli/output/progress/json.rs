//! Progress as JSON lines.

use std::{collections::HashMap, time::Duration};

use pixi_oci_project::Event;
use pixi_oci_registry::Event as RegistryEvent;

use crate::{output::Output, output::events::Line};

/// Of one thing there is progress so often at most.
const OFTEN: Duration = Duration::from_millis(200);

/// What the lines need to know of events before.
#[derive(Debug, Default)]
pub struct Json {
    /// Of archives: how much is here, and how much there is.
    fetched: (u64, u64),
    /// When there last was progress, by thing.
    last: HashMap<String, Duration>,
}

impl Json {
    /// Writes an event that happened so long after the command began.
    pub fn write(&mut self, now: Duration, event: &Event, output: &Output) {
        match event {
            Event::FetchStarted { bytes, .. } => {
                self.fetched = (0, *bytes);
                output.event(event);
            }
            Event::FetchProgress { bytes } => {
                self.fetched.0 += bytes;
                let (done, total) = self.fetched;
                if self.is_due(now, "", done >= total) {
                    output.event(&Line::FetchProgress { done, total });
                }
            }
            Event::Registry(event) => self.registry(now, "", event, output),
            Event::Upload { repository, event } => self.registry(now, repository, event, output),
            // Said by all forms of progress.
            Event::Warning(_) => {}
            event => output.event(event),
        }
    }

    fn registry(&mut self, now: Duration, repository: &str, event: &RegistryEvent, output: &Output) {
        match event {
            RegistryEvent::Receiving { blobs, bytes } => {
                output.event(&Line::DownloadStarted { blobs: *blobs, bytes: *bytes });
            }
            RegistryEvent::Received { blob, received, size } => {
                let blob = blob.to_string();
                if self.is_due(now, &blob, received == size) {
                    output.event(&Line::DownloadProgress { blob: &blob, received: *received, size: *size });
                }
            }
            RegistryEvent::Sent { blob, sent, size } => {
                let blob = blob.to_string();
                if self.is_due(now, &format!("{repository} {blob}"), sent == size) {
                    let (sent, size) = (*sent, *size);
                    output.event(&Line::UploadProgress { repository, blob: &blob, sent, size });
                }
            }
            RegistryEvent::BlobDone { blob, size, how } => {
                let blob = blob.to_string();
                self.last.remove(&format!("{repository} {blob}"));
                output.event(&Line::BlobFinished { repository, blob: &blob, size: *size, how: *how });
            }
            RegistryEvent::Tagged { tag, digest } => {
                output.event(&Line::Tagged { repository, tag, digest: &digest.to_string() })
            }
            RegistryEvent::Retry { what, why, wait } => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                output.event(&Line::Retry { what, why, wait_ms });
            }
            RegistryEvent::TokenService { registry, host } => output.event(&Line::TokenService { registry, host }),
            RegistryEvent::Warning(_) => {}
        }
    }

    /// Whether there is to be a line about progress of `thing`; the last one always is.
    fn is_due(&mut self, now: Duration, thing: &str, is_last: bool) -> bool {
        if is_last {
            self.last.remove(thing);
            return true;
        }
        match self.last.get(thing) {
            Some(last) if now.saturating_sub(*last) < OFTEN => false,
            _ => {
                self.last.insert(thing.to_owned(), now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_five_times_a_second_and_at_the_end() {
        let mut json = Json::default();
        let due: Vec<u64> =
            (0..=1000).step_by(50).filter(|ms| json.is_due(Duration::from_millis(*ms), "a", *ms == 1000)).collect();
        assert_eq!(due, [0, 200, 400, 600, 800, 1000]);
        assert!(json.is_due(Duration::ZERO, "b", false), "each thing has its own time");
    }
}
