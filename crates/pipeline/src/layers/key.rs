//! The identity of a package layer that is known before the layer is made.
//!
//! **Equal keys mean equal bytes.** A key is the SHA-256 of a JSON document of everything that a layer's bytes depend on;
//! `docs/layering.md` lists it. What is added to the layers' bytes must be added here, or [`VERSION`] raised.

use std::borrow::Cow;

use pixi_oci_layer::{Compression, DiffId, Digest, LAYER_FORMAT_VERSION};
use pixi_oci_package::{Change, PACKAGE_TREE_VERSION, Python, TargetPrefix};
use serde::Serialize;

use crate::layers::grouping::LayerPart;

/// Times of nodes that have none: 2020-01-01, after the year 1980 in which zip files begin.
pub const LAYER_TIME: i64 = 1_577_836_800;

/// The annotation of a package layer's descriptor that names its packages, one `NAME VERSION BUILD` after the other,
/// separated by commas.
pub const PACKAGES_ANNOTATION: &str = "dev.pixi-oci.packages";

/// The annotation of a package layer's descriptor that says what the layer depends on; see `docs/layering.md`.
pub const KEY_ANNOTATION: &str = "dev.pixi-oci.layer-key";

/// The annotation of the descriptor of a layer that has a part of its package only: which one, and of how many at most.
pub const PART_ANNOTATION: &str = "dev.pixi-oci.part";

const VERSION: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerKey(Digest);

/// What a layer's bytes depend on in one of its packages.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPackage<'a> {
    /// The archive's sha256, as 64 hex digits.
    pub sha256: Cow<'a, str>,
    /// What is written of where it is from: the canonical URL of a conda package, a wheel's
    /// `direct_url.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Cow<'a, str>>,
    /// The platform of a conda package's record, which stands in where the archive does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdir: Option<Cow<'a, str>>,
    /// The canonical channel of a conda package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Cow<'a, str>>,
    /// The interpreter, where files go below it or scripts name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<&'a Python>,
    /// What other packages changed about its paths.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub changes: &'a [Change],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyInput<'a> {
    version: u32,
    layer_format: u32,
    package_tree: u32,
    /// The name and version of the compressor, and the level.
    compression: &'a str,
    /// Of what has no time of its own.
    time: i64,
    prefix: &'a str,
    packages: &'a [KeyPackage<'a>],
    /// Of the one package, where it goes over several layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<LayerPart>,
}

impl LayerKey {
    /// The key of the layer that holds `packages`, in this order, or a part of one.
    pub fn new(
        packages: &[KeyPackage<'_>],
        part: Option<LayerPart>,
        prefix: &TargetPrefix,
        compression: Compression,
    ) -> Self {
        let compression = compression.identity();
        let document = KeyInput {
            version: VERSION,
            layer_format: LAYER_FORMAT_VERSION,
            package_tree: PACKAGE_TREE_VERSION,
            compression: &compression,
            time: LAYER_TIME,
            prefix: prefix.as_str(),
            packages,
            part,
        };
        // It has nothing that cannot be written: no map with keys that are no text, no number that is none.
        Self(Digest::of(&serde_json::to_vec(&document).unwrap_or_default()))
    }

    /// The key of the layer that a tar becomes. It is kept on this machine, and no image has it.
    pub fn of_tar(tar: DiffId, compression: Compression) -> Self {
        Self(Digest::of(format!("tar {tar}, {}, {LAYER_FORMAT_VERSION}", compression.identity()).as_bytes()))
    }

    /// Its 64 hex digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl std::fmt::Display for LayerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
