//! A wheel's file tree, from one reading of its contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::Path,
};

use pixi_oci_layer::{Content, ContentStore, Digest, File, FileTree, Mode, Node, TreePath};
use pixi_oci_package::{
    Change, Error, Links, Member, MemberReader, PackageTree, Python, Refusal, Style, TargetPrefix, Zip, check_variables,
};

use crate::{
    direct_url::DirectUrl,
    hash::{Hashes, Recorded, sha256},
    info::WheelInfo,
    layout::{DIRECT_URL, INSTALLER, Layout, Place, RECORD, REQUESTED, relative},
    record::{self, Line},
    script,
};

/// Whose installation pixi takes for its own. Without a line break: pixi compares the length too.
const INSTALLER_NAME: &str = "uv-pixi";

/// A script of a wheel whose first line is changed is in memory for that.
const MAX_SCRIPT: u64 = 64 << 20;

/// Reads the wheel at `archive` and makes its tree for the environment at `prefix`, whose interpreter is `python`.
///
/// `info` must come from the same wheel. `direct_url` is for wheels that are not from an index. `changes` is what other
/// packages changed about [`WheelInfo::paths`]: a [`Change::Dropped`] path is left out, the others go elsewhere. `RECORD`
/// lists them all the same, as it does when uv installs two wheels over one another. Contents go to `store`.
///
/// Modes are 0755 or 0644: executable is what the zip has as executable by anybody, and every script.
pub fn wheel_tree(
    archive: &Path,
    info: &WheelInfo,
    python: &Python,
    prefix: &TargetPrefix,
    direct_url: Option<&DirectUrl>,
    changes: &[Change],
    store: &mut ContentStore,
) -> Result<PackageTree, Error> {
    let layout = Layout::new(info, python, direct_url)?;
    let zip = Zip::open(archive, &info.file_name, Style::Deflated)?;
    let shebang = script::shebang(&format!("{prefix}/{}", python.executable));
    let mut tree = Tree { info, prefix, moves: Moves::new(changes), tree: FileTree::new(), corrected: BTreeMap::new() };
    let mut lines: BTreeMap<usize, Line> = info.record.lines.iter().cloned().collect();
    let mut faults = info.record.faults.clone();

    for (index, (member, place)) in info.members.iter().zip(&layout.members).enumerate() {
        if member.is_directory {
            if let Some(place) = place {
                tree.insert(&place.path, Node::Directory { mode: Mode::DIRECTORY })?;
            }
            continue;
        }
        // Also what is not installed is read: a damaged wheel is not installed in part.
        let recorded = lines.get(&index).and_then(|line| line.hash.as_deref());
        let (content, digest, found) = read(&zip, info, member, recorded, store)?;
        match found {
            Recorded::Hexadecimal => faults.add("has a hexadecimal hash of", member.path.as_str()),
            Recorded::Wrong => faults.add("has a wrong hash of", member.path.as_str()),
            Recorded::Right | Recorded::Not => {}
        }
        let Some(place) = place else { continue };
        let rewritten = if place.is_script { rewrite(info, member, &content, &shebang)? } else { None };
        if let Some(line) = lines.get_mut(&index).filter(|_| place.moved) {
            line.path = relative(&place.path, &python.site_packages);
            if let Some(bytes) = &rewritten {
                (line.hash, line.size) = (Some(sha256(bytes)), Some(bytes.len() as u64));
            }
        }
        if rewritten.is_none() && found != Recorded::Right {
            tree.correct(&place.path, digest);
        }
        let content = match rewritten {
            Some(bytes) => store.put_bytes(bytes).map_err(|source| kept(info, &member.path, source))?,
            None => content,
        };
        tree.file(place, member, content)?;
    }
    // Of `.dist-info` only the installer's files have no place. Of `.data` also the scripts that are made anew, which
    // uv leaves in the list.
    let in_dist_info = |index: usize| info.members[index].path.components().next() == Some(info.dist_info.as_str());
    lines.retain(|index, _| layout.members[*index].is_some() || !in_dist_info(*index));
    let mut lines: Vec<_> = lines.into_values().collect();

    let mut write = |path: &TreePath, bytes: Vec<u8>, mode| {
        let path_in_record = relative(path, &python.site_packages);
        lines.push(Line { path: path_in_record, hash: Some(sha256(&bytes)), size: Some(bytes.len() as u64) });
        tree.insert(path, Node::File(File { content: Content::from_bytes(bytes), mode, mtime: None }))
    };
    for (path, entry_point) in &layout.scripts {
        write(path, script::launcher(entry_point, &shebang).into_bytes(), Mode::EXECUTABLE)?;
    }
    let json = direct_url.map(DirectUrl::json).unwrap_or_default();
    for (name, bytes) in [(INSTALLER, INSTALLER_NAME.into()), (REQUESTED, Vec::new()), (DIRECT_URL, json)] {
        if let Some(path) = layout.written.get(name) {
            write(path, bytes, Mode::FILE)?;
        }
    }
    if let Some(path) = layout.written.get(RECORD) {
        lines.push(Line { path: relative(path, &python.site_packages), hash: None, size: None });
        let content = Content::from_bytes(record::write(lines));
        // Changed in place by uv: it keeps the executable bit that some builders give to everything.
        let in_wheel = format!("{}/{RECORD}", info.dist_info);
        let executable = info.members.iter().any(|member| member.executable && member.path.as_str() == in_wheel);
        tree.insert(path, Node::File(File { content, mode: Mode::file(executable), mtime: None }))?;
    }
    check_variables(&info.file_name, &tree.tree, prefix)?;
    let corrections = faults.corrections(tree.corrected);
    Ok(PackageTree { tree: tree.tree, outside_links: Vec::new(), links: Links::new(), corrections })
}

/// Reads a member; gives its sha256 and how its hash is recorded.
fn read(
    zip: &Zip<'_>,
    info: &WheelInfo,
    member: &Member,
    recorded: Option<&str>,
    store: &mut ContentStore,
) -> Result<(Content, Digest, Recorded), Error> {
    let mut reader = Hashing { inner: zip.reader(member), hashes: Hashes::new(recorded) };
    let content = store.put(&mut reader, member.size).map_err(|source| match reader.inner.failure() {
        Some(error) => zip.broken(member, error),
        None if source.kind() == io::ErrorKind::UnexpectedEof => zip.broken(member, source),
        None => kept(info, &member.path, source),
    })?;
    reader.inner.finish().map_err(|error| zip.broken(member, error))?;
    let (sha256, found) = reader.hashes.finish();
    Ok((content, sha256, found))
}

struct Hashing<'a> {
    inner: MemberReader<'a>,
    hashes: Hashes<'a>,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hashes.update(&buffer[..read]);
        Ok(read)
    }
}

/// A script with the interpreter in its first line, if it has a placeholder there.
fn rewrite(info: &WheelInfo, member: &Member, content: &Content, shebang: &str) -> Result<Option<Vec<u8>>, Error> {
    let fail = |source| kept(info, &member.path, source);
    if content.prefix(script::PLACEHOLDER.len()).map_err(fail)? != script::PLACEHOLDER {
        return Ok(None);
    }
    if content.len() > MAX_SCRIPT {
        let what = "bytes in a script";
        return Err(Error::TooBig { package: info.file_name.clone(), what, limit: MAX_SCRIPT });
    }
    Ok(Some(script::with_shebang(&content.to_vec().map_err(fail)?, shebang)))
}

fn kept(info: &WheelInfo, path: &TreePath, source: io::Error) -> Error {
    Error::Store { package: info.file_name.clone(), path: path.as_str().into(), source }
}

struct Tree<'a> {
    info: &'a WheelInfo,
    prefix: &'a TargetPrefix,
    moves: Moves<'a>,
    tree: FileTree,
    /// The files whose digest is not in `RECORD`, below the prefix.
    corrected: BTreeMap<TreePath, Digest>,
}

impl Tree<'_> {
    fn file(&mut self, place: &Place, member: &Member, content: Content) -> Result<(), Error> {
        let mode = Mode::file(member.executable || place.is_script);
        self.insert(&place.path, Node::File(File { content, mode, mtime: None }))
    }

    fn correct(&mut self, path: &TreePath, sha256: Digest) {
        if let Some(path) = self.moves.place(path) {
            self.corrected.insert(path.clone(), sha256);
        }
    }

    fn insert(&mut self, path: &TreePath, node: Node) -> Result<(), Error> {
        let Some(path) = self.moves.place(path) else { return Ok(()) };
        let refuse = |refusal| Error::path(&self.info.file_name, path.as_str(), refusal);
        let at = self.prefix.tree_path().join(path.as_str()).map_err(|error| refuse(error.into()))?;
        self.tree.insert(at, node).map_err(|_| refuse(Refusal::Duplicate))
    }
}

struct Moves<'a> {
    dropped: BTreeSet<&'a TreePath>,
    resolved: BTreeMap<&'a TreePath, &'a TreePath>,
    clobbered: BTreeMap<&'a TreePath, &'a TreePath>,
}

impl<'a> Moves<'a> {
    fn new(changes: &'a [Change]) -> Self {
        let (mut dropped, mut resolved, mut clobbered) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for change in changes {
            match change {
                Change::Dropped { path } => drop(dropped.insert(path)),
                Change::Resolved { path, to } => drop(resolved.insert(path, to)),
                Change::Clobbered { path, to } => drop(clobbered.insert(path, to)),
            }
        }
        Self { dropped, resolved, clobbered }
    }

    /// Where a path goes. Links are resolved first, as in a [`LinkPlan`](pixi_oci_package::LinkPlan).
    fn place<'p>(&self, path: &'p TreePath) -> Option<&'p TreePath>
    where
        'a: 'p,
    {
        let path = self.resolved.get(path).copied().unwrap_or(path);
        if self.dropped.contains(path) {
            return None;
        }
        Some(self.clobbered.get(path).copied().unwrap_or(path))
    }
}
