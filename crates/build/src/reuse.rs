//! Which package layers are there already, and what has to be fetched for the others.

use std::{collections::BTreeMap, path::Path};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_image::{Descriptor, LayerEntry};
use pixi_oci_layer::Layer;
use pixi_oci_lock::LockedPackage;
use pixi_oci_store::OciLayout;

use crate::{
    BuildRequest, Error, Event, LayerGroup, LayerOrigin, OnEvent,
    cache::{FactsCache, LayerCache, LayerRecord},
    layer_key::LayerKey,
    layers::{LayerOptions, PackageLayer, ReadyPackage, layer_key, write_package_layers},
    packages::{KnownPackage, keep, known_packages},
    previous::Previous,
    target::Target,
};

/// Layers of published images. Nothing is asked before it is needed.
pub trait Remote: Sync {
    /// What is published.
    fn previous(&self) -> Result<&Previous, Error>;

    /// Sees that layers are where the image will be, in `layout` or in the repositories that it goes to; says of each
    /// whether it is.
    fn provide(&self, blobs: &[&Descriptor], layout: &OciLayout) -> Result<Vec<bool>, Error>;

    /// Of which [`provide`](Self::provide) would say so, without moving anything.
    fn has(&self, blobs: &[&Descriptor]) -> Result<Vec<bool>, Error>;
}

/// Where it is looked up what is in packages.
pub struct Knowledge<'a> {
    /// What was read from archives.
    pub facts: &'a FactsCache,
    /// What published images said before; `None` where only what was seen counts.
    pub published: Option<FactsCache>,
    /// Whether it is kept what they say now.
    pub keeps: bool,
}

impl<'a> Knowledge<'a> {
    /// For a build with this request. What published images said counts exactly where their layers do: in the layer cache.
    pub fn new(request: &BuildRequest, facts: &'a FactsCache) -> Self {
        let published = (request.layer_cache > 0).then(|| FactsCache::open_published(&request.cache_dir));
        // Others are looked at because nobody said otherwise; that is for once.
        Self { facts, published, keeps: !request.cache_from.is_empty() }
    }
}

/// Takes package layers as soon as their blobs are files in the layout: what is to be known of one, and its file. It is called
/// from several threads, and twice for a layer of two images.
pub type OnLayer<'a> = &'a (dyn Fn(&Descriptor, &Path) + Sync);

/// What is known of the packages of each target: on this machine, else in published images.
pub fn known(
    targets: &[Target],
    knowledge: &Knowledge<'_>,
    remote: Option<&dyn Remote>,
    workdir: &str,
) -> Result<Vec<Vec<Option<KnownPackage>>>, Error> {
    let known = targets.iter().map(|target| known_packages(target, knowledge.facts, workdir));
    let mut known: Vec<Vec<Option<KnownPackage>>> = known.collect::<Result<_, _>>()?;
    if let Some(published) = &knowledge.published {
        for (target, known) in targets.iter().zip(&mut known).filter(|(_, known)| known.iter().any(Option::is_none)) {
            let said = known_packages(target, published, workdir)?;
            known.iter_mut().zip(said).for_each(|(known, said)| *known = known.take().or(said));
        }
    }
    if let Some(remote) = remote
        && known.iter().flatten().any(Option::is_none)
    {
        let previous = remote.previous()?;
        for (target, known) in targets.iter().zip(&mut known) {
            let published = known_packages(target, previous, workdir)?;
            if let Some(cache) = knowledge.published.as_ref().filter(|_| knowledge.keeps) {
                keep(target, &published, cache, workdir)?;
            }
            known.iter_mut().zip(published).for_each(|(known, published)| *known = known.take().or(published));
        }
    }
    Ok(known)
}

/// Gets the archives of packages.
type Fetch<'a> = dyn Fn(&[&LockedPackage]) -> Result<Vec<CachedArchive>, Error> + 'a;

/// What is needed to have the layers of a platform.
pub struct Reuse<'a> {
    /// The platform's name.
    pub platform: &'a str,
    /// Its locked packages.
    pub locked: &'a [LockedPackage],
    /// The layers of earlier builds; `None` to make all anew.
    pub cache: Option<&'a LayerCache>,
    /// The layers of published images.
    pub remote: Option<&'a dyn Remote>,
    /// Gets archives, in the order of the packages.
    pub fetch: &'a Fetch<'a>,
    /// Is given layers as soon as they are there.
    pub on_layer: OnLayer<'a>,
    /// Is told what happens.
    pub on_event: OnEvent<'a>,
}

impl Reuse<'_> {
    /// The groups' layers, in their order. All of them are in the layout then.
    pub fn layers(
        &self,
        groups: &[LayerGroup],
        packages: &mut [ReadyPackage<'_>],
        options: &LayerOptions<'_>,
    ) -> Result<Vec<PackageLayer>, Error> {
        let key = |group| layer_key(group, packages, options.prefix, options.compression);
        let keys: Vec<LayerKey> = groups.iter().map(key).collect();
        let mut layers: Vec<Option<PackageLayer>> = Vec::with_capacity(groups.len());
        for key in &keys {
            layers.push(self.cached(key, options)?);
        }
        self.published(&keys, &mut layers, options)?;
        let is_missing = |index: &usize| layers[*index].is_none();
        let missing: Vec<usize> = (0..groups.len()).filter(is_missing).collect();
        let work: Vec<(&LayerGroup, LayerKey)> = missing.iter().map(|&index| (&groups[index], keys[index])).collect();
        self.fetch(work.iter().flat_map(|(group, _)| &group.packages).copied(), packages)?;
        let sum = |groups: &mut dyn Iterator<Item = &LayerGroup>| groups.map(|group| group.size).sum::<u64>();
        let bytes = sum(&mut work.iter().map(|(group, _)| *group));
        (self.on_event)(Event::LayersStarted {
            platform: self.platform.to_owned(),
            layers: work.len(),
            bytes,
            reused: groups.len() - work.len(),
            reused_bytes: sum(&mut groups.iter()) - bytes,
        });
        let labels: Vec<String> = packages.iter().map(|package| package.label.clone()).collect();
        let made = write_package_layers(&work, packages, options, self.cache, &|group, layer| {
            give(self.on_layer, layer, options);
            (self.on_event)(Event::LayerFinished {
                platform: self.platform.to_owned(),
                digest: layer.digest,
                size: layer.size,
                bytes: group.size,
                packages: group.packages.iter().map(|&index| labels[index].clone()).collect(),
            });
        })?;
        for (index, layer) in missing.into_iter().zip(made) {
            layers[index] = Some(layer);
        }
        Ok(layers.into_iter().flatten().collect())
    }

    /// A layer that an earlier build on this machine made.
    fn cached(&self, key: &LayerKey, options: &LayerOptions<'_>) -> Result<Option<PackageLayer>, Error> {
        let Some(cache) = self.cache else { return Ok(None) };
        let record = cache.take(key, options.compression, options.layout)?;
        let layer = record.map(|record| PackageLayer::known(&record, *key, options.compression, LayerOrigin::Cache));
        layer.iter().for_each(|layer| give(self.on_layer, &layer.layer, options));
        Ok(layer)
    }

    /// Adds the layers that published images have, all at once.
    fn published(
        &self,
        keys: &[LayerKey],
        layers: &mut [Option<PackageLayer>],
        options: &LayerOptions<'_>,
    ) -> Result<(), Error> {
        let Some(remote) = self.remote.filter(|_| layers.iter().any(Option::is_none)) else { return Ok(()) };
        let previous = remote.previous()?;
        let known_there: Vec<(usize, &LayerRecord, &Descriptor)> = (0..keys.len())
            .filter(|&index| layers[index].is_none())
            .filter_map(|index| previous.layers.get(&keys[index].to_string()).map(|(r, b)| (index, r, b)))
            .collect();
        let blobs: Vec<&Descriptor> = known_there.iter().map(|(_, _, blob)| *blob).collect();
        for ((index, record, _), is_there) in known_there.into_iter().zip(remote.provide(&blobs, options.layout)?) {
            if !is_there {
                continue;
            }
            let (key, path) = (&keys[index], options.layout.blob_path(&record.digest));
            if let Some(cache) = self.cache
                && path.exists()
            {
                cache.put(key, record, &path);
            }
            let origin = LayerOrigin::Registry;
            layers[index] = Some(PackageLayer::known(record, *key, options.compression, origin));
        }
        Ok(())
    }

    /// Gets the archives of the packages with these indices that are not here yet.
    fn fetch(&self, wanted: impl Iterator<Item = usize>, packages: &mut [ReadyPackage<'_>]) -> Result<(), Error> {
        let by_name: BTreeMap<String, &LockedPackage> =
            self.locked.iter().map(|package| (package.name(), package)).collect();
        let (mut indices, mut absent) = (Vec::new(), Vec::new());
        for index in wanted {
            if packages[index].archive.is_none()
                && let Some(package) = by_name.get(&packages[index].name)
            {
                indices.push(index);
                absent.push(*package);
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        for (index, archive) in indices.into_iter().zip((self.fetch)(&absent)?) {
            packages[index].archive = Some(archive.path);
        }
        Ok(())
    }
}

fn give(on_layer: OnLayer<'_>, layer: &Layer, options: &LayerOptions<'_>) {
    let descriptor = LayerEntry::new(layer, BTreeMap::new()).descriptor;
    on_layer(&descriptor, &options.layout.blob_path(&descriptor.digest));
}
