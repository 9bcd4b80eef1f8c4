//! Gets the package layers of an image: from the cache, from published images, or by making them, several at a time.

pub mod grouping;
mod guess;
pub mod key;
mod make;
mod making;
pub mod plan;

use std::{collections::BTreeMap, sync::Arc};

use pixi_oci_fetch::FetchItem;
use pixi_oci_image::{Descriptor, LayerEntry};
use pixi_oci_layer::{Layer, MemoryBudget};

pub use self::make::PackageLayer;
use crate::{
    Error,
    fetch::Downloads,
    image::base::Base,
    layers::grouping::LayerPart,
    layers::making::{Batch, Making},
    layers::plan::{ImagePlan, LayerSource, PlannedLayer, candidates},
    package::{Package, hear::check_archive},
    report::{LayerKind, LayerOrigin},
    stock::{LayerHere, cache::LayerRecord},
    workshop::Workshop,
};
use pixi_oci_project::{Event, Resources, Target};

/// A layer that is wanted, and the place for it.
struct Slot<'p, 'a> {
    planned: &'p PlannedLayer<'a>,
    layer: Option<PackageLayer>,
    /// Of a part: how many the package has, where its first part is known.
    parts: Option<usize>,
}

impl Slot<'_, '_> {
    fn is_missing(&self) -> bool {
        let is_empty = |part: LayerPart| self.parts.is_some_and(|parts| part.index > parts);
        self.layer.is_none() && !self.planned.part.is_some_and(is_empty)
    }
}

impl Workshop<'_> {
    /// The plan of an image of `packages`, and its package layers: all of them are in the layout then, or where the image will be.
    /// Parts that a package turns out not to have are taken out of the plan.
    ///
    /// A layer is begun when its packages are here. Where packages are unknown, it cannot be known before all of them are here
    /// which layers there are; those that come out if every package keeps to itself, as most do, are begun all the same.
    pub fn layers<'a>(
        &self,
        target: &'a Target,
        mut packages: Vec<Package<'a>>,
        base: &Base,
        downloads: &Downloads,
    ) -> Result<(ImagePlan<'a>, Vec<PackageLayer>), Error> {
        self.run(&target.platform.name, downloads, &|_| Ok(()), |making| {
            self.locate_unknown(target, &mut packages, base, downloads, making)?;
            ImagePlan::new(self.project, target, packages, Some(base), self.stock)
        })
    }

    /// The layers of a plan, some of whose packages are known by what servers said of them: that is compared with their archives.
    pub fn planned_layers<'a>(
        &self,
        plan: ImagePlan<'a>,
        downloads: &Downloads,
    ) -> Result<(ImagePlan<'a>, Vec<PackageLayer>), Error> {
        let check =
            |batch: &Batch<'a>| batch.packages().try_for_each(|package| check_archive(package, &self.stock.heard));
        self.run(&plan.target.platform.name.clone(), downloads, &check, |_| Ok(plan))
    }

    /// Makes the layers of what `plan` gives, which may give some to be begun before. Packages are `check`ed when they are here.
    fn run<'a>(
        &self,
        platform: &str,
        downloads: &Downloads,
        check: &(dyn Fn(&Batch<'a>) -> Result<(), Error> + Sync),
        plan: impl FnOnce(&Making<'_, 'a>) -> Result<ImagePlan<'a>, Error>,
    ) -> Result<(ImagePlan<'a>, Vec<PackageLayer>), Error> {
        let make = |batch: &Batch<'a>, memory: &MemoryBudget, made: &mut dyn FnMut(PackageLayer)| {
            check(batch)?;
            self.make_batch(batch, memory, made)
        };
        let on_made = |planned: &PlannedLayer<'a>, made: &PackageLayer| self.say_made(platform, planned, made);
        let Resources { memory, threads, .. } = self.session.resources;
        let making = Making::new(memory, &make, &on_made);
        let ((mut plan, found), mut made) = making.run(threads, || {
            let mut plan = plan(&making)?;
            let found = self.feed(&mut plan, downloads, &making)?;
            Ok((plan, found))
        })?;
        let (mut found, mut layers) = (found.into_iter(), Vec::new());
        plan.layers.retain(|planned| {
            let layer = found.next().flatten().or_else(|| made.remove(&planned.key));
            let is_there = layer.is_some();
            layers.extend(layer);
            is_there
        });
        Ok((plan, layers))
    }

    /// Gives the layers of the plan that exist. The others go to `making` as soon as their packages are here.
    fn feed<'a>(
        &self,
        plan: &mut ImagePlan<'a>,
        downloads: &Downloads,
        making: &Making<'_, 'a>,
    ) -> Result<Vec<Option<PackageLayer>>, Error> {
        let begun = making.settle(plan.layers.iter().map(|planned| planned.key).collect());
        candidates(&mut plan.layers, self.stock)?;
        let mut slots: Vec<Slot<'_, '_>> =
            plan.layers.iter().map(|planned| Slot { planned, layer: None, parts: None }).collect();
        let is_open = |slot: &Slot<'_, '_>| !begun.contains(&slot.planned.key);
        let mut open: Vec<&mut Slot<'_, '_>> = slots.iter_mut().filter(|slot| is_open(slot)).collect();
        for slot in &mut open {
            if let LayerSource::Cache(record) = &slot.planned.source {
                slot.layer = self.cached(slot.planned, record)?;
            }
        }
        self.published(&mut open)?;
        note_parts(&mut slots);
        let missing = || slots.iter().filter(|slot| slot.is_missing());
        let mut waiting = Batch::all(missing().filter(|slot| is_open(slot)).map(|slot| (slot.planned, slot.parts)));
        let mut absent: Vec<(Arc<Package<'a>>, FetchItem)> = waiting
            .iter()
            .flat_map(|batch| batch.packages().filter(|package| package.file().is_err()))
            .filter_map(|package| Some((package.clone(), FetchItem::for_package(package.locked?)?)))
            .collect();
        downloads.want(absent.iter().map(|(_, item)| item.clone()).collect());
        let (layers, bytes) = (missing().count(), missing().map(|slot| slot.planned.bytes).sum());
        let total: u64 = slots.iter().map(|slot| slot.planned.bytes).sum();
        self.session.emit(Event::LayersStarted {
            platform: plan.target.platform.name.clone(),
            layers,
            bytes,
            reused: slots.len() - layers,
            reused_bytes: total - bytes,
        });
        making.tell();
        let found = slots.into_iter().map(|slot| slot.layer).collect();
        loop {
            let is_ready = |batch: &Batch<'a>| batch.packages().all(|package| package.file().is_ok());
            let (ready, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
            ready.into_iter().for_each(|batch| making.add(batch));
            waiting = others;
            if waiting.is_empty() {
                return Ok(found);
            }
            let here = downloads.next(absent.iter().map(|(_, item)| item))?;
            for (at, archive) in here.into_iter().rev() {
                let (package, _) = absent.swap_remove(at);
                package.archive.iter().for_each(|known| known.arrived(archive.path.clone()));
            }
        }
    }

    fn cached(&self, planned: &PlannedLayer<'_>, record: &LayerRecord) -> Result<Option<PackageLayer>, Error> {
        let Some(cache) = &self.stock.layers else { return Ok(None) };
        let compression = self.project.configuration.compression;
        let is_here = cache.take(&planned.key, record, compression, self.layout)?;
        let layer = is_here.then(|| PackageLayer::known(record, compression, LayerOrigin::Cache));
        layer.iter().for_each(|layer| self.hand_on(LayerKind::Packages, Some(layer.origin), &layer.layer));
        Ok(layer)
    }

    /// Adds the layers that published images have, all at once.
    fn published(&self, slots: &mut [&mut Slot<'_, '_>]) -> Result<(), Error> {
        let Some(remote) = self.stock.remote.filter(|_| slots.iter().any(|slot| slot.layer.is_none())) else {
            return Ok(());
        };
        let previous = remote.previous()?;
        let mut there: Vec<(&mut &mut Slot<'_, '_>, &LayerRecord, &Descriptor)> = slots
            .iter_mut()
            .filter(|slot| slot.layer.is_none())
            .filter_map(|slot| {
                let (record, blob) = previous.layers.get(&slot.planned.key.to_string())?;
                Some((slot, record, blob))
            })
            .collect();
        let blobs: Vec<&Descriptor> = there.iter().map(|(_, _, blob)| *blob).collect();
        let provided = remote.provide(&blobs, self.layout)?;
        for (slot, record, _) in there.iter_mut().filter(|(_, _, blob)| provided.contains(&blob.digest)) {
            let path = self.layout.blob_path(&record.digest);
            if let Some(cache) = self.stock.layers.as_ref().filter(|_| path.exists()) {
                cache.put(&slot.planned.key, record, &path, true);
            }
            let compression = self.project.configuration.compression;
            slot.layer = Some(PackageLayer::known(record, compression, LayerOrigin::Registry));
        }
        Ok(())
    }

    /// Makes one layer, or parts of one package; keeps them in the cache, and gives each away. A guess may be there already.
    fn make_batch(
        &self,
        batch: &Batch<'_>,
        memory: &MemoryBudget,
        give: &mut dyn FnMut(PackageLayer),
    ) -> Result<(), Error> {
        let Some(first) = batch.layers.first() else { return Ok(()) };
        let known =
            self.stock.layers.as_ref().filter(|_| batch.layers.len() == 1).and_then(|cache| cache.find(&first.key));
        if let Some(layer) = known.map(|record| self.cached(first, &record)).transpose()?.flatten() {
            give(layer);
            return Ok(());
        }
        let parts: Vec<LayerPart> = batch.layers.iter().filter_map(|planned| planned.part).collect();
        let mut layers = batch.layers.iter();
        let mut keep = |made: PackageLayer| {
            if let (Some(cache), Some(planned)) = (&self.stock.layers, layers.next()) {
                let blob = self.layout.blob_path(&made.layer.digest);
                cache.put(&planned.key, &LayerRecord::new(&made.layer, &made.findings), &blob, false);
            }
            self.hand_on(LayerKind::Packages, Some(made.origin), &made.layer);
            give(made);
        };
        match first.packages.first().filter(|_| !parts.is_empty()) {
            Some(package) => self.make_parts(package, &parts, batch.parts, memory, &mut keep)?,
            None => keep(self.make_one(first, memory)?),
        }
        Ok(())
    }

    fn say_made(&self, platform: &str, planned: &PlannedLayer<'_>, PackageLayer { layer, origin, .. }: &PackageLayer) {
        if *origin == LayerOrigin::Made {
            self.session.emit(Event::LayerFinished {
                platform: platform.to_owned(),
                digest: layer.digest,
                size: layer.size,
                bytes: planned.bytes,
                packages: planned.labels(),
            });
        }
    }

    pub fn put_base(&self, base: &Base) -> Result<(), Error> {
        base.put_layers(self.layout)?;
        for LayerEntry { descriptor, .. } in base.layers() {
            let file = &self.layout.blob_path(&descriptor.digest);
            (self.on_layer)(&LayerHere { kind: LayerKind::Base, origin: None, descriptor, file });
        }
        Ok(())
    }

    fn hand_on(&self, kind: LayerKind, origin: Option<LayerOrigin>, layer: &Layer) {
        let descriptor = &LayerEntry::new(layer, BTreeMap::new()).descriptor;
        (self.on_layer)(&LayerHere { kind, origin, descriptor, file: &self.layout.blob_path(&descriptor.digest) });
    }
}

/// Says of each part how many there are, where the first one is known.
fn note_parts(slots: &mut [Slot<'_, '_>]) {
    let mut parts = None;
    for slot in slots {
        if slot.planned.part.is_some_and(|part| part.index == 1) {
            parts = slot.layer.as_ref().and_then(|layer| layer.findings.parts);
        }
        slot.parts = slot.planned.part.and(parts);
    }
}
