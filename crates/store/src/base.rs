//! Base images: from a name to verified layers on this machine.
//!
//! [`resolve_base`] finds the image of one architecture, checks every document and layer against its digest, every
//! layer's tar against its diff id, and keeps them in a cache directory. Layers pass through unchanged, with OCI media
//! types; plain tars are compressed, deterministically. [`BaseFiles`] answers what is in the image.

mod configuration;
mod document;
mod error;
mod files;
mod glibc;
mod layer;
mod layout;
mod listing;
mod local;
mod pin;
mod reference;
mod registry;
mod select;
mod skopeo;
mod store;
mod take_out;
mod tree;

use std::{path::Path, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use oci_read::{Budget, document as read};
use oci_spec::image::History;
use pixi_oci_cachedir::Root;
use pixi_oci_image::{Architecture, Descriptor};
use pixi_oci_layer::{Compression, Digest};
use tempfile::NamedTempFile;

pub use configuration::BaseConfig;
pub(crate) use document::{checked, parse};
pub use error::{BaseError, Problem};
pub use files::{BaseEntry, BaseFiles};
pub use layer::BaseLayer;
pub use layout::write_base;
pub(crate) use local::Local;
pub use pin::{how_to_pin, present_digest, with_digest};
pub use reference::{BaseRef, LayoutImage};
pub(crate) use store::Store;
pub use store::hold_bases;
pub use take_out::{TakenOut, take_out};

use self::registry::BaseRegistry;
use pixi_oci_registry::{Events, RegistryAccess};

/// How base images are obtained.
#[derive(Clone, Copy)]
pub struct BaseOptions<'a> {
    /// Where documents and layers are kept. Several processes may share it.
    pub cache: &'a Root,
    /// Whether registries must not be asked. Images of this machine can be used all the same.
    pub offline: bool,
    pub compression: Compression,
    pub registries: &'a RegistryAccess,
    /// The program for `docker-archive:` and other transports that only skopeo knows.
    pub skopeo: &'a Path,
    /// Who is told what happens at a registry.
    pub events: &'a Events,
}

/// A base image of one architecture. All of it is on this machine and was verified.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its name, complete and without credentials. A directory or file in it is one of this machine.
    pub reference: String,
    pub digest: Digest,
    /// Of the image index that the name means, if it means one.
    pub index_digest: Option<Digest>,
    pub architecture: Architecture,
    /// The CPU variant, if the image has one.
    pub variant: Option<String>,
    pub config: BaseConfig,
    pub history: Vec<History>,
    /// Bottom first.
    pub layers: Vec<BaseLayer>,
}

/// As many layers of an image are fetched at once. Docker takes three.
const PARALLEL: usize = 3;

/// Obtains a base image; `None` for `scratch`.
pub async fn resolve_base(
    base: &BaseRef,
    architecture: Architecture,
    options: &BaseOptions<'_>,
) -> Result<Option<BaseImage>, BaseError> {
    obtain(base, architecture, options).await.map_err(|problem| problem.of(base))
}

/// How many layers a base image has, from its documents alone; 0 for `scratch`.
///
/// # Errors
///
/// As [`resolve_base`].
pub async fn count_layers(
    base: &BaseRef,
    architecture: Architecture,
    options: &BaseOptions<'_>,
) -> Result<usize, BaseError> {
    let count = async {
        let store = Store::open(options.cache)?;
        let Some(source) = open(base, architecture, options, &store).await? else { return Ok(0) };
        let found = select::select(&source, architecture).await?;
        source.close().await;
        Ok(found.configuration.diff_ids.len())
    };
    count.await.map_err(|problem: Problem| problem.of(base))
}

async fn open(
    base: &BaseRef,
    architecture: Architecture,
    options: &BaseOptions<'_>,
    store: &Store,
) -> Result<Option<Source>, Problem> {
    Ok(Some(match base {
        BaseRef::Scratch => return Ok(None),
        BaseRef::OciLayout { dir, image } => Source::Local(local::Local::layout(dir, image)?),
        BaseRef::Registry(reference) => {
            Source::Registry(Box::new(BaseRegistry::new(reference, options, store.clone())?))
        }
        BaseRef::Proxied(reference) => {
            Source::Skopeo(Box::new(skopeo::SkopeoImage::open(reference, architecture, options, store).await?))
        }
    }))
}

async fn obtain(
    base: &BaseRef,
    architecture: Architecture,
    options: &BaseOptions<'_>,
) -> Result<Option<BaseImage>, Problem> {
    let store = Store::open(options.cache)?;
    let Some(source) = open(base, architecture, options, &store).await? else { return Ok(None) };
    let found = select::select(&source, architecture).await?;
    let budget = Arc::new(Budget::default());
    let entries = source.layers(found.layers)?;
    let layers = entries.iter().zip(found.configuration.diff_ids);
    let layers = stream::iter(layers)
        .map(|(entry, diff_id)| layer::obtain(&source, &store, entry, diff_id, options.compression, budget.clone()))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    source.close().await;
    Ok(Some(BaseImage {
        reference: base.to_string(),
        digest: found.digest,
        index_digest: found.index_digest,
        architecture,
        variant: found.variant,
        config: found.configuration.config,
        history: found.configuration.history,
        layers,
    }))
}

/// Where documents and layers come from.
enum Source {
    Local(local::Local),
    Registry(Box<BaseRegistry>),
    Skopeo(Box<skopeo::SkopeoImage>),
}

impl Source {
    /// Lets a program that helped end.
    async fn close(self) {
        if let Self::Skopeo(image) = self {
            image.close().await;
        }
    }

    /// What the reference may mean.
    async fn roots(&self) -> Result<Vec<read::Descriptor>, Problem> {
        match self {
            Self::Local(local) => Ok(local.roots()),
            Self::Registry(registry) => Ok(vec![registry.root().await?]),
            Self::Skopeo(image) => Ok(vec![image.root()]),
        }
    }

    /// A manifest or index; its bytes are those of its digest.
    async fn manifest(&self, entry: &read::Descriptor) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Local(local) => local.document(entry),
            Self::Registry(registry) => registry.manifest(&checked(entry)?).await,
            Self::Skopeo(image) => image.document(entry).await,
        }
    }

    /// An image configuration; its bytes are those of its digest.
    async fn configuration(&self, entry: &read::Descriptor) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Local(local) => local.document(entry),
            Self::Registry(registry) => registry.configuration(&checked(entry)?).await,
            Self::Skopeo(image) => image.document(entry).await,
        }
    }

    /// The layers that a manifest names, as they can be read.
    fn layers(&self, named: Vec<read::Descriptor>) -> Result<Vec<read::Descriptor>, Problem> {
        match self {
            Self::Skopeo(image) => image.layers(named),
            Self::Local(_) | Self::Registry(_) => Ok(named),
        }
    }

    /// Fills `staged` with a layer; its bytes are those of its digest.
    async fn layer(&self, blob: &Descriptor, staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        match self {
            Self::Local(local) => local.layer(blob, staged).await,
            Self::Registry(registry) => registry.layer(blob, staged).await,
            Self::Skopeo(image) => image.layer(blob, staged).await,
        }
    }
}

/// Runs what reads or computes for long on a thread where that delays nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being shut down cancels work, and then nobody waits for the result.
            Err(error) => Err(crate::Error::io("finish", "a base image's layer")(std::io::Error::other(error)).into()),
        },
    }
}

#[cfg(test)]
mod tests;
