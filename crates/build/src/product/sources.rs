//! Sources of a product's environments become wheels, in containers, if somebody asked for it.

use std::path::Path;

use pixi_oci_net::Client;
use pixi_oci_product::ProductEnvironment;
use pixi_oci_publish::OciLayout;
use pixi_oci_workspace::Workspace;

use super::Environment;
use crate::{Error, OnEvent, WheelOrigin, image::ImageBuilder, source_environments::Environments};

/// What all environments of a product share.
pub(super) struct Builds<'a> {
    pub workspace: &'a Workspace,
    pub client: &'a Client,
    /// A directory for images that builds run in, and for other temporary files.
    pub scratch: &'a Path,
    pub on_event: OnEvent<'a>,
}

impl Builds<'_> {
    /// Builds what is pending in an environment, as for an image of it: in its locked packages on its base image. Gives
    /// what was run now; a wheel of an earlier build is taken from the cache.
    pub fn run(&self, number: usize, environment: &mut Environment) -> Result<Vec<String>, Error> {
        if environment.sources.pending.is_empty() {
            return Ok(Vec::new());
        }
        let scratch = self.scratch.join(format!("sources-{number}"));
        let layout = OciLayout::open(&scratch)?;
        let builder = ImageBuilder {
            request: &environment.request,
            workspace: self.workspace,
            configuration: &environment.configuration,
            output: &scratch,
            layout: &layout,
            scratch: &scratch,
            client: self.client,
            layer_cache: None,
            remote: None,
            on_layer: &|_, _| (),
            on_event: self.on_event,
        };
        Environments { builder: &builder, targets: &environment.targets }.build(&mut environment.sources)?;
        Ok(std::mem::take(&mut environment.sources.executed))
    }
}

/// The packages of which code was run to make their wheels, now or in an earlier build: the same for the same lock file.
pub(super) fn executed(environments: &[ProductEnvironment]) -> Vec<String> {
    let built = WheelOrigin::Built.to_string();
    let packages = environments.iter().flat_map(|environment| &environment.packages);
    let made = packages.filter(|package| package.source.as_deref() == Some(&*built));
    let mut names: Vec<String> = made.map(|package| format!("{} {}", package.name, package.version)).collect();
    names.sort();
    names.dedup();
    names
}
