//! What the workspace's files and the inputs say together, read once.

use std::{ops::Deref, sync::Arc};

use pixi_oci_layer::Digest;
use pixi_oci_lock::{LockFile, LockedPackage, LockedPlatform};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::{OciConfig, Workspace};

use crate::{
    Error, Inputs, Target,
    configuration::{Configuration, configuration},
};

/// One environment as the manifest and the inputs declare it, before the lock file is looked at.
#[derive(Debug, Clone)]
pub struct Declared {
    pub inputs: Inputs,
    pub workspace: Arc<Workspace>,
    pub configuration: Configuration,
}

/// One environment of a workspace: its configuration, the lock file, and what is built of it.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) declared: Declared,
    pub lock: Arc<LockFile>,
    pub lock_file_digest: Digest,
    /// One for each platform that an image is made for, sorted by architecture.
    pub targets: Vec<Target>,
}

impl Declared {
    pub fn new(workspace: Arc<Workspace>, inputs: Inputs) -> Result<Self, Error> {
        let configuration = configuration(&inputs, &workspace)?;
        Ok(Self { inputs, workspace, configuration })
    }

    /// The name under which an image is handed to podman or docker: the workspace's, and the environment's unless it is
    /// `default`, as far as a reference can have their letters.
    pub fn image_name(&self) -> String {
        let letters = |text: &str| -> String {
            let mapped = text
                .to_lowercase()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect::<String>();
            mapped.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
        };
        let name = match letters(&self.workspace.about.name) {
            name if name.is_empty() => "workspace".to_string(),
            name => name,
        };
        let tag = self.workspace.about.version.as_deref().map(letters_of_tag).filter(|tag| !tag.is_empty());
        let environment = &self.configuration.environment;
        let suffix = if environment == "default" { String::new() } else { format!("-{}", letters(environment)) };
        format!("localhost/{name}{suffix}:{}", tag.unwrap_or_else(|| "latest".into()))
    }
}

impl Deref for Project {
    type Target = Declared;

    fn deref(&self) -> &Declared {
        &self.declared
    }
}

impl Project {
    /// The platforms of the lock file that this environment is planned for, those without images among them.
    pub fn platforms(&self, all: bool) -> Result<Vec<(LockedPlatform, Vec<LockedPackage>)>, Error> {
        if !all {
            return Ok(self.targets.iter().map(|target| (target.platform.clone(), target.packages.clone())).collect());
        }
        let environment = &self.configuration.environment;
        let packages = |platform: LockedPlatform| Ok((platform.clone(), self.lock.packages(environment, &platform)?));
        self.lock.platforms(environment)?.into_iter().map(packages).collect()
    }

    /// Whether there is anything in the environment.
    pub fn has_packages(&self) -> bool {
        self.targets.iter().any(|target| !target.packages.is_empty())
    }

    /// The same project, which takes layers of one more published image before others.
    pub fn with_cache_from(&self, reference: &RepositoryRef) -> Self {
        let mut project = self.clone();
        project.declared.inputs.cache_from.insert(0, reference.clone());
        project
    }

    /// Makes images of the packages alone, with these settings and nothing of the application.
    pub fn set_plain_image(&mut self, oci: OciConfig) {
        self.declared.configuration.oci = oci;
    }
}

/// The grammar of tags (OCI distribution-spec): letters, digits, `_`, `.`, `-`, not beginning with the last two.
fn letters_of_tag(version: &str) -> String {
    let mapped: String = version
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' })
        .take(128)
        .collect();
    mapped.trim_start_matches(['.', '-']).to_string()
}
