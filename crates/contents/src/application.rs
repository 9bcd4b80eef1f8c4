//! The application layer: manifest, lock file, activation scripts, the chosen files and mount points.

mod collected;
mod dockerignore;
mod error;
mod ignored;
mod paths;
mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use globset::GlobSet;
use pixi_oci_layer::{Content, File, Mode, Node, TreePath};
use pixi_oci_net::without_logins;
use pixi_oci_platform::{Links, is_of_desktop, open, read};
use pixi_oci_workspace::Include;

pub use self::{collected::Application, error::ApplicationError, places::Below};
use self::{
    ignored::{Ignored, special_ignore_file},
    paths::{inside, patterns, place, text},
};
use crate::secrets::{secret_in, secret_name};

#[derive(Debug, Clone)]
pub struct ApplicationInput<'a> {
    /// The workspace's root on this machine.
    pub root: &'a Path,
    /// The working directory in the image.
    pub workdir: &'a str,
    /// Paths below the root that are always there: manifest, lock file, activation scripts.
    pub always: &'a [String],
    pub include: &'a [Include],
    /// Patterns of paths below the root that are left out of directories.
    pub exclude: &'a [String],
    /// Empty directories, absolute.
    pub directories: &'a [String],
    /// What this build writes: never part of an image.
    pub outputs: &'a [PathBuf],
}

/// Collects the files. Those of directories and patterns go through the ignore files of the workspace (`.gitignore`,
/// `.ignore`, and `.dockerignore` at its root; never the user's global ones, which differ between machines) and the rules of
/// `secrets`; what is named by its own path does not.
pub fn application(input: &ApplicationInput<'_>) -> Result<Application, ApplicationError> {
    let mut collector = Collector {
        root: input.root,
        workdir: input.workdir.trim_matches('/'),
        exclude: patterns(input.exclude)?,
        outputs: input.outputs,
        named: BTreeSet::new(),
        result: Application::default(),
    };
    if !collector.workdir.is_empty() {
        let node = Node::Directory { mode: Mode::GROUP_WRITABLE_DIRECTORY };
        collector.result.tree.insert(place(collector.workdir)?, node)?;
    }
    for path in input.always {
        let include = Include { source: path.clone(), destination: None, mode: None };
        collector.clean(&input.root.join(path))?;
        collector.named(&include)?;
    }
    for include in input.include {
        collector.include(include)?;
    }
    for directory in input.directories {
        collector.directory(place(directory.trim_matches('/'))?)?;
    }
    Ok(collector.result)
}

struct Collector<'a> {
    root: &'a Path,
    workdir: &'a str,
    exclude: GlobSet,
    outputs: &'a [PathBuf],
    /// Files that were named by their own paths, absolute.
    named: BTreeSet<PathBuf>,
    result: Application,
}

impl Collector<'_> {
    fn include(&mut self, include: &Include) -> Result<(), ApplicationError> {
        let source = inside(&include.source)?;
        let path = self.root.join(&source);
        match fs_err::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.walk(&source, None, include),
            Ok(_) => self.named(include),
            Err(_) if source.contains(['*', '?', '[', '{']) => {
                let matcher = patterns(std::slice::from_ref(&source))?;
                // The walk begins at the last directory that has no wildcard.
                let literal = source.split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
                let start = literal.collect::<Vec<_>>().join("/");
                self.walk(&start, Some(&matcher), include)
            }
            Err(_) => Err(ApplicationError::NoMatch { include: include.source.clone(), root: self.root.into() }),
        }
    }

    /// One file by its own path: ignore files do not apply, because it was asked for.
    fn named(&mut self, include: &Include) -> Result<(), ApplicationError> {
        let source = inside(&include.source)?;
        let file_name = source.rsplit('/').next().unwrap_or(&source);
        let destination = match &include.destination {
            // As cp does: into a directory if it ends so.
            Some(place) if place.ends_with('/') => format!("{place}{file_name}"),
            Some(place) => place.clone(),
            None => source.clone(),
        };
        let path = self.root.join(&source);
        self.named.insert(path.clone());
        self.stays_inside(&path, &include.source)?;
        if fs_err::symlink_metadata(&path).is_err() {
            return Err(ApplicationError::NoMatch { include: include.source.clone(), root: self.root.into() });
        }
        self.insert(&path, &destination, include.mode)
    }

    fn walk(&mut self, start: &str, only: Option<&GlobSet>, include: &Include) -> Result<(), ApplicationError> {
        let top = self.root.join(start);
        if !top.is_dir() {
            return Err(ApplicationError::NoMatch { include: include.source.clone(), root: self.root.into() });
        }
        self.stays_inside(&top, &include.source)?;
        if let Some(path) = special_ignore_file(&top) {
            return Err(ApplicationError::Special { path });
        }
        let mut found = false;
        let mut walk = ignore::WalkBuilder::new(&top);
        walk.hidden(false).git_global(false).git_exclude(false).require_git(false).parents(false).follow_links(false);
        let ignored = Ignored::read(self.root, start)?;
        walk.sort_by_file_name(|a, b| a.cmp(b));
        let (root, outputs, exclude) = (self.root.to_path_buf(), self.outputs.to_vec(), self.exclude.clone());
        let left_out = std::sync::Arc::new(std::sync::Mutex::new(BTreeMap::new()));
        let noted = left_out.clone();
        let special = std::sync::Arc::new(std::sync::OnceLock::new());
        let found_special = special.clone();
        walk.filter_entry(move |entry| {
            let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path());
            if entry.depth() == 0 {
                return true;
            }
            if outputs.iter().any(|output| entry.path() == output) || exclude.is_match(relative) {
                return false;
            }
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            if ignored.leaves_out(relative, is_directory) {
                return false;
            }
            if let Some(special) = is_directory.then(|| special_ignore_file(entry.path())).flatten() {
                let _ = found_special.set(special);
                return false;
            }
            let name = entry.file_name().to_str();
            // What this or another build is making right now, and what no build made.
            if name.is_some_and(|name| name.starts_with(".pixi-oci-") || is_of_desktop(name)) {
                return false;
            }
            let secret = name.and_then(secret_name);
            if let (Some(what), Ok(mut noted)) = (secret, noted.lock()) {
                noted.insert(relative.display().to_string(), what);
            }
            secret.is_none()
        });
        for entry in walk.build() {
            let entry = entry?;
            if entry.file_type().is_none_or(|kind| kind.is_dir()) {
                continue;
            }
            let relative = entry.path().strip_prefix(self.root).unwrap_or(entry.path());
            if only.is_some_and(|only| !only.is_match(relative)) {
                continue;
            }
            found = true;
            let relative = text(relative)?;
            let below = relative.strip_prefix(start).unwrap_or(&relative).trim_start_matches('/');
            let destination = match &include.destination {
                Some(place) => format!("{}/{below}", place.trim_end_matches('/')),
                None => relative.clone(),
            };
            if !self.named.contains(entry.path()) {
                self.check_content(entry.path())?;
            }
            self.insert(entry.path(), &destination, include.mode)?;
        }
        if let Some(path) = special.get() {
            return Err(ApplicationError::Special { path: path.clone() });
        }
        if let Ok(left_out) = left_out.lock() {
            self.result.left_out.extend(left_out.clone());
        }
        if !found && only.is_some() {
            return Err(ApplicationError::NoMatch { include: include.source.clone(), root: self.root.into() });
        }
        Ok(())
    }

    /// A link on the way may lead out of the workspace; one at the end is copied as a link.
    fn stays_inside(&self, path: &Path, source: &str) -> Result<(), ApplicationError> {
        let inside = |directory: &Path| {
            Ok::<_, std::io::Error>(fs_err::canonicalize(directory)?.starts_with(fs_err::canonicalize(self.root)?))
        };
        match path.parent() {
            Some(parent) if parent.exists() && path != self.root && !inside(parent)? => {
                Err(ApplicationError::Outside { path: source.into() })
            }
            _ => Ok(()),
        }
    }

    fn check_content(&self, path: &Path) -> Result<(), ApplicationError> {
        if !fs_err::symlink_metadata(path)?.is_file() {
            return Ok(());
        }
        match secret_in(open(path, Links::Refuse)?)? {
            Some(rule) => Err(ApplicationError::Secret { path: path.into(), rule }),
            None => Ok(()),
        }
    }

    /// Manifest and lock file are in every image, wanted or not, and both can have `https://USER:PASSWORD@HOST/`.
    fn clean(&mut self, path: &Path) -> Result<(), ApplicationError> {
        let Ok(metadata) = fs_err::symlink_metadata(path) else { return Ok(()) };
        if !metadata.is_file() {
            return Ok(());
        }
        // What is not text has no URLs.
        let Ok(text) = String::from_utf8(read(path, Links::Refuse, MAX_TEXT)?) else { return Ok(()) };
        if let Some(clean) = without_logins(&text) {
            self.result.cleaned.insert(path.into(), Content::from_bytes(clean));
        }
        Ok(())
    }

    fn insert(&mut self, path: &Path, destination: &str, mode: Option<u32>) -> Result<(), ApplicationError> {
        let metadata = fs_err::symlink_metadata(path)?;
        let node = if metadata.is_symlink() {
            Node::Symlink { target: text(&fs_err::read_link(path)?)?, mtime: None }
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let clean = self.result.cleaned.get(path).cloned();
            let content = clean.unwrap_or_else(|| Content::from_file(path.into(), metadata.len()));
            let mode = mode.and_then(Mode::new).unwrap_or(Mode::file(executable));
            Node::File(File { content, mode, mtime: None })
        } else {
            return Err(ApplicationError::Special { path: path.into() });
        };
        let absolute = match destination.strip_prefix('/') {
            Some(absolute) => absolute.to_string(),
            None => format!("{}/{destination}", self.workdir),
        };
        let place = place(absolute.trim_matches('/'))?;
        // The same file chosen by two patterns is one file.
        if let (Some(Node::File(old)), Node::File(new)) = (self.result.tree.get(&place), &node) {
            let same = old.content.path().is_some_and(|old| Some(old) == new.content.path());
            let same_clean = old.content.path().is_none() && self.result.cleaned.contains_key(path);
            if same || same_clean {
                return Ok(());
            }
        }
        Ok(self.result.tree.insert(place, node)?)
    }

    fn directory(&mut self, path: TreePath) -> Result<(), ApplicationError> {
        if self.result.tree.get(&path).is_none() {
            self.result.tree.insert(path, Node::Directory { mode: Mode::DIRECTORY })?;
        }
        Ok(())
    }
}

/// As large as a lock file may be.
const MAX_TEXT: u64 = 128 << 20;

#[cfg(test)]
mod tests;
