//! A base image as an OCI layout, for who runs it as it is.

use std::collections::BTreeMap;

use pixi_oci_image::{AssembleInput, ImageSettings, Index, Platform, assemble};

use super::{BaseError, BaseImage, Problem};
use crate::{OciLayout, publish};

/// Writes a base image with its variables into an empty layout. Its layers are those of the image; its documents are new.
pub fn write_base(image: &BaseImage, layout: &OciLayout) -> Result<(), BaseError> {
    write(image, layout).map_err(|problem| problem.of(&image.reference))
}

fn write(image: &BaseImage, layout: &OciLayout) -> Result<(), Problem> {
    let of = |error: pixi_oci_image::Error| Problem::document(image.digest, "an image that can be run", error);
    let assembled = assemble(&AssembleInput {
        platform: Platform { architecture: image.architecture, variant: image.variant.clone() },
        base_layers: image.layers.iter().map(|layer| layer.entry.clone()).collect(),
        base_history: image.history.clone(),
        layers: Vec::new(),
        settings: ImageSettings { env: image.config.env.clone(), ..ImageSettings::default() },
        created: 0,
    })
    .map_err(of)?;
    let index = Index::new(vec![assembled], &BTreeMap::new()).map_err(of)?;
    let blobs = image.layers.iter().map(|layer| (layer.entry.descriptor.digest, layer.path.clone())).collect();
    Ok(publish(&index, &blobs, layout, None)?)
}
