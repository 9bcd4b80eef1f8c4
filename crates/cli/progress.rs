//! Draws a build's events on stderr.

use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pixi_oci_build::Event;
use pixi_oci_publish::registry::{Arrival, Event as RegistryEvent};

use crate::output::Output;

/// Bars on a terminal; lines otherwise, but only when they were asked for with `-v`.
pub struct Progress {
    output: Output,
    started: Instant,
    download: OnceLock<ProgressBar>,
    layers: Mutex<Option<ProgressBar>>,
    upload: Mutex<Option<Upload>>,
    warnings: Mutex<Vec<String>>,
}

/// What is on its way to one repository. An attempt that fails starts again at the blob's begin.
struct Upload {
    bar: ProgressBar,
    sent: HashMap<String, u64>,
}

impl Upload {
    fn new(bar: ProgressBar) -> Self {
        Self { bar, sent: HashMap::new() }
    }

    fn sent(&mut self, blob: String, sent: u64) {
        self.sent.insert(blob, sent);
        self.bar.set_position(self.sent.values().sum());
    }
}

/// Waiting for longer than this is worth a line.
const LONG: Duration = Duration::from_secs(5);

/// Work that ends sooner than this shows no bar: it would only flicker.
const QUIET: Duration = Duration::from_millis(250);

impl Progress {
    /// Progress that goes to `output`.
    pub fn new(output: &Output) -> Self {
        Self {
            output: output.clone(),
            started: Instant::now(),
            download: OnceLock::new(),
            layers: Mutex::new(None),
            upload: Mutex::new(None),
            warnings: Mutex::new(Vec::new()),
        }
    }

    /// Takes an event of the build.
    pub fn on_event(&self, event: Event) {
        match event {
            Event::FetchStarted { archives, bytes } => {
                self.output.note(&format!("{archives} package archives, {}", size(bytes)));
                let _ = self.download.set(self.bar("packages", bytes));
            }
            Event::FetchProgress { bytes } => {
                if let Some(bar) = self.download.get() {
                    self.show(bar);
                    bar.inc(bytes);
                }
            }
            Event::FetchFinished { name, cached } => {
                self.output.note(&format!("{} {name}", if cached { "cached " } else { "fetched" }));
            }
            Event::SourceStarted { name, platform } => {
                self.output.note(&format!("building {name} for {platform} in a container; this runs its code"));
            }
            Event::LayersStarted { platform, layers, bytes, reused, reused_bytes } => {
                if let Some(bar) = self.download.get() {
                    bar.finish_and_clear();
                }
                self.output.note(&format!("{platform}: {layers} layers of {} of packages", size(bytes)));
                if reused > 0 {
                    let reused_bytes = size(reused_bytes);
                    self.output
                        .note(&format!("{platform}: {reused} layers of {reused_bytes} of packages are there already"));
                }
                self.replace_layers(Some(self.bar(&platform, bytes)));
            }
            Event::LayerFinished { bytes, packages } => {
                self.output.note(&format!("layer  {}", packages.join(" ")));
                if let Ok(bar) = self.layers.lock()
                    && let Some(bar) = &*bar
                {
                    self.show(bar);
                    bar.inc(bytes);
                }
            }
            Event::Locking { path } => {
                self.output.say(&format!("there is no lock file {} yet; making it", path.display()));
            }
            Event::Solving { environment, platform } => {
                self.output.say(&format!("choosing packages for environment `{environment}` on {platform}"));
            }
            Event::PublishStarted { repository, bytes } => {
                self.output.note(&format!("{repository}: blobs of {}", size(bytes)));
                let Ok(mut upload) = self.upload.lock() else { return };
                if let Some(old) = upload.replace(Upload::new(self.bar("upload", bytes))) {
                    old.bar.finish_and_clear();
                }
            }
            Event::Registry(event) => self.on_registry(event),
            Event::Warning(text) => self.warn(text),
        }
    }

    fn on_registry(&self, event: RegistryEvent) {
        match event {
            RegistryEvent::Sent { blob, sent, .. } => self.on_upload(|upload| upload.sent(blob.to_string(), sent)),
            RegistryEvent::BlobDone { blob, how } => {
                self.output.note(&format!(
                    "{} {blob}",
                    match how {
                        Arrival::Present => "there   ",
                        Arrival::Mounted => "mounted ",
                        Arrival::Uploaded => "uploaded",
                    }
                ));
            }
            RegistryEvent::Tagged { tag, digest } => self.output.note(&format!("tagged {tag} {digest}")),
            RegistryEvent::Retry { what, why, wait } => {
                let text = format!("{what}: {why}; next attempt in {:.1} s", wait.as_secs_f64());
                // Somebody who watches nothing happen wants to know why.
                if wait >= LONG { self.output.say(&text) } else { self.output.note(&text) }
            }
            RegistryEvent::TokenService { registry, host } => {
                self.output.say(&format!("the token service of {registry} is at {host}"));
            }
            RegistryEvent::Warning(text) => self.warn(text),
        }
    }

    fn on_upload(&self, act: impl FnOnce(&mut Upload)) {
        if let Ok(mut upload) = self.upload.lock()
            && let Some(upload) = &mut *upload
        {
            self.show(&upload.bar);
            act(upload);
        }
    }

    /// One architecture or registry says what the other has said.
    fn warn(&self, text: String) {
        let Ok(mut warnings) = self.warnings.lock() else { return };
        if !warnings.contains(&text) {
            self.output.warning(&text);
            warnings.push(text);
        }
    }

    /// Takes all bars away.
    pub fn finish(&self) {
        if let Some(bar) = self.download.get() {
            bar.finish_and_clear();
        }
        self.replace_layers(None);
        if let Ok(mut upload) = self.upload.lock()
            && let Some(upload) = upload.take()
        {
            upload.bar.finish_and_clear();
        }
    }

    fn replace_layers(&self, bar: Option<ProgressBar>) {
        if let Ok(mut layers) = self.layers.lock()
            && let Some(old) = std::mem::replace(&mut *layers, bar)
        {
            old.finish_and_clear();
        }
    }

    fn bar(&self, label: &str, bytes: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let template = "{prefix:>14} {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec:>12} {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(label.to_string());
        bar
    }

    fn show(&self, bar: &ProgressBar) {
        if bar.is_hidden()
            && self.started.elapsed() > QUIET
            && let Some(bars) = self.output.bars()
        {
            bars.add(bar.clone());
        }
    }
}

/// `12.3 MB`: powers of 1000, as registries and disks count.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_have_three_digits_or_so() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000_000, "2.0 GB"), (u64::MAX, "18446744.1 TB")]
        {
            assert_eq!(super::size(bytes), text);
        }
    }
}
