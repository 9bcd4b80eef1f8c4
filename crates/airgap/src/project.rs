//! The project's own files and its resources: the ones that an application layer would have, and nothing that is secret.

use pixi_oci_platform::cannot;
use std::{collections::BTreeSet, path::Path};

use pixi_oci_layer::{FileTree, Node, TreePath};
use pixi_oci_lock::{LockedPackage, WheelOrigin};
use pixi_oci_product::{Product, ProductFile, RESERVED, RESOURCES, Staging};
use pixi_oci_workspace::{Include, Workspace};

use super::Environment;
use crate::Error;
use pixi_oci_contents::{Application, ApplicationError, ApplicationInput, application, without_missing_scripts};
use pixi_oci_project::OUTPUTS;

pub(super) struct Files<'a> {
    pub workspace: &'a Workspace,
    pub name: &'a str,
    /// The work directory, absolute: not part of the project, even if it is in it.
    pub workdir: &'a Path,
    pub environments: &'a [Environment],
}

/// The workspace's name as that of a directory beside those of a product.
pub(super) fn name(workspace: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = workspace.chars().map(letter).collect();
    match name.trim_start_matches(['.', '-']) {
        "" => "project".into(),
        name if RESERVED.contains(&name) => format!("{name}-project"),
        name => name.into(),
    }
}

pub(crate) fn place(path: &str) -> Result<TreePath, Error> {
    TreePath::new(path).map_err(|source| ApplicationError::Destination { destination: path.into(), source }.into())
}

impl Files<'_> {
    /// Refuses what cannot be in a product, above all files with secrets in them. What is written is looked at again.
    pub fn check(&self, resources: Option<&Path>) -> Result<(), Error> {
        self.application(&self.all())?;
        self.chosen_resources(resources)?;
        Ok(())
    }

    /// Writes manifest, lock file, activation scripts, `include`, and the directories of own packages.
    pub fn write(&self, product: &Product, warnings: &mut Vec<String>) -> Result<Vec<ProductFile>, Error> {
        let (needed, missing) = self.needed();
        warnings.extend(missing);
        let application = self.application(&needed)?;
        warnings.extend(application.warnings(&self.workspace.root));
        write_tree(product, &application.tree)
    }

    /// Writes the filtered copy of the whole workspace beside the product, and makes the other directories of the work
    /// directory.
    pub fn copy(&self, scratch: &Path) -> Result<(), Error> {
        let application = self.application(&self.all())?;
        let staging = Staging::beside(&scratch.join("project"))?;
        Product::new(staging.path()).tree(&application.tree)?;
        let from = staging.path().join(self.name);
        let to = self.workdir.join("project").join(self.name);
        let copied = Staging::beside(&to)?;
        fs_err::rename(&from, copied.path()).map_err(cannot("write", &to))?;
        copied.replace()?;
        for directory in ["resources", "pixi-cache", "out"] {
            let path = self.workdir.join(directory);
            fs_err::create_dir_all(&path).map_err(cannot("make", path))?;
        }
        Ok(())
    }

    /// Writes the files of `said`, else those of `resources/`, to `res/`.
    pub fn resources(
        &self,
        product: &Product,
        said: Option<&Path>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<ProductFile>, Error> {
        let Some(resources) = self.chosen_resources(said)? else { return Ok(Vec::new()) };
        for (path, what) in &resources.left_out {
            let root = said.map_or_else(|| self.workdir.join("resources"), Path::to_path_buf);
            warnings.push(format!("{}: {path} is left out: its name means {what}", root.display()));
        }
        // All of them may be left out.
        match resources.tree.iter().all(|(_, node)| matches!(node, Node::Directory { .. })) {
            true => Ok(Vec::new()),
            false => write_tree(product, &resources.tree),
        }
    }

    fn chosen_resources(&self, said: Option<&Path>) -> Result<Option<Application>, Error> {
        let default = self.workdir.join("resources");
        let root = said.unwrap_or(&default);
        let is_empty = || fs_err::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
        if said.is_none() && (!root.is_dir() || is_empty()) {
            return Ok(None);
        }
        let resources = application(&ApplicationInput {
            root,
            workdir: RESOURCES,
            always: &[],
            include: &[everything()],
            exclude: &[],
            directories: &[],
            outputs: &[],
        })?;
        Ok(Some(resources))
    }

    /// What is needed, and the rest of the workspace.
    fn all(&self) -> Vec<Include> {
        let mut include = self.needed().0;
        include.push(everything());
        include
    }

    /// What the project cannot be without; and a warning for each environment whose activation scripts are not there.
    fn needed(&self) -> (Vec<Include>, BTreeSet<String>) {
        let mut sources: Vec<String> = Vec::new();
        let mut missing = BTreeSet::new();
        for environment in self.environments {
            for target in &environment.project.targets {
                let activation =
                    self.workspace.activation(&environment.project.configuration.environment, target.platform.target());
                sources.extend(activation.into_iter().flat_map(|mut activation| {
                    missing.extend(without_missing_scripts(&self.workspace.root, &mut activation));
                    activation.scripts
                }));
                let paths = target.packages.iter().filter_map(|package| match package {
                    LockedPackage::Wheel(wheel) => match &wheel.origin {
                        WheelOrigin::Path(path) => Some(path.clone()),
                        _ => None,
                    },
                    _ => None,
                });
                // What is elsewhere on this machine has no place in a project.
                sources.extend(paths.filter(|path| !path.starts_with('/') && !path.starts_with("..")));
                let own = environment.sources.wheels(target).values().filter_map(|wheel| wheel.directory.as_ref());
                sources.extend(own.map(|directory| directory.display().to_string()));
            }
        }
        sources.sort();
        sources.dedup();
        let needed = sources.into_iter().map(|source| {
            let source = if source.is_empty() { ".".into() } else { source };
            Include { source, destination: None, mode: None }
        });
        // Every file has its place in the project, whatever its place in an image is.
        let chosen = self.environments.iter().flat_map(|environment| &environment.project.configuration.oci.include);
        let chosen = chosen.flatten().map(|include| Include { destination: None, ..include.clone() });
        (needed.chain(chosen).collect(), missing)
    }

    fn application(&self, include: &[Include]) -> Result<Application, Error> {
        let exclude: Vec<String> = self
            .environments
            .iter()
            .flat_map(|e| e.project.configuration.oci.exclude.clone().unwrap_or_default())
            .collect();
        let root = &self.workspace.root;
        Ok(application(&ApplicationInput {
            root,
            workdir: self.name,
            always: &[self.workspace.manifest_file_name(), "pixi.lock".into()],
            include,
            exclude: &exclude,
            directories: &[],
            outputs: &[self.workdir.to_path_buf(), root.join(OUTPUTS[0]), root.join(OUTPUTS[1])],
        })?)
    }
}

fn everything() -> Include {
    Include { source: ".".into(), destination: None, mode: None }
}

fn write_tree(product: &Product, tree: &FileTree) -> Result<Vec<ProductFile>, Error> {
    let digests = product.tree(tree)?;
    let file = |(path, node): (&TreePath, &Node)| match node {
        Node::File(file) => Some(ProductFile {
            path: path.to_string(),
            digest: digests.get(path).copied(),
            executable: file.mode.bits() & 0o100 != 0,
            target: None,
        }),
        Node::Symlink { target, .. } => {
            Some(ProductFile { path: path.to_string(), digest: None, executable: false, target: Some(target.clone()) })
        }
        Node::Directory { .. } | Node::Inherited(_) | Node::HardLink { .. } => None,
    };
    Ok(tree.iter().filter_map(file).collect())
}
