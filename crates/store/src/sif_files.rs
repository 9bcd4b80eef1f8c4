//! SIF files, the transport `sif:`: one for each architecture.

use std::{
    collections::BTreeMap,
    fs::{File, Permissions},
    io::Seek,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use oci_read::document::ImageConfig;
use pixi_oci_cachedir::sha256_of;
use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_registry::push::{PushImage, PushLayer};
use pixi_oci_sif::{Layer, LayeredImage, RunCache};

use crate::{
    Destination, Error,
    archive::{self, Collecting, Collection},
    destination::open_source,
};

/// The SIF files of one build. An image will be written to `path`, and images of several architectures beside it:
/// `tool-amd64.sif` for `tool.sif`. `runs` are what was compressed for earlier ones.
pub(crate) fn sif_files(path: PathBuf, runs: Option<RunCache>) -> impl Destination {
    Collecting::new(path, move |blobs, root, bytes, name| {
        if let Some(name) = name {
            let (name, reason) = (name.to_owned(), "a SIF has no names in it");
            return Err(Error::Name { name, destination: "a SIF", reason });
        }
        let images = blobs.put_root(root, bytes)?.into_iter().map(|image| found(blobs, image));
        let images = images.collect::<Result<Vec<_>, _>>()?;
        let written = images.iter().map(|image| {
            let path = image.place(&blobs.path, images.len());
            image.write(&path, runs.as_ref()).map(|staged| (staged, path))
        });
        // All are whole before the first one gets its name.
        for (staged, path) in written.collect::<Result<Vec<_>, Error>>()? {
            staged.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        }
        Ok(())
    })
}

fn found(
    blobs: &Collection,
    (manifest, config, layers): (Descriptor, Descriptor, Vec<Descriptor>),
) -> Result<Found, Error> {
    let missing = |blob: &Descriptor| Error::NoSource { digest: blob.digest };
    let config = blobs.document(&config).ok_or_else(|| missing(&config))?;
    let with_file = |layer: Descriptor| {
        let file = blobs.file(&layer).ok_or_else(|| missing(&layer))?;
        Ok((layer, file))
    };
    let layers = layers.into_iter().map(with_file).collect::<Result<_, Error>>()?;
    Ok(Found { manifest, config, layers })
}

/// A SIF in a file that is removed when this is dropped.
#[derive(Debug)]
pub struct SifFile {
    /// Digest and size of the file; the media type is not of a SIF but of any bytes.
    pub descriptor: Descriptor,
    file: tempfile::NamedTempFile,
}

impl SifFile {
    /// Makes a SIF of an image whose layers are all on this machine. What is in the making is beside `path`.
    pub fn new(image: &PushImage, path: &Path, runs: Option<&RunCache>) -> Result<Self, Error> {
        let with_file = |layer: &PushLayer| {
            let missing = || Error::NoSource { digest: layer.descriptor.digest };
            let file = open_source(layer.source.as_ref().ok_or_else(missing)?)?;
            Ok((layer.descriptor.clone(), Arc::new(file)))
        };
        let found = Found {
            manifest: image.manifest.descriptor.clone(),
            config: image.config.bytes.as_slice().into(),
            layers: image.layers.iter().map(with_file).collect::<Result<_, Error>>()?,
        };
        let file = found.write(path, runs)?;
        let cannot_read = || Error::io("read", file.path());
        file.as_file().rewind().map_err(cannot_read())?;
        let (hex, _) = sha256_of(&mut file.as_file()).map_err(cannot_read())?;
        let digest = format!("sha256:{hex}").parse().map_err(std::io::Error::other).map_err(cannot_read())?;
        let size = file.as_file().metadata().map_err(cannot_read())?.len();
        let media_type = MediaType::Other("application/octet-stream".into());
        Ok(Self { descriptor: Descriptor { media_type, digest, size, annotations: BTreeMap::new() }, file })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

struct Found {
    manifest: Descriptor,
    config: Arc<[u8]>,
    layers: Vec<(Descriptor, Arc<File>)>,
}

impl Found {
    /// Where it goes, if it is one of so many that are to be at `path`.
    fn place(&self, path: &Path, images: usize) -> PathBuf {
        if images == 1 {
            return path.to_owned();
        }
        let architecture = ImageConfig::parse(&self.config).map(|config| config.architecture).unwrap_or_default();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!("{stem}-{architecture}.sif"))
    }

    fn write(&self, path: &Path, runs: Option<&RunCache>) -> Result<tempfile::NamedTempFile, Error> {
        let staged = archive::staged(path)?;
        let layer = |(blob, file): &'_ (Descriptor, Arc<File>)| Layer {
            file: file.clone(),
            size: blob.size,
            digest: blob.digest,
            media_type: blob.media_type.clone(),
        };
        let layers = self.layers.iter().map(layer).collect();
        let image = LayeredImage { digest: self.manifest.digest, config: &self.config, layers };
        pixi_oci_sif::write(&image, staged.as_file(), runs)
            .map_err(|source| Error::Sif { path: path.into(), source })?;
        // A program: its first line names the one that runs it. Who may read it may run it.
        let mode = staged.as_file().metadata().map_err(Error::io("read", path))?.permissions().mode();
        let executable = Permissions::from_mode(mode | (mode & 0o444) >> 2);
        staged.as_file().set_permissions(executable).map_err(Error::io("write", path))?;
        Ok(staged)
    }
}
