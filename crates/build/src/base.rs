//! The base image as a build sees it: what it must have, and what is taken over from it.

use std::collections::BTreeMap;

use oci_spec::image::History;
use pixi_oci_image::{Architecture, LayerEntry};
use pixi_oci_layer::TreePath;
use pixi_oci_publish::OciLayout;
use pixi_oci_resolve::VirtualRequirement;

use crate::{BaseReport, BuildRequest, Error, layers::ReadyPackage, settings::BaseSettings};

/// A base image, or none.
pub struct Base {}

impl Base {
    pub fn open(_: &BuildRequest, _reference: &str, _: Architecture, _: &OciLayout) -> Result<Self, Error> {
        Ok(Self {})
    }
    pub fn is_scratch(&self) -> bool {
        true
    }
    pub fn check_places(&self, _: &[&str]) -> Result<(), Error> {
        Ok(())
    }
    pub fn check_glibc(&self, _: &[VirtualRequirement], _: Option<(u32, u32)>) -> Result<(), Error> {
        Ok(())
    }
    pub fn check_interpreters(
        &self,
        _: &BTreeMap<String, String>,
        _: &TreePath,
        _: &[ReadyPackage<'_>],
    ) -> Result<(), Error> {
        Ok(())
    }
    pub fn layers(&self) -> &[LayerEntry] {
        &[]
    }
    pub fn history(&self) -> Vec<History> {
        Vec::new()
    }
    pub fn variant(&self) -> Option<String> {
        None
    }
    pub fn settings(&self) -> Option<&BaseSettings> {
        None
    }
    pub fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    pub fn bash(&self) -> Option<String> {
        None
    }
    pub fn report(&self) -> Option<BaseReport> {
        None
    }
}
