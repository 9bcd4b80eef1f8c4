//! Projects that live in an image or a container.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use pixi_oci_airgap::Digest;
use pixi_oci_image::Architecture;
use pixi_oci_podman::{find_container_engine, take_from_container};
use pixi_oci_project::Session;
use pixi_oci_registry::no_events;
use pixi_oci_store::base::{BaseRef, resolve_base, take_out};
use pixi_oci_verify::{RunError, Scratch};

use crate::{error::CliError, surroundings::containers};

/// Where the project is, if it is in no directory of this machine.
#[derive(Debug, Args)]
pub struct FromArgs {
    /// Take the project out of an image, which is not run: a base image as in `build`.
    #[arg(long, value_name = "IMAGE", requires = "project_path", conflicts_with = "workspace")]
    from_image: Option<String>,
    /// Take the project out of a container of podman or docker, by its name or identifier.
    #[arg(long, value_name = "ID", requires = "project_path", conflicts_with_all = ["workspace", "from_image"])]
    from_container: Option<String>,
    /// The project's directory in the image or container.
    #[arg(long, value_name = "PATH")]
    project_path: Option<String>,
}

/// A copy of the project, which goes away with the program.
pub struct Taken {
    pub workspace: PathBuf,
    /// The image that it is of, if it is known: its index, else its manifest.
    pub image: Option<Digest>,
    _scratch: Scratch,
}

impl FromArgs {
    pub fn take(&self, session: &Session) -> Result<Option<Taken>, CliError> {
        let Some(path) = self.project_path.as_deref() else { return Ok(None) };
        let name = path.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."));
        let (true, Some(name)) = (path.starts_with('/'), name) else {
            return Err(CliError::Usage(format!("--project-path {path}: write an absolute path of a directory")));
        };
        let scratch = Scratch::new(&containers().scratch).map_err(RunError::from)?;
        let workspace = scratch.path().join(name);
        let made = fs::create_dir(&workspace);
        made.map_err(|source| CliError::Io { action: format!("write {}", workspace.display()), source })?;
        let mut digest = None;
        match (&self.from_image, &self.from_container) {
            (Some(image), _) => digest = Some(from_image(image, path, &workspace, session)?),
            (_, Some(container)) => {
                let engine = find_container_engine(&env::var_os("PATH").unwrap_or_default())?;
                take_from_container(engine.as_os_str(), container, path, &workspace)?;
            }
            _ => return Err(CliError::Usage("--project-path needs --from-image or --from-container".into())),
        }
        Ok(Some(Taken { workspace, image: digest, _scratch: scratch }))
    }
}

fn from_image(image: &str, path: &str, to: &Path, session: &Session) -> Result<Digest, CliError> {
    let base = BaseRef::parse(image)?;
    let events = no_events();
    let options = session.base_options(Default::default(), &events);
    // A project is the same on all architectures; an image may be there for the other one only.
    let [own, other] = match env::consts::ARCH {
        "aarch64" => [Architecture::Arm64, Architecture::Amd64],
        _ => [Architecture::Amd64, Architecture::Arm64],
    };
    let found = session.run(async {
        match resolve_base(&base, own, &options).await {
            Ok(found) => Ok(found),
            Err(error) => resolve_base(&base, other, &options).await.map_err(|_| error),
        }
    })??;
    let found = found.ok_or_else(|| CliError::Usage("`scratch` has no project in it".into()))?;
    take_out(&found, path, to)?;
    Ok(found.index_digest.unwrap_or(found.digest))
}
