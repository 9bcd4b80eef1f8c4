//! Writes the package layers of one platform, several at a time.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use pixi_oci_layer::{Compression, ContentStore, FileTree, Layer, LayerWriter, MemoryBudget, Node, TreePath};
use pixi_oci_lock::Sha256;
use pixi_oci_package::{
    Change, CompleteFacts, CondaMeta, LinkPlan, OutsideLink, PackageTree, Python, TargetPrefix, WheelFacts, file_tree,
    read_info,
};
use pixi_oci_publish::{OciLayout, StagedBlob};
use pixi_oci_wheel::{DirectUrl, WheelExpected, read_wheel, wheel_tree};
use rattler_conda_types::RepoDataRecord;

use crate::{
    Error, LayerGroup, LayerOrigin,
    cache::{FactsCache, Known, LayerCache, LayerRecord},
    elf,
    layer_key::{KeyPackage, LayerKey},
};

/// A package that is ready to be written.
pub struct ReadyPackage<'a> {
    /// The conda name, or `pypi:NAME`.
    pub name: String,
    /// `NAME VERSION BUILD`, or `pypi:NAME VERSION`.
    pub label: String,
    /// Its archive in the cache, if it was needed so far.
    pub archive: Option<PathBuf>,
    /// The archive's sha256.
    pub sha256: Sha256,
    /// The archive's length in bytes.
    pub size: u64,
    /// What it has below the prefix, and whether that is a directory of its own.
    pub paths: Vec<(TreePath, bool)>,
    /// Whether it is the workspace's own, and goes into the application layer.
    pub is_own: bool,
    /// Whether it has a script that conda would run after linking.
    pub has_post_link: bool,
    /// What its tree is made of.
    pub content: PackageContent<'a>,
    /// What is known of it when its archive is not here; of a conda package that was just fetched, after its layer was
    /// made.
    pub facts: PackageFactsOf,
}

/// What is known of a package without its archive.
#[derive(Debug, Clone)]
pub enum PackageFactsOf {
    /// A conda package.
    Conda(Option<Known<CompleteFacts>>),
    /// A wheel.
    Wheel(Known<WheelFacts>),
}

/// What a package's tree is made of beside its archive.
pub enum PackageContent<'a> {
    /// A conda package.
    Conda {
        /// The locked record.
        record: &'a RepoDataRecord,
        /// Where its paths go.
        plan: LinkPlan,
        /// What its record says that is not in the archive.
        meta: Box<CondaMeta>,
    },
    /// A wheel.
    Wheel {
        /// The wheel that the archive must be.
        expected: WheelExpected,
        /// The environment's interpreter.
        python: Python,
        /// Where it is from, if not from an index.
        direct_url: Option<&'a DirectUrl>,
        /// What other packages changed about its paths.
        changes: Vec<Change>,
    },
}

impl ReadyPackage<'_> {
    /// The package's files, and what is to be known of a conda package when its archive is not here.
    pub fn tree(
        &self,
        prefix: &TargetPrefix,
        store: &mut ContentStore,
        scratch: &Path,
    ) -> Result<(PackageTree, Option<CompleteFacts>), Error> {
        let Some(archive) = &self.archive else { return Err(Error::NotFetched { package: self.label.clone() }) };
        Ok(match &self.content {
            PackageContent::Conda { record, plan, meta } => {
                let info = read_info(archive, &record.package_record)?;
                store.reserve(info.unpacked_size());
                let made = file_tree(archive, &info, plan, prefix, meta, store, scratch)?;
                let facts = info.complete_facts(&made);
                (made, Some(facts))
            }
            PackageContent::Wheel { expected, python, direct_url, changes } => {
                let info = read_wheel(archive, expected)?;
                (wheel_tree(archive, &info, python, prefix, *direct_url, changes, store)?, None)
            }
        })
    }

    /// What its layer's bytes depend on.
    fn key(&self) -> KeyPackage<'_> {
        let sha256 = Cow::Owned(self.sha256.to_string());
        match &self.content {
            PackageContent::Conda { record, plan, meta } => KeyPackage {
                sha256,
                url: Some(meta.url.as_str().into()),
                subdir: Some(record.package_record.subdir.as_str().into()),
                channel: meta.channel.as_deref().map(Into::into),
                python: plan.python.as_ref(),
                changes: &plan.changes,
            },
            PackageContent::Wheel { python, direct_url, changes, .. } => KeyPackage {
                sha256,
                url: direct_url.map(|url| String::from_utf8_lossy(&url.json()).into_owned().into()),
                subdir: None,
                channel: None,
                python: Some(python),
                changes,
            },
        }
    }
}

/// The key of a group's layer.
pub fn layer_key(
    group: &LayerGroup,
    packages: &[ReadyPackage<'_>],
    prefix: &TargetPrefix,
    compression: Compression,
) -> LayerKey {
    let keys: Vec<KeyPackage<'_>> = group.packages.iter().map(|&index| packages[index].key()).collect();
    LayerKey::new(&keys, prefix, compression)
}

/// How layers are written.
pub struct LayerOptions<'a> {
    /// Where packages live in the image.
    pub prefix: &'a TargetPrefix,
    /// gzip or zstd.
    pub compression: Compression,
    /// How many layers are written at a time.
    pub threads: usize,
    /// How much content may wait in memory.
    pub memory: &'a MemoryBudget,
    /// Where it waits otherwise.
    pub scratch: &'a Path,
    /// Whether to give up.
    pub interrupted: &'a AtomicBool,
    /// The layout that the blobs go to.
    pub layout: &'a OciLayout,
    /// Where what is known of packages is kept.
    pub facts: &'a FactsCache,
}

/// A package layer that is in the layout, and what was seen on the way.
#[derive(Debug)]
pub struct PackageLayer {
    /// Its digests and sizes.
    pub layer: Layer,
    /// What its files say about the environment.
    pub seen: Seen,
    /// What it is known by.
    pub key: LayerKey,
    /// Where it is from.
    pub origin: LayerOrigin,
    /// What was found out about its conda packages, by their position in the list of all packages.
    pub facts: Vec<(usize, Known<CompleteFacts>)>,
}

impl PackageLayer {
    /// A layer that is there already.
    pub fn known(record: &LayerRecord, key: LayerKey, compression: Compression, origin: LayerOrigin) -> Self {
        Self { layer: record.layer(compression), seen: record.seen(), key, origin, facts: Vec::new() }
    }
}

/// What the files of packages say about the environment as a whole.
#[derive(Debug, Default)]
pub struct Seen {
    /// The contents of `etc/conda/env_vars.d/*.json`, by file name.
    pub env_vars_d: BTreeMap<String, Vec<u8>>,
    /// Links that point out of the prefix, with their package.
    pub outside_links: Vec<(String, OutsideLink)>,
    /// Program interpreters that programs name, each with one program that does.
    pub interpreters: BTreeMap<String, String>,
}

impl Seen {
    /// Adds what another layer showed.
    pub fn extend(&mut self, other: Self) {
        self.env_vars_d.extend(other.env_vars_d);
        self.outside_links.extend(other.outside_links);
        for (interpreter, program) in other.interpreters {
            self.interpreters.entry(interpreter).or_insert(program);
        }
    }
}

/// Times of nodes that have none: 2020-01-01, after the year 1980 in which zip files begin.
pub const CONSTANT_TIME: i64 = 1_577_836_800;

/// Writes the groups' layers, keeps them in `cache`, and gives them in the order of the groups. The first error stops all
/// others.
pub fn write_package_layers(
    groups: &[(&LayerGroup, LayerKey)],
    packages: &[ReadyPackage<'_>],
    options: &LayerOptions<'_>,
    cache: Option<&LayerCache>,
    on_done: &(dyn Fn(&LayerGroup, &Layer) + Sync),
) -> Result<Vec<PackageLayer>, Error> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<Option<Result<PackageLayer, Error>>>> = Mutex::new(groups.iter().map(|_| None).collect());
    let work = || {
        // Groups are sorted biggest first: the long ones do not come last.
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((group, key)) = groups.get(index) else { return };
            let result = write_group(group, *key, packages, options);
            if let (Ok(made), Some(cache)) = (&result, cache) {
                let blob = options.layout.blob_path(&made.layer.digest);
                cache.put(key, &LayerRecord::new(&made.layer, &made.seen), &blob);
            }
            match &result {
                Ok(made) => on_done(group, &made.layer),
                Err(_) => failed.store(true, Ordering::Relaxed),
            }
            if let Ok(mut results) = results.lock() {
                results[index] = Some(result);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.min(groups.len()) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut layers = Vec::with_capacity(groups.len());
    for result in results.into_iter().flatten() {
        layers.push(result?);
    }
    // Groups that nobody took after a failure are missing, but then there was an error above.
    Ok(layers)
}

fn write_group(
    group: &LayerGroup,
    key: LayerKey,
    packages: &[ReadyPackage<'_>],
    options: &LayerOptions<'_>,
) -> Result<PackageLayer, Error> {
    let mut writer = Staged::new(options.layout, options.compression, CONSTANT_TIME, options.interrupted)?;
    let mut seen = Seen::default();
    let mut known = Vec::new();
    for (index, package) in group.packages.iter().map(|&i| (i, &packages[i])) {
        if options.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let mut store = ContentStore::new(options.memory, options.scratch);
        let (made, facts) = package.tree(options.prefix, &mut store, options.scratch)?;
        look(&made.tree, options.prefix, &mut seen)
            .map_err(|source| Error::Unreadable { package: package.label.clone(), source })?;
        if let Some(facts) = facts {
            let facts = Known { size: package.size, facts };
            options.facts.put_conda(&package.sha256, &facts);
            known.push((index, facts));
        }
        seen.outside_links.extend(made.outside_links.into_iter().map(|link| (package.label.clone(), link)));
        writer.add_last(made.tree)?;
    }
    Ok(PackageLayer { layer: writer.finish(options.layout)?, seen, key, origin: LayerOrigin::Made, facts: known })
}

/// The trees of the workspace's own packages, which go into the application layer.
pub fn own_tree(packages: &[ReadyPackage<'_>], options: &LayerOptions<'_>, seen: &mut Seen) -> Result<FileTree, Error> {
    let mut all = FileTree::new();
    for package in packages.iter().filter(|package| package.is_own) {
        let mut store = ContentStore::new(options.memory, options.scratch);
        let (made, _) = package.tree(options.prefix, &mut store, options.scratch)?;
        look(&made.tree, options.prefix, seen)
            .map_err(|source| Error::Unreadable { package: package.label.clone(), source })?;
        all.merge(made.tree).map_err(crate::application::ApplicationError::Tree)?;
    }
    Ok(all)
}

/// Writes a tree that is no package's: the environment or application layer.
pub fn write_tree(
    tree: &FileTree,
    layout: &OciLayout,
    compression: Compression,
    time: i64,
    interrupted: &AtomicBool,
) -> Result<Layer, Error> {
    let mut writer = Staged::new(layout, compression, time, interrupted)?;
    writer.add(tree)?;
    writer.finish(layout)
}

/// A layer that is written straight into the file system of its layout, and gets its name there when it is whole.
struct Staged<'a>(LayerWriter<BufWriter<Interruptible<'a>>>);

impl<'a> Staged<'a> {
    fn new(
        layout: &OciLayout,
        compression: Compression,
        time: i64,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let sink = BufWriter::with_capacity(256 << 10, Interruptible { blob: layout.staging()?, interrupted });
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

/// A layer of some gigabytes takes minutes, and whoever wants an end wants it now.
struct Interruptible<'a> {
    blob: StagedBlob,
    interrupted: &'a AtomicBool,
}

impl Write for Interruptible<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupted.load(Ordering::Relaxed) {
            // Not `ErrorKind::Interrupted`, after which writers try again.
            return Err(io::Error::other(Error::Interrupted));
        }
        self.blob.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// Notes what the image's settings depend on.
fn look(tree: &FileTree, prefix: &TargetPrefix, seen: &mut Seen) -> io::Result<()> {
    // The interpreter's name stands near the beginning of every ELF file that a linker made.
    const HEAD: usize = 4096;
    for (path, node) in tree.iter() {
        let Node::File(file) = node else { continue };
        let below = path.as_str().strip_prefix(prefix.tree_path().as_str()).unwrap_or_default();
        if let Some(name) = below.strip_prefix("/etc/conda/env_vars.d/").filter(|name| name.ends_with(".json")) {
            seen.env_vars_d.insert(name.to_string(), file.content.to_vec()?);
        }
        if file.mode == pixi_oci_layer::Mode::EXECUTABLE
            && let Some(interpreter) = elf::interpreter(&file.content.prefix(HEAD)?)
        {
            seen.interpreters.entry(interpreter.to_string()).or_insert_with(|| path.to_string());
        }
    }
    Ok(())
}
