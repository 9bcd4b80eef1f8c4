//! An image that was built before, as far as one can compare with it: its documents, and what its environment layer says.

use std::{collections::BTreeSet, fmt, path::Path, str::FromStr};

use oci_read::document::same_except;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, cannot, open};
use pixi_oci_registry::{Registry, RepositoryRef, no_events};
use pixi_oci_store::{
    base::{BaseRef, LayoutImage},
    platform_in, read_stored,
};

use crate::error::{Error, PlanError};
use pixi_oci_pipeline::{
    ImageDocuments, KEY_ANNOTATION, PACKAGES_ANNOTATION, documents, environment, own_layers, read_images, table,
};
use pixi_oci_project::Session;

/// An image that a plan is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PastRef {
    /// `docker://HOST/REPOSITORY[:TAG][@DIGEST]`
    Registry(RepositoryRef),
    /// `oci:DIR[:TAG]` or `oci:DIR@DIGEST`
    Layout(std::path::PathBuf, LayoutImage),
}

impl FromStr for PastRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("oci:")
            && let Ok(BaseRef::OciLayout { dir, image }) = BaseRef::parse(text)
        {
            return Ok(Self::Layout(dir, image));
        }
        match text.starts_with("docker://") {
            true => text.parse().map(Self::Registry).map_err(|error| format!("{error}")),
            false => Err("write docker://HOST/REPOSITORY[:TAG], or oci:DIR[:TAG] or oci:DIR@sha256:…".into()),
        }
    }
}

impl fmt::Display for PastRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(dir, image) => BaseRef::OciLayout { dir: dir.clone(), image: image.clone() }.fmt(f),
        }
    }
}

pub struct Past {
    /// As it was named.
    pub reference: String,
    /// Of the image index, or of the image where there is no index.
    pub digest: Digest,
    pub images: Vec<PastImage>,
}

pub struct PastImage {
    /// `linux/amd64`
    pub platform: String,
    pub digest: Digest,
    /// The manifest and configuration.
    pub documents: (Vec<u8>, Vec<u8>),
    /// Bottom first, the base's included.
    pub layers: Vec<PastLayer>,
    /// The sha256 of the archives of its conda packages; empty if nobody knows.
    pub archives: BTreeSet<String>,
}

pub struct PastLayer {
    pub digest: Digest,
    /// Of a package layer: what it is found by.
    pub key: Option<String>,
    /// Of a package layer: `NAME VERSION BUILD`, by name.
    pub packages: Vec<String>,
}

/// Reads the image that `from` names. Of a registry's layers only the environment layers are fetched.
///
/// # Errors
///
/// It cannot be read, or was not made by pixi-oci.
pub fn read_past(from: &PastRef, session: &Session) -> Result<Past, Error> {
    let (digest, images) = match from {
        PastRef::Layout(dir, image) => layout(dir, image)?,
        PastRef::Registry(_) if session.offline => {
            return Err(PlanError::Offline { reference: from.to_string() }.into());
        }
        PastRef::Registry(reference) => session.run(registry(reference, session, &session.caches.previous()?))??,
    };
    if !images.iter().flat_map(|image| &image.layers).any(|layer| layer.key.is_some()) {
        return Err(PlanError::NotOurs { reference: from.to_string() }.into());
    }
    Ok(Past { reference: from.to_string(), digest, images })
}

fn layout(dir: &Path, named: &LayoutImage) -> Result<(Digest, Vec<PastImage>), Error> {
    let stored = read_stored(dir, named).map_err(PlanError::from)?;
    let digest = stored.root.descriptor.digest;
    let images = stored.images.into_iter().map(|stored| {
        let (manifest, config) = (stored.image.manifest, stored.image.config);
        let wanted = environment_of(&manifest.bytes);
        let path = wanted.as_ref().and_then(|wanted| {
            let layer = stored.image.layers.iter().find(|layer| layer.descriptor.digest == wanted.digest);
            layer.and_then(|layer| layer.source.clone())
        });
        let file = path.map(|path| open(&path, Links::Follow).map_err(cannot("read", &path)));
        let file = file.transpose()?;
        Ok(image(ImageDocuments {
            digest: manifest.descriptor.digest,
            manifest: manifest.bytes,
            config: config.bytes,
            environment: file.and_then(|file| Some((file, wanted?))),
        }))
    });
    Ok((digest, images.filter_map(Result::transpose).collect::<Result<_, Error>>()?))
}

async fn registry(named: &RepositoryRef, session: &Session, scratch: &Path) -> Result<(Digest, Vec<PastImage>), Error> {
    let failed = |source| PlanError::Registry { reference: named.to_string(), source: Box::new(source) };
    let registry = Registry::for_reading(&named.repository, &session.registries, no_events()).await.map_err(failed)?;
    let mut images = Vec::new();
    let on_image = |found: Option<ImageDocuments>| images.extend(found.and_then(image));
    let digest = read_images(&registry, &named.reference(), scratch, on_image).await.map_err(failed)?;
    Ok((digest, images))
}

fn environment_of(manifest: &[u8]) -> Option<Descriptor> {
    let (_, layers) = documents(manifest)?;
    environment(&layers).cloned()
}

/// What can be compared; `None` for what is no image of a machine we know.
fn image(read: ImageDocuments) -> Option<PastImage> {
    let (_, layers) = documents(&read.manifest)?;
    let platform = format!("linux/{}", platform_in(&read.config)?.architecture);
    let table = read.environment.and_then(|(mut file, layer)| table(&mut file, layer.size));
    let own = own_layers(&layers);
    let layer = |(index, layer): (usize, Descriptor)| {
        let is_own = own.contains(&index);
        let packages = layer
            .annotations
            .get(PACKAGES_ANNOTATION)
            .filter(|_| is_own)
            .map(|text| text.split(", ").map(str::to_owned));
        PastLayer {
            digest: layer.digest,
            key: layer.annotations.get(KEY_ANNOTATION).cloned(),
            packages: packages.into_iter().flatten().collect(),
        }
    };
    Some(PastImage {
        platform,
        digest: read.digest,
        layers: layers.into_iter().enumerate().map(layer).collect(),
        archives: table.map(|table| table.conda.into_keys().collect()).unwrap_or_default(),
        documents: (read.manifest, read.config),
    })
}

/// Whether an image is what was published, but for the commit that it is of: another commit alone, of a file that is not
/// in the image, makes no other image.
pub fn is_same(image: &pixi_oci_image::Image, past: &PastImage) -> bool {
    let (manifest, config) = &past.documents;
    // The name of the configuration changes with the commit in it; it is compared itself.
    let of_manifest = [
        "/annotations/org.opencontainers.image.revision",
        "/annotations/org.opencontainers.image.version",
        "/annotations/dev.pixi-oci.version",
        "/config",
    ];
    let of_config = [
        "/config/Labels/org.opencontainers.image.revision",
        "/config/Labels/org.opencontainers.image.version",
        "/config/Labels/dev.pixi-oci.version",
    ];
    same_except(&image.manifest_bytes, manifest, &of_manifest) && same_except(&image.config_bytes, config, &of_config)
}
