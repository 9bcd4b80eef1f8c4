//! There is no proxy here: every image is copied.

use std::{convert::Infallible, io::Write, time::Duration};

use oci_read::document::Descriptor as Entry;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::Events;

use super::program::Skopeo;
use crate::base::Problem;

pub(super) struct Proxy(Infallible);

impl Proxy {
    pub(super) async fn open(_: &Skopeo<'_>, _: Duration, _: &Events) -> Result<Option<Self>, Problem> {
        Ok(None)
    }

    pub(super) async fn manifest(&self) -> Result<(Digest, Vec<u8>), Problem> {
        match self.0 {}
    }

    pub(super) async fn layers(&self) -> Result<Vec<Entry>, Problem> {
        match self.0 {}
    }

    pub(super) async fn blob(
        &self,
        _: &Descriptor,
        _: &mut (impl Write + Send),
        _: impl Fn(u64),
    ) -> Result<(), Problem> {
        match self.0 {}
    }

    pub(super) fn received(&self, _: &Descriptor, _: u64) {
        match self.0 {}
    }

    pub(super) async fn close(self) {
        match self.0 {}
    }
}
