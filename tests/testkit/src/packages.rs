//! Package archives made in code: odd ones, old ones and hostile ones.
mod trees;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use pixi_oci_layer::Digest;
use pixi_oci_package::{CondaMeta, Error, PackageInfo, read_info};
use rattler_conda_types::{
    PackageRecord, RepoDataRecord,
    package::{DistArchiveIdentifier, IndexJson, PackageFile},
};
use rattler_digest::{Sha256, compute_bytes_digest};
use serde_json::{Value, json};
use tar::{EntryType, Header};
use url::Url;

pub use self::trees::{merged, plans, tree, trees, trees_at};

pub const PREFIX: &str = "/opt/pixi/env";
pub const TIME: u64 = 1_700_000_000;
pub const ABOUT_TIME: u64 = TIME + 500;

/// As conda-build makes them: 255 bytes.
pub fn placeholder() -> String {
    let mut text = String::from("/home/builder/work/_h_env");
    while text.len() + 8 <= 255 {
        text.push_str("_placeho");
    }
    text + &"l".repeat(255 % 8)[..255 - 249]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Conda,
    TarBz2,
}

/// One tar entry, and how `paths.json` lists it.
#[derive(Clone)]
pub struct Item {
    pub path: String,
    pub kind: EntryType,
    pub target: String,
    pub body: Vec<u8>,
    pub mode: u32,
    pub mtime: u64,
    /// Written before the entry, verbatim.
    pub before: Vec<u8>,
    /// What `paths.json` says; `None` for an entry that is not listed.
    pub listed: Option<Value>,
    pub in_info: bool,
}

/// What cannot be compressed, the same on every machine.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

pub fn file(path: &str, body: impl AsRef<[u8]>) -> Item {
    let sha256 = Digest::of(body.as_ref()).hex();
    Item {
        path: path.into(),
        kind: EntryType::Regular,
        target: String::new(),
        body: body.as_ref().into(),
        mode: 0o644,
        mtime: TIME,
        before: Vec::new(),
        listed: Some(
            json!({"_path": path, "path_type": "hardlink", "sha256": sha256, "size_in_bytes": body.as_ref().len()}),
        ),
        in_info: false,
    }
}

fn link(path: &str, target: &str, kind: EntryType, path_type: &str) -> Item {
    let listed = Some(json!({"_path": path, "path_type": path_type}));
    Item { kind, target: target.into(), mode: 0o777, listed, ..file(path, "") }
}

pub fn symlink(path: &str, target: &str) -> Item {
    link(path, target, EntryType::Symlink, "softlink")
}

/// A hard link inside the archive. Listed with the digest of the file that it is.
pub fn hard_link(path: &str, target: &Item) -> Item {
    let mut item = link(path, &target.path, EntryType::Link, "hardlink");
    let mut listed = target.listed.clone().unwrap_or_else(|| item.listed.clone().unwrap());
    listed["_path"] = path.into();
    item.listed = Some(listed);
    item
}

pub fn directory(path: &str) -> Item {
    Item { mode: 0o755, listed: None, ..link(path, "", EntryType::Directory, "directory") }
}

impl Item {
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }
    pub fn mtime(self, mtime: u64) -> Self {
        Self { mtime, ..self }
    }
    pub fn unlisted(self) -> Self {
        Self { listed: None, ..self }
    }
    pub fn list(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.listed.get_or_insert_with(|| json!({"_path": self.path, "path_type": "hardlink"}))[key] = value.into();
        self
    }
    pub fn no_digest(mut self) -> Self {
        let listed = self.listed.as_mut().unwrap().as_object_mut().unwrap();
        listed.remove("sha256");
        listed.remove("size_in_bytes");
        self
    }
    pub fn patched(self, mode: &str) -> Self {
        self.list("file_mode", mode).list("prefix_placeholder", placeholder())
    }
    /// Archived as something else than it is listed as.
    pub fn really(self, kind: EntryType) -> Self {
        Self { kind, ..self }
    }
    pub fn in_info(self) -> Self {
        Self { in_info: true, listed: None, ..self }
    }
}

#[derive(Clone)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub build: String,
    pub index: Value,
    pub items: Vec<Item>,
    /// `info/paths.json`, instead of the one that follows from the items.
    pub paths_json: Option<String>,
    /// `info/files` and its sisters instead of `paths.json`.
    pub deprecated: bool,
    pub entry_points: Option<Vec<String>>,
    pub about: Option<u64>,
    pub format: Format,
    pub level: i32,
}

pub fn package(name: &str, items: impl IntoIterator<Item = Item>) -> Package {
    Package {
        name: name.into(),
        version: "1.0".into(),
        build: "h1234567_0".into(),
        index: json!({"subdir": "linux-64", "arch": "x86_64", "platform": "linux", "license": "MIT", "timestamp": 1_700_000_000_000_u64}),
        items: items.into_iter().collect(),
        paths_json: None,
        deprecated: false,
        entry_points: None,
        about: Some(ABOUT_TIME),
        format: Format::Conda,
        level: 3,
    }
}

impl Package {
    pub fn version(self, version: &str) -> Self {
        Self { version: version.into(), ..self }
    }
    pub fn depends(mut self, depends: &[&str]) -> Self {
        self.index["depends"] = json!(depends);
        self
    }
    pub fn noarch(mut self, kind: &str) -> Self {
        self.index = json!({"subdir": "noarch", "noarch": kind, "license": "MIT", "depends": self.index["depends"]});
        if self.index["depends"].is_null() {
            self.index["depends"] = json!(["python"]);
        }
        self
    }
    pub fn entry_points(self, entry_points: &[&str]) -> Self {
        Self { entry_points: Some(entry_points.iter().map(|s| (*s).into()).collect()), ..self }
    }
    pub fn tar_bz2(self) -> Self {
        Self { format: Format::TarBz2, ..self }
    }
    pub fn deprecated(self) -> Self {
        Self { deprecated: true, ..self }
    }
    pub fn paths_json(self, text: impl Into<String>) -> Self {
        Self { paths_json: Some(text.into()), ..self }
    }
    pub fn subdir(mut self, subdir: &str) -> Self {
        if self.index["subdir"] != "noarch" {
            self.index["subdir"] = subdir.into();
            self.index["arch"] = if subdir == "linux-64" { "x86_64".into() } else { "aarch64".into() };
        }
        self
    }

    pub fn index_json(&self) -> Value {
        let mut index =
            json!({"name": self.name, "version": self.version, "build": self.build, "build_number": 0, "depends": []});
        for (key, value) in self.index.as_object().unwrap() {
            index[key] = value.clone();
        }
        if index["depends"].is_null() {
            index["depends"] = json!([]);
        }
        index
    }

    pub fn record(&self) -> PackageRecord {
        let index = IndexJson::from_slice(self.index_json().to_string().as_bytes()).unwrap();
        PackageRecord::from_index_json(index, None, None, None).unwrap()
    }

    /// The files of `info/`, in the order of their names.
    pub fn info_items(&self) -> Vec<Item> {
        let mut files = vec![("info/index.json", self.index_json().to_string())];
        if let Some(entry_points) = &self.entry_points {
            let link =
                json!({"noarch": {"type": "python", "entry_points": entry_points}, "package_metadata_version": 1});
            files.push(("info/link.json", link.to_string()));
        }
        let listed: Vec<_> = self.items.iter().filter_map(|item| item.listed.clone()).collect();
        if self.deprecated {
            let mut lists = [String::new(), String::new(), String::new(), String::new()];
            for listed in &listed {
                let path = listed["_path"].as_str().unwrap();
                lists[0] += &format!("{path}\n");
                if let Some(prefix) = listed["prefix_placeholder"].as_str() {
                    lists[1] += &format!("{prefix} {} {path}\n", listed["file_mode"].as_str().unwrap());
                }
                if listed["no_link"] == true {
                    lists[2 + usize::from(listed["path_type"] == "softlink")] += &format!("{path}\n");
                }
            }
            for (name, list) in
                ["info/files", "info/has_prefix", "info/no_link", "info/no_softlink"].into_iter().zip(lists)
            {
                if name == "info/files" || !list.is_empty() {
                    files.push((name, list));
                }
            }
        } else {
            let text = json!({"paths": listed, "paths_version": 1}).to_string();
            files.push(("info/paths.json", self.paths_json.clone().unwrap_or(text)));
        }
        let mut items: Vec<_> =
            files.into_iter().map(|(path, text)| file(path, text).in_info().mtime(TIME + 10)).collect();
        if let Some(mtime) = self.about {
            items.insert(0, file("info/about.json", "{}").in_info().mtime(mtime));
        }
        items.extend(self.items.iter().filter(|item| item.in_info).cloned());
        items
    }

    pub fn contents(&self) -> Vec<Item> {
        self.items.iter().filter(|item| !item.in_info).cloned().collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        match self.format {
            Format::Conda => {
                let stem = format!("{}-{}-{}", self.name, self.version, self.build);
                let info = zstd::encode_all(&*tar(&self.info_items()), self.level).unwrap();
                let contents = zstd::encode_all(&*tar(&self.contents()), self.level).unwrap();
                zip(&[
                    ("metadata.json".into(), br#"{"conda_pkg_format_version": 2}"#.to_vec()),
                    (format!("pkg-{stem}.tar.zst"), contents),
                    (format!("info-{stem}.tar.zst"), info),
                ])
            }
            Format::TarBz2 => {
                let items: Vec<_> = self.info_items().into_iter().chain(self.contents()).collect();
                bzip2_bytes(&tar(&items))
            }
        }
    }

    pub fn file_name(&self) -> String {
        let extension = if self.format == Format::Conda { "conda" } else { "tar.bz2" };
        format!("{}-{}-{}.{extension}", self.name, self.version, self.build)
    }

    pub fn write(&self, directory: &Path) -> Built {
        self.write_bytes(directory, self.bytes())
    }

    pub fn write_bytes(&self, directory: &Path, bytes: Vec<u8>) -> Built {
        let path = directory.join(self.file_name());
        fs::write(&path, &bytes).unwrap();
        Built { path, sha256: compute_bytes_digest::<Sha256>(&bytes), size: bytes.len() as u64, package: self.clone() }
    }
}

/// A package whose archive is on disk.
#[derive(Clone)]
pub struct Built {
    pub path: PathBuf,
    pub sha256: rattler_digest::Sha256Hash,
    pub size: u64,
    pub package: Package,
}

impl Built {
    /// What a lock file would say.
    pub fn repodata_record(&self) -> RepoDataRecord {
        let index = IndexJson::from_slice(self.package.index_json().to_string().as_bytes()).unwrap();
        RepoDataRecord {
            package_record: PackageRecord::from_index_json(index, Some(self.size), Some(self.sha256), None).unwrap(),
            identifier: DistArchiveIdentifier::try_from_filename(&self.package.file_name()).unwrap(),
            url: Url::from_file_path(&self.path).unwrap(),
            channel: Some("https://example.org/channel".into()),
        }
    }

    pub fn meta(&self) -> CondaMeta {
        let record = self.repodata_record();
        CondaMeta { url: record.url, channel: record.channel, sha256: self.sha256, size: self.size }
    }

    pub fn info(&self) -> Result<PackageInfo, Error> {
        read_info(&self.path, &self.package.record())
    }
}

/// A tar as GNU tar writes it.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend(&item.before);
        if item.path.len() > 100 {
            entry(
                &mut bytes,
                EntryType::GNULongName,
                "././@LongLink",
                "",
                0,
                0,
                &[item.path.as_bytes(), b"\0"].concat(),
            );
        }
        if item.target.len() > 100 {
            entry(
                &mut bytes,
                EntryType::GNULongLink,
                "././@LongLink",
                "",
                0,
                0,
                &[item.target.as_bytes(), b"\0"].concat(),
            );
        }
        entry(&mut bytes, item.kind, &item.path, &item.target, item.mode, item.mtime, &item.body);
    }
    bytes.extend([0; 1024]);
    bytes
}

/// One header and body; names longer than fit are cut.
pub fn entry(bytes: &mut Vec<u8>, kind: EntryType, path: &str, target: &str, mode: u32, mtime: u64, body: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_size(body.len() as u64);
    let old = header.as_old_mut();
    let cut = |text: &str| text.as_bytes()[..text.len().min(100)].to_vec();
    old.name[..cut(path).len()].copy_from_slice(&cut(path));
    old.linkname[..cut(target).len()].copy_from_slice(&cut(target));
    header.set_cksum();
    bytes.extend(header.as_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

/// A PAX header with the given records, to be put before an entry.
pub fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while rest.len() + length.to_string().len() != length {
            length += 1;
        }
        body += &format!("{length}{rest}");
    }
    let mut bytes = Vec::new();
    entry(&mut bytes, EntryType::XHeader, "PaxHeaders/x", "", 0o644, 0, body.as_bytes());
    bytes
}

pub fn bzip2_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip of stored members.
pub fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    zip_with(members, zip::CompressionMethod::Stored)
}

pub fn zip_with(members: &[(String, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // The same bytes at every time of day: hashes of packages are in images.
    let time = zip::DateTime::default();
    let options = zip::write::SimpleFileOptions::default().compression_method(method).last_modified_time(time);
    for (name, bytes) in members {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A Python of which only the record matters.
pub fn python(version: &str) -> Package {
    package("python", [file("bin/python3.12", "ELF").mode(0o755)]).version(version)
}
