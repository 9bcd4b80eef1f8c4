//! Images whose blobs are files of this machine: OCI layouts, and the directories that skopeo makes.

use std::path::{Path, PathBuf};

use oci_read::{
    document::{Descriptor as Entry, Document},
    limits::DOCUMENT,
};
use pixi_oci_cachedir::StagedDirectory;
use pixi_oci_image::Descriptor;
use pixi_oci_platform::{Links, escape, read};
use tempfile::NamedTempFile;

use super::{
    Problem,
    document::{self, checked},
    reference::LayoutImage,
};
use crate::{
    Error,
    destination::{check_bytes, copy_checked, open_source},
};

/// A directory with blobs whose file names are the hex digits of their digests.
#[derive(Debug)]
pub(crate) struct Local {
    blobs: PathBuf,
    roots: Vec<Entry>,
    /// What skopeo made is removed when it is no longer needed.
    _copied: Option<StagedDirectory>,
}

impl Local {
    /// Opens an OCI layout (OCI image-spec, image-layout.md).
    pub(crate) fn layout(dir: &Path, image: &LayoutImage) -> Result<Self, Problem> {
        let marker = dir.join("oci-layout");
        let version = read(&marker, Links::Follow, 1024).map_err(Error::io("read", &marker))?;
        if !oci_read::document::is_layout(&version) {
            let reason = "it does not say imageLayoutVersion 1.0.0";
            return Err(Problem::document(marker.display(), "the marker of an OCI layout", reason));
        }
        let blobs = dir.join("blobs").join("sha256");
        let roots = match image {
            LayoutImage::Digest(digest) => {
                let path = blobs.join(digest.hex());
                let size = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
                vec![Entry::new(digest.to_string(), size)]
            }
            LayoutImage::Only => named(entries(dir)?, None)?,
            LayoutImage::Tag(tag) => named(entries(dir)?, Some(tag))?,
        };
        Ok(Self { blobs, roots, _copied: None })
    }

    /// Takes over what skopeo has copied, an image in the form of `dir:`.
    pub(crate) fn copied(blobs: PathBuf, copied: StagedDirectory) -> Result<Self, Problem> {
        let path = blobs.join("manifest.json");
        let manifest = read(&path, Links::Follow, DOCUMENT).map_err(Error::io("read", &path))?;
        let digest = pixi_oci_layer::Digest::of(&manifest);
        // skopeo names the manifest differently from all other blobs.
        let by_digest = blobs.join(digest.hex());
        std::fs::rename(&path, &by_digest).map_err(Error::io("write", &by_digest))?;
        Ok(Self { blobs, roots: vec![Entry::new(digest.to_string(), manifest.len() as u64)], _copied: Some(copied) })
    }

    /// What the reference may mean: one image or index, or several images that differ in their platform.
    pub(crate) fn roots(&self) -> Vec<Entry> {
        self.roots.clone()
    }

    pub(crate) fn document(&self, entry: &Entry) -> Result<Vec<u8>, Problem> {
        let blob = checked(entry)?;
        let path = self.blobs.join(blob.digest.hex());
        let bytes = read(&path, Links::Follow, DOCUMENT).map_err(Error::io("read", &path))?;
        check_bytes(&blob, &bytes)?;
        Ok(bytes)
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &pixi_oci_layer::Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    pub(crate) async fn layer(&self, blob: &Descriptor, mut staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        let (path, blob) = (self.blobs.join(blob.digest.hex()), blob.clone());
        super::blocking(move || {
            let to = staged.path().to_owned();
            copy_checked(&blob, &mut open_source(&path)?, &path, &mut staged, &to)?;
            Ok(staged)
        })
        .await
    }
}

fn entries(dir: &Path) -> Result<Vec<Entry>, Problem> {
    let path = dir.join("index.json");
    let bytes = read(&path, Links::Follow, DOCUMENT).map_err(Error::io("read", &path))?;
    match document::parse(path.display(), "", &bytes)? {
        Document::Index(index) => Ok(index.manifests),
        Document::Manifest(_) => Err(Problem::document(path.display(), "an image index", "it is an image manifest")),
    }
}

/// The entries of this name; without a name all, if they have one name at most.
fn named(entries: Vec<Entry>, name: Option<&str>) -> Result<Vec<Entry>, Problem> {
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name().unwrap_or("one without a name")).collect();
    names.sort_unstable();
    names.dedup();
    let found = match name {
        Some(name) => entries.iter().any(|entry| entry.name() == Some(name)),
        None => names.len() == 1,
    };
    if !found {
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Problem::NoSuchImage { names: escape(&names).chars().take(500).collect() });
    }
    Ok(entries.into_iter().filter(|entry| name.is_none() || entry.name() == name).collect())
}
