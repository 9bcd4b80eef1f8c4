//! Tasks of a workspace whose files are in an image.

use std::path::Path;

use pixi_oci_image::Architecture;
use pixi_oci_lock::LockedPlatform;
use pixi_oci_workspace::{TaskArgv, Workspace};

use crate::{Error, target::platform};

/// A task of the workspace in a directory as a plain command, for an environment on an architecture.
pub fn image_task(
    workspace: &Path,
    environment: &str,
    architecture: Architecture,
    name: &str,
) -> Result<TaskArgv, Error> {
    let subdir = platform::subdir(architecture);
    let locked = LockedPlatform {
        name: subdir.to_string(),
        lock_name: subdir.to_string(),
        subdir,
        virtual_packages: Vec::new(),
        extras: Vec::new(),
    };
    Ok(Workspace::open(workspace)?.task(environment, locked.target(), name)?)
}
