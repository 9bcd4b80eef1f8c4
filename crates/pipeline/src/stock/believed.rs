//! A published image that is only looked at: what it says of its layers is believed, and none of them is taken.

use std::collections::BTreeSet;

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_store::OciLayout;

use crate::{
    Error,
    stock::{Remote, previous::Previous, remote::Published},
};

pub struct Believed<'a>(pub &'a Published);

impl Remote for Believed<'_> {
    fn previous(&self) -> Result<&Previous, Error> {
        self.0.previous()
    }

    fn provide(&self, _: &[&Descriptor], _: &OciLayout) -> Result<BTreeSet<Digest>, Error> {
        Ok(BTreeSet::new())
    }

    fn has(&self, blobs: &[&Descriptor]) -> Result<BTreeSet<Digest>, Error> {
        Ok(blobs.iter().map(|blob| blob.digest).collect())
    }
}
