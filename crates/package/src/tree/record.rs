//! `conda-meta/NAME-VERSION-BUILD.json`: what conda, mamba and pixi read to know that the package is installed.

use pixi_oci_layer::{Node, TreePath};
use rattler_conda_types::{
    PackageRecord, PrefixRecord, RepoDataRecord,
    package::{DistArchiveIdentifier, PathType as ListedType},
    prefix_record::{PathType, PathsEntry},
};
use rattler_digest::{Sha256, Sha256Hash, compute_bytes_digest};
use url::Url;

use crate::{
    corrections::Faults,
    error::Error,
    info::{ListedPath, PackageInfo},
    plan::{PlannedEntryPoint, PlannedPath},
};

/// What a record says that is not in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CondaMeta {
    /// Where the archive is published. Without credentials, and the same for all mirrors of the channel: it becomes part
    /// of a layer's bytes. Its last segment is the archive's file name.
    pub url: Url,
    /// The channel of that URL, likewise.
    pub channel: Option<String>,
    /// The archive's digest.
    pub sha256: Sha256Hash,
    /// The archive's length in bytes.
    pub size: u64,
}

/// One path of the tree, with what its record needs.
pub(super) struct Linked {
    pub node: Node,
    /// Of a file's bytes in the prefix.
    pub sha256: Option<Sha256Hash>,
    /// Of what is in the prefix.
    pub size: Option<u64>,
    pub patched: bool,
}

/// The record of a listed path, as rattler's `link_package_sync` makes it, but with the true digest and size where the list
/// has others: what is in the image must be accounted for by its records.
pub(super) fn entry(listed: &ListedPath, planned: &PlannedPath, linked: &Linked, faults: &mut Faults) -> PathsEntry {
    let ListedPath { path, entry: listed } = listed;
    let is_file = listed.path_type == ListedType::HardLink;
    // What is not patched has the digest that the list says; only a list without digests needs another one.
    let has_own_digest = is_file && (linked.patched || listed.sha256.is_none());
    let (mut sha256, mut size_in_bytes) = (listed.sha256, listed.size_in_bytes);
    if is_file && !linked.patched {
        if sha256.is_some() && sha256 != linked.sha256 {
            faults.add("has a wrong sha256 of", path.as_str());
            sha256 = linked.sha256;
        }
        if size_in_bytes.is_some() && size_in_bytes != linked.size {
            faults.add("has a wrong size of", path.as_str());
            size_in_bytes = linked.size;
        }
    }
    PathsEntry {
        relative_path: planned.path.as_str().into(),
        original_path: planned.clobbered.as_ref().map(|path| path.as_str().into()),
        path_type: listed.path_type.into(),
        no_link: listed.no_link,
        sha256,
        sha256_in_prefix: linked.sha256.filter(|sha256| has_own_digest && listed.sha256 != Some(*sha256)),
        size_in_bytes: if linked.patched { linked.size } else { size_in_bytes.or(linked.size) },
        file_mode: listed
            .prefix_placeholder
            .as_ref()
            .filter(|_| linked.patched)
            .map(|placeholder| placeholder.file_mode),
        prefix_placeholder: listed.prefix_placeholder.as_ref().map(|placeholder| placeholder.placeholder.clone()),
    }
}

/// The record of a script that was made.
pub(super) fn script(planned: &PlannedEntryPoint, script: &[u8]) -> PathsEntry {
    PathsEntry {
        relative_path: planned.path.as_str().into(),
        original_path: planned.clobbered.as_ref().map(|path| path.as_str().into()),
        path_type: PathType::UnixPythonEntryPoint,
        no_link: false,
        sha256: Some(compute_bytes_digest::<Sha256>(script)),
        sha256_in_prefix: None,
        size_in_bytes: Some(script.len() as u64),
        file_mode: None,
        prefix_placeholder: None,
    }
}

/// The record's path below the prefix, and its bytes. It is made from the archive and not from a channel's index, whose
/// entries are patched now and then; it has no path of the machine that made it; its lists are sorted.
pub(super) fn conda_meta(
    info: &PackageInfo,
    meta: &CondaMeta,
    mut entries: Vec<PathsEntry>,
) -> Result<(TreePath, Vec<u8>), Error> {
    let fail = |reason: String| Error::info(&info.file_name, "info/index.json", reason);
    entries.sort_by(|a, b| a.relative_path.cmp(&b.relative_path));
    let package_record = PackageRecord::from_index_json(info.index.clone(), Some(meta.size), Some(meta.sha256), None)
        .map_err(|e| fail(e.to_string()))?;
    let identifier = DistArchiveIdentifier::try_from_url(&meta.url)
        .ok_or_else(|| fail(format!("the archive's URL {} does not end in the name of a package", meta.url)))?;
    let repodata = RepoDataRecord { package_record, identifier, url: meta.url.clone(), channel: meta.channel.clone() };
    let record = PrefixRecord::from_repodata_record(repodata, entries);
    let path = format!("conda-meta/{}", record.file_name());
    let path = TreePath::new(&path).map_err(|e| Error::path(&info.file_name, path, e))?;
    let mut json = Vec::new();
    record.write_to(&mut json, true).map_err(|e| fail(e.to_string()))?;
    Ok((path, json))
}
