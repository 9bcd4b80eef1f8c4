//! An image of a layout: what its documents say of its layers.

use std::collections::BTreeMap;

use oci_read::document::{BASE_DIGEST, Descriptor, ImageConfig};

use crate::{
    purpose::{OURS, Purpose},
    report::{Findings, Rule, printable},
};

/// An image whose documents could be read.
pub(crate) struct Image {
    pub digest: String,
    pub config_digest: String,
    pub config: ImageConfig,
    /// From the lowest to the highest.
    pub layers: Vec<Descriptor>,
    /// How many of `layers` are the base image's; the others are held to stricter rules.
    pub base_layers: usize,
    /// The base image that its manifest names.
    pub base_digest: Option<String>,
}

impl Image {
    /// Whether a layer's history says that pixi-oci made it.
    pub fn is_ours(&self) -> bool {
        self.config
            .layer_history()
            .any(|step| Purpose::of(step.created_by.as_deref().unwrap_or("")) != Purpose::Unknown)
    }

    /// Says which layers nothing was compared with.
    pub fn base(&self, findings: &mut Findings) {
        if !self.is_ours() {
            let text = "was not made by pixi-oci, so its files are not accounted for";
            findings.notice(Rule::NotCompared, &self.digest, text);
        } else if let (Some(base), 1..) = (&self.base_digest, self.base_layers) {
            let (number, base) = (self.base_layers, printable(base.as_bytes()));
            let layers = if number == 1 { "layer is" } else { "layers are" };
            findings.notice(
                Rule::NotCompared,
                &self.digest,
                format!("{number} base {layers} not checked against {base}"),
            );
        }
    }
}

/// How many of an image's layers, from the lowest, are those of its base image.
///
/// An image of ours on a base says so by an annotation, and the history of our layers begins with `pixi-oci:`. A base that
/// is an image of ours itself ends with its application layer. An image without the annotation has no base: to be let off
/// our stricter rules takes a word in the manifest, which its digest covers.
pub(crate) fn base_layers(annotations: &BTreeMap<String, String>, config: &ImageConfig, layers: usize) -> usize {
    if !annotations.contains_key(BASE_DIGEST) {
        return 0;
    }
    let history: Vec<&str> =
        config.layer_history().map(|entry| entry.created_by.as_deref().unwrap_or_default()).collect();
    let is_application = |text: &&str| Purpose::of(text) == Purpose::Application;
    // What was put on top of an image of ours does not make a base of it.
    let of_base = history.split_last().filter(|(top, _)| is_application(top));
    let of_base = of_base.and_then(|(_, below)| below.iter().rposition(is_application));
    let first = of_base.map(|last| last + 1).or_else(|| history.iter().position(|text| text.starts_with(OURS)));
    first.unwrap_or(layers).min(layers)
}
