//! The root file system: the contents of the files that are left, then the tree.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Seek, Write},
    num::NonZeroUsize,
};

use oci_read::{
    tar,
    tree::{Id, Node, ROOT, Tree},
};
use pixi_oci_squashfs::{Compressor, ContentRun, FileData, InodeAttributes, InodeRef, RunWriter, Writer};

use crate::{
    Error, Layer, LayeredImage,
    apptainer::Own,
    listing::{self, LayerPaths},
    rootfs::{ContentOrigin, Known, is_left_out},
    runs::{RunCache, RunKey},
};

/// Deeper than any path of a layer; links can make a tree deeper.
const DEPTH: usize = 1000;

/// A file of the tree: how many names it has, where its content is, and its inode once it is written.
#[derive(Default)]
struct File {
    links: u32,
    data: FileData,
    inode: Option<InodeRef>,
}

type Files = HashMap<ContentOrigin, File>;

/// Where contents come from, and what they are compressed with.
pub(crate) struct Contents<'a> {
    pub image: &'a LayeredImage<'a>,
    pub layers: &'a [LayerPaths],
    pub own: &'a Own,
    pub compressor: Compressor,
    pub runs: Option<&'a RunCache>,
}

/// Writes the file system where the sink stands; gives the sink back, and the length.
pub(crate) fn write<W: Write + Seek>(
    sink: W,
    contents: &Contents<'_>,
    tree: &Tree<Known>,
    time: u32,
) -> Result<(W, u64), Error> {
    let Contents { image, layers, own, compressor, .. } = *contents;
    let mut files = Files::new();
    for (_, id) in tree.below(ROOT) {
        match tree.node(id) {
            node if is_left_out(node) => {}
            Node::File(known) | Node::Symlink(known, _) => files.entry(known.origin).or_default().links += 1,
            Node::Directory(_) => {}
        }
    }
    let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
    let mut writer = Writer::new(sink, compressor)?;
    for (number, (layer, listing)) in (0..).zip(image.layers.iter().zip(layers)) {
        let wanted = |entry: u32| {
            let is_file = matches!(listing.items[entry as usize].kind, tar::Kind::File);
            is_file && files.contains_key(&ContentOrigin::Layer(number, entry))
        };
        let wanted: Vec<u32> = (0..listing.items.len() as u32).filter(|entry| wanted(*entry)).collect();
        if wanted.is_empty() {
            continue;
        }
        let run = contents.run(layer, &wanted, threads, writer.sink())?;
        let origins = wanted.into_iter().map(|entry| ContentOrigin::Layer(number, entry));
        keep(&mut files, origins, writer.place(run));
    }
    let mut run = RunWriter::new(writer.sink(), compressor, threads)?;
    let mut origins = Vec::new();
    for (number, added) in (0..).zip(&own.nodes) {
        if let Some(bytes) = added.bytes().filter(|_| files.contains_key(&ContentOrigin::Own(number))) {
            run.file(bytes, bytes.len() as u64)?;
            origins.push(ContentOrigin::Own(number));
        }
    }
    let run = run.finish()?;
    keep(&mut files, origins, writer.place(run));

    let mut inodes = Inodes { tree, files, writer, count: 0 };
    let root = inodes.write(ROOT, None, 0)?;
    Ok(inodes.writer.finish(root, time)?)
}

fn keep(files: &mut Files, origins: impl IntoIterator<Item = ContentOrigin>, contents: Vec<FileData>) {
    for (origin, data) in origins.into_iter().zip(contents) {
        files.entry(origin).or_default().data = data;
    }
}

impl Contents<'_> {
    /// Writes the contents of these entries of a layer: as they were compressed before, or compressed now, and kept.
    fn run(
        &self,
        layer: &Layer,
        wanted: &[u32],
        threads: NonZeroUsize,
        sink: &mut impl Write,
    ) -> Result<ContentRun, Error> {
        let compress = |sink: &mut dyn Write| {
            let mut run = RunWriter::new(sink, self.compressor, threads)?;
            read(layer, wanted, &mut run).map_err(|source| Error::Layer { layer: layer.digest, source })?;
            Ok::<_, Error>(run.finish()?)
        };
        let Some(runs) = self.runs else { return compress(sink) };
        let key = RunKey::new(layer.digest, self.compressor, wanted);
        if let Some(run) = runs.take(&key, wanted.len(), sink)? {
            return Ok(run);
        }
        let mut copy = runs.copy(sink);
        let run = compress(&mut copy)?;
        runs.keep(&key, &run, copy);
        Ok(run)
    }
}

fn read(layer: &Layer, wanted: &[u32], run: &mut RunWriter<impl Write>) -> io::Result<()> {
    let mut tar = listing::open(layer)?;
    let mut reader = tar::Reader::new(BufReader::with_capacity(256 << 10, tar.by_ref()));
    let mut wanted = wanted.iter();
    let mut next = wanted.next();
    let mut entry = 0;
    while next.is_some() && reader.next_entry()?.is_some() {
        if next == Some(&entry) {
            let size = reader.size;
            run.file(reader.content(), size)?;
            next = wanted.next();
        }
        entry += 1;
    }
    // It was read to its end before; it is another file now.
    if next.is_some() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

struct Inodes<'a, W> {
    tree: &'a Tree<Known>,
    files: Files,
    writer: Writer<W>,
    count: u32,
}

impl<W: Write + Seek> Inodes<'_, W> {
    /// Writes a directory and all that is in it. A root has itself as its parent.
    fn write(&mut self, directory: Id, parent: Option<u32>, depth: usize) -> Result<InodeRef, Error> {
        if depth > DEPTH {
            return Err(Error::Depth(DEPTH));
        }
        let tree = self.tree;
        let attributes = self.attributes(tree.node(directory).value());
        let mut children = Vec::new();
        for (name, id) in tree.children(directory) {
            let node = tree.node(id);
            if is_left_out(node) {
                continue;
            }
            let inode = match node {
                Node::Directory(_) => self.write(id, Some(attributes.number), depth + 1)?,
                Node::File(known) | Node::Symlink(known, _) => self.leaf(node, known)?,
            };
            children.push((name, inode));
        }
        Ok(self.writer.directory(attributes, &children, parent.unwrap_or(attributes.number))?)
    }

    /// Writes a file or link, or gives the inode that another name of it has.
    fn leaf(&mut self, node: &Node<Known>, known: &Known) -> Result<InodeRef, Error> {
        let file = self.files.remove(&known.origin).unwrap_or_default();
        let inode = match (file.inode, node) {
            (Some(inode), _) => inode,
            (None, Node::Symlink(_, target)) => {
                let attributes = InodeAttributes { mode: 0o777, ..self.attributes(known) };
                self.writer.symlink(attributes, target, file.links)?
            }
            (None, _) => {
                let attributes = self.attributes(known);
                self.writer.file(attributes, &file.data, file.links)?
            }
        };
        // Its content is not asked for again.
        let data = FileData::default();
        self.files.insert(known.origin, File { links: file.links, data, inode: Some(inode) });
        Ok(inode)
    }

    fn attributes(&mut self, known: &Known) -> InodeAttributes {
        self.count += 1;
        InodeAttributes { mode: known.mode, time: known.time, number: self.count }
    }
}
