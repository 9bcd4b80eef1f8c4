//! The SIFs of what is published: made once, for all repositories.

use std::collections::BTreeMap;

use oci_read::document::Document as Parsed;
use pixi_oci_cachedir::Held;
use pixi_oci_image::{
    Architecture, Descriptor, MediaType, Platform, SIF_CONFIG, sif_config, sif_index, sif_layer, sif_manifest,
};
use pixi_oci_layer::Digest;
use pixi_oci_pipeline::RELEASE;
use pixi_oci_plan::{Error, sif_runs};
use pixi_oci_project::Session;
use pixi_oci_registry::push::{Document, PushImage, PushLayer, PushPlan};
use pixi_oci_store::SifFile;

use super::{Payload, first_of_each, tag_steps};
use crate::{error::PublishError, tags::TagPlan};

/// What images say of themselves (OCI image-spec, annotations.md); their SIFs say the same.
const STANDARD: &str = "org.opencontainers.image.";
const TITLE: &str = "org.opencontainers.image.title";

/// SIFs of the images that are published, but for what is no image of a machine we know.
pub struct Sifs {
    all: Vec<Sif>,
    /// Of the index; `None` where there is none.
    annotations: Option<BTreeMap<String, String>>,
    /// The files are below the caches, and not for their trimming.
    _held: Held,
}

struct Sif {
    platform: Platform,
    image: Descriptor,
    annotations: BTreeMap<String, String>,
    layer: Descriptor,
    file: SifFile,
}

impl Sifs {
    /// Makes them. What is in the making is in the cache directory, and goes with this.
    pub fn make(content: &Payload<'_>, session: &Session) -> Result<Self, PublishError> {
        let Some(stored) = &content.stored else { return Err(PublishError::SifLeg) };
        let directory = session.caches.dir.join("sif");
        let (held, runs) = (session.caches.dir.hold(&directory), sif_runs(session));
        let mut all = Vec::new();
        for stored in &stored.images {
            let Some(platform) = &stored.platform else { continue };
            let annotations = own_annotations(&stored.image.manifest.bytes);
            let title = annotations.get(TITLE).map_or("image", String::as_str);
            let name = format!("{}-{}.sif", crate::tags::tag_text(title), platform.architecture);
            let file = SifFile::new(&stored.image, &directory.join(&name), runs.as_ref()).map_err(Error::from)?;
            all.push(Sif {
                platform: platform.clone(),
                image: stored.image.manifest.descriptor.clone(),
                annotations,
                layer: sif_layer(&file.descriptor, &name),
                file,
            });
        }
        Ok(Self { all, _held: held, annotations: stored.is_index().then(|| own_annotations(&stored.root.bytes)) })
    }

    pub fn architectures(&self) -> Vec<Architecture> {
        let all = self.all.iter().filter(|_| self.annotations.is_some());
        first_of_each(all.map(|sif| (sif.platform.architecture, sif.image.digest)))
            .into_iter()
            .map(|(a, _)| a)
            .collect()
    }

    /// The manifests of the images that they were made of.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.all.iter().map(|sif| &sif.image)
    }

    /// What a repository gets. With `subjects` each says which image of the repository it belongs to.
    pub fn plan(&self, tags: &TagPlan, subjects: bool) -> Result<PushPlan, PublishError> {
        let mut images = Vec::new();
        for sif in &self.all {
            let subject = Some(&sif.image).filter(|_| subjects);
            let bytes = sif_manifest(&sif.layer, subject, &sif.annotations).map_err(Error::from)?;
            let manifest = Document { descriptor: Descriptor::of(MediaType::ImageManifest, &bytes), bytes };
            let layer = PushLayer { descriptor: sif.layer.clone(), source: Some(sif.file.path().to_owned()) };
            let config = Document::new(&sif_config(), SIF_CONFIG);
            images.push((sif, PushImage { manifest, config, layers: vec![layer] }));
        }
        let manifests = || images.iter().map(|(sif, image)| (&sif.platform, &image.manifest.descriptor));
        let index = match &self.annotations {
            None => None,
            Some(annotations) => {
                let children: Vec<_> = manifests().map(|(platform, manifest)| (manifest, platform)).collect();
                let bytes = sif_index(&children, annotations).map_err(Error::from)?;
                Some(Document { descriptor: Descriptor::of(MediaType::ImageIndex, &bytes), bytes })
            }
        };
        let of_machine = |(platform, manifest): (&Platform, &Descriptor)| (platform.architecture, manifest.digest);
        let architectures: Vec<(Architecture, Digest)> = first_of_each(manifests().map(of_machine));
        let plan = PushPlan::of(images.into_iter().map(|(_, image)| image).collect(), index);
        Ok(PushPlan { tags: tag_steps(tags, plan.root(), &architectures), ..plan })
    }
}

fn own_annotations(document: &[u8]) -> BTreeMap<String, String> {
    let Ok(document) = Parsed::parse("", document) else { return BTreeMap::new() };
    let all = document.common().annotations.iter();
    let own = all.filter(|(name, _)| name.starts_with(STANDARD) || *name == RELEASE);
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}
