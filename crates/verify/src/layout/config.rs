//! The image configuration by itself, and against the number of layers.

use oci_read::document::{ImageConfig, Settings};

use crate::report::{Findings, Rule, printable};

/// Checks all of an image configuration that can be known without reading a layer.
pub(crate) fn check(digest: &str, config: &ImageConfig, layers: usize, findings: &mut Findings) {
    if config.rootfs.r#type != "layers" {
        findings.error(Rule::Document, digest, "rootfs.type is not layers");
    }
    let diff_ids = config.rootfs.diff_ids.len();
    if diff_ids != layers {
        let text = format!("has {diff_ids} diff ids; the image manifest has {layers} layers");
        findings.error(Rule::LayerCount, digest, text);
    }
    // A diff id belongs to a history entry by its place, so one entry too few renames all layers above it.
    let with_layer = config.layer_history().count();
    if config.history.is_none() {
        findings.notice(Rule::History, digest, "has no history");
    } else if with_layer != layers {
        let text = format!("its history tells of {with_layer} layers; the image manifest has {layers}");
        findings.error(Rule::History, digest, text);
    }
    check_settings(digest, &config.config, findings);
}

fn check_settings(digest: &str, settings: &Settings, findings: &mut Findings) {
    for variable in &settings.env {
        let named = variable.split_once('=').is_some_and(|(name, _)| !name.is_empty());
        if !named || variable.contains(['\0', '\n']) {
            let text = format!("Env has {:?}, which is not NAME=VALUE on one line", printable(variable.as_bytes()));
            findings.error(Rule::Settings, digest, text);
        }
    }
    // A working directory there reaches open files of the runtime (CVE-2024-21626).
    let dir = &settings.working_dir;
    if !dir.is_empty() {
        let proc = dir.split('/').find(|part| !part.is_empty()) == Some("proc");
        if !dir.starts_with('/') || proc || dir.split('/').any(|part| part == "..") {
            let text = format!("WorkingDir {:?} is not an absolute path outside /proc", printable(dir.as_bytes()));
            findings.error(Rule::Settings, digest, text);
        }
    }
    // Larger numbers overflow to root in some runtimes (CVE-2024-40635).
    for id in settings.user.split(':') {
        let numeric = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        if numeric && id.parse::<u64>().map_or(true, |id| id >= 1 << 31) {
            let text = format!("User has the number {}, which is 2^31 or more", printable(id.as_bytes()));
            findings.error(Rule::Settings, digest, text);
        }
    }
}
