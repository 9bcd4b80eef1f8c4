//! A small image index with real layers.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use pixi_oci_image::{
    Architecture, AssembleInput, Image, ImageSettings, Index, LayerEntry, OwnLayer, Platform, assemble,
};
use pixi_oci_layer::{Compression, Content, Digest, FileTree, LayerWriter, Mode, Node, TreePath};

/// What is published in the tests.
pub(crate) struct Fixture {
    pub(crate) index: Index,
    pub(crate) blobs: BTreeMap<Digest, PathBuf>,
    pub(crate) dir: tempfile::TempDir,
}

/// An index for these architectures: one layer of `text` that each has for itself, compressed with zstd, and one that
/// all share.
pub(crate) fn fixture(text: &str, architectures: &[Architecture]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let mut blobs = BTreeMap::new();
    let mut layer = |path: &str, content: &str, compression| {
        let mut tree = FileTree::new();
        let file = pixi_oci_layer::File {
            content: Content::from_bytes(content.repeat(5000).into_bytes()),
            mode: Mode::FILE,
            mtime: None,
        };
        tree.insert(TreePath::new(path).unwrap(), Node::File(file)).unwrap();
        write_layer(dir.path(), &tree, compression, &mut blobs)
    };
    let shared = layer("opt/shared", "shared", Compression::default());
    let images = architectures
        .iter()
        .map(|architecture| {
            let own = layer("opt/own", &format!("{text} {architecture}"), Compression::Zstd { level: 3 });
            image(*architecture, vec![shared.clone(), own])
        })
        .collect();
    Fixture { index: Index::new(images, &BTreeMap::new()).unwrap(), blobs, dir }
}

fn write_layer(
    dir: &Path,
    tree: &FileTree,
    compression: Compression,
    blobs: &mut BTreeMap<Digest, PathBuf>,
) -> LayerEntry {
    let path = dir.join(format!("layer{}", blobs.len()));
    let mut writer = LayerWriter::new(File::create(&path).unwrap(), compression, 0);
    writer.add(tree).unwrap();
    let (layer, _) = writer.finish().unwrap();
    blobs.insert(layer.digest, path);
    LayerEntry::new(&layer, BTreeMap::new())
}

fn image(architecture: Architecture, layers: Vec<LayerEntry>) -> Image {
    let own = |entry| OwnLayer { entry, created_by: "test".into(), comment: None };
    assemble(&AssembleInput {
        platform: Platform::new(architecture),
        base_layers: vec![],
        base_history: vec![],
        layers: layers.into_iter().map(own).collect(),
        settings: ImageSettings { cmd: Some(vec!["/opt/own".into()]), ..ImageSettings::default() },
        created: 0,
    })
    .unwrap()
}

/// The same images without their zstd layers, for programs that do not know them.
pub(crate) fn only_gzip(index: &Index) -> Index {
    let gzip = |entry: &&LayerEntry| entry.descriptor.media_type == pixi_oci_image::MediaType::ImageLayerGzip;
    let images = index
        .images
        .iter()
        .map(|from| image(from.platform.architecture, from.layers.iter().filter(gzip).cloned().collect()));
    Index::new(images.collect(), &BTreeMap::new()).unwrap()
}
