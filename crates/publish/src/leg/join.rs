//! The index of images that other jobs have published.

use pixi_oci_pipeline::documents;
use pixi_oci_registry::{Error, Registry, Repository};
use pixi_oci_store::platform_in;

use crate::leg::CheckedLeg;

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
