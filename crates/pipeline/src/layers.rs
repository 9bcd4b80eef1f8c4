//! Gets the package layers of an image: from the cache, from published images, or by making them, several at a time.

mod elf;
pub mod findings;
pub mod grouping;
pub mod key;
pub mod plan;

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use pixi_oci_image::{Descriptor, LayerEntry};
use pixi_oci_layer::{Compression, ContentStore, FileTree, Layer, LayerWriter, MemoryBudget, Node};
use pixi_oci_package::TargetPrefix;
use pixi_oci_store::{OciLayout, StagedBlob};

use crate::{
    Error, layers::findings::Findings, layers::key::LAYER_TIME, layers::plan::LayerSource, layers::plan::PlannedLayer,
    layers::plan::candidates, package::Package, package::locate::fetch_known, report::LayerOrigin,
    stock::cache::LayerRecord, workshop::Workshop,
};
use pixi_oci_project::{Event, Session};

/// A package layer that is in the layout, or where the image will be.
#[derive(Debug)]
pub struct PackageLayer {
    pub layer: Layer,
    /// What its files say about the environment.
    pub findings: Findings,
    pub origin: LayerOrigin,
}

impl PackageLayer {
    /// A layer that exists.
    pub fn known(record: &LayerRecord, compression: Compression, origin: LayerOrigin) -> Self {
        Self { layer: record.layer(compression), findings: record.findings(), origin }
    }

    /// A layer that was found, by its source; `None` for one that has to be made.
    pub fn found(planned: &PlannedLayer<'_>, compression: Compression) -> Option<Self> {
        let origin = match planned.source {
            LayerSource::Make => return None,
            LayerSource::Cache(_) => LayerOrigin::Cache,
            LayerSource::Registry(..) => LayerOrigin::Registry,
        };
        Some(Self::known(planned.source.record()?, compression, origin))
    }
}

/// A layer that is wanted, and the place for it.
struct Slot<'p, 'a> {
    planned: &'p PlannedLayer<'a>,
    layer: Option<PackageLayer>,
}

impl Workshop<'_> {
    /// The layers, in their order. All of them are in the layout then, or where the image will be.
    pub fn package_layers(&self, platform: &str, planned: &mut [PlannedLayer<'_>]) -> Result<Vec<PackageLayer>, Error> {
        candidates(planned, self.stock)?;
        let mut slots: Vec<Slot<'_, '_>> = planned.iter().map(|planned| Slot { planned, layer: None }).collect();
        for slot in &mut slots {
            slot.layer = self.cached(slot.planned)?;
        }
        self.published(&mut slots)?;
        let total: u64 = slots.iter().map(|slot| slot.planned.bytes).sum();
        let count = slots.len();
        let mut missing: Vec<&mut Slot<'_, '_>> = slots.iter_mut().filter(|slot| slot.layer.is_none()).collect();
        let packages = missing.iter().flat_map(|slot| &slot.planned.packages).map(Arc::as_ref);
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
        Ok(slots.into_iter().filter_map(|slot| slot.layer).collect())
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
        let threads = self.session.resources.threads.min(missing.len());
        // Layers are sorted biggest first: the long ones do not come last.
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let slots: Vec<Mutex<&mut Slot<'_, '_>>> = missing.iter_mut().map(|slot| Mutex::new(&mut **slot)).collect();
        let work = || -> Result<(), Error> {
            while !failed.load(Ordering::Relaxed) {
                let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let made =
                    self.make_one(slot.planned, &memory).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                self.made(platform, slot.planned, &made);
                slot.layer = Some(made);
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

    fn made(&self, platform: &str, planned: &PlannedLayer<'_>, made: &PackageLayer) {
        let layer = &made.layer;
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
    }

    fn make_one(&self, planned: &PlannedLayer<'_>, memory: &MemoryBudget) -> Result<PackageLayer, Error> {
        let mut writer =
            BlobWriter::new(self.layout, self.project.configuration.compression, LAYER_TIME, self.session)?;
        let mut findings = Findings::default();
        for package in &planned.packages {
            self.session.check()?;
            writer.add_last(self.tree(package, memory, &mut findings)?)?;
            if let (Some(archive), Some(facts)) = (&package.archive, package.complete_facts()?) {
                self.stock.facts.put_conda(&archive.sha256, &facts);
            }
        }
        Ok(PackageLayer { layer: writer.finish(self.layout)?, findings, origin: LayerOrigin::Made })
    }

    /// A package's files, after a look at what they say about the environment.
    fn tree(&self, package: &Package<'_>, memory: &MemoryBudget, findings: &mut Findings) -> Result<FileTree, Error> {
        let prefix = &self.project.configuration.prefix;
        let mut store = ContentStore::new(memory, self.scratch);
        let made = package.tree(prefix, &mut store, self.scratch)?;
        scan(&made.tree, prefix, findings)
            .map_err(|source| Error::Unreadable { package: package.label.clone(), source })?;
        findings.outside_links.extend(made.outside_links.into_iter().map(|link| (package.label.clone(), link)));
        if !made.corrections.is_empty() {
            findings.corrections.push((package.label.clone(), made.corrections));
        }
        Ok(made.tree)
    }

    /// The trees of the workspace's own packages, which go into the application layer.
    pub fn own_tree(&self, packages: &[Arc<Package<'_>>], findings: &mut Findings) -> Result<FileTree, Error> {
        let memory = MemoryBudget::new(self.session.resources.memory);
        let mut all = FileTree::new();
        for package in packages.iter().filter(|package| package.is_own()) {
            // Links of the workspace's own files are not reported.
            let outside_links = std::mem::take(&mut findings.outside_links);
            all.merge(self.tree(package, &memory, findings)?).map_err(pixi_oci_contents::ApplicationError::Tree)?;
            findings.outside_links = outside_links;
        }
        Ok(all)
    }

    /// Writes a tree that is no package's: the environment or application layer.
    pub fn write_tree(&self, tree: &FileTree, time: i64) -> Result<Layer, Error> {
        let mut writer = BlobWriter::new(self.layout, self.project.configuration.compression, time, self.session)?;
        writer.add(tree)?;
        writer.finish(self.layout)
    }

    fn hand_on(&self, layer: &Layer) {
        let descriptor = LayerEntry::new(layer, BTreeMap::new()).descriptor;
        (self.on_layer)(&descriptor, &self.layout.blob_path(&descriptor.digest));
    }
}

/// A layer that is written straight into the file system of its layout, and gets its name there when it is whole.
struct BlobWriter<'a>(LayerWriter<BufWriter<Cancellable<'a>>>);

impl<'a> BlobWriter<'a> {
    fn new(layout: &OciLayout, compression: Compression, time: i64, session: &'a Session) -> Result<Self, Error> {
        let sink = BufWriter::with_capacity(256 << 10, Cancellable { blob: layout.staging()?, session });
        Ok(Self(LayerWriter::new(sink, compression, time)))
    }

    fn add(&mut self, tree: &FileTree) -> Result<(), Error> {
        Ok(self.0.add(tree)?)
    }

    fn add_last(&mut self, tree: FileTree) -> Result<(), Error> {
        Ok(self.0.add_last(tree)?)
    }

    fn finish(self, layout: &OciLayout) -> Result<Layer, Error> {
        let (layer, mut sink) = self.0.finish()?;
        sink.flush().map_err(pixi_oci_layer::Error::Write)?;
        let staged = sink.into_inner().map_err(|e| pixi_oci_layer::Error::Write(e.into_error()))?;
        layout.adopt(staged.blob, &layer.digest, layer.size)?;
        Ok(layer)
    }
}

/// Large layers take minutes to write: every write checks for cancellation.
struct Cancellable<'a> {
    blob: StagedBlob,
    session: &'a Session,
}

impl Write for Cancellable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not `ErrorKind::Interrupted`, after which writers try again.
        self.session.check().map_err(io::Error::other)?;
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// Notes what the image's settings depend on.
fn scan(tree: &FileTree, prefix: &TargetPrefix, findings: &mut Findings) -> io::Result<()> {
    // The interpreter's name stands near the beginning of every ELF file that a linker made.
    const HEAD: usize = 4096;
    for (path, node) in tree.iter() {
        let Node::File(file) = node else { continue };
        let below = path.as_str().strip_prefix(prefix.tree_path().as_str()).unwrap_or_default();
        if let Some(name) = below.strip_prefix("/etc/conda/env_vars.d/").filter(|name| name.ends_with(".json")) {
            findings.env_vars_d.insert(name.to_string(), file.content.to_vec()?);
        }
        if file.mode == pixi_oci_layer::Mode::EXECUTABLE
            && let Some(interpreter) = elf::interpreter(&file.content.prefix(HEAD)?)
        {
            findings.interpreters.entry(interpreter.to_string()).or_insert_with(|| path.to_string());
        }
    }
    Ok(())
}
