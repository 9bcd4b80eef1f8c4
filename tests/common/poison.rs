//! An image with other bytes than it should have, whose digests are all right.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::sandbox::sha256;

/// Changes the last byte of the file `path` in the layer of the layout's images that holds `label`, what the package's record
/// says of it, and everything that names the layer but for its key.
pub fn poison(layout: &Path, label: &str, path: &str) {
    forge(layout, label, |tar| {
        let (begin, end) = {
            let mut archive = tar::Archive::new(&tar[..]);
            let entries = archive.entries().unwrap().map(Result::unwrap);
            let mut file = entries.filter(|entry| entry.path_bytes().as_ref() == path.as_bytes());
            let file = file.next().unwrap_or_else(|| panic!("no {path}"));
            (file.raw_file_position() as usize, (file.raw_file_position() + file.size()) as usize)
        };
        let true_hash = sha256(&tar[begin..end]);
        tar[end - 1] ^= 1;
        let false_hash = sha256(&tar[begin..end]);
        // The package's record says so, too.
        let record = tar.windows(64).position(|text| text == true_hash.as_bytes()).expect("the record has its hash");
        tar[record..record + 64].copy_from_slice(false_hash.as_bytes());
    });
}

/// Changes the tar of the layer of the layout's images that holds `label`, and everything that names the layer but for its key.
pub fn forge(layout: &Path, label: &str, change: impl Fn(&mut Vec<u8>)) {
    let holds = |layer: &Value| {
        let held = layer["annotations"]["dev.pixi-oci.packages"].as_str();
        held.is_some_and(|held| held.split(", ").any(|l| l == label))
    };
    let find = |layers: &[Value]| layers.iter().position(holds).unwrap_or_else(|| panic!("no layer holds {label}"));
    forge_layer(layout, find, change);
}

/// The same of the application layer (0) or of the environment layer (1).
pub fn forge_from_top(layout: &Path, number: usize, change: impl Fn(&mut Vec<u8>)) {
    forge_layer(layout, |layers| layers.len() - 1 - number, change);
}

/// The tar with another content of a file.
pub fn with_file(tar: &[u8], path: &str, content: &[u8]) -> Vec<u8> {
    let mut changed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        if entry.path_bytes().as_ref() == path.as_bytes() {
            body = content.to_vec();
            header.set_size(body.len() as u64);
            header.set_cksum();
        }
        changed.append(&header, &body[..]).unwrap();
    }
    changed.into_inner().unwrap()
}

fn forge_layer(layout: &Path, find: impl Fn(&[Value]) -> usize, change: impl Fn(&mut Vec<u8>)) {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let root = index["manifests"][0].clone();
    let mut document = read(layout, &root);
    for child in document["manifests"].as_array_mut().unwrap() {
        let mut manifest = read(layout, child);
        let mut config = read(layout, &manifest["config"]);
        let layers = manifest["layers"].as_array_mut().unwrap();
        let number = find(layers);
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(&blob(layout, &layers[number])[..]).read_to_end(&mut tar).unwrap();
        change(&mut tar);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar).unwrap();
        write(layout, &mut layers[number], &packed.finish().unwrap());
        config["rootfs"]["diff_ids"][number] = format!("sha256:{}", sha256(&tar)).into();
        write(layout, &mut manifest["config"], config.to_string().as_bytes());
        write(layout, child, manifest.to_string().as_bytes());
    }
    let mut root = root;
    write(layout, &mut root, document.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

fn read(layout: &Path, descriptor: &Value) -> Value {
    serde_json::from_slice(&blob(layout, descriptor)).unwrap()
}

/// Writes a blob and has the descriptor name it.
fn write(layout: &Path, descriptor: &mut Value, bytes: &[u8]) {
    let hex = sha256(bytes);
    fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
    descriptor["digest"] = format!("sha256:{hex}").into();
    descriptor["size"] = bytes.len().into();
}
