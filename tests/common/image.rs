//! An independent reader of OCI layouts: checks every digest on the way, applies the layers as a runtime would, and
//! gives what is in the root file system.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::sandbox::sha256;

/// What a path of the image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File(Vec<u8>),
    Link(String),
    /// Of an earlier path of the same layer.
    HardLink(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub mtime: u64,
    /// The numbers of user and group.
    pub owner: (u64, u64),
}

pub type Tree = BTreeMap<String, Entry>;

/// One layer, unpacked.
pub struct Layer {
    pub digest: String,
    pub diff_id: String,
    pub size: u64,
    pub media_type: String,
    /// What the descriptor says of it.
    pub annotations: Value,
    /// In the order of the tar.
    pub entries: Vec<(String, Entry)>,
}

/// One architecture's image.
pub struct Image {
    pub platform: String,
    pub digest: String,
    pub manifest: Value,
    pub config: Value,
    pub layers: Vec<Layer>,
}

/// The image index of a tag.
pub struct Index {
    pub digest: String,
    pub document: Value,
    pub images: Vec<Image>,
}

/// Reads `tag` of the layout in `directory`.
#[track_caller]
pub fn read(directory: &Path, tag: &str) -> Index {
    let layout = Layout(directory.into());
    let marker: Value = serde_json::from_slice(&fs::read(directory.join("oci-layout")).unwrap()).unwrap();
    assert_eq!(marker["imageLayoutVersion"], "1.0.0");
    let roots = roots(directory);
    let root = roots.iter().find(|d| d["annotations"]["org.opencontainers.image.ref.name"] == tag);
    let root = root.unwrap_or_else(|| panic!("no tag {tag} in {roots:?}"));
    let document = layout.document(root);
    assert_eq!(root["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(document["mediaType"], root["mediaType"]);
    assert_eq!(document["schemaVersion"], 2);
    let images = document["manifests"].as_array().unwrap().iter().map(|child| layout.image(child)).collect();
    Index { digest: root["digest"].as_str().unwrap().into(), images, document }
}

/// Leaves one image of an index in a layout, under a name: some tools take an index for an image.
pub fn leave_one(directory: &Path, tag: &str, number: usize, name: &str) {
    let mut document = read(directory, tag).document["manifests"][number].clone();
    document["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
    let layout = directory.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&layout).unwrap()).unwrap();
    index["manifests"] = serde_json::json!([document]);
    fs::write(&layout, index.to_string()).unwrap();
}

/// The descriptors in `index.json`.
pub fn roots(directory: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

struct Layout(PathBuf);

impl Layout {
    fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = fs::read(self.0.join("blobs/sha256").join(hex)).unwrap();
        assert_eq!(sha256(&bytes), hex);
        assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
        bytes
    }

    fn document(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&self.blob(descriptor)).unwrap()
    }

    fn image(&self, descriptor: &Value) -> Image {
        let manifest = self.document(descriptor);
        assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["mediaType"], descriptor["mediaType"]);
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
        let config = self.document(&manifest["config"]);
        for key in ["os", "architecture", "variant"] {
            assert_eq!(config[key], descriptor["platform"][key], "{key}");
        }
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        let descriptors = manifest["layers"].as_array().unwrap();
        assert_eq!(diff_ids.len(), descriptors.len());
        let history = config["history"].as_array().unwrap().iter();
        let steps: Vec<&Value> = history.filter(|step| step["empty_layer"] != true).collect();
        assert_eq!(steps.len(), diff_ids.len(), "one step a layer");
        // Base images have owners; what we make has none.
        let ours = |step: &Value| step["created_by"].as_str().is_some_and(|by| by.starts_with("pixi-oci: "));
        Image {
            platform: format!("{}/{}", text(&config["os"]), text(&config["architecture"])),
            digest: text(&descriptor["digest"]),
            layers: descriptors
                .iter()
                .zip(diff_ids)
                .zip(steps)
                .map(|((layer, diff_id), step)| self.layer(layer, diff_id, ours(step)))
                .collect(),
            manifest,
            config,
        }
    }

    fn layer(&self, descriptor: &Value, diff_id: &Value, ours: bool) -> Layer {
        let blob = self.blob(descriptor);
        let media_type = text(&descriptor["mediaType"]);
        let mut tar = Vec::new();
        match media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar+gzip" => {
                flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" => tar = zstd::decode_all(&blob[..]).unwrap(),
            other => panic!("layers are compressed, not {other}"),
        }
        assert_eq!(format!("sha256:{}", sha256(&tar)), text(diff_id));
        Layer {
            digest: text(&descriptor["digest"]),
            diff_id: text(diff_id),
            size: blob.len() as u64,
            media_type,
            annotations: descriptor["annotations"].clone(),
            entries: entries(&tar, ours),
        }
    }
}

/// The entries of a tar, which must have no owner (if it is ours) and no path twice, directories before what is in them, and targets of
/// hard links before the links.
fn entries(tar: &[u8], ours: bool) -> Vec<(String, Entry)> {
    let mut found: Vec<(String, Entry)> = Vec::new();
    let mut seen: BTreeMap<String, bool> = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        if ours {
            // Directories of the base stay its users'.
            assert!(owner == (0, 0) || header.entry_type() == tar::EntryType::Directory, "{:?}", header.path());
            assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let directory = header.entry_type() == tar::EntryType::Directory;
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
        assert!(!path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
        if ours && let Some((parent, _)) = path.rsplit_once('/') {
            assert_eq!(seen.get(parent), Some(&true), "{path}: its directory comes first");
        }
        assert_eq!(seen.insert(path.clone(), directory), None, "{path} twice");
        let target = || String::from_utf8(entry.link_name_bytes().unwrap().into_owned()).unwrap();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => Kind::Link(target()),
            tar::EntryType::Link => {
                let target = target();
                assert_eq!(seen.get(&target), Some(&false), "{path} -> {target}");
                Kind::HardLink(target)
            }
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                Kind::File(bytes)
            }
            other => panic!("{path} is {other:?}"),
        };
        found.push((path, Entry { kind, mode: header.mode().unwrap(), mtime: header.mtime().unwrap(), owner }));
    }
    found
}

impl Image {
    /// The root file system, hard links as the files that they are.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        for layer in &self.layers {
            for (path, entry) in &layer.entries {
                let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
                // Nothing of a package may delete anything, and nothing replaces a directory or is written through a link.
                assert!(!name.starts_with(".wh."), "{path}");
                if !parent.is_empty() {
                    assert_eq!(tree[parent].kind, Kind::Directory, "{path}");
                }
                if let Some(old) = tree.get(path) {
                    let directories = old.kind == Kind::Directory && entry.kind == Kind::Directory;
                    assert!(directories, "{path} is in two layers");
                }
                let entry = match &entry.kind {
                    Kind::HardLink(target) => tree[target].clone(),
                    _ => entry.clone(),
                };
                tree.insert(path.clone(), entry);
            }
        }
        tree
    }

    /// The value of a variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        let env = self.config["config"]["Env"].as_array().unwrap().iter().map(|pair| pair.as_str().unwrap());
        let mut values = env.filter_map(|pair| pair.split_once('=')).filter(|(n, _)| *n == name);
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} twice");
        value
    }
}

impl Index {
    #[track_caller]
    pub fn image(&self, platform: &str) -> &Image {
        self.images.iter().find(|image| image.platform == platform).unwrap_or_else(|| panic!("no image for {platform}"))
    }
}

/// The content of a file.
#[track_caller]
pub fn content<'a>(tree: &'a Tree, path: &str) -> &'a [u8] {
    match &tree.get(path).unwrap_or_else(|| panic!("{path} is not in the image")).kind {
        Kind::File(bytes) => bytes,
        other => panic!("{path} is {other:?}"),
    }
}

/// Writes the tree to a directory, links as they are.
pub fn unpack(tree: &Tree, to: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for (path, entry) in tree {
        let path = to.join(path);
        match &entry.kind {
            Kind::Directory => fs::create_dir_all(&path).unwrap(),
            Kind::Link(target) => symlink(target, &path).unwrap(),
            Kind::HardLink(_) => unreachable!("trees have files instead"),
            Kind::File(bytes) => {
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().into()
}
