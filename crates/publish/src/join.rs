//! The index of images that other jobs have published.

use crate::{content::Content, leg::CheckedLeg, report::PublishedImage};
use pixi_oci_image::{Descriptor, MediaType, index_document};
use pixi_oci_pipeline::documents;
use pixi_oci_registry::{
    Error, Registry, Repository,
    push::{Document, PushPlan},
};
use pixi_oci_store::platform_in;

/// The index that names the legs, and nothing else: their blobs are where they have to be.
pub fn content(legs: &[CheckedLeg]) -> Result<Content<'static>, pixi_oci_plan::Error> {
    let children: Vec<_> = legs.iter().map(|leg| (&leg.manifest, &leg.platform)).collect();
    let annotations = legs.first().map(|leg| leg.leg.index_annotations.clone()).unwrap_or_default();
    let bytes = index_document(&children, &annotations)?;
    let root = Descriptor::of(MediaType::ImageIndex, &bytes);
    let images = legs.iter().map(|leg| PublishedImage {
        platform: Some(leg.platform.to_string()),
        digest: leg.manifest.digest,
        config: None,
        layers: Vec::new(),
    });
    let plan = PushPlan {
        images: Vec::new(),
        index: Some(Document { descriptor: root.clone(), bytes }),
        tags: Vec::new(),
        mount_from: Vec::new(),
        arrived: std::collections::BTreeMap::new(),
        dry_run: false,
    };
    Ok(Content::of_index(plan, root, images.collect()))
}

/// Fetches every leg from the repository, by digest, and checks that it is the image that it is said to be.
pub async fn check(legs: &[CheckedLeg], registry: &Registry, repository: &Repository) -> Result<(), Error> {
    for leg in legs {
        let what = format!("{repository}@{}", leg.manifest.digest);
        let mismatch = |found: String| Error::mismatch(&what, leg.manifest.digest, found);
        let (descriptor, bytes) = registry.manifest(&leg.manifest.digest.to_string()).await?;
        if descriptor.size != leg.manifest.size {
            return Err(mismatch(format!("the leg says {} bytes, and it has {}", leg.manifest.size, descriptor.size)));
        }
        if descriptor.media_type != leg.manifest.media_type {
            return Err(mismatch(format!("its media type is {}", descriptor.media_type)));
        }
        let config =
            documents(&bytes).map(|(config, _)| config).ok_or_else(|| mismatch("it is no image manifest".into()))?;
        let platform = platform_in(&registry.fetch_document(&config).await?);
        if platform.as_ref() != Some(&leg.platform) {
            let found = platform.map_or("something else".to_owned(), |platform| platform.to_string());
            return Err(mismatch(format!("it is for {found}, and the leg says {}", leg.platform)));
        }
    }
    Ok(())
}
