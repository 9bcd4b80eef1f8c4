//! Runs a command in the images of a layout.

use std::{collections::BTreeSet, path::Path};

use pixi_oci_podman::{ARBITRARY_USER, Container};

use super::{Check, RunError, RunOptions, Runner, architecture_of, cannot_run, chosen, stage};
use crate::{Report, Runs};

/// Runs the command in the images of the layout in `dir`, which `report` says are sound.
///
/// The image's entrypoint stays, so that what it activates is activated, and so does its user; an empty command is the
/// image's own. A command that fails is not an error.
pub fn run_image(dir: &Path, report: &Report, check: &Check, options: &RunOptions<'_>) -> Result<Runs, RunError> {
    let images = chosen(&report.images, |image| &image.platform, options.architectures)?;
    let runner = Runner::open(check, options)?;
    let (mut runs, mut users) = (Vec::new(), BTreeSet::new());
    for image in images {
        let manifest = Some(image.manifest.clone());
        if let Some(reason) = cannot_run(&image.platform) {
            runs.push(runner.not_run(&image.platform, manifest, reason));
            continue;
        }
        let session = &runner.session;
        stage::stage(dir, image, session)?;
        let id = session.podman.pull(&session.directory, stage::NAME, None, architecture_of(&image.platform))?;
        let said = session.podman.output(&["image", "inspect", "--format", "{{.Config.User}}", &id])?;
        let user = Some(said.trim()).filter(|user| !user.is_empty()).unwrap_or(ARBITRARY_USER);
        users.insert(user.to_owned());
        let container = Container {
            image: &id,
            entrypoint: None,
            command: &runner.command,
            user,
            environment: &runner.check.environment,
            workdir: runner.check.workdir.as_deref(),
            mounts: &runner.mounts,
        };
        runs.push(runner.run(&image.platform, manifest, &container)?);
    }
    Ok(runner.finish(runs, users.into_iter().collect::<Vec<_>>().join(", ")))
}
