//! The files of a source as one deterministic tar, and what its `pyproject.toml` says of its build.

use std::{
    io::{BufWriter, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use pixi_oci_fetch::{ArchiveCache, FetchItem, FetchOptions};
use pixi_oci_git::Git;
use pixi_oci_layer::{Compression, Content, ContentStore, FileTree, LayerWriter, MemoryBudget, Mode, Node, TreePath};
use pixi_oci_lock::{ArchiveLocation, Sha256};
use pixi_oci_net::RetryPolicy;
use pixi_oci_package::source_tree;
use serde::Deserialize;

use super::{BuildError, Means, Pending, PendingKind, conversation::Order, git::git_tree};
use crate::{
    SourceError,
    listing::Listing,
    pyproject::{BuildSystem, PyProject},
    vcs,
};
use pixi_oci_contents::secret_name;
use pixi_oci_pipeline::LAYER_TIME;

/// A source that is ready to go into a container.
pub struct SourceTar {
    /// A compressed tar.
    pub path: PathBuf,
    /// Of the tar: the identity of the source.
    pub diff_id: String,
    pub order: Order,
    pub requires: Vec<String>,
    /// The version that the build is told, where the project leaves it to git.
    pub told: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OnlyBuildSystem {
    build_system: Option<BuildSystem>,
}

const MAX_PYPROJECT: u64 = 4 << 20;

pub fn source_tar(source: &Pending, means: &Means<'_>) -> Result<SourceTar, SourceError> {
    let package = source.name.as_str();
    let failed = |error| BuildError::Io { package: package.to_owned(), source: error };
    let scratch = tempfile::tempdir_in(means.scratch).map_err(failed)?;
    let mut store = ContentStore::new(&MemoryBudget::new(means.session.resources.memory), means.scratch);
    let (mut tree, directory) = match &source.kind {
        PendingKind::Archive(location, sha256) => {
            (archive_tree(source, location, *sha256, means, &mut store)?, String::new())
        }
        PendingKind::Git(_) if means.session.offline => {
            let reason = "its git repository cannot be reached offline".into();
            return Err(BuildError::Project { package: package.to_owned(), reason }.into());
        }
        PendingKind::Git(url) => git_tree(package, url, scratch.path(), &mut store)?,
        PendingKind::Directory(directory) => (directory_tree(package, directory)?, String::new()),
    };
    let (system, pyproject) = match pyproject(package, &tree, &directory)? {
        Some(text) => (build_system(package, &text)?, PyProject::parse(&text).unwrap_or_default()),
        None => (None, PyProject::default()),
    };
    let told = match &source.kind {
        PendingKind::Directory(directory) if vcs::may_say(&pyproject) => {
            let found = vcs::version(directory, &pyproject);
            if let Some(found) = &found {
                add_repository(package, &mut tree, directory, &scratch.path().join("git"), &found.tag)?;
            }
            found.map(|found| found.version).or_else(|| source.version.clone())
        }
        PendingKind::Git(_) if vcs::may_say(&pyproject) => source.version.clone(),
        _ => None,
    };
    let path = tempfile::Builder::new().prefix("source-").tempfile_in(means.scratch).map_err(failed)?;
    let (file, path) = path.keep().map_err(|error| failed(error.error))?;
    let mut writer = LayerWriter::new(BufWriter::new(file), Compression::Gzip { level: 1 }, LAYER_TIME);
    writer.add(&tree)?;
    let (layer, mut sink) = writer.finish()?;
    sink.flush().map_err(failed)?;
    let default = |text: &str| text.to_owned();
    Ok(SourceTar {
        path,
        diff_id: layer.diff_id.to_string(),
        requires: match &system {
            Some(system) => system.requires.clone(),
            // PEP 517 names both; setuptools has needed no `wheel` since 70.1.
            None => vec![default("setuptools>=40.8.0")],
        },
        order: Order {
            bytes: layer.size,
            directory,
            backend: system
                .as_ref()
                .and_then(|system| system.build_backend.clone())
                .unwrap_or_else(|| default("setuptools.build_meta:__legacy__")),
            backend_path: system.map(|system| system.backend_path).unwrap_or_default(),
            environment: told.iter().flat_map(|version| vcs::variables(&source.python_name, version)).collect(),
        },
        told,
    })
}

fn archive_tree(
    source: &Pending,
    location: &ArchiveLocation,
    sha256: Option<Sha256>,
    means: &Means<'_>,
    store: &mut ContentStore,
) -> Result<FileTree, SourceError> {
    let item = FetchItem { name: source.name.clone(), location: location.clone(), sha256, md5: None, size: None };
    let options = FetchOptions {
        offline: means.session.offline,
        concurrency: NonZeroUsize::MIN,
        retry: RetryPolicy::default(),
        on_event: &|_| {},
    };
    let cache = ArchiveCache::open(&means.session.caches.dir)?;
    let client = means.session.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |error| BuildError::Io { package: source.name.clone(), source: error };
    let archives = runtime.map_err(failed)?.block_on(cache.fetch(&[item], &options, client))?;
    let name = match location {
        ArchiveLocation::Path(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        ArchiveLocation::Url(url) => url.path_segments().and_then(|mut parts| parts.next_back()).map(str::to_owned),
    };
    let archive = archives.first().ok_or_else(|| BuildError::Project {
        package: source.name.clone(),
        reason: "its source archive was not fetched".into(),
    })?;
    Ok(source_tree(&archive.path, &name.unwrap_or_else(|| source.name.clone()), store)?)
}

/// The files of a directory, without those whose names mean secrets.
fn directory_tree(package: &str, directory: &Path) -> Result<FileTree, SourceError> {
    let listing = Listing::read(directory)?;
    let mut tree = FileTree::new();
    for path in listing.iter().filter(|path| path.split('/').all(|name| secret_name(name).is_none())) {
        let project = |reason: String| BuildError::Project { package: package.to_owned(), reason };
        let Some(found) = listing.get(path) else { continue };
        if found.linked_directory {
            return Err(project(format!("{path} is a link to a directory")).into());
        }
        let place = TreePath::new(path).map_err(|error| project(format!("{path:?}: {error}")))?;
        let content = Content::from_file(directory.join(path), found.len);
        let file = pixi_oci_layer::File { content, mode: Mode::file(found.executable), mtime: None };
        tree.insert(place, Node::File(file)).map_err(|error| project(error.to_string()))?;
    }
    Ok(tree)
}

/// For backends that insist on one: a repository of one commit and a tag. That of the workspace stays where it is, with its
/// credentials and its programs.
fn add_repository(
    package: &str,
    tree: &mut FileTree,
    directory: &Path,
    scratch: &Path,
    tag: &str,
) -> Result<(), SourceError> {
    let project = |reason: String| BuildError::Project { package: package.to_owned(), reason };
    let io = |source| BuildError::Io { package: package.to_owned(), source };
    let files: Vec<String> = tree.iter().map(|(path, _)| path.to_string()).collect();
    let files: Vec<&str> = files.iter().filter(|path| directory.join(path).is_file()).map(String::as_str).collect();
    fs_err::create_dir(scratch).map_err(io)?;
    Git::fresh(scratch, directory, &files, tag).map_err(|error| project(error.to_string()))?;
    let repository = Listing::read(scratch)?;
    for path in repository.iter() {
        let Some(found) = repository.get(path) else { continue };
        let place = TreePath::new(&format!(".git/{path}")).map_err(|error| project(error.to_string()))?;
        let content = Content::from_file(scratch.join(path), found.len);
        let file = pixi_oci_layer::File { content, mode: Mode::file(false), mtime: None };
        tree.insert(place, Node::File(file)).map_err(|error| project(error.to_string()))?;
    }
    Ok(())
}

/// The text of `pyproject.toml`, if there is one.
fn pyproject(package: &str, tree: &FileTree, directory: &str) -> Result<Option<String>, SourceError> {
    let project = |reason: String| BuildError::Project { package: package.to_owned(), reason };
    let path = if directory.is_empty() { "pyproject.toml".into() } else { format!("{directory}/pyproject.toml") };
    let path = TreePath::new(&path).map_err(|error| project(format!("{path:?}: {error}")))?;
    let Some(Node::File(file)) = tree.get(&path) else { return Ok(None) };
    if file.content.len() > MAX_PYPROJECT {
        return Err(project("its pyproject.toml is bigger than 4 MiB".into()).into());
    }
    let bytes = file.content.to_vec().map_err(|source| BuildError::Io { package: package.to_owned(), source })?;
    Ok(Some(String::from_utf8(bytes).map_err(|_| project("its pyproject.toml is not UTF-8".into()))?))
}

fn build_system(package: &str, text: &str) -> Result<Option<BuildSystem>, SourceError> {
    let parsed: OnlyBuildSystem = toml_edit::de::from_str(text).map_err(|error| BuildError::Project {
        package: package.to_owned(),
        reason: format!("its pyproject.toml is not understood: {}", error.message().replace('\n', ", ")),
    })?;
    Ok(parsed.build_system)
}
