//! Installs an environment of an air-gap product without pixi: the trees that become layers of an image, as files.
//!
//! The product's archives are read with the same code and the same checks as for an image, so the prefix has the image's bytes.

use pixi_oci_platform::cannot;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use pixi_oci_cachedir::Root;
use pixi_oci_contents::{ActivationInput, ApplicationError, activate_script, without_missing_scripts, workspace_env};
use pixi_oci_layer::{Content, ContentStore, File, FileTree, MemoryBudget, Mode, Node, TreePath};
use pixi_oci_lock::requirements;
use pixi_oci_package::TargetPrefix;
use pixi_oci_product::NewPrefix;
use pixi_oci_workspace::Workspace;
use rayon::prelude::*;

use crate::Error;
use pixi_oci_pipeline::{FactsCache, LAYER_TIME, Package, activation_scripts, certificates, place};
use pixi_oci_project::{Target, virtual_packages};

/// Where an environment goes on this machine.
pub struct Installation<'a> {
    pub workspace: &'a Workspace,
    pub environment: &'a str,
    pub target: &'a Target,
    /// The prefix that files are made for, and where they are written.
    pub prefix: &'a TargetPrefix,
    /// `PIXI_PROJECT_ROOT`
    pub project: &'a Path,
    pub activate: Option<&'a Path>,
    /// Bytes of unpacked files that may wait in memory.
    pub memory: usize,
    pub cancelled: &'a AtomicBool,
}

impl Installation<'_> {
    /// Writes everything, and gives the prefix.
    pub fn write(&self, mut packages: Vec<Package<'_>>) -> Result<PathBuf, Error> {
        let Self { target, prefix, .. } = *self;
        let new = NewPrefix::create(Path::new(prefix.as_str()), prefix.tree_path(), LAYER_TIME)?;
        // The glibc of this machine is not asked: what does not run here says so itself.
        place(target, &mut packages, None, &FactsCache::open(&Root::new(new.scratch())))?;
        let packages: Vec<Arc<Package<'_>>> = packages.into_iter().map(Arc::new).collect();
        let env_vars_d = Mutex::new(BTreeMap::new());
        let memory = MemoryBudget::new(self.memory);
        packages.par_iter().try_for_each(|package| {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let tree = write(&new, package, prefix, &memory)?;
            env_vars_d.lock().unwrap_or_else(PoisonError::into_inner).extend(tree);
            Ok(())
        })?;
        new.add(&history(prefix)?)?;
        let written = new.finish()?;
        if let Some(path) = self.activate {
            let text = self.script(&packages, &env_vars_d.into_inner().unwrap_or_else(PoisonError::into_inner))?;
            fs_err::write(path, text).map_err(cannot("write", path))?;
        }
        Ok(written)
    }

    fn script(&self, packages: &[Arc<Package<'_>>], env_vars_d: &BTreeMap<String, Vec<u8>>) -> Result<String, Error> {
        let (workspace, target, prefix) = (self.workspace, self.target, self.prefix.as_str());
        let project = self.project.to_string_lossy();
        let mut activation = workspace.activation(self.environment, target.platform.target())?;
        // They were told when the product was made.
        without_missing_scripts(&workspace.root, &mut activation);
        let needs = requirements(&target.packages);
        let mut package_env = virtual_packages::cuda_env(&target.packages, &needs, &target.virtual_packages);
        package_env.extend(certificates(packages, prefix));
        let mut scripts = activation_scripts(packages, prefix);
        scripts.extend(activation.scripts.iter().map(|path| format!("{project}/{path}")));
        Ok(activate_script(&ActivationInput {
            prefix,
            base_env: &[],
            package_env: &package_env,
            env_vars_d,
            workspace_env: &workspace_env(workspace, self.environment, &project)?,
            scripts: &scripts,
            manifest_env: &activation.env,
            image_env: &workspace.oci.for_environment(self.environment).env,
        })?)
    }
}

/// Writes a package, and gives its `env_vars.d`.
fn write(
    new: &NewPrefix,
    package: &Package<'_>,
    prefix: &TargetPrefix,
    memory: &MemoryBudget,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut store = ContentStore::new(memory, new.scratch());
    let tree = package.tree(prefix, &mut store, new.scratch())?.tree;
    new.add(&tree)?;
    let directory = format!("{}/etc/conda/env_vars.d/", prefix.tree_path());
    let mut found = BTreeMap::new();
    for (path, node) in tree.iter() {
        let (Some(name), Node::File(file)) = (path.as_str().strip_prefix(&directory), node) else { continue };
        if name.ends_with(".json") {
            let unreadable = |source| pixi_oci_pipeline::Error::Unreadable { package: package.label.clone(), source };
            found.insert(name.to_owned(), file.content.to_vec().map_err(unreadable)?);
        }
    }
    Ok(found)
}

/// What the environment layer of an image has below the prefix.
fn history(prefix: &TargetPrefix) -> Result<FileTree, Error> {
    let mut tree = FileTree::new();
    let file = File { content: Content::from_bytes(""), mode: Mode::FILE, mtime: None };
    let place = format!("{}/conda-meta/history", prefix.tree_path());
    let path = TreePath::new(&place).map_err(|source| ApplicationError::Destination { destination: place, source })?;
    tree.insert(path, Node::File(file)).map_err(ApplicationError::Tree)?;
    Ok(tree)
}
