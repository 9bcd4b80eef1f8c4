//! Sources of a product's environments become wheels, in containers, if somebody asked for it.

use std::path::Path;

use pixi_oci_product::ProductEnvironment;
use pixi_oci_store::OciLayout;

use super::Environment;
use crate::Error;
use pixi_oci_pipeline::{Stock, WheelSource, Workshop};
use pixi_oci_plan::build_sources;
use pixi_oci_project::Session;

/// Builds what is pending in an environment, as for an image of it: in its locked packages on its base image. Gives what was
/// run now; a wheel of an earlier build is taken from the cache.
pub(super) fn build(environment: &mut Environment, scratch: &Path, session: &Session) -> Result<Vec<String>, Error> {
    if environment.sources.pending.is_empty() {
        return Ok(Vec::new());
    }
    let layout = OciLayout::open(scratch)?;
    let workshop = Workshop {
        project: &environment.project,
        session,
        stock: &Stock::facts_only(session),
        output: scratch,
        layout: &layout,
        scratch,
        on_layer: &|_| (),
    };
    build_sources(&mut environment.sources, &workshop)?;
    Ok(std::mem::take(&mut environment.sources.executed))
}

/// The packages of which code was run to make their wheels, now or in an earlier build: the same for the same lock file.
pub(super) fn executed(environments: &[ProductEnvironment]) -> Vec<String> {
    let packages = environments.iter().flat_map(|environment| &environment.packages);
    let made = packages.filter(|package| package.source.as_deref() == Some(WheelSource::Built.name()));
    let mut names: Vec<String> = made.map(|package| format!("{} {}", package.name, package.version)).collect();
    names.sort();
    names.dedup();
    names
}
