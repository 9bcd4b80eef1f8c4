//! What is said of events in words, whatever else shows them.

use pixi_oci_project::Event;
use pixi_oci_registry::{Arrival, Event as RegistryEvent};

use super::LONG;
use crate::output::Output;
use pixi_oci_plan::size;

/// Says it: most of it only with `--verbose`.
pub fn say(event: &Event, output: &Output) {
    match event {
        Event::FetchStarted { archives, bytes } => {
            output.note(&format!("{archives} package archives, {}", size(*bytes)));
        }
        Event::FetchFinished { package, cached } => {
            output.note(&format!("{} {package}", if *cached { "cached " } else { "fetched" }));
        }
        Event::SourceStarted { package, platform } => {
            output.note(&format!("building {package} for {platform}; this runs its code"));
        }
        Event::SourceFinished { package, wheel, .. } => output.note(&format!("built  {package}: {wheel}")),
        Event::BaseStarted { base, architecture } => output.note(&format!("base image {base} for {architecture}")),
        Event::LayersFrom { image } => output.say(&format!("layers are taken from {image} where they fit")),
        Event::LayersThere { image, layers, of, bytes } => output.say(&format!(
            "a release is made anew; --cache-from docker://{image} would take {layers} of {of} layers from there, {}",
            size(*bytes)
        )),
        Event::LayersStarted { platform, layers, bytes, reused, reused_bytes } => {
            output.note(&format!("{platform}: {layers} layers of {} of packages", size(*bytes)));
            if *reused > 0 {
                let reused_bytes = size(*reused_bytes);
                output.note(&format!("{platform}: {reused} layers of {reused_bytes} of packages are there already"));
            }
        }
        Event::LayerFinished { packages, .. } => output.note(&format!("layer  {}", packages.join(" "))),
        Event::PackagesStarted { environment, platform, packages, bytes } => {
            output.note(&format!("{environment} {platform}: {packages} packages, {}", size(*bytes)));
        }
        Event::PackageWritten { package, .. } => output.note(&format!("package {package}")),
        Event::Locking { path } => {
            output.say(&format!("there is no lock file {} yet; making it", path.display()));
        }
        Event::Solving { environment, platform } => {
            output.say(&format!("choosing packages for environment `{environment}` on {platform}"));
        }
        Event::SendingStarted { repository } => output.note(&format!("{repository}: layers are sent as they are made")),
        Event::PublishStarted { repository, bytes, .. } => {
            output.note(&format!("{repository}: blobs of {}", size(*bytes)));
        }
        Event::Registry(event) | Event::Upload { event, .. } => registry(event, output),
        Event::FetchProgress { .. } | Event::Warning(_) => {}
    }
}

fn registry(event: &RegistryEvent, output: &Output) {
    match event {
        RegistryEvent::BlobDone { blob, how, .. } => {
            let how = match how {
                Arrival::Present => "there   ",
                Arrival::Mounted => "mounted ",
                Arrival::Uploaded => "uploaded",
            };
            output.note(&format!("{how} {blob}"));
        }
        RegistryEvent::Tagged { tag, digest } => output.note(&format!("tagged {tag} {digest}")),
        RegistryEvent::Retry { what, why, wait } => {
            let text = format!("{what}: {why}; next attempt in {:.1} s", wait.as_secs_f64());
            // Somebody who watches nothing happen wants to know why.
            if *wait >= LONG { output.say(&text) } else { output.note(&text) }
        }
        RegistryEvent::TokenService { registry, host } => {
            output.say(&format!("the token service of {registry} is at {host}"));
        }
        RegistryEvent::Receiving { blobs, bytes } => output.note(&format!("{blobs} blobs, {}", size(*bytes))),
        RegistryEvent::Sent { .. } | RegistryEvent::Received { .. } | RegistryEvent::Warning(_) => {}
    }
}
