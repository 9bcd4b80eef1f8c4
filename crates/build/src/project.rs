//! What the workspace's files and the inputs say together, read once.

use std::{ops::Deref, path::Path, sync::Arc};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use pixi_oci_lock::{LockFile, LockedPackage, LockedPlatform};
use pixi_oci_platform::{Links, read};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::{OciConfig, Workspace};

use crate::{
    Error, Inputs, LockUse, Session,
    configuration::{Configuration, configuration},
    lock::lock_file,
    locked::{check, checked},
    target::{Target, assumed, locked_architectures, target, targets},
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
    declared: Declared,
    pub lock: Arc<LockFile>,
    pub lock_file_digest: Digest,
    /// One for each platform that an image is made for, sorted by architecture.
    pub targets: Vec<Target>,
}

impl Declared {
    /// Puts manifest and inputs together.
    ///
    /// # Errors
    ///
    /// A setting is wrong; there is no such environment.
    pub fn new(workspace: Arc<Workspace>, inputs: Inputs) -> Result<Self, Error> {
        let configuration = configuration(&inputs, &workspace)?;
        Ok(Self { inputs, workspace, configuration })
    }

    /// The architectures that the environment is locked for, sorted.
    ///
    /// # Errors
    ///
    /// There are none; the lock file cannot be read.
    pub fn locked_architectures(&self, session: &Session) -> Result<Vec<Architecture>, Error> {
        locked_architectures(&lock_file(self, session)?, &self.configuration.environment)
    }

    /// Whether the lock file is used without comparing it with the manifest.
    pub fn is_frozen(&self) -> bool {
        self.inputs.lock_use == LockUse::Frozen
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
        let name = match letters(&self.workspace.name) {
            name if name.is_empty() => "workspace".to_string(),
            name => name,
        };
        let tag = self.workspace.version.as_deref().map(letters_of_tag).filter(|tag| !tag.is_empty());
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
    /// Reads everything that a build of one environment depends on, and checks it.
    ///
    /// # Errors
    ///
    /// A file cannot be read; the lock file is stale; the environment has no linux platform.
    pub fn open(declared: Declared, session: &Session) -> Result<Self, Error> {
        Self::unchecked(declared, session)?.resolved()
    }

    /// Every environment of the lock file, with all its linux platforms.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_all(declared: Declared, session: &Session) -> Result<Vec<Self>, Error> {
        let first = Self::unchecked(declared, session)?;
        first
            .lock
            .environments()
            .into_iter()
            .map(|name| first.with_environment(Some(name))?.with_all_platforms())
            .collect()
    }

    /// Another environment of the same workspace; nothing is read again.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn environment(&self, name: Option<String>) -> Result<Self, Error> {
        self.with_environment(name)?.resolved()
    }

    /// The platforms of the lock file that this environment is planned for, those without images among them.
    pub fn platforms(&self, all: bool) -> Result<Vec<(LockedPlatform, Vec<LockedPackage>)>, Error> {
        if !all {
            return Ok(self.targets.iter().map(|target| (target.platform.clone(), target.packages.clone())).collect());
        }
        let environment = &self.configuration.environment;
        let packages = |platform: LockedPlatform| Ok((platform.clone(), self.lock.packages(environment, &platform)?));
        self.lock.platforms(environment)?.into_iter().map(packages).collect()
    }

    /// The same project, which takes layers of one more published image before others.
    pub(crate) fn with_cache_from(&self, reference: &RepositoryRef) -> Self {
        let mut project = self.clone();
        project.declared.inputs.cache_from.insert(0, reference.clone());
        project
    }

    /// Makes images of the packages alone, with these settings and nothing of the application.
    pub(crate) fn set_plain_image(&mut self, oci: OciConfig) {
        self.declared.configuration.include.clear();
        self.declared.configuration.oci = oci;
    }

    fn unchecked(declared: Declared, session: &Session) -> Result<Self, Error> {
        let lock = lock_file(&declared, session)?;
        let lock_file_digest = digest_of(lock.path())?;
        Ok(Self { declared, lock: Arc::new(lock), lock_file_digest, targets: Vec::new() })
    }

    fn with_environment(&self, name: Option<String>) -> Result<Self, Error> {
        let inputs = Inputs { environment: name, ..self.inputs.clone() };
        let declared = Declared::new(self.workspace.clone(), inputs)?;
        Ok(Self { declared, targets: Vec::new(), ..self.clone() })
    }

    fn resolved(mut self) -> Result<Self, Error> {
        self.targets = checked(&self, || targets(&self))?;
        Ok(self)
    }

    fn with_all_platforms(mut self) -> Result<Self, Error> {
        let environment = self.configuration.environment.clone();
        let platforms = self.lock.platforms(&environment)?;
        if self.workspace.environments.contains_key(&environment) {
            check(&self, &platforms)?;
        }
        let assumed = assumed(&self)?;
        let targets =
            platforms.iter().filter_map(|platform| target(&self.lock, &environment, platform, &assumed).transpose());
        self.targets = targets.collect::<Result<_, _>>()?;
        self.targets.sort_by_key(|target| target.architecture);
        Ok(self)
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

/// As large as a lock file may be.
const MAX_LOCK_FILE: u64 = 128 << 20;

fn digest_of(path: &Path) -> Result<Digest, Error> {
    let bytes = read(path, Links::Follow, MAX_LOCK_FILE).map_err(|source| Error::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    Ok(Digest::of(&bytes))
}
