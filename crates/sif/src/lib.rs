//! One image as a SIF, the file that Apptainer and Singularity run.
//!
//! Its bytes follow from the image's documents and layers alone. The layers are read twice: `listing` reads which paths
//! there are, `rootfs` puts them on top of one another, and `partition` compresses the contents of what is left, while
//! they are read. So there is never a copy of the tree, in memory or on the disk.
//!
//! What a SIF cannot have is left out, each by one rule: everything belongs to root, so the set-user-id and set-group-id
//! bits of other owners' files go, as chown(2) has it; devices, pipes and extended attributes are not there, because
//! Apptainer runs without privileges and binds the host's `/dev`.

mod apptainer;
mod container;
mod error;
mod listing;
mod partition;
mod rootfs;
mod runs;

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use oci_read::document::ImageConfig;
use pixi_oci_image::{Architecture, MediaType};
use pixi_oci_layer::{Compression, Digest};
use pixi_oci_squashfs::Compressor;

use self::container::{ObjectKind, SifContainer};
use self::partition::Contents;
pub use self::{error::Error, runs::RunCache};

/// An image, as an OCI layout has it.
pub struct LayeredImage<'a> {
    pub digest: Digest,
    pub config: &'a [u8],
    /// Bottom first.
    pub layers: Vec<Layer>,
}

pub struct Layer {
    pub file: Arc<File>,
    pub size: u64,
    pub digest: Digest,
    pub media_type: MediaType,
}

impl Layer {
    /// The blob from its begin. Several can be read at once.
    fn read(&self) -> impl Read {
        struct At<'a>(&'a File, u64);
        impl Read for At<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.read_at(buffer, self.1)?;
                self.1 += n as u64;
                Ok(n)
            }
        }
        At(&self.file, 0).take(self.size)
    }
}

/// zlib compresses as well as the default of layers, and zstd as well as mksquashfs's with 128 KiB of room to look back.
const ZLIB_LEVEL: u8 = 6;
const ZSTD_LEVEL: u8 = 9;

/// Writes an image as a SIF to an empty file. Layers of which `runs` has the compressed contents are not compressed again.
///
/// # Errors
///
/// A layer is damaged, or makes no sense on top of the others; the file cannot be written.
pub fn write(image: &LayeredImage<'_>, file: &File, runs: Option<&RunCache>) -> Result<(), Error> {
    let config = ImageConfig::parse(image.config).map_err(|error| Error::Config(error.to_string()))?;
    let architecture: Architecture =
        config.architecture.parse().map_err(|_| Error::Config(format!("it is for {:?}", config.architecture)))?;
    let created = config.created.as_deref().and_then(|text| text.parse().ok()).map_or(0, jiff::Timestamp::as_second);
    // Before 1970 and after 2106 squashfs has no times.
    let time = u32::try_from(created.max(0)).unwrap_or(u32::MAX);

    let layers = listing::read_all(image, &config)?;
    let own = apptainer::files(image, &config, &layers)?;
    let tree = rootfs::stack(&layers, &own.nodes, time)?;

    let mut sink = BufWriter::with_capacity(1 << 20, file);
    let mut container = SifContainer::begin(&mut sink, architecture)?;
    container.add(&mut sink, ObjectKind::Deffile, "", own.deffile.as_bytes())?;
    container.add(&mut sink, ObjectKind::Json, "inspect-metadata.json", &own.metadata)?;
    container.add(&mut sink, ObjectKind::Json, "oci-config.json", &own.config)?;
    container.align(&mut sink)?;
    let contents = Contents { image, layers: &layers, own: &own, compressor: compressor(&image.layers), runs };
    let (mut sink, length) = partition::write(sink, &contents, &tree, time)?;
    container.system(length);
    sink.flush()?;
    sink.seek(SeekFrom::Start(0))?;
    container.finish(&mut sink)?;
    sink.flush()?;
    runs.iter().for_each(|runs| runs.trim());
    Ok(())
}

/// The compressor of the highest layer, which is the project's own.
fn compressor(layers: &[Layer]) -> Compressor {
    let zstd = pixi_oci_image::layer_media_type(Compression::Zstd { level: ZSTD_LEVEL });
    match layers.last() {
        Some(layer) if layer.media_type == zstd => Compressor::Zstd { level: ZSTD_LEVEL },
        _ => Compressor::Zlib { level: ZLIB_LEVEL },
    }
}

#[cfg(test)]
mod tests;
