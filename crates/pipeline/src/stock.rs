//! What exists already: facts and layers in the cache, and in published images.

pub mod believed;
pub mod cache;
pub mod previous;
pub mod remote;
pub mod table;

use std::{collections::BTreeSet, path::Path};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_store::OciLayout;

use crate::{
    Error, report::LayerKind, report::LayerOrigin, stock::cache::FactsCache, stock::cache::LayerCache,
    stock::previous::Previous,
};
use pixi_oci_project::{Heard, Session};

/// Layers of published images. Nothing is asked before it is needed.
pub trait Remote: Sync {
    fn previous(&self) -> Result<&Previous, Error>;

    /// Sees that layers are where the image will be, in `layout` or in the repositories that it goes to; gives those that
    /// are.
    fn provide(&self, blobs: &[&Descriptor], layout: &OciLayout) -> Result<BTreeSet<Digest>, Error>;

    /// Those that [`provide`](Self::provide) would give, without moving anything.
    fn has(&self, blobs: &[&Descriptor]) -> Result<BTreeSet<Digest>, Error>;
}

/// A layer whose blob is a file in the layout.
pub struct LayerHere<'a> {
    pub kind: LayerKind,
    /// Of package layers.
    pub origin: Option<LayerOrigin>,
    pub descriptor: &'a Descriptor,
    pub file: &'a Path,
}

/// Takes layers as soon as they are here. It is called from several threads, and twice for a layer of two images.
pub type OnLayer<'a> = &'a (dyn Fn(&LayerHere<'_>) + Sync);

/// Everything that need not be fetched or made.
pub struct Stock<'a> {
    /// What was read from archives.
    pub facts: FactsCache,
    /// What published images said before; `None` where only what was seen counts.
    pub published_facts: Option<FactsCache>,
    /// Whether what they say now is kept.
    pub keeps_published: bool,
    /// The layers of earlier builds; `None` to make all anew.
    pub layers: Option<LayerCache>,
    /// The layers of published images.
    pub remote: Option<&'a dyn Remote>,
    /// What servers said of archives in this run.
    pub heard: Heard,
}

impl<'a> Stock<'a> {
    /// The caches of a session, and published images. What came from such images, now or earlier, counts beyond this run
    /// only where they are `named` by the user: others are looked at by default, and that is for once.
    pub fn new(session: &Session, remote: Option<&'a dyn Remote>, named: bool) -> Self {
        let dir = &session.caches.dir;
        // What published images said counts exactly where their layers do: in the layer cache.
        let keeps_layers = session.caches.layers > 0;
        Self {
            facts: FactsCache::open(dir),
            published_facts: (keeps_layers && named).then(|| FactsCache::open_published(dir)),
            keeps_published: named,
            layers: keeps_layers.then(|| LayerCache::open(dir, session.caches.layers, named)),
            remote,
            heard: session.heard.clone(),
        }
    }

    /// Nothing but what is on this machine.
    pub fn facts_only(session: &Session) -> Self {
        Self { layers: None, ..Self::new(session, None, false) }
    }

    /// Keeps the caches to their sizes.
    pub fn trim(&self) {
        self.facts.trim();
        self.published_facts.iter().for_each(FactsCache::trim);
        self.layers.iter().for_each(LayerCache::trim);
    }
}
