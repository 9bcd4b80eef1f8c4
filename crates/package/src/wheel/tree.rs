//! A wheel's file tree, from one reading of its contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::Path,
};

use pixi_oci_layer::{Content, ContentStore, File, FileTree, Mode, Node, TreePath};
use serde::Serialize;
use url::Url;

use super::{
    WheelInfo,
    hash::{Hash, sha256},
    layout::{DIRECT_URL, INSTALLER, Layout, Place, RECORD, REQUESTED, relative},
    record::{self, Line},
    script,
    zip::{Member, MemberReader, WheelZip},
};
use crate::{Change, Error, Links, PackageTree, Python, Refusal, TargetPrefix};

/// Whose installation pixi takes for its own. Without a line break: pixi compares the length too.
const INSTALLER_NAME: &str = "uv-pixi";

/// A script of a wheel whose first line is changed is in memory for that.
const MAX_SCRIPT: u64 = 64 << 20;

/// Where a wheel is from that the manifest names by URL or path: the contents of `direct_url.json` (PEP 610).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectUrl {
    url: Url,
    what: What,
    subdirectory: Option<String>,
}

/// What is at the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Archive,
    Directory,
    Commit { commit: String, requested_revision: Option<String> },
}

impl DirectUrl {
    /// `url` is `file:///…` for a path. pixi compares it with the lock file's, without `direct+`. As in uv, the fragment
    /// is left out, and a password or lone user name becomes `****`; the result is part of a public layer. So the user name
    /// beside a password does, too, which uv keeps: some hosts take their tokens there (`TOKEN:x-oauth-basic@`). The query
    /// is left out for the same reason: pre-signed URLs have their secret in it.
    pub fn new(mut url: Url) -> Self {
        url.set_fragment(None);
        url.set_query(None);
        // Neither fails for a URL that has them.
        if url.password().is_some() {
            let _ = url.set_password(Some("****"));
        }
        if !url.username().is_empty() {
            let _ = url.set_username("****");
        }
        Self { url, what: What::Archive, subdirectory: None }
    }

    /// For a wheel that was made of a directory, which is installed as it was and not as editable.
    pub fn directory(url: Url) -> Self {
        Self { what: What::Directory, ..Self::new(url) }
    }

    /// For a wheel that was made of a commit of the git repository at `url`, which has no `git+`; the manifest may name a
    /// branch, tag or part of a commit's digest.
    pub fn git(url: Url, commit: String, requested_revision: Option<String>) -> Self {
        Self { what: What::Commit { commit, requested_revision }, ..Self::new(url) }
    }

    /// The project is not at the top of it.
    pub fn in_subdirectory(self, subdirectory: Option<String>) -> Self {
        Self { subdirectory, ..self }
    }

    /// The contents of `direct_url.json`.
    pub fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Json<'a> {
            url: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            archive_info: Option<Empty>,
            #[serde(skip_serializing_if = "Option::is_none")]
            dir_info: Option<Empty>,
            #[serde(skip_serializing_if = "Option::is_none")]
            vcs_info: Option<Vcs<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            subdirectory: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Vcs<'a> {
            vcs: &'a str,
            commit_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            requested_revision: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Empty {}
        let (mut archive_info, mut dir_info, mut vcs_info) = (None, None, None);
        match &self.what {
            What::Archive => archive_info = Some(Empty {}),
            What::Directory => dir_info = Some(Empty {}),
            What::Commit { commit, requested_revision } => {
                let requested_revision = requested_revision.as_deref();
                vcs_info = Some(Vcs { vcs: "git", commit_id: commit, requested_revision });
            }
        }
        let (url, subdirectory) = (self.url.as_str(), self.subdirectory.as_deref());
        // It has nothing that cannot be written.
        serde_json::to_vec(&Json { url, archive_info, dir_info, vcs_info, subdirectory }).unwrap_or_default()
    }
}

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
    let zip = WheelZip::open(archive, &info.file_name)?;
    let shebang = script::shebang(&format!("{prefix}/{}", python.executable));
    let mut tree = Tree { info, prefix, moves: Moves::new(changes), tree: FileTree::new() };
    let mut lines: BTreeMap<usize, Line> = info.record.lines.iter().cloned().collect();

    for (index, (member, place)) in info.members.iter().zip(&layout.members).enumerate() {
        if member.is_directory {
            if let Some(place) = place {
                tree.insert(&place.path, Node::Directory { mode: Mode::DIRECTORY })?;
            }
            continue;
        }
        // Also what is not installed is verified.
        let content = read(&zip, info, index, store)?;
        let Some(place) = place else { continue };
        let rewritten = if place.is_script { rewrite(info, member, &content, &shebang)? } else { None };
        if let Some(line) = lines.get_mut(&index).filter(|_| place.moved) {
            line.path = relative(&place.path, &python.site_packages);
            if let Some(bytes) = &rewritten {
                (line.hash, line.size) = (Some(sha256(bytes)), Some(bytes.len() as u64));
            }
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
    Ok(PackageTree { tree: tree.tree, outside_links: Vec::new(), links: Links::new() })
}

/// Reads and verifies a member.
fn read(zip: &WheelZip<'_>, info: &WheelInfo, index: usize, store: &mut ContentStore) -> Result<Content, Error> {
    let member = &info.members[index];
    let recorded = info.record.hash_of(index);
    let mut reader = Hashing { inner: zip.reader(member), hash: recorded.and_then(Hash::like) };
    let content = store.put(&mut reader, member.size).map_err(|source| match reader.inner.failure() {
        Some(error) => zip.broken(member, error),
        None if source.kind() == io::ErrorKind::UnexpectedEof => zip.broken(member, source),
        None => kept(info, &member.path, source),
    })?;
    reader.inner.finish().map_err(|error| zip.broken(member, error))?;
    if let (Some(hash), Some(recorded)) = (reader.hash, recorded) {
        record::check(&info.file_name, &member.path, hash, recorded)?;
    }
    Ok(content)
}

struct Hashing<'a> {
    inner: MemberReader<'a>,
    hash: Option<Hash>,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
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

/// The tree in the making.
struct Tree<'a> {
    info: &'a WheelInfo,
    prefix: &'a TargetPrefix,
    moves: Moves<'a>,
    tree: FileTree,
}

impl Tree<'_> {
    fn file(&mut self, place: &Place, member: &Member, content: Content) -> Result<(), Error> {
        let mode = Mode::file(member.executable || place.is_script);
        self.insert(&place.path, Node::File(File { content, mode, mtime: None }))
    }

    fn insert(&mut self, path: &TreePath, node: Node) -> Result<(), Error> {
        let Some(path) = self.moves.place(path) else { return Ok(()) };
        let refuse = |refusal| Error::path(&self.info.file_name, path.as_str(), refusal);
        let at = self.prefix.tree_path().join(path.as_str()).map_err(|error| refuse(error.into()))?;
        self.tree.insert(at, node).map_err(|_| refuse(Refusal::Duplicate))
    }
}

/// What other packages changed.
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

    /// Where a path goes. Links are resolved first, as in a [`LinkPlan`](crate::LinkPlan).
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
