//! Progress as lines, for logs: one when something begins to take time, one every ten seconds, one at its end.

use std::time::Duration;

use pixi_oci_plan::size;

use super::{QUIET, phase::Phase};

/// So often there is a line about what takes long.
const OFTEN: Duration = Duration::from_secs(10);

/// What was said so far.
#[derive(Debug, Default)]
pub struct Plain {
    /// The phase that was spoken of, and when.
    said: Option<(Phase, Duration)>,
}

impl Plain {
    /// The lines that are due, given what is being done now.
    pub fn lines(&mut self, now: Duration, phase: Option<&Phase>) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((last, _)) = &self.said
            && phase.is_none_or(|phase| phase.number != last.number)
        {
            lines.push(ended(last, now));
            self.said = None;
        }
        let Some(phase) = phase else { return lines };
        match &mut self.said {
            None if now.saturating_sub(phase.began) < QUIET => {}
            None => {
                lines.push(begun(phase));
                self.said = Some((phase.clone(), now));
            }
            Some((known, said)) => {
                known.clone_from(phase);
                if now.saturating_sub(*said) >= OFTEN {
                    *said = now;
                    lines.push(under_way(phase, now));
                }
            }
        }
        lines
    }
}

fn begun(phase: &Phase) -> String {
    let bytes = if phase.total > 0 { format!(", {}", size(phase.total)) } else { String::new() };
    format!("{} {}{bytes}", phase.verb, phase.what)
}

fn under_way(phase: &Phase, now: Duration) -> String {
    let seconds = now.saturating_sub(phase.began).as_secs();
    if phase.total == 0 {
        return format!("{} {}: {seconds} s so far", phase.verb, phase.what);
    }
    if phase.done == 0 {
        return format!("{} {}: {} to go, {seconds} s so far", phase.verb, phase.what, size(phase.total));
    }
    let (done, total, rate) = (size(phase.done), size(phase.total), size(phase.rate(now)));
    format!("{} {}: {done} of {total} in {seconds} s, {rate}/s", phase.verb, phase.what)
}

fn ended(phase: &Phase, now: Duration) -> String {
    let seconds = now.saturating_sub(phase.began).as_secs_f64();
    // Nothing has no rate.
    if phase.total == 0 || phase.done == 0 {
        return format!("{} {}: {seconds:.1} s", phase.verb, phase.what);
    }
    format!("{} {}: {} in {seconds:.1} s, {}/s", phase.verb, phase.what, size(phase.done), size(phase.rate(now)))
}

#[cfg(test)]
mod tests {
    use pixi_oci_project::Event;

    use super::{super::phase::Phases, *};

    /// What is said when this happens at these milliseconds; `None`: time passes.
    fn lines(events: &[(u64, Option<Event>)]) -> Vec<String> {
        let (mut phases, mut plain) = (Phases::default(), Plain::default());
        let mut lines = Vec::new();
        for (ms, event) in events {
            let now = Duration::from_millis(*ms);
            if let Some(event) = event {
                phases.on_event(now, event);
            }
            lines.extend(plain.lines(now, phases.current()));
        }
        lines
    }

    fn fetch(bytes: u64) -> Option<Event> {
        Some(Event::FetchStarted { archives: 2, bytes })
    }

    fn layers() -> Option<Event> {
        Some(Event::LayersStarted { platform: "linux-64".into(), layers: 3, bytes: 1000, reused: 0, reused_bytes: 0 })
    }

    #[test]
    fn what_is_over_soon_is_not_spoken_of() {
        let more = Some(Event::FetchProgress { bytes: 2000 });
        assert_eq!(lines(&[(0, fetch(2000)), (249, more), (249, layers()), (498, None)]), Vec::<String>::new());
    }

    /// Everything was in the repository: nothing was sent, at no rate.
    #[test]
    fn nothing_has_no_rate() {
        use pixi_oci_registry::{Arrival, Event as RegistryEvent};
        let blob = |text: &str, how| {
            let blob = pixi_oci_layer::Digest::of(text.as_bytes());
            let event = RegistryEvent::BlobDone { blob, size: 1000, how };
            Some(Event::Upload { repository: "r/a".into(), event })
        };
        let begun = Some(Event::PublishStarted { repository: "r/a".into(), blobs: 2, dry_run: false, bytes: 2000 });
        let said = lines(&[
            (0, begun),
            (250, None),
            (1000, blob("a", Arrival::Present)),
            (11_000, None),
            (12_000, blob("b", Arrival::Mounted)),
            (13_000, layers()),
        ]);
        let expected = ["sending r/a, 2.0 kB", "sending r/a: 1.0 kB to go, 11 s so far", "sending r/a: 13.0 s"];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_takes_long_has_a_begin_an_end_and_a_line_every_ten_seconds() {
        let more = |bytes| Some(Event::FetchProgress { bytes });
        let said = lines(&[
            (0, fetch(2_000_000)),
            (250, None),
            (5000, more(1_000_000)),
            (10_000, None),
            (10_300, None),
            (15_000, None),
            (20_000, more(1_000_000)),
            (20_000, layers()),
        ]);
        let expected = [
            "fetching 2 packages, 2.0 MB",
            "fetching 2 packages: 1.0 MB of 2.0 MB in 10 s, 97.1 kB/s",
            "fetching 2 packages: 2.0 MB in 20.0 s, 100.0 kB/s",
        ];
        assert_eq!(said, expected);
    }
}
