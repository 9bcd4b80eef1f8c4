//! Where images are made, and of what.

use std::path::Path;

use pixi_oci_project::{Project, Session};
use pixi_oci_store::OciLayout;

use crate::stock::{OnLayer, Stock};

/// Where images of a project are made, and of what.
pub struct Workshop<'a> {
    pub project: &'a Project,
    pub session: &'a Session,
    pub stock: &'a Stock<'a>,
    /// What the build writes: never part of an image.
    pub output: &'a Path,
    /// Where layers are made.
    pub layout: &'a OciLayout,
    /// Where temporary files go.
    pub scratch: &'a Path,
    /// Takes layers as soon as they are there.
    pub on_layer: OnLayer<'a>,
}
