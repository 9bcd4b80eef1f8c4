//! Gets the package layers of an image: from the cache, from published images, or by making them, several at a time.

mod elf;
pub mod findings;
pub mod grouping;
pub mod key;
mod make;
pub mod plan;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use pixi_oci_image::{Descriptor, LayerEntry};
use pixi_oci_layer::{Layer, MemoryBudget};

pub use self::make::PackageLayer;
use crate::{
    Error, layers::grouping::LayerPart, layers::plan::PlannedLayer, layers::plan::candidates,
    package::locate::fetch_known, report::LayerOrigin, stock::cache::LayerRecord, workshop::Workshop,
};
use pixi_oci_project::Event;

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

    /// Whether both are made of one package, which is unpacked once for them.
    fn is_made_with(&self, other: &Self) -> bool {
        let package = |slot: &Self| slot.planned.part.and_then(|_| slot.planned.packages.first().cloned());
        matches!((package(self), package(other)), (Some(own), Some(other)) if Arc::ptr_eq(&own, &other))
    }
}

impl Workshop<'_> {
    /// The layers, in their order. All of them are in the layout then, or where the image will be. Parts that a package turns
    /// out not to have are taken out of `planned`.
    pub fn package_layers(
        &self,
        platform: &str,
        planned: &mut Vec<PlannedLayer<'_>>,
    ) -> Result<Vec<PackageLayer>, Error> {
        candidates(planned, self.stock)?;
        let mut slots: Vec<Slot<'_, '_>> =
            planned.iter().map(|planned| Slot { planned, layer: None, parts: None }).collect();
        for slot in &mut slots {
            slot.layer = self.cached(slot.planned)?;
        }
        self.published(&mut slots)?;
        note_parts(&mut slots);
        let total: u64 = slots.iter().map(|slot| slot.planned.bytes).sum();
        let count = slots.len();
        let mut missing: Vec<&mut Slot<'_, '_>> = slots.iter_mut().filter(|slot| slot.is_missing()).collect();
        let first_parts = missing.chunk_by(|a, b| a.is_made_with(b)).filter_map(|together| together.first());
        let packages = first_parts.flat_map(|slot| &slot.planned.packages).map(Arc::as_ref);
        fetch_known(packages, self.session)?;
        let bytes: u64 = missing.iter().map(|slot| slot.planned.bytes).sum();
        self.session.emit(Event::LayersStarted {
            platform: platform.to_owned(),
            layers: missing.len(),
            bytes,
            reused: count - missing.len(),
            reused_bytes: total - bytes,
        });
        self.make(platform, &mut missing)?;
        // Slots that nobody filled after a failure are missing, but then there was an error above.
        let layers: Vec<Option<PackageLayer>> = slots.into_iter().map(|slot| slot.layer).collect();
        let mut is_there = layers.iter().map(Option::is_some);
        planned.retain(|_| is_there.next().unwrap_or_default());
        Ok(layers.into_iter().flatten().collect())
    }

    /// A layer that an earlier build on this machine made.
    fn cached(&self, planned: &PlannedLayer<'_>) -> Result<Option<PackageLayer>, Error> {
        let Some(cache) = &self.stock.layers else { return Ok(None) };
        let compression = self.project.configuration.compression;
        let record = cache.take(&planned.key, compression, self.layout)?;
        let layer = record.map(|record| PackageLayer::known(&record, compression, LayerOrigin::Cache));
        layer.iter().for_each(|layer| self.hand_on(&layer.layer));
        Ok(layer)
    }

    /// Adds the layers that published images have, all at once.
    fn published(&self, slots: &mut [Slot<'_, '_>]) -> Result<(), Error> {
        let Some(remote) = self.stock.remote.filter(|_| slots.iter().any(|slot| slot.layer.is_none())) else {
            return Ok(());
        };
        let previous = remote.previous()?;
        let mut there: Vec<(&mut Slot<'_, '_>, &LayerRecord, &Descriptor)> = slots
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

    /// Makes layers, and keeps them in the cache. The first error stops all others.
    fn make(&self, platform: &str, missing: &mut [&mut Slot<'_, '_>]) -> Result<(), Error> {
        let memory = MemoryBudget::new(self.session.resources.memory);
        // Layers are sorted biggest first: the long ones do not come last.
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let jobs: Vec<_> = missing.chunk_by_mut(|a, b| a.is_made_with(b)).map(Mutex::new).collect();
        let threads = self.session.resources.threads.min(jobs.len());
        let work = || -> Result<(), Error> {
            while !failed.load(Ordering::Relaxed) {
                let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
                let mut job = job.lock().unwrap_or_else(PoisonError::into_inner);
                self.make_job(platform, &mut job, &memory).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let results =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// Makes one layer, or the parts of one package.
    fn make_job(&self, platform: &str, job: &mut [&mut Slot<'_, '_>], memory: &MemoryBudget) -> Result<(), Error> {
        let parts: Vec<LayerPart> = job.iter().filter_map(|slot| slot.planned.part).collect();
        let Some(first) = job.first() else { return Ok(()) };
        let (planned, known) = (first.planned, first.parts);
        let mut slots = job.iter_mut();
        let mut made = |layer| {
            if let Some(slot) = slots.next() {
                self.made(platform, slot, layer);
            }
        };
        match planned.packages.first().filter(|_| !parts.is_empty()) {
            Some(package) => self.make_parts(package, &parts, known, memory, &mut made)?,
            None => made(self.make_one(planned, memory)?),
        }
        Ok(())
    }

    fn made(&self, platform: &str, slot: &mut Slot<'_, '_>, made: PackageLayer) {
        let (planned, layer) = (slot.planned, &made.layer);
        if let Some(cache) = &self.stock.layers {
            let blob = self.layout.blob_path(&layer.digest);
            cache.put(&planned.key, &LayerRecord::new(layer, &made.findings), &blob, false);
        }
        self.hand_on(layer);
        self.session.emit(Event::LayerFinished {
            platform: platform.to_owned(),
            digest: layer.digest,
            size: layer.size,
            bytes: planned.bytes,
            packages: planned.labels(),
        });
        slot.layer = Some(made);
    }

    fn hand_on(&self, layer: &Layer) {
        let descriptor = LayerEntry::new(layer, BTreeMap::new()).descriptor;
        (self.on_layer)(&descriptor, &self.layout.blob_path(&descriptor.digest));
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
