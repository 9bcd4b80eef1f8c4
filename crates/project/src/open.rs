//! Opening a project: manifest, lock file and targets are read and checked, once.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, cannot, read};

use crate::{
    Declared, Error, Inputs, Project, Session,
    lock::lock_file,
    lock::locked::{check, checked},
    target::{assumed, locked_architectures, target, targets},
};

/// A larger lock file is refused, as by the reader.
const MAX_LOCK_FILE: u64 = 128 << 20;

impl Declared {
    /// The architectures that the environment is locked for, sorted.
    pub fn locked_architectures(&self, session: &Session) -> Result<Vec<Architecture>, Error> {
        locked_architectures(&lock_file(self, session)?, &self.configuration.environment)
    }
}

impl Project {
    /// Reads everything that a build of one environment depends on, and checks it.
    pub fn open(declared: Declared, session: &Session) -> Result<Self, Error> {
        Self::unchecked(declared, session)?.resolved()
    }

    /// Every environment of the lock file that has packages, with all its linux platforms.
    pub fn open_all(declared: Declared, session: &Session) -> Result<Vec<Self>, Error> {
        let first = Self::unchecked(declared, session)?;
        check(&first)?;
        first.every_environment()
    }

    /// Environments by name, each once; the configured one if none is named.
    pub fn open_named(declared: Declared, names: &[String], session: &Session) -> Result<Vec<Self>, Error> {
        let names: BTreeSet<&String> = names.iter().collect();
        let mut names = names.into_iter();
        let Some(first) = names.next() else { return Ok(vec![Self::open(declared, session)?]) };
        let inputs = Inputs { environment: Some(first.clone()), ..declared.inputs.clone() };
        let first = Self::open(Declared::new(declared.workspace, inputs)?, session)?;
        let others = names.map(|name| first.environment(Some(name.clone()))).collect::<Result<Vec<_>, _>>()?;
        Ok(std::iter::once(first).chain(others).collect())
    }

    /// The same of a project that is open: every environment of its lock file that has packages.
    pub fn every_environment(&self) -> Result<Vec<Self>, Error> {
        let environments = self.lock.environments().into_iter().filter(|name| self.lock.has_packages(name));
        environments.map(|name| self.with_environment(Some(name))?.with_all_platforms()).collect()
    }

    /// This one; or every environment, where none was chosen (`is_open`) and a workspace has everything in named ones.
    pub fn or_every_environment(self, is_open: bool) -> Result<Vec<Self>, Error> {
        if is_open && !self.has_packages() { self.every_environment() } else { Ok(vec![self]) }
    }

    /// Another environment of the same workspace; nothing is read again.
    pub fn environment(&self, name: Option<String>) -> Result<Self, Error> {
        self.with_environment(name)?.resolved()
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
        let assumed = assumed(&self)?;
        let targets =
            platforms.iter().filter_map(|platform| target(&self.lock, &environment, platform, &assumed).transpose());
        self.targets = targets.collect::<Result<_, _>>()?;
        self.targets.sort_by_key(|target| target.architecture);
        Ok(self)
    }
}

fn digest_of(path: &Path) -> Result<Digest, Error> {
    let bytes = read(path, Links::Follow, MAX_LOCK_FILE).map_err(cannot("read", path))?;
    Ok(Digest::of(&bytes))
}
