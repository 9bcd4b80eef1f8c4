//! Makes layers: of packages, of parts of a package, and of trees that are no package's.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use pixi_oci_layer::{Compression, ContentStore, FileTree, Layer, LayerWriter, MemoryBudget, Node, diff_id, split};
use pixi_oci_package::TargetPrefix;
use pixi_oci_platform::elf::Elf;
use pixi_oci_store::OciLayout;
use tempfile::NamedTempFile;

use crate::{
    Error, layers::grouping::LayerPart, layers::key::LAYER_TIME, layers::key::LayerKey, layers::plan::LayerSource,
    layers::plan::PlannedLayer, package::Package, report::LayerKind, report::LayerOrigin, stock::cache::LayerRecord,
    stock::table::Findings, workshop::Workshop,
};
use pixi_oci_project::Session;

/// A package layer that is in the layout, or where the image will be.
#[derive(Debug)]
pub struct PackageLayer {
    pub layer: Layer,
    /// What its files say about the environment.
    pub findings: Findings,
    pub origin: LayerOrigin,
}

impl PackageLayer {
    /// A layer that was written just now.
    fn made(layer: Layer, mut findings: Findings) -> Self {
        findings.tar_size = layer.tar_size;
        Self { layer, findings, origin: LayerOrigin::Made }
    }

    pub fn known(record: &LayerRecord, compression: Compression, origin: LayerOrigin) -> Self {
        Self { layer: record.layer(compression), findings: record.findings.clone(), origin }
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

impl Workshop<'_> {
    pub fn make_one(&self, planned: &PlannedLayer<'_>, memory: &MemoryBudget) -> Result<PackageLayer, Error> {
        let mut writer = self.writer()?;
        let mut findings = Findings::default();
        for package in &planned.packages {
            self.session.check()?;
            let tree = self.tree(package, memory, &mut findings)?;
            writer.add_last(tree, &package.label)?;
            self.keep_facts(package)?;
        }
        Ok(PackageLayer::made(writer.finish(self.layout)?, findings))
    }

    /// Unpacks the package that `parts` are of, in their order, and gives the layer of each to `made`; there may be fewer, but
    /// as many as are `known`. What its files say is said of the first.
    pub fn make_parts(
        &self,
        package: &Package<'_>,
        parts: &[LayerPart],
        known: Option<usize>,
        memory: &MemoryBudget,
        made: &mut dyn FnMut(PackageLayer),
    ) -> Result<(), Error> {
        let mut findings = Findings::default();
        let tree = self.tree(package, memory, &mut findings)?;
        self.keep_facts(package)?;
        let prefix = self.project.configuration.prefix.as_str();
        let most = parts.first().map_or(1, |part| part.of);
        let mut trees = split(tree, most, &|path| is_record(prefix, path.as_str()));
        if let Some(found) = known.filter(|found| *found != trees.len()) {
            return Err(Error::Parts { package: package.label.clone(), made: trees.len(), found });
        }
        findings.parts = Some(trees.len());
        for part in parts {
            self.session.check()?;
            let Some(tree) = trees.get_mut(part.index - 1).map(std::mem::take) else { break };
            let mut writer = self.writer()?;
            writer.add_last(tree, &package.label)?;
            let findings = if part.index == 1 { std::mem::take(&mut findings) } else { Findings::default() };
            made(PackageLayer::made(writer.finish(self.layout)?, findings));
        }
        Ok(())
    }

    fn writer(&self) -> Result<BlobWriter<'_>, Error> {
        BlobWriter::new(self.layout, self.project.configuration.compression, LAYER_TIME, self.session)
    }

    /// What the whole archive showed.
    fn keep_facts(&self, package: &Package<'_>) -> Result<(), Error> {
        if let (Some(key), Some(facts)) = (package.facts_key(None), package.complete_facts()?) {
            self.stock.facts.put(&key, &facts);
        }
        Ok(())
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

    /// The layer of a tree of which most is in the table of packages, and which compresses long: where its tar was compressed before,
    /// that is not done again.
    pub fn environment_layer(&self, tree: &FileTree, time: i64) -> Result<Layer, Error> {
        let (kind, compression) = (LayerKind::Environment, self.project.configuration.compression);
        let Some(cache) = &self.stock.layers else { return self.write_tree(kind, tree, time) };
        let tar = diff_id(tree, time)?;
        let key = LayerKey::of_tar(tar, compression);
        if let Some(record) = cache.find(&key).filter(|record| record.diff_id == tar)
            && cache.take(&key, &record, compression, self.layout)?
        {
            let layer = record.layer(compression);
            self.hand_on(kind, None, &layer);
            return Ok(layer);
        }
        let layer = self.write_tree(kind, tree, time)?;
        let findings = Findings { tar_size: layer.tar_size, ..Findings::default() };
        cache.put(&key, &LayerRecord::new(&layer, &findings), &self.layout.blob_path(&layer.digest), false);
        Ok(layer)
    }

    /// Writes a tree that is no package's: the environment or application layer.
    pub fn write_tree(&self, kind: LayerKind, tree: &FileTree, time: i64) -> Result<Layer, Error> {
        let mut writer = BlobWriter::new(self.layout, self.project.configuration.compression, time, self.session)?;
        writer.add(tree)?;
        let layer = writer.finish(self.layout)?;
        self.hand_on(kind, None, &layer);
        Ok(layer)
    }
}

/// Whether scanners read from it what is installed, by which they know the files of other layers.
fn is_record(prefix: &str, path: &str) -> bool {
    let below = path.strip_prefix(prefix.trim_start_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    below.is_some_and(|below| {
        below.starts_with("conda-meta/") || below.split('/').any(|part| part.ends_with(".dist-info"))
    })
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

    fn add_last(&mut self, tree: FileTree, package: &str) -> Result<(), Error> {
        let failed = |source| Error::PackageLayer { package: package.to_owned(), source };
        self.0.add_last(tree).map_err(failed)
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
    blob: NamedTempFile,
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
            && let Some(interpreter) = Elf::new(&file.content.prefix(HEAD)?).and_then(Elf::interpreter)
        {
            findings.interpreters.entry(interpreter.to_string()).or_insert_with(|| path.to_string());
        }
    }
    Ok(())
}
