//! What is found out about one target.

use pixi_oci_image::Image;
use pixi_oci_pipeline::{Base, in_one_line};

use crate::{
    Error,
    report::layer::{OtherLayer, PlannedLayerReport},
    report::{Reason, Unpredicted},
};

/// One target, as far as it is known.
#[derive(Default)]
pub struct Seen {
    pub layers: Vec<PlannedLayerReport>,
    /// Packages whose contents are not known.
    pub unknown: Vec<String>,
    /// Packages whose contents are what their servers say.
    pub unverified: Vec<String>,
    /// The base image, if it is here.
    pub base: Option<Base>,
    /// The image, if it is known, and its layers that are not of packages.
    pub image: Option<(Image, Vec<OtherLayer>)>,
}

/// What would make a build fail is not an error of the plan.
pub fn fails(error: impl Into<Error>) -> Result<Unpredicted, Error> {
    let error = error.into();
    if matches!(error, Error::Interrupted | Error::Io(_)) {
        return Err(error);
    }
    let message = format!("a build would fail: {}", in_one_line(&error));
    Ok(Unpredicted { reason: Reason::BuildFails, message })
}
