//! What a verified image says of the project in it.

use std::{collections::BTreeMap, io, path::Path};

use oci_read::{
    document::{Descriptor, Document, ImageConfig, Manifest},
    limits::{DOCUMENT, FILE},
    tar::{Kind, Reader},
    unpack::Unpacked,
};
use sha2::{Digest as _, Sha256};

use crate::{ImageReport, layer, layout::blob, report::Findings};

/// What pixi calls a lock file and a workspace manifest.
const NAMES: [&str; 3] = [LOCK_FILE, "pixi.toml", "pyproject.toml"];
const LOCK_FILE: &str = "pixi.lock";
/// What shows that an image works, where Apptainer looks for it.
pub const TEST: &str = "/.singularity.d/test";
/// The variable that an activated environment has its name in.
const ENVIRONMENT_NAME: &str = "PIXI_ENVIRONMENT_NAME=";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The image's working directory, where the project is.
    pub workdir: String,
    pub environment: Option<String>,
    /// Workspace manifest and lock file by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether the image has a test of its own, [`TEST`].
    pub has_test: bool,
}

impl Project {
    /// The digest of the lock file, if there is one.
    pub fn lock_file(&self) -> Option<String> {
        self.files.get(LOCK_FILE).map(|bytes| format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }
}

/// Reads manifest and lock file of the project in an image that [`verify_layout`](crate::verify_layout) found sound.
///
/// They are looked for in the layers above the base, the topmost first. An image of others may have none.
pub fn read_project(dir: &Path, image: &ImageReport) -> io::Result<Project> {
    let manifest = manifest(dir, &image.manifest)?;
    let settings = config(dir, &image.config)?.config;
    let workdir = if settings.working_dir.is_empty() { "/".into() } else { settings.working_dir };
    let environment =
        settings.env.iter().find_map(|variable| variable.strip_prefix(ENVIRONMENT_NAME)).map(str::to_owned);
    let mut project = Project { workdir, environment, ..Project::default() };
    let mut places: Vec<(String, &str)> =
        NAMES.iter().map(|name| (format!("{}/{name}", project.workdir.trim_matches('/')), *name)).collect();
    places.push((TEST.to_owned(), TEST));
    for layer in manifest.layers.iter().skip(image.base_layers).rev() {
        for (name, bytes) in files(dir, layer, &places)? {
            project.files.entry(name).or_insert(bytes);
        }
        project.has_test |= project.files.remove(TEST).is_some();
        // They are in one layer, with the rest of the application.
        if project.files.contains_key(LOCK_FILE) {
            break;
        }
    }
    Ok(project)
}

/// The bytes of a document that was verified.
pub(crate) fn document(dir: &Path, digest: &str) -> io::Result<Vec<u8>> {
    let path = blob::path(dir, digest).ok_or_else(|| changed(digest))?;
    let descriptor = Descriptor::new(digest.to_owned(), std::fs::metadata(path)?.len().min(DOCUMENT));
    blob::read_document(dir, &descriptor, &mut Findings::default()).ok_or_else(|| changed(digest))
}

pub(crate) fn manifest(dir: &Path, digest: &str) -> io::Result<Manifest> {
    match Document::parse("", &document(dir, digest)?) {
        Ok(Document::Manifest(manifest)) => Ok(manifest),
        _ => Err(changed(digest)),
    }
}

pub(crate) fn config(dir: &Path, digest: &str) -> io::Result<ImageConfig> {
    ImageConfig::parse(&document(dir, digest)?).map_err(io::Error::other)
}

/// The tar of a layer that was verified.
pub(crate) fn layer(dir: &Path, descriptor: &Descriptor) -> io::Result<Unpacked<'static>> {
    let file = blob::open(dir, descriptor, &mut Findings::default()).ok_or_else(|| changed(&descriptor.digest))?;
    layer::unpacked(file, descriptor, &Default::default()).map_err(io::Error::other)
}

fn changed(digest: &str) -> io::Error {
    io::Error::other(format!("{digest} was changed after it was verified"))
}

fn files(dir: &Path, layer: &Descriptor, places: &[(String, &str)]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let (mut reader, mut found) = (Reader::new(self::layer(dir, layer)?), Vec::new());
    while let Some(entry) = reader.next_entry()? {
        let place = places.iter().find(|(path, _)| path.trim_start_matches('/').as_bytes() == &*entry.path);
        if let Some((_, name)) = place
            && entry.kind == Kind::File
            && !entry.escapes
        {
            found.push(((*name).to_owned(), reader.read_content(FILE)?));
        }
    }
    Ok(found)
}
