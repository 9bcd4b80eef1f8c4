//! Progress, the only way in which a build speaks while it runs.

use std::{path::PathBuf, sync::Arc};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use serde::{Serialize, Serializer};

/// What happens. Events come from several threads; those of one kind and item come in order.
///
/// Most are lines of `--progress json` as they are, so that their names are promises: docs/events.md lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// Archives are going to be fetched or found in the cache.
    FetchStarted {
        archives: usize,
        /// The sum of their lengths, as far as the lock file has them.
        bytes: u64,
    },
    /// Some bytes of an archive arrived. The lines have sums.
    #[serde(skip)]
    FetchProgress {
        bytes: u64,
    },
    /// An archive is in the cache.
    FetchFinished {
        package: String,
        /// Whether it was there already.
        cached: bool,
    },
    /// A base image is going to be looked at, and what is missing of it fetched: [`Registry`](Self::Registry) says that.
    BaseStarted {
        /// As it was named, completed.
        base: String,
        #[serde(serialize_with = "as_text")]
        architecture: Architecture,
    },
    /// A source is going to be built, which runs its code.
    SourceStarted {
        package: String,
        platform: String,
    },
    SourceFinished {
        package: String,
        platform: String,
        wheel: String,
    },
    /// A published image was read whose layers are taken where they fit.
    LayersFrom {
        /// `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`
        image: String,
    },
    /// A published image has layers of what is made anew because they were not asked for.
    LayersThere {
        /// `HOST/REPOSITORY:TAG`
        image: String,
        /// How many it has.
        layers: usize,
        /// How many there are in all.
        of: usize,
        /// The sum of the lengths of those that it has.
        bytes: u64,
    },
    /// The layers of one platform are going to be written.
    LayersStarted {
        platform: String,
        layers: usize,
        /// The sum of the archives' lengths.
        bytes: u64,
        reused: usize,
        /// The sum of their archives' lengths.
        reused_bytes: u64,
    },
    /// A package layer was written.
    LayerFinished {
        platform: String,
        digest: Digest,
        size: u64,
        /// The lengths of the archives in it.
        bytes: u64,
        packages: Vec<String>,
    },
    /// The packages of one environment and platform are going to be written to a product.
    PackagesStarted {
        environment: String,
        platform: String,
        packages: usize,
        /// The sum of their archives' lengths.
        bytes: u64,
    },
    PackageWritten {
        /// Its name, version and build.
        package: String,
        bytes: u64,
    },
    /// There is no lock file, and one is going to be made.
    Locking {
        path: PathBuf,
    },
    /// Packages are going to be chosen, for a lock file.
    Solving {
        /// The environment, or those of a solve group.
        environment: String,
        /// The platform's name in the manifest.
        platform: String,
    },
    /// Layers are going to be sent to a repository, each as soon as it is there; [`PublishStarted`](Self::PublishStarted) follows
    /// when all are.
    SendingStarted {
        /// `HOST/REPOSITORY`
        repository: String,
    },
    /// A repository is going to be served; its blobs have so many bytes.
    PublishStarted {
        /// `HOST/REPOSITORY`
        repository: String,
        /// Whether nothing is sent.
        dry_run: bool,
        blobs: usize,
        /// The sum of the blobs, those that are there included.
        bytes: u64,
    },
    /// Something happened between us and a registry.
    #[serde(skip)]
    Registry(pixi_oci_registry::Event),
    /// Something happened at a repository that is published to; layers may go to several at once.
    #[serde(skip)]
    Upload {
        repository: Arc<str>,
        event: pixi_oci_registry::Event,
    },
    /// Something the user should know, though the build goes on.
    #[serde(skip)]
    Warning(String),
}

fn as_text<S: Serializer>(architecture: &Architecture, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(architecture.as_str())
}
