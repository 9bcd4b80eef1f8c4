//! What an archive has for each path of a plan.

mod copies;

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use pixi_oci_layer::{Content, ContentStore, File, Mode, Node, TreePath};
use rattler_conda_types::package::{PathType, PathsEntry, PrefixPlaceholder};
use rattler_digest::Sha256Hash;

use super::{
    patch::{self, Patched, Patcher},
    record::Linked,
};
use crate::{
    archive::{Archive, Entry, Kind, Part},
    error::{Error, Refusal},
    info::{InfoFiles, PackageInfo},
    plan::LinkPlan,
};

/// A regular file of the archive, under all its names.
struct Inode {
    /// Its first name in the archive.
    source: TreePath,
    executable: bool,
    mtime: i64,
    /// Its bytes as they are in the archive and their digest, if they were kept.
    content: Option<(Content, Sha256Hash)>,
}

/// What has been read of the archive.
pub(super) struct Reading<'a> {
    archive: &'a Archive,
    info: &'a PackageInfo,
    plan: &'a LinkPlan,
    /// From paths in the archive to indices in the plan.
    wanted: HashMap<&'a str, usize>,
    inodes: Vec<Inode>,
    files: HashMap<TreePath, usize>,
    symlinks: BTreeMap<TreePath, String>,
    last_mtime: i64,
    /// What the bytes of an inode became with a placeholder replaced.
    patched: HashMap<(usize, &'a PrefixPlaceholder), Patched>,
    /// What is known of each path of the plan.
    results: Vec<ReadPath>,
}

enum ReadPath {
    Nothing,
    Directory,
    Symlink {
        target: String,
        mtime: i64,
    },
    /// A file as it is in the archive.
    Verbatim {
        inode: usize,
    },
    /// A file whose placeholder was replaced.
    Patched {
        inode: usize,
        patched: Patched,
    },
    /// A file whose bytes are those of an inode that was read before it was known that they would be needed.
    Later {
        inode: usize,
    },
}

impl<'a> Reading<'a> {
    pub fn new(archive: &'a Archive, info: &'a PackageInfo, plan: &'a LinkPlan) -> Self {
        let source = |index: usize| info.paths[index].path.as_str();
        Self {
            archive,
            info,
            plan,
            wanted: plan.paths.iter().enumerate().map(|(at, planned)| (source(planned.index), at)).collect(),
            inodes: Vec::new(),
            files: HashMap::new(),
            symlinks: BTreeMap::new(),
            last_mtime: 0,
            patched: HashMap::new(),
            results: plan.paths.iter().map(|_| ReadPath::Nothing).collect(),
        }
    }

    fn listed(&self, at: usize) -> &'a PathsEntry {
        &self.info.paths[self.plan.paths[at].index].entry
    }

    fn refuse(&self, path: &TreePath, refusal: Refusal) -> Error {
        Error::path(&self.archive.name, path.as_str(), refusal)
    }

    /// Reads the archive once.
    pub fn read(&mut self, patcher: &mut Patcher<'_>, store: &mut ContentStore) -> Result<(), Error> {
        let archive = self.archive;
        archive.walk(Part::All, &mut |entry| {
            self.last_mtime = self.last_mtime.max(entry.mtime);
            self.entry(entry, patcher, store)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    fn entry(
        &mut self,
        mut entry: Entry<'_>,
        patcher: &mut Patcher<'_>,
        store: &mut ContentStore,
    ) -> Result<(), Error> {
        let wanted = self.wanted.get(entry.path.as_str()).copied();
        if let Some(at) = wanted {
            self.check_type(at, &entry)?;
        }
        match entry.kind {
            Kind::Directory => {
                if let Some(at) = wanted {
                    self.results[at] = ReadPath::Directory;
                }
            }
            Kind::Symlink(target) => {
                if let Some(at) = wanted
                    && !self.listed(at).no_link
                {
                    self.results[at] = ReadPath::Symlink { target: target.clone(), mtime: entry.mtime };
                }
                self.symlinks.insert(entry.path, target);
            }
            Kind::HardLink(ref target) => {
                let Some(inode) = self.files.get(target).copied() else {
                    return Err(self.refuse(&entry.path, Refusal::HardLink(target.as_str().into())));
                };
                // An extractor sets the time of each name as it comes to it, and the names share it.
                self.inodes[inode].mtime = entry.mtime;
                self.files.insert(entry.path, inode);
                if let Some(at) = wanted {
                    self.results[at] = ReadPath::Later { inode };
                }
            }
            Kind::File => {
                let inode = self.inodes.len();
                let mut new = Inode {
                    source: entry.path.clone(),
                    executable: entry.executable(),
                    mtime: entry.mtime,
                    content: None,
                };
                match wanted {
                    Some(at) => match &self.listed(at).prefix_placeholder {
                        Some(placeholder) => {
                            let patched = patcher.patch(&entry.path, entry.body, entry.size, placeholder, store)?;
                            self.patched.insert((inode, placeholder), patched.clone());
                            self.results[at] = ReadPath::Patched { inode, patched };
                        }
                        None => {
                            new.content = Some(patch::keep(self.archive, &entry.path, entry.body, entry.size, store)?);
                            self.results[at] = ReadPath::Verbatim { inode };
                        }
                    },
                    None => self.check_info(&mut entry)?,
                }
                self.inodes.push(new);
                self.files.insert(entry.path, inode);
            }
        }
        Ok(())
    }

    /// The list and the archive must agree on what a path is.
    fn check_type(&self, at: usize, entry: &Entry<'_>) -> Result<(), Error> {
        let listed = self.listed(at);
        let (name, agrees) = match listed.path_type {
            PathType::HardLink => ("file", matches!(entry.kind, Kind::File | Kind::HardLink(_))),
            PathType::Directory => ("directory", entry.kind == Kind::Directory),
            PathType::SoftLink => ("symbolic link", matches!(entry.kind, Kind::Symlink(_))),
        };
        if agrees {
            return Ok(());
        }
        Err(self.refuse(&entry.path, Refusal::Type { listed: name, found: entry.kind.name() }))
    }

    /// A file that decides how the package is linked must be the one that was decided by.
    fn check_info(&self, entry: &mut Entry<'_>) -> Result<(), Error> {
        let path = entry.path.clone();
        let mut files = InfoFiles::default();
        let entry = Entry { path: path.clone(), kind: Kind::File, body: &mut *entry.body, ..*entry };
        if files.read(self.archive, entry)? {
            let known = &self.info.fingerprints;
            if files.fingerprints().iter().any(|(name, fingerprint)| known.get(name) != Some(fingerprint)) {
                return Err(self.refuse(&path, Refusal::LateInfo));
            }
        }
        Ok(())
    }

    /// What became of each path of the plan.
    pub fn finish(mut self) -> Result<Vec<Linked>, Error> {
        let patched_mtime = self.info.about_mtime.unwrap_or(self.last_mtime) + 1;
        // Of the names that may share their bytes, the first in the order of paths has them.
        let mut targets: HashMap<usize, &TreePath> = HashMap::new();
        for (at, found) in self.results.iter().enumerate() {
            if let ReadPath::Verbatim { inode } = found
                && !self.listed(at).no_link
            {
                let path = &self.plan.paths[at].path;
                let first = targets.entry(*inode).or_insert(path);
                *first = path.min(*first);
            }
        }
        let results = std::mem::take(&mut self.results);
        let linked = results.into_iter().enumerate().map(|(at, found)| self.linked(at, found, &targets, patched_mtime));
        let linked = linked.collect::<Result<Vec<_>, _>>()?;
        // Copies of one file take no room here, but they will in the layer.
        let bytes =
            linked.iter().map(|linked| if let Node::File(file) = &linked.node { file.content.len() } else { 0 });
        let limit = self.archive.limit();
        if bytes.fold(0, u64::saturating_add) > limit {
            return Err(Error::TooBig { package: self.archive.name.clone(), what: "bytes in its files", limit });
        }
        Ok(linked)
    }

    fn linked(
        &self,
        at: usize,
        found: ReadPath,
        targets: &HashMap<usize, &TreePath>,
        patched_mtime: i64,
    ) -> Result<Linked, Error> {
        let planned = &self.plan.paths[at];
        let listed = self.listed(at);
        let file = |inode: usize, content, mtime| {
            let mode = Mode::file(self.inodes[inode].executable);
            Node::File(File { content, mode, mtime: Some(mtime) })
        };
        let directory =
            || Linked { node: Node::Directory { mode: Mode::DIRECTORY }, sha256: None, size: None, patched: false };
        Ok(match found {
            // A directory needs no entry of its own in an archive that has something in it.
            ReadPath::Nothing if listed.path_type == PathType::Directory => directory(),
            ReadPath::Directory => directory(),
            ReadPath::Symlink { target, mtime } => {
                let size = Some(target.len() as u64);
                Linked { node: Node::Symlink { target, mtime: Some(mtime) }, sha256: None, size, patched: false }
            }
            ReadPath::Patched { inode, patched } => Linked {
                size: Some(patched.content.len()),
                sha256: Some(patched.sha256),
                node: file(inode, patched.content, patched_mtime),
                patched: true,
            },
            ReadPath::Verbatim { inode } => {
                let from = &self.inodes[inode];
                let Some((content, sha256)) = from.content.clone() else { return Err(self.missing(planned.index)) };
                let size = Some(content.len());
                let node = match targets.get(&inode) {
                    Some(target) if **target != planned.path && !listed.no_link => {
                        Node::HardLink { target: TreePath::clone(target) }
                    }
                    _ => file(inode, content, from.mtime),
                };
                Linked { node, sha256: Some(sha256), size, patched: false }
            }
            ReadPath::Nothing | ReadPath::Later { .. } => return Err(self.missing(planned.index)),
        })
    }

    fn missing(&self, index: usize) -> Error {
        self.refuse(&self.info.paths[index].path, Refusal::Missing)
    }
}
