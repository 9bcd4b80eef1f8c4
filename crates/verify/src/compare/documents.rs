//! Image configurations and manifests, but for what follows from the layers.

use std::{io, path::Path};

use serde::Serialize;
use serde_json::Value;

use crate::{ImageReport, peek, report::printable};

/// More say no more.
const MAX: usize = 50;
/// Below this name in a layer's descriptor is what it depends on, the compressor included.
const LAYER_KEY: &str = "dev.pixi-oci.layer-key";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentDifference {
    /// `config` or `manifest`, and a JSON pointer into it.
    pub place: String,
    /// In the image; absent if there is none. Long values are cut.
    pub image: Option<String>,
    /// Made again; absent if there is none.
    pub again: Option<String>,
}

pub fn compare(original: (&Path, &ImageReport), again: (&Path, &ImageReport)) -> io::Result<Vec<DocumentDifference>> {
    let mut found = Vec::new();
    let read = |dir: &Path, digest: &str| -> io::Result<Value> {
        Ok(without_layers(oci_read::json::parse(&peek::document(dir, digest)?)?))
    };
    let config = |(dir, image): (&Path, &ImageReport)| read(dir, &image.config);
    let manifest = |(dir, image): (&Path, &ImageReport)| read(dir, &image.manifest);
    differences("config", Some(&config(original)?), Some(&config(again)?), &mut found);
    differences("manifest", Some(&manifest(original)?), Some(&manifest(again)?), &mut found);
    Ok(found)
}

/// Layers are compared for themselves, and their digests stand in these places.
fn without_layers(mut document: Value) -> Value {
    if let Some(root) = document.get_mut("rootfs").and_then(Value::as_object_mut) {
        root.remove("diff_ids");
    }
    if let Some(config) = document.get_mut("config").filter(|config| config.get("digest").is_some()) {
        *config = Value::Null;
    }
    for layer in document.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(layer) = layer.as_object_mut() {
            layer.retain(|key, _| !["digest", "size", "mediaType"].contains(&key.as_str()));
        }
        if let Some(annotations) = layer.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAYER_KEY);
        }
    }
    document
}

fn differences(place: &str, image: Option<&Value>, again: Option<&Value>, found: &mut Vec<DocumentDifference>) {
    if image == again || found.len() >= MAX {
        return;
    }
    let below = |key: &str| format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (image, again) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().for_each(|key| differences(&below(key), left.get(key), right.get(key), found));
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => (0..left.len().max(right.len()))
            .for_each(|n| differences(&below(&n.to_string()), left.get(n), right.get(n), found)),
        _ => {
            let text = |value: &Value| printable(value.to_string().as_bytes());
            found.push(DocumentDifference {
                place: printable(place.as_bytes()),
                image: image.map(text),
                again: again.map(text),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_named_by_their_place() {
        let (a, b) = (json!({"x": {"a/b": 1, "same": 0}, "l": [1, 2]}), json!({"x": {"same": 0, "c": 3}, "l": [1]}));
        let mut found = Vec::new();
        differences("config", Some(&a), Some(&b), &mut found);
        let found: Vec<_> = found.iter().map(|d| (&*d.place, d.image.as_deref(), d.again.as_deref())).collect();
        let expected =
            [("config/l/1", Some("2"), None), ("config/x/a~1b", Some("1"), None), ("config/x/c", None, Some("3"))];
        assert_eq!(found, expected);
    }
}
