//! Pinning base images: the digest of what their names mean now goes into `[tool.pixi-oci]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use pixi_oci_layer::Compression;
use pixi_oci_platform::{Links, cannot, read_text};
use pixi_oci_store::base::{BaseRef, present_digest, with_digest};
use pixi_oci_workspace::{Workspace, with_bases, write_manifest};
use serde::Serialize;

use crate::{Error, configuration::DEFAULT_BASE, configuration::absolute_base, session::Session};

/// No manifest written by people comes near this.
const MAX_MANIFEST: u64 = 8 << 20;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PinReport {
    pub manifest: PathBuf,
    /// Whether it is different from what was there.
    pub changed: bool,
    /// The names of the base images as they were, to those with digests.
    pub bases: BTreeMap<String, String>,
}

/// Pins every base image of the configuration: the common one, which is our default if none is configured, and those of
/// environments. The rest of the manifest stays as it is written.
pub fn pin_bases(workspace: &Workspace, write: bool, session: &Session) -> Result<PinReport, Error> {
    let common = workspace.oci.base.as_deref().unwrap_or(DEFAULT_BASE);
    let own = workspace.oci.environments.values().filter_map(|environment| environment.base.as_deref());
    let names: BTreeSet<&str> = own.chain([common]).collect();
    let events = session.registry_events();
    let options = session.base_options(Compression::default(), &events);
    let mut bases = BTreeMap::new();
    for name in names {
        let reference = BaseRef::parse(&absolute_base(workspace, name))?;
        if let Some(digest) = session.run(present_digest(&reference, &options))?? {
            bases.insert(name.to_owned(), with_digest(name, digest));
        }
    }
    let text = with_bases(&workspace.manifest_path, DEFAULT_BASE, &bases)?;
    let present = read_text(&workspace.manifest_path, Links::Follow, MAX_MANIFEST)
        .map_err(cannot("read", &workspace.manifest_path))?;
    let changed = text != present;
    if changed && write {
        write_manifest(&workspace.manifest_path, &text)?;
    }
    Ok(PinReport { manifest: workspace.manifest_path.clone(), changed, bases })
}
