//! What a verified image says of the project in it.

use std::{collections::BTreeMap, io, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    ImageReport,
    blob::{self, MAX_DOCUMENT, hex},
    document::{self, Descriptor, ImageConfig, Manifest},
    layer::Packing,
    report::Findings,
    tar::{Kind, Reader},
};

/// The largest lock files have some tens of MB.
pub(crate) const MAX_FILE: u64 = 256 << 20;
/// What pixi calls a lock file and a workspace manifest.
const NAMES: [&str; 3] = [LOCK_FILE, "pixi.toml", "pyproject.toml"];
const LOCK_FILE: &str = "pixi.lock";
/// The variable that an activated environment has its name in.
const ENVIRONMENT_NAME: &str = "PIXI_ENVIRONMENT_NAME=";

/// The project in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The image's working directory, where the project is.
    pub workdir: String,
    /// The name of the environment.
    pub environment: Option<String>,
    /// Workspace manifest and lock file by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Project {
    /// The digest of the lock file, if there is one.
    pub fn lock_file(&self) -> Option<String> {
        self.files.get(LOCK_FILE).map(|bytes| format!("sha256:{}", hex(Sha256::digest(bytes))))
    }
}

/// Reads manifest and lock file of the project in an image that [`verify_layout`](crate::verify_layout) found sound.
///
/// They are looked for in the layers above the base, the topmost first. An image of others may have none.
///
/// # Errors
///
/// The layout is not any more what it was when it was verified.
pub fn read_project(dir: &Path, image: &ImageReport) -> io::Result<Project> {
    let manifest: Manifest = parse(dir, &image.manifest)?;
    let config: ImageConfig = parse(dir, &image.config)?;
    let settings = config.config.unwrap_or_default();
    let workdir = settings.working_dir.unwrap_or_else(|| "/".into());
    let variables = settings.env.unwrap_or_default();
    let environment = variables.iter().find_map(|variable| variable.strip_prefix(ENVIRONMENT_NAME)).map(str::to_owned);
    let mut project = Project { workdir, environment, files: BTreeMap::new() };
    let places: Vec<(String, &str)> =
        NAMES.iter().map(|name| (format!("{}/{name}", project.workdir.trim_matches('/')), *name)).collect();
    for layer in manifest.layers.iter().skip(image.base_layers).rev() {
        for (name, bytes) in files(dir, layer, &places)? {
            project.files.entry(name).or_insert(bytes);
        }
        // They are in one layer, with the rest of the application.
        if project.files.contains_key(LOCK_FILE) {
            break;
        }
    }
    Ok(project)
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(dir: &Path, digest: &str) -> io::Result<T> {
    let path = blob::path(dir, digest).ok_or_else(|| io::Error::other("a digest that is none"))?;
    let descriptor = Descriptor {
        media_type: String::new(),
        digest: digest.to_owned(),
        size: std::fs::metadata(path)?.len().min(MAX_DOCUMENT),
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    };
    let changed = || io::Error::other(format!("{digest} was changed after it was verified"));
    let bytes = blob::read_document(dir, &descriptor, &mut Findings::default()).ok_or_else(changed)?;
    Ok(document::parse_again(&bytes)?)
}

fn files(dir: &Path, layer: &Descriptor, places: &[(String, &str)]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let bad = || io::Error::other(format!("{} was changed after it was verified", layer.digest));
    let file = blob::open(dir, layer, &mut Findings::default()).ok_or_else(bad)?;
    let tar = Packing::of(&layer.media_type).ok_or_else(bad)?.decode(file)?;
    let (mut reader, mut found) = (Reader::new(tar), Vec::new());
    while let Some(entry) = reader.next_entry()? {
        let place = places.iter().find(|(path, _)| path.trim_start_matches('/').as_bytes() == &*entry.path);
        if let Some((_, name)) = place
            && entry.kind == Kind::File
            && !entry.escapes
        {
            found.push(((*name).to_owned(), reader.read_content(MAX_FILE)?));
        }
    }
    Ok(found)
}
