//! Where the result goes, and where it is made.
//!
//! Everything is made in a directory beside the destination, in its file system, and moved there when it is whole. So a
//! build that fails leaves the destination as it was, without a blob more.

use pixi_oci_platform::{FileError, cannot};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::StagedDirectory;
use pixi_oci_image::Index;
use pixi_oci_layer::Digest;
use pixi_oci_store::{DestinationRef, OciLayout, RunCache, Transport, publish};

use crate::Error;
use pixi_oci_project::RequestError;

/// How the names of directories begin in which builds are made.
const PREFIX: &str = ".pixi-oci-build-";
const LAYOUT: &str = "layout";

pub struct Output {
    pub reference: DestinationRef,
    /// Where layers are made.
    pub staging: OciLayout,
    directory: StagedDirectory,
}

impl Output {
    /// Prepares a build for the destination named `text`.
    ///
    /// # Errors
    ///
    /// The destination is none, is a directory with other things in it, or cannot be written to.
    pub fn open(text: &str) -> Result<Self, Error> {
        Self::at(DestinationRef::parse(text)?)
    }

    /// Prepares what is made only to be looked at, in `directory`.
    pub fn scratch_in(directory: &Path) -> Result<Self, Error> {
        Self::at(DestinationRef { transport: Transport::OciLayout, path: directory.join("none"), name: None })
    }

    fn at(reference: DestinationRef) -> Result<Self, Error> {
        let path = &reference.path;
        let is_layout = reference.transport == Transport::OciLayout;
        if is_layout && fs_err::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            // Says now, and not after the work, that it is not a layout.
            OciLayout::open(path)?;
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |source| FileError { action: "make a temporary directory in", path: parent.into(), source };
        fs_err::create_dir_all(parent).map_err(failed)?;
        let directory = StagedDirectory::new(parent, PREFIX).map_err(failed)?;
        let mut staging = OciLayout::open(&directory.path().join(LAYOUT))?;
        if is_layout {
            staging = staging.beside(path);
        }
        Ok(Self { reference, staging, directory })
    }

    pub fn absolute(&self) -> Result<PathBuf, Error> {
        let path = &self.reference.path;
        Ok(std::path::absolute(path).map_err(cannot("find", path))?)
    }

    /// Says before the work, and not after, that so many images have no place there.
    pub fn check(&self, images: usize) -> Result<(), RequestError> {
        if self.reference.transport == Transport::DockerArchive && images > 1 {
            return Err(RequestError::OneImage { destination: self.reference.to_string(), images });
        }
        Ok(())
    }

    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Moves everything to the destination, the name last. `runs` is for SIFs.
    pub fn publish(&self, index: &Index, runs: Option<RunCache>) -> Result<(), Error> {
        let mut blobs: BTreeMap<Digest, PathBuf> = BTreeMap::new();
        let layers = || index.images.iter().flat_map(|image| &image.layers).map(|layer| &layer.descriptor);
        for layer in layers() {
            blobs.insert(layer.digest, self.staging.blob_path(&layer.digest));
        }
        let DestinationRef { transport, path, name } = &self.reference;
        if *transport != Transport::OciLayout {
            return Ok(publish(index, &blobs, &*self.reference.open(runs)?, name.as_deref())?);
        }
        let layout = OciLayout::open(path)?;
        for layer in layers() {
            // Also over one that is there: it may have been damaged since it was written. A layer of two images is moved once.
            if let Some(file) = blobs.get(&layer.digest).filter(|file| file.exists()) {
                layout.adopt_file(file, layer)?;
            }
        }
        Ok(publish(index, &blobs, &layout, name.as_deref())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_dead_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let destination = format!("oci:{}", parent.path().join("layout").display());
        let live = Output::open(&destination).unwrap();
        let dead = parent.path().join(".pixi-oci-build-dead");
        fs_err::create_dir_all(dead.join("layout")).unwrap();
        fs_err::File::create(dead.join("lock")).unwrap();
        // These were killed before they had a layout, and before they had a lock.
        let young = ["new", "newer"].map(|name| parent.path().join(format!(".pixi-oci-build-{name}")));
        young.iter().for_each(|directory| fs_err::create_dir(directory).unwrap());
        fs_err::File::create(young[0].join("lock")).unwrap();
        let other = Output::open(&destination).unwrap();
        assert!(live.scratch().exists() && other.scratch().exists() && !dead.exists());
        assert!(!young.iter().any(|directory| directory.exists()));
        drop((live, other));
        assert_eq!(fs_err::read_dir(parent.path()).unwrap().count(), 0);
    }
}
