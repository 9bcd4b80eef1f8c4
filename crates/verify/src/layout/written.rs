//! What pixi-oci writes into documents and blobs, field by field: this crate's own list.
//!
//! Of an image of ours, a field that no build writes is an error: a runtime may act on it (`Healthcheck`, `OnBuild`), or
//! it names something that nothing else here looks at (`subject`, `data`). Values that follow from a build's options or
//! its base cannot be compared with anything in the image; that is said.

use oci_read::{document::ImageConfig, json, unpack::Hidden};
use serde_json::Value;

use crate::report::{Findings, Rule, printable};

/// What a value may be.
pub(crate) enum Shape {
    /// An object with these fields and no others.
    Fields(&'static [(&'static str, Shape)]),
    List(&'static Shape),
    /// Text, numbers, and objects with free keys.
    Any,
}

use Shape::{Any, Fields, List};

const DESCRIPTOR: Shape = Fields(&[("mediaType", Any), ("digest", Any), ("size", Any), ("annotations", Any)]);
const CHILD: Shape = Fields(&[
    ("mediaType", Any),
    ("digest", Any),
    ("size", Any),
    ("annotations", Any),
    ("platform", Fields(&[("architecture", Any), ("os", Any), ("variant", Any)])),
]);
pub(crate) const INDEX: Shape =
    Fields(&[("schemaVersion", Any), ("mediaType", Any), ("manifests", List(&CHILD)), ("annotations", Any)]);
pub(crate) const MANIFEST: Shape = Fields(&[
    ("schemaVersion", Any),
    ("mediaType", Any),
    ("config", DESCRIPTOR),
    ("layers", List(&DESCRIPTOR)),
    ("annotations", Any),
]);
/// The history of a base image is taken over.
const HISTORY: Shape =
    Fields(&[("created", Any), ("created_by", Any), ("comment", Any), ("author", Any), ("empty_layer", Any)]);
pub(crate) const CONFIG: Shape = Fields(&[
    ("created", Any),
    ("architecture", Any),
    ("os", Any),
    ("variant", Any),
    ("rootfs", Fields(&[("type", Any), ("diff_ids", Any)])),
    ("history", List(&HISTORY)),
    (
        "config",
        Fields(&[
            ("User", Any),
            ("Env", Any),
            ("Entrypoint", Any),
            ("Cmd", Any),
            ("WorkingDir", Any),
            ("Labels", Any),
            ("ExposedPorts", Any),
            ("Volumes", Any),
            ("StopSignal", Any),
        ]),
    ),
]);

/// Compares a document of an image of ours with what is written.
pub(crate) fn check(shape: &Shape, bytes: &[u8], subject: &str, findings: &mut Findings) {
    let Ok(value) = json::parse::<Value>(bytes) else { return };
    let mut foreign = Vec::new();
    compare("", &value, shape, &mut foreign);
    for place in foreign {
        let text = format!("has the field {}, which pixi-oci does not write", printable(place.as_bytes()));
        findings.error(Rule::ForeignField, subject, text);
    }
    if canonical(value).as_bytes() != bytes {
        findings.notice(Rule::NotCompared, subject, "was written anew by another tool");
    }
}

fn compare(place: &str, value: &Value, shape: &Shape, foreign: &mut Vec<String>) {
    match (value, shape) {
        (Value::Object(object), Fields(fields)) => {
            for (key, value) in object {
                let below = format!("{place}/{key}");
                match fields.iter().find(|(name, _)| name == key) {
                    Some((_, shape)) => compare(&below, value, shape, foreign),
                    None => foreign.push(below),
                }
            }
        }
        (Value::Array(list), List(shape)) => list.iter().for_each(|value| compare(place, value, shape, foreign)),
        _ => {}
    }
}

/// One line, keys sorted.
pub(crate) fn canonical(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

/// Says which settings nothing in the image can be compared with. `entrypoint` is the one that the environment layer has.
pub(crate) fn settings(config: &ImageConfig, entrypoint: &str, subject: &str, findings: &mut Findings) {
    let settings = &config.config;
    let own_entrypoint =
        settings.entrypoint.first().is_some_and(|program| program.trim_start_matches('/') == entrypoint);
    let set = [
        ("User", !settings.user.is_empty()),
        ("Entrypoint", !settings.entrypoint.is_empty() && (!own_entrypoint || settings.entrypoint.len() > 1)),
        ("Cmd", !settings.cmd.is_empty()),
        ("Labels", !settings.labels.is_empty()),
        ("ExposedPorts", !settings.exposed_ports.is_empty()),
        ("Volumes", !settings.volumes.is_empty()),
        ("StopSignal", !settings.stop_signal.is_empty()),
    ];
    let names: Vec<&str> = set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    if !names.is_empty() {
        let text = format!("{} follow from the options and the base image of the build", names.join(", "));
        findings.notice(Rule::NotCompared, subject, text);
    }
}

/// Nothing of ours has bytes outside the tar.
pub(crate) fn hidden(hidden: Hidden, layer: &str, findings: &mut Findings) {
    for (number, what) in [
        (hidden.fields, "gzip members with an extra field, a name or a comment"),
        (hidden.empty, "gzip members or zstd frames with nothing in them"),
        (hidden.skipped, "zstd frames that are skipped"),
    ] {
        if number > 0 {
            findings.error(Rule::HiddenBytes, layer, format!("has {number} {what}, which pixi-oci does not write"));
        }
    }
}
