//! `index.json`, which names what a layout has.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use pixi_oci_image::Descriptor;
use pixi_oci_platform::FileError;
use pixi_oci_registry::document::MAX_DOCUMENT;

use super::OciLayout;
use crate::{Error, destination::open_source, layout_index::LayoutIndex};

impl OciLayout {
    /// Gives an index or manifest its name; the caller holds the lock.
    pub(super) fn name_root(&self, root: &Descriptor, name: Option<&str>) -> Result<(), Error> {
        let before = self.read_index()?;
        let mut index = match &before {
            Some(bytes) => LayoutIndex::parse(bytes).map_err(|reason| self.bad_index(reason))?,
            None => LayoutIndex::new(),
        };
        index.set_root(root, name);
        let bytes = index.to_bytes();
        // Syncing takes as long as much of a build in which nothing changed.
        if before.as_ref() == Some(&bytes) { Ok(()) } else { self.write_index(&bytes) }
    }

    fn read_index(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.dir.join("index.json");
        let mut bytes = Vec::new();
        match open_source(&path) {
            Ok(file) => file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?,
            Err(Error::Io(FileError { source, .. })) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(self.bad_index(format!("it is larger than {MAX_DOCUMENT} bytes")));
        }
        Ok(Some(bytes))
    }

    fn bad_index(&self, reason: String) -> Error {
        let what = self.dir.join("index.json").display().to_string();
        Error::Document { what, kind: "an image index", reason }
    }

    fn write_index(&self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.join("index.json");
        let mut staged = self.staging()?;
        staged.write_all(bytes).map_err(Error::io("write", &path))?;
        staged.as_file().sync_all().map_err(Error::io("write", &path))?;
        self.rename(staged, &path)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write", &self.dir))
    }
}
