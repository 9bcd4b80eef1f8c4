//! Channels without archives: repodata made in code, for what only chooses packages.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

/// A package of a channel.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub subdir: String,
    pub name: String,
    pub version: String,
    pub build: String,
    pub build_number: u64,
    pub depends: Vec<String>,
    pub constrains: Vec<String>,
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
}

/// `SUBDIR/NAME-VERSION-BUILD` with its dependencies.
pub fn entry(file: &str, depends: &[&str]) -> Entry {
    let (subdir, file) = file.split_once('/').expect("SUBDIR/FILE");
    let mut parts = file.rsplitn(3, '-').map(str::to_owned);
    let (build, version, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let build_number = build.rsplit('_').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let depends = depends.iter().map(|text| text.to_string()).collect();
    Entry { subdir: subdir.into(), name, version, build, build_number, depends, ..Entry::default() }
}

/// Writes the repodata of a channel for both linux platforms and `noarch`.
pub fn write(root: &Path, entries: &[Entry]) {
    for subdir in ["linux-64", "linux-aarch64", "noarch"] {
        let packages: Map<String, Value> = entries.iter().filter(|e| e.subdir == subdir).map(record).collect();
        fs::create_dir_all(root.join(subdir)).unwrap();
        let document = json!({ "info": { "subdir": subdir }, "packages": {}, "packages.conda": packages });
        fs::write(root.join(subdir).join("repodata.json"), document.to_string()).unwrap();
    }
}

/// Writes the repodata of a channel whose archives are there, as [`super::workspace::Workspace`] writes them.
pub fn index(root: &Path, packages: &[super::packages::Package]) {
    for subdir in ["linux-64", "linux-aarch64", "noarch"] {
        let mut records = Map::new();
        for package in packages.iter().filter(|_| subdir != "noarch") {
            let package = package.clone().subdir(subdir);
            let bytes = fs::read(root.join(subdir).join(package.file_name())).unwrap();
            let mut record = package.index_json();
            record["sha256"] = super::sandbox::sha256(&bytes).into();
            record["size"] = bytes.len().into();
            records.insert(package.file_name(), record);
        }
        let document = json!({ "info": { "subdir": subdir }, "packages": {}, "packages.conda": records });
        fs::create_dir_all(root.join(subdir)).unwrap();
        fs::write(root.join(subdir).join("repodata.json"), document.to_string()).unwrap();
    }
}

fn record(entry: &Entry) -> (String, Value) {
    let file = format!("{}-{}-{}.conda", entry.name, entry.version, entry.build);
    // Every archive needs one, and nobody looks whether it is true.
    let sha256 = super::sandbox::sha256(format!("{}/{file}", entry.subdir).as_bytes());
    let mut record = json!({
        "name": entry.name, "version": entry.version, "build": entry.build, "build_number": entry.build_number,
        "subdir": entry.subdir, "depends": entry.depends, "constrains": entry.constrains, "sha256": sha256, "size": 7,
    });
    if entry.subdir == "noarch" {
        record["noarch"] = json!("generic");
    }
    if let Some(timestamp) = entry.timestamp {
        record["timestamp"] = json!(timestamp);
    }
    (file, record)
}
