//! An image and what came of making it again: which layers and documents differ, and in what.
//!
//! Both are layouts that [`verify_layout`](crate::verify_layout) found sound, so digests stand for bytes. Where two tars
//! differ, they are read side by side up to the first entry that does.

mod documents;
mod layers;

use std::{io, path::Path};

use serde::Serialize;

pub use documents::DocumentDifference;
pub use layers::LayerComparison;

use crate::{ImageReport, LayerReport, Report};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sameness {
    /// All bytes.
    Identical,
    /// What is unpacked from it; it is compressed differently.
    Content,
    Different,
}

/// Two layouts, image by image.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The worst of all images, and of the image index.
    pub sameness: Sameness,
    /// The digests of the two image indexes; absent if not all of one was made again, or it is no index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<[String; 2]>,
    /// One for each image that was made again.
    pub images: Vec<ImageComparison>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageComparison {
    /// `linux/amd64`
    pub platform: String,
    /// The worst of layers and documents.
    pub sameness: Sameness,
    pub manifest: [String; 2],
    pub config: [String; 2],
    /// Where configuration and manifest differ in more than what follows from the layers; at most 50.
    pub documents: Vec<DocumentDifference>,
    /// All layers of both, from the lowest.
    pub layers: Vec<LayerComparison>,
}

impl ImageComparison {
    /// What differs, for people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let platform = &self.platform;
        if self.sameness == Sameness::Content {
            return vec![format!(
                "{platform} has the same files, compressed differently; say --compression as it was said then, or use the pixi-oci of then"
            )];
        }
        let different = self.layers.iter().enumerate().filter(|(_, layer)| layer.sameness == Sameness::Different);
        let layers = different.map(|(number, layer)| {
            let digest = |report: &Option<LayerReport>| {
                report.as_ref().map_or("there is none".into(), |report| report.digest.clone())
            };
            let what = layer.first_difference.as_ref().map(|path| format!("; {path}")).unwrap_or_default();
            let (image, again) = (digest(&layer.image), digest(&layer.again));
            let (number, content) = (number + 1, &layer.content);
            format!("{platform} layer {number} ({content}): {image} in the image, {again} made again{what}")
        });
        let documents = self.documents.iter().map(|difference| {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
            let (image, again) = (value(&difference.image), value(&difference.again));
            format!("{platform} {}: {image} in the image, {again} made again", difference.place)
        });
        layers.chain(documents).collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    #[error("nothing was made again for {platform}; the workspace gives {made}")]
    NoCounterpart { platform: String, made: String },
    #[error("cannot read what was verified a moment ago")]
    Read(#[from] io::Error),
}

pub type Verified<'a> = (&'a Path, &'a Report);

/// Compares the images of `original` for which `wants` their platform with those of `again`. All of both reports is
/// expected to be sound.
pub fn compare(
    original: Verified<'_>,
    again: Verified<'_>,
    wants: &dyn Fn(&str) -> bool,
) -> Result<Comparison, ComparisonError> {
    let mut images = Vec::new();
    for image in original.1.images.iter().filter(|image| wants(&image.platform)) {
        let made = again.1.images.iter().find(|made| made.platform == image.platform);
        let made = made.ok_or_else(|| ComparisonError::NoCounterpart {
            platform: image.platform.clone(),
            made: again.1.images.iter().map(|made| made.platform.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        images.push(compare_images((original.0, image), (again.0, made))?);
    }
    let index = index(original.1, again.1, images.len());
    let of_index = match &index {
        Some([original, again]) if original != again => {
            // What is compressed differently has another name in the index, and that is all if it is all in the images.
            let of_images = images.iter().map(|image| image.sameness).max();
            of_images.filter(|sameness| *sameness != Sameness::Identical).unwrap_or(Sameness::Different)
        }
        _ => Sameness::Identical,
    };
    let sameness = images.iter().map(|image| image.sameness).chain([of_index]).max().unwrap_or(Sameness::Different);
    Ok(Comparison { sameness, index, images })
}

/// The image indexes, if each report is of one, and all images were made again.
fn index(original: &Report, again: &Report, compared: usize) -> Option<[String; 2]> {
    let only = |report: &Report| match &report.roots[..] {
        [root] if root.media_type == oci_read::document::OCI_INDEX => Some(root.digest.clone()),
        _ => None,
    };
    let all = compared == original.images.len() && compared == again.images.len();
    Some([only(original)?, only(again)?]).filter(|_| all)
}

fn compare_images(original: (&Path, &ImageReport), again: (&Path, &ImageReport)) -> io::Result<ImageComparison> {
    let pair = |of: fn(&ImageReport) -> &String| [of(original.1).clone(), of(again.1).clone()];
    let manifest = pair(|image| &image.manifest);
    let documents = if manifest[0] == manifest[1] { Vec::new() } else { documents::compare(original, again)? };
    let layers = layers::compare(original, again)?;
    let mut sameness = layers.iter().map(|layer| layer.sameness).max().unwrap_or(Sameness::Identical);
    if manifest[0] != manifest[1] {
        let follows = sameness == Sameness::Content && documents.is_empty();
        sameness = if follows { Sameness::Content } else { Sameness::Different };
    }
    Ok(ImageComparison {
        platform: original.1.platform.clone(),
        sameness,
        manifest,
        config: pair(|image| &image.config),
        documents,
        layers,
    })
}
