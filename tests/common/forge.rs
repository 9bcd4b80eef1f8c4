//! Changes an image as somebody would who knows how OCI layouts hang together: every digest, size and diff id is right
//! again, and the history says what it said.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use serde_json::{Value, json};

use super::sandbox::sha256;

/// One entry of a tar.
#[derive(Clone)]
pub struct Entry {
    pub header: tar::Header,
    pub path: String,
    pub target: String,
    pub content: Vec<u8>,
}

impl Entry {
    pub fn file(path: &str, content: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        Self { header, path: path.into(), target: String::new(), content: content.into() }
    }
}

/// The layers of the image for `architecture` in the layout at `dir`, changed by `change`: the purpose of each layer, as
/// its history says, and its entries.
pub fn forge(dir: &Path, architecture: &str, mut change: impl FnMut(&str, &mut Vec<Entry>)) {
    rewrite(dir, architecture, |config, manifest| {
        let steps: Vec<String> = history(config);
        for (number, step) in steps.iter().enumerate() {
            let descriptor = &mut manifest["layers"][number];
            let mut entries = read(dir, descriptor);
            change(step, &mut entries);
            let tar = write(&entries);
            config["rootfs"]["diff_ids"][number] = format!("sha256:{}", sha256(&tar)).into();
            descriptor["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
            put(dir, descriptor, &tar);
        }
    });
}

/// The configuration and the manifest of the image for `architecture`, changed by `change`.
pub fn rewrite(dir: &Path, architecture: &str, change: impl FnOnce(&mut Value, &mut Value)) {
    let mut root = json_of(&fs::read(dir.join("index.json")).unwrap());
    let mut index = document(dir, &root["manifests"][0]);
    let images = index["manifests"].as_array_mut().unwrap();
    let image = images.iter_mut().find(|image| image["platform"]["architecture"] == architecture).unwrap();
    let mut manifest = document(dir, image);
    let mut config = document(dir, &manifest["config"]);
    change(&mut config, &mut manifest);
    put(dir, &mut manifest["config"], config.to_string().as_bytes());
    put(dir, image, manifest.to_string().as_bytes());
    put(dir, &mut root["manifests"][0], index.to_string().as_bytes());
    fs::write(dir.join("index.json"), root.to_string()).unwrap();
}

/// Removes the layer whose history says so.
pub fn remove_layer(config: &mut Value, manifest: &mut Value, step: &str) {
    let number = history(config).iter().position(|own| own == step).unwrap();
    manifest["layers"].as_array_mut().unwrap().remove(number);
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().remove(number);
    config["history"].as_array_mut().unwrap().remove(number);
}

/// Adds a layer on top.
pub fn add_layer(dir: &Path, config: &mut Value, manifest: &mut Value, created_by: &str, entries: &[Entry]) {
    let tar = write(entries);
    let mut descriptor = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar" });
    put(dir, &mut descriptor, &tar);
    manifest["layers"].as_array_mut().unwrap().push(descriptor);
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(format!("sha256:{}", sha256(&tar)).into());
    config["history"].as_array_mut().unwrap().push(json!({ "created_by": created_by }));
}

fn history(config: &Value) -> Vec<String> {
    let steps = config["history"].as_array().unwrap().iter().filter(|step| step["empty_layer"] != true);
    steps.map(|step| step["created_by"].as_str().unwrap().trim_start_matches("pixi-oci: ").to_owned()).collect()
}

fn blob(dir: &Path, descriptor: &Value) -> Vec<u8> {
    fs::read(dir.join("blobs/sha256").join(&descriptor["digest"].as_str().unwrap()[7..])).unwrap()
}

fn document(dir: &Path, descriptor: &Value) -> Value {
    json_of(&blob(dir, descriptor))
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn put(dir: &Path, descriptor: &mut Value, bytes: &[u8]) {
    let digest = sha256(bytes);
    let place = dir.join("blobs/sha256").join(&digest);
    // A link to a cache must not be written through.
    let _ = fs::remove_file(&place);
    fs::write(place, bytes).unwrap();
    descriptor["digest"] = format!("sha256:{digest}").into();
    descriptor["size"] = bytes.len().into();
}

fn read(dir: &Path, descriptor: &Value) -> Vec<Entry> {
    let bytes = blob(dir, descriptor);
    let media_type = descriptor["mediaType"].as_str().unwrap();
    let plain: Box<dyn Read> = match media_type.rsplit('.').next().unwrap() {
        "tar" => Box::new(&bytes[..]),
        "tar+gzip" => Box::new(flate2::read::MultiGzDecoder::new(&bytes[..])),
        other => panic!("{other}"),
    };
    let mut archive = tar::Archive::new(plain);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let target = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned()).unwrap_or_default();
        Entry {
            header: entry.header().clone(),
            path: entry.path().unwrap().to_str().unwrap().to_owned(),
            target,
            content,
        }
    });
    entries.collect()
}

fn write(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = entry.header.clone();
        header.set_size(entry.content.len() as u64);
        if entry.target.is_empty() {
            builder.append_data(&mut header, &entry.path, &entry.content[..]).unwrap();
        } else {
            builder.append_link(&mut header, &entry.path, &entry.target).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Documents in a map, for tests that look at what was said of which rule.
pub fn by_rule(report: &Value) -> BTreeMap<String, Vec<String>> {
    let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        // The forger is another tool that writes documents anew, and is said to be.
        if finding["rule"] == "not-compared" {
            continue;
        }
        rules.entry(text("rule")).or_default().push(format!("{} {}", text("path"), text("detail")).trim().to_owned());
    }
    rules
}
