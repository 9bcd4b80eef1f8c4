//! Tasks of a workspace whose files are in an image.

use std::path::Path;

use pixi_oci_image::Architecture;
use pixi_oci_workspace::{TargetPlatform, TaskArgv, Workspace};

use crate::{Error, target::platform};

/// A task of the workspace in a directory as a plain command, for an environment on an architecture.
pub fn image_task(
    workspace: &Path,
    environment: &str,
    architecture: Architecture,
    name: &str,
) -> Result<TaskArgv, Error> {
    let subdir = platform::subdir(architecture);
    let target = TargetPlatform { name: subdir.as_str(), subdir: subdir.as_str() };
    Ok(Workspace::open(workspace)?.task(environment, target, name)?)
}
