//! Layers that come into a layout.

use pixi_oci_image::Descriptor;
use pixi_oci_store::{Destination, OciLayout};

use super::Published;
use crate::Error;

impl Published {
    /// Fetches a layer from the first image that has it. It has no name in the layout before its digest is right, and a
    /// fetch that is dropped leaves nothing.
    pub(super) async fn fetch(&self, blob: &Descriptor, layout: &OciLayout) -> Result<bool, Error> {
        if layout.has_blob(blob)? {
            return Ok(true);
        }
        for registry in self.sources() {
            let mut staged = layout.staging()?;
            let fetched = async {
                if !registry.has_blob(blob).await? {
                    return Ok(false);
                }
                registry.fetch_blob(blob, staged.as_file_mut()).await.map(|()| true)
            };
            match fetched.await {
                Ok(true) => {
                    layout.adopt(staged, &blob.digest, blob.size)?;
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => self.give_up(registry.repository(), &error),
            }
        }
        Ok(false)
    }
}
