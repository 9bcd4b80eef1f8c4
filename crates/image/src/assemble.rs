//! One platform's image: its configuration and its manifest.

use oci_spec::image::{Arch, Config, History, ImageConfiguration, Os, RootFs};
use pixi_oci_layer::DiffId;
use serde_json::json;

use crate::{Architecture, Descriptor, Error, ImageSettings, LayerEntry, MediaType, Platform, canonical, rfc3339};

/// A layer of ours and what the image's history says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLayer {
    /// The layer.
    pub entry: LayerEntry,
    /// What made it; `podman history` shows it as the command.
    pub created_by: String,
    /// What is in it.
    pub comment: Option<String>,
}

/// Everything an image is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct AssembleInput {
    /// What the image runs on.
    pub platform: Platform,
    /// The base image's layers, bottom first; empty for `scratch`.
    pub base_layers: Vec<LayerEntry>,
    /// The history of the base image's configuration, as it is there.
    pub base_history: Vec<History>,
    /// Our layers, bottom first.
    pub layers: Vec<OwnLayer>,
    /// The runtime settings.
    pub settings: ImageSettings,
    /// The time of the image and of our history entries, in seconds since 1970.
    pub created: i64,
}

/// One platform's image. Its documents are final: they are stored as these bytes under these descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it runs on.
    pub platform: Platform,
    /// The image configuration.
    pub config_bytes: Vec<u8>,
    /// Names `config_bytes`.
    pub config: Descriptor,
    /// The image manifest.
    pub manifest_bytes: Vec<u8>,
    /// Names `manifest_bytes`.
    pub manifest: Descriptor,
    /// The base's layers, then ours, as in the manifest.
    pub layers: Vec<LayerEntry>,
}

/// Makes the image configuration and the image manifest.
///
/// # Errors
///
/// A setting that cannot be in an image, or a time that cannot be written: see [`Error`].
pub fn assemble(input: &AssembleInput) -> Result<Image, Error> {
    input.settings.check()?;
    let created = rfc3339(input.created)?;
    let layers: Vec<LayerEntry> =
        input.base_layers.iter().chain(input.layers.iter().map(|layer| &layer.entry)).cloned().collect();

    let config_bytes = config_document(input, &created, &layers);
    let config = Descriptor::of(MediaType::ImageConfig, &config_bytes);

    let descriptors: Vec<&Descriptor> = layers.iter().map(|layer| &layer.descriptor).collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        // Always there, so that a manifest cannot be taken for an index (CVE-2021-41190).
        "mediaType": MediaType::ImageManifest,
        "config": config,
        "layers": descriptors,
    });
    if !input.settings.manifest_annotations.is_empty() {
        manifest["annotations"] = json!(input.settings.manifest_annotations);
    }
    let manifest_bytes = canonical(manifest);
    let manifest = Descriptor::of(MediaType::ImageManifest, &manifest_bytes);
    Ok(Image { platform: input.platform.clone(), config_bytes, config, manifest_bytes, manifest, layers })
}

/// The image configuration (OCI image-spec, config.md).
fn config_document(input: &AssembleInput, created: &str, layers: &[LayerEntry]) -> Vec<u8> {
    let mut rootfs = RootFs::default();
    rootfs.set_typ("layers".into());
    rootfs.set_diff_ids(layers.iter().map(|layer| layer.diff_id.to_string()).collect());

    let mut document = ImageConfiguration::default();
    document
        .set_created(Some(created.into()))
        .set_architecture(match input.platform.architecture {
            Architecture::Amd64 => Arch::Amd64,
            Architecture::Arm64 => Arch::ARM64,
        })
        .set_os(Os::Linux)
        .set_variant(input.platform.variant.clone())
        .set_config(Some(runtime_settings(&input.settings)))
        .set_rootfs(rootfs)
        .set_history(Some(history(input, created)));
    canonical(json!(document))
}

fn runtime_settings(settings: &ImageSettings) -> Config {
    let env: Vec<String> = settings.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut config = Config::default();
    config
        .set_user(settings.user.clone())
        .set_env(some_unless_empty(env))
        .set_entrypoint(settings.entrypoint.clone())
        .set_cmd(settings.cmd.clone())
        .set_working_dir(settings.workdir.clone())
        .set_labels((!settings.labels.is_empty()).then(|| settings.labels.clone().into_iter().collect()))
        .set_exposed_ports(some_unless_empty(settings.ports_with_protocol().into_iter().collect()))
        .set_volumes(some_unless_empty(settings.volumes.iter().cloned().collect()))
        .set_stop_signal(settings.stop_signal.clone());
    config
}

fn some_unless_empty(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

/// One entry for each layer, because readers pair the two lists; the base's entries for steps without a layer stay.
fn history(input: &AssembleInput, created: &str) -> Vec<History> {
    let with_layer = input.base_history.iter().filter(|entry| !entry.empty_layer().unwrap_or(false)).count();
    let base = if with_layer == input.base_layers.len() {
        input.base_history.clone()
    } else {
        // Squashed and hand-made bases have no history, or a wrong one, which would shift the names of all our layers.
        input.base_layers.iter().map(|layer| base_entry(layer.diff_id)).collect()
    };
    let own = input.layers.iter().map(|layer| {
        let mut entry = History::default();
        entry
            .set_created(Some(created.into()))
            .set_created_by(Some(layer.created_by.clone()))
            .set_comment(layer.comment.clone());
        entry
    });
    base.into_iter().chain(own).collect()
}

fn base_entry(diff_id: DiffId) -> History {
    let mut entry = History::default();
    entry.set_created_by(Some(format!("base image layer {diff_id}")));
    entry
}

#[cfg(test)]
mod tests;
