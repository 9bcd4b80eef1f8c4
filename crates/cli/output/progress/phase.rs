//! What is being done, in numbers. Both forms for people, bars and lines, are drawn from it.

use std::{collections::HashMap, time::Duration};

use pixi_oci_project::Event;
use pixi_oci_registry::{Arrival, Event as RegistryEvent};

/// A stretch of work that is measured in bytes. There is one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Counts phases: two of one name are two.
    pub number: usize,
    /// What is done, e.g. `fetching`.
    pub verb: &'static str,
    /// With what, e.g. `12 packages`.
    pub what: String,
    /// Bytes so far.
    pub done: u64,
    /// All bytes, as far as they are known.
    pub total: u64,
    /// Since the command began.
    pub began: Duration,
    /// Of blobs: how far each is, and its size. An attempt that fails starts again at the blob's begin.
    blobs: HashMap<String, (u64, u64)>,
    /// The repositories that are sent to.
    repositories: Vec<String>,
}

/// Follows the events.
#[derive(Debug, Default)]
pub struct Phases {
    current: Option<Phase>,
    base: Option<String>,
    count: usize,
    /// Bytes of blobs that came to repositories before it was said how many there are.
    ahead: HashMap<String, u64>,
}

impl Phases {
    /// Takes an event that happened so long after the command began.
    pub fn on_event(&mut self, now: Duration, event: &Event) {
        match event {
            // Nothing to wait for.
            Event::FetchStarted { archives: 0, .. } => self.current = None,
            Event::FetchStarted { archives, bytes } => {
                self.begin(now, "fetching", format!("{archives} packages"), *bytes)
            }
            Event::FetchProgress { bytes } => self.add("fetching", *bytes),
            Event::BaseStarted { base, .. } => {
                self.base = Some(base.clone());
                self.current.take_if(|phase| phase.verb == "downloading");
            }
            Event::LayersStarted { layers: 0, .. } => self.current = None,
            Event::LayersStarted { platform, layers, bytes, .. } => {
                self.begin(now, "making", format!("{layers} layers for {platform}"), *bytes)
            }
            Event::LayerFinished { bytes, .. } => self.add("making", *bytes),
            Event::PackageWritten { bytes, .. } => self.add("writing", *bytes),
            Event::PackagesStarted { platform, packages, bytes, .. } => {
                self.begin(now, "writing", format!("{packages} packages for {platform}"), *bytes)
            }
            Event::SourceStarted { package, platform } => {
                self.begin(now, "building", format!("{package} for {platform}"), 0)
            }
            Event::SourceFinished { .. } => self.current = None,
            Event::PublishStarted { dry_run: true, .. } => self.current = None,
            Event::PublishStarted { repository, bytes, .. } => {
                let left = bytes.saturating_sub(self.ahead.remove(repository).unwrap_or_default());
                // Several are sent to at the same time.
                let is_sending = |phase: &&mut Phase| phase.verb == "sending" && phase.done < phase.total;
                if self.current.as_mut().filter(is_sending).is_none() {
                    self.begin(now, "sending", repository.clone(), 0);
                }
                if let Some(phase) = &mut self.current {
                    phase.total += left;
                    phase.repositories.push(repository.clone());
                    if phase.repositories.len() > 1 {
                        phase.what = format!("to {} repositories", phase.repositories.len());
                    }
                }
            }
            Event::Registry(RegistryEvent::Received { blob, received, size }) => {
                // Packages that come at the same time are more.
                let is_over = |phase: &Phase| phase.verb != "downloading" && phase.done >= phase.total;
                if self.current.as_ref().is_none_or(is_over) {
                    self.begin_download(now, 0);
                }
                if let Some(phase) = self.current.as_mut().filter(|phase| phase.verb == "downloading") {
                    phase.blob(blob.to_string(), *received, *size);
                    // It may not have been said how many there are.
                    phase.total = phase.blobs.values().map(|(_, size)| size).sum::<u64>().max(phase.total);
                }
            }
            Event::Upload { repository, event: RegistryEvent::Sent { blob, sent, size } } => {
                if let Some(phase) = self.sending(repository) {
                    phase.blob(format!("{repository} {blob}"), *sent, *size);
                }
            }
            Event::Upload { repository, event: RegistryEvent::BlobDone { blob, size, how } } => {
                match self.sending(repository) {
                    Some(phase) if *how == Arrival::Uploaded => {
                        phase.blob(format!("{repository} {blob}"), *size, *size)
                    }
                    // What need not be sent.
                    Some(phase) => phase.total = phase.total.saturating_sub(*size),
                    None => *self.ahead.entry(repository.to_string()).or_default() += size,
                }
            }
            Event::Registry(RegistryEvent::Receiving { bytes, .. }) => self.begin_download(now, *bytes),
            Event::Registry(_)
            | Event::Upload { .. }
            | Event::SendingStarted { .. }
            | Event::LayersFrom { .. }
            | Event::LayersThere { .. }
            | Event::FetchFinished { .. }
            | Event::Locking { .. }
            | Event::Solving { .. }
            | Event::Warning(_) => {}
        }
    }

    /// What is being done now.
    pub fn current(&self) -> Option<&Phase> {
        self.current.as_ref()
    }

    /// There is nothing more to do.
    pub fn end(&mut self) {
        self.current = None;
    }

    fn begin(&mut self, now: Duration, verb: &'static str, what: String, total: u64) {
        self.count += 1;
        let (number, blobs, repositories) = (self.count, HashMap::new(), Vec::new());
        self.current = Some(Phase { number, verb, what, done: 0, total, began: now, blobs, repositories });
    }

    fn begin_download(&mut self, now: Duration, total: u64) {
        let what = self.base.clone().unwrap_or_else(|| "layers".into());
        self.begin(now, "downloading", what, total);
    }

    fn add(&mut self, verb: &str, bytes: u64) {
        if let Some(phase) = self.current.as_mut().filter(|phase| phase.verb == verb) {
            phase.done += bytes;
        }
    }

    /// What is being done now, if it is sending to this repository.
    fn sending(&mut self, repository: &str) -> Option<&mut Phase> {
        self.current.as_mut().filter(|phase| phase.repositories.iter().any(|known| known == repository))
    }
}

impl Phase {
    fn blob(&mut self, blob: String, position: u64, size: u64) {
        self.blobs.insert(blob, (position, size));
        self.done = self.blobs.values().map(|(position, _)| position).sum();
    }

    /// Bytes a second from its begin to `now`.
    pub fn rate(&self, now: Duration) -> u64 {
        let seconds = now.saturating_sub(self.began).as_secs_f64();
        if seconds > 0.0 { (self.done as f64 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::Digest;

    use super::*;

    fn numbers(phases: &Phases) -> (String, u64, u64) {
        let phase = phases.current().unwrap();
        (format!("{} {}", phase.verb, phase.what), phase.done, phase.total)
    }

    #[test]
    fn an_upload_that_begins_again_is_not_counted_twice_and_what_is_there_is_not_sent() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let mut phases = Phases::default();
        let mut take = |event| {
            phases.on_event(Duration::ZERO, &event);
            numbers(&phases)
        };
        let started = Event::PublishStarted { repository: "r/a".into(), blobs: 2, dry_run: false, bytes: 30 };
        assert_eq!(take(started), ("sending r/a".into(), 0, 30));
        let upload = |event| Event::Upload { repository: "r/a".into(), event };
        let sent = |sent| upload(RegistryEvent::Sent { blob: a, sent, size: 20 });
        assert_eq!(take(sent(15)).1, 15);
        assert_eq!(take(sent(5)).1, 5);
        let present = upload(RegistryEvent::BlobDone { blob: b, size: 10, how: Arrival::Present });
        assert_eq!(take(present), ("sending r/a".into(), 5, 20));
        let done = upload(RegistryEvent::BlobDone { blob: a, size: 20, how: Arrival::Uploaded });
        assert_eq!(take(done), ("sending r/a".into(), 20, 20));
    }

    #[test]
    fn repositories_that_are_sent_to_at_the_same_time_are_counted_together() {
        let blob = Digest::of(b"a");
        let mut phases = Phases::default();
        let mut take = |event| {
            phases.on_event(Duration::ZERO, &event);
            numbers(&phases)
        };
        let started = |to: &str| Event::PublishStarted { repository: to.into(), blobs: 1, dry_run: false, bytes: 20 };
        let upload = |to: &str, event| Event::Upload { repository: to.into(), event };
        let done = |how| RegistryEvent::BlobDone { blob, size: 20, how };
        take(started("r/a"));
        assert_eq!(take(started("s/a")), ("sending to 2 repositories".into(), 0, 40));
        assert_eq!(take(upload("r/a", RegistryEvent::Sent { blob, sent: 5, size: 20 })).1, 5);
        assert_eq!(take(upload("s/a", done(Arrival::Uploaded))).1, 25);
        assert_eq!(take(upload("r/a", done(Arrival::Uploaded))), ("sending to 2 repositories".into(), 40, 40));
        assert_eq!(take(started("t/a")), ("sending t/a".into(), 0, 20));
    }

    #[test]
    fn what_was_said_to_come_is_the_total_from_the_start() {
        let mut phases = Phases::default();
        let mut take = |event| {
            phases.on_event(Duration::ZERO, &Event::Registry(event));
            numbers(&phases)
        };
        let expected = |done| ("downloading layers".to_owned(), done, 30);
        assert_eq!(take(RegistryEvent::Receiving { blobs: 2, bytes: 30 }), expected(0));
        for (text, received, size, done) in [("a", 4, 10, 4), ("a", 10, 10, 10), ("b", 20, 20, 30)] {
            let blob = Digest::of(text.as_bytes());
            assert_eq!(take(RegistryEvent::Received { blob, received, size }), expected(done));
        }
    }

    #[test]
    fn a_base_image_that_is_here_is_no_work() {
        let mut phases = Phases::default();
        let base = Event::BaseStarted { base: "debian:12".into(), architecture: pixi_oci_image::Architecture::Amd64 };
        phases.on_event(Duration::ZERO, &base);
        assert_eq!(phases.current(), None);
        for (text, received, size) in [("a", 1, 10), ("b", 5, 20), ("a", 10, 10)] {
            let blob = Digest::of(text.as_bytes());
            phases.on_event(Duration::ZERO, &Event::Registry(RegistryEvent::Received { blob, received, size }));
        }
        assert_eq!(numbers(&phases), ("downloading debian:12".into(), 15, 30));
    }
}
