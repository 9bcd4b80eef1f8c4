//! Each rule on a layout that breaks it, and a whole layout that breaks none.

mod entries;
pub(crate) mod fixture;
mod written;

use std::fs;

use serde_json::{Value, json};
use tar::EntryType::{Directory, Regular, Symlink};

use crate::{Error, LayerReport, Rule, Severity, verify_layout};
use fixture::{GZIP, Layout, ZSTD, digest, gzip, tar_of};

fn simple_tar() -> Vec<u8> {
    tar_of(&[("app/", Directory, 0o755, ""), ("app/run", Regular, 0o755, "#!"), ("app/link", Symlink, 0o777, "/x")])
}

/// A change to an image configuration and image manifest.
type Change<'a> = &'a dyn Fn(&mut Value, &mut Value);

/// The rules that an image breaks after `change` to its configuration and manifest.
fn broken_by(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<Rule> {
    let mut layout = Layout::new();
    let image = layout.image(&[simple_tar()], change);
    layout.name(image, "latest");
    layout.broken()
}

/// The same for an image with one layer of this media type, whose tar should be [`simple_tar`].
fn broken_by_layer(media_type: &str, bytes: &[u8]) -> Vec<Rule> {
    let mut layout = Layout::new();
    let layer = layout.put(media_type, bytes);
    let image = layout.image(&[simple_tar()], |_, manifest| manifest["layers"] = json!([layer]));
    layout.name(image, "latest");
    layout.broken()
}

#[test]
fn a_whole_layout_has_no_findings() {
    let mut layout = Layout::new();
    let second = tar_of(&[("app/data", Regular, 0o644, "1")]);
    let tars = [simple_tar(), second];
    let image = layout.image(&tars, |_, _| {});
    let index = layout.index(std::slice::from_ref(&image));
    layout.name(index.clone(), "v1");
    let report = layout.verify(Some("v1")).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_sound());
    assert_eq!(report.roots[0].name.as_deref(), Some("v1"));
    assert_eq!(report.roots[0].digest, index["digest"]);
    let checked = &report.images[0];
    assert_eq!((&*checked.platform, checked.base_layers), ("linux/amd64", 0));
    assert_eq!(checked.manifest, image["digest"]);
    let recomputed: Vec<_> = tars
        .iter()
        .zip([3, 1])
        .map(|(tar, entries)| {
            let blob = gzip(tar);
            let (size, tar_size) = (blob.len() as u64, tar.len() as u64);
            LayerReport { digest: digest(&blob), size, diff_id: digest(tar), tar_size, entries }
        })
        .collect();
    assert_eq!(checked.layers, recomputed);
}

#[test]
fn the_report_has_the_names_that_are_promised() {
    let mut layout = Layout::new();
    let image = layout.image(&[simple_tar()], |config, _| config["architecture"] = "arm64".into());
    layout.name(image, "v1");
    let report = serde_json::to_value(layout.verify(None).unwrap()).unwrap();
    let digest = &report["roots"][0]["digest"];
    assert_eq!(report["roots"][0]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(report["images"][0]["manifest"], *digest);
    assert_eq!(report["images"][0]["baseLayers"], 0);
    assert_eq!(report["images"][0]["layers"][0]["tarSize"], simple_tar().len());
    assert_eq!(
        report["findings"][0],
        json!({
            "severity": "error", "rule": "platform", "subject": digest,
            "detail": "an index says linux/amd64, its image configuration linux/arm64",
        })
    );
}

#[test]
fn layers_may_be_plain_or_zstd_or_of_several_members() {
    let tar = simple_tar();
    let (first, second) = tar.split_at(700);
    let zstd = |part| zstd::encode_all(part, 1).unwrap();
    assert_eq!(broken_by_layer("application/vnd.oci.image.layer.v1.tar", &tar), []);
    assert_eq!(broken_by_layer(GZIP, &[gzip(first), gzip(second)].concat()), []);
    assert_eq!(broken_by_layer(ZSTD, &[zstd(first), zstd(second)].concat()), []);
}

#[test]
fn only_the_named_image_is_verified() {
    let mut layout = Layout::new();
    let good = layout.image(&[simple_tar()], |_, _| {});
    layout.name(good, "good");
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    layout.name(json!({ "mediaType": manifest, "digest": "sha256:../../secret", "size": 1 }), "bad");
    assert_eq!(layout.verify(Some("good")).unwrap().findings, []);
    assert_eq!(layout.broken(), [Rule::DigestGrammar]);
    let error = layout.verify(Some("none")).unwrap_err().to_string();
    assert!(error.ends_with("it has good, bad"), "{error}");
}

#[test]
fn what_is_no_layout_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify_layout(dir.path(), None), Err(Error::NotALayout { file: "oci-layout", .. })));
    let layout = Layout::new();
    assert!(matches!(layout.verify(None), Err(Error::Empty { .. })));
    for bad in [
        r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_string(),
        "[]".into(),
        r#"{"manifests":[{}]}"#.into(),
        format!(r#"{{"x":{}"#, "[".repeat(1 << 20)),
    ] {
        fs::write(layout.path().join("index.json"), &bad).unwrap();
        assert!(matches!(verify_layout(layout.path(), None), Err(Error::BadIndex { .. })), "{bad:.60}");
    }
    fs::write(layout.path().join("index.json"), " ".repeat(5 << 20)).unwrap();
    assert!(matches!(verify_layout(layout.path(), None), Err(Error::NotALayout { file: "index.json", .. })));
}

#[test]
fn damaged_blobs_are_found() {
    let mut layout = Layout::new();
    let image = layout.image(&[simple_tar()], |_, _| {});
    let index = layout.index(&[image]);
    layout.name(index, "latest");
    let blobs: Vec<_> = fs::read_dir(layout.path().join("blobs/sha256")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(blobs.len(), 4);
    for path in blobs {
        let whole = fs::read(&path).unwrap();
        let (mut flipped, mut longer, mut shorter) = (whole.clone(), whole.clone(), whole.clone());
        *flipped.last_mut().unwrap() ^= 1;
        longer.push(0);
        shorter.pop();
        for (rule, bytes) in [(Rule::Digest, flipped), (Rule::Size, longer), (Rule::Size, shorter)] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(layout.broken(), [rule]);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(layout.broken(), [Rule::MissingBlob]);
        // The right bytes at the end of a link are still not in the layout.
        let elsewhere = layout.path().join("elsewhere");
        fs::write(&elsewhere, &whole).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(layout.broken(), [Rule::MissingBlob]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(layout.broken(), []);
}

#[test]
fn documents_that_disagree_are_found() {
    let other = digest(b"other");
    let cases: &[(Rule, Change<'_>)] = &[
        (Rule::DiffId, &|config, _| config["rootfs"]["diff_ids"] = json!([other])),
        (Rule::LayerCount, &|config, _| config["rootfs"]["diff_ids"] = json!([])),
        (Rule::LayerCount, &|config, _| config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(other))),
        (Rule::History, &|config, _| config["history"] = json!([])),
        (Rule::History, &|config, _| config["history"][0]["empty_layer"] = true.into()),
        (Rule::Platform, &|config, _| config["architecture"] = "arm64".into()),
        (Rule::Platform, &|config, _| config["os"] = "windows".into()),
        (Rule::Document, &|config, _| config["rootfs"]["type"] = "other".into()),
        (Rule::Document, &|config, _| _ = config.as_object_mut().unwrap().remove("os")),
        (Rule::Document, &|_, manifest| manifest["manifests"] = json!([])),
        (Rule::Document, &|_, manifest| manifest["Manifests"] = json!([])),
        (Rule::Document, &|_, manifest| manifest["Layers"] = json!([])),
        (Rule::Document, &|_, manifest| manifest["schemaVersion"] = 1.into()),
        (Rule::Document, &|_, manifest| manifest["layers"][0]["size"] = (-1).into()),
        (Rule::Document, &|_, manifest| manifest["layers"][0]["size"] = "1".into()),
        (Rule::MediaType, &|_, manifest| manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into()),
        (Rule::MediaType, &|_, manifest| _ = manifest.as_object_mut().unwrap().remove("mediaType")),
        (Rule::MediaType, &|_, manifest| manifest["layers"][0]["mediaType"] = "application/x".into()),
        (Rule::Size, &|_, manifest| manifest["layers"][0]["size"] = 1.into()),
        (Rule::DigestGrammar, &|_, manifest| manifest["layers"][0]["digest"] = "sha256:../../index.json".into()),
        (Rule::MissingBlob, &|_, manifest| manifest["layers"][0]["digest"] = json!(other)),
    ];
    for (number, (rule, change)) in cases.iter().enumerate() {
        assert_eq!(broken_by(change), [*rule], "case {number}");
    }
}

#[test]
fn what_is_legal_but_strange_is_a_notice() {
    let cases: [(Rule, Change<'_>); 2] = [
        (Rule::History, &|config, _| config["history"] = Value::Null),
        (Rule::ForeignLayer, &|_, manifest| manifest["layers"][0]["urls"] = json!(["http://a"])),
    ];
    for (rule, change) in cases {
        let mut layout = Layout::new();
        let image = layout.image(&[simple_tar()], change);
        layout.name(image, "latest");
        let report = layout.verify(None).unwrap();
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.rule)).collect();
        assert_eq!(found, [(Severity::Notice, rule)]);
        assert!(report.is_sound());
    }
}

#[test]
fn documents_that_readers_understand_differently_are_found() {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let deep = format!(r#"{{"schemaVersion":2,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let twice = r#"{"schemaVersion":2,"layers":[],"layers":[]}"#.to_string();
    for text in [deep, twice, "[]".into(), "\u{feff}{}".into(), String::new()] {
        let mut layout = Layout::new();
        let manifest = layout.put(media_type, text.as_bytes());
        layout.name(manifest, "latest");
        assert_eq!(layout.broken(), [Rule::Document], "{text:.60}");
    }
    let mut layout = Layout::new();
    let manifest = layout.put(media_type, &vec![b' '; 5 << 20]);
    layout.name(manifest, "latest");
    assert_eq!(layout.broken(), [Rule::Document]);
}

#[test]
fn settings_that_a_runtime_must_not_use_are_found() {
    for (key, value) in [
        ("Env", json!(["A=1\nB=2"])),
        ("Env", json!(["A"])),
        ("WorkingDir", json!("/proc/self/fd/7")),
        ("WorkingDir", json!("app")),
        ("User", json!("4294967296")),
        ("User", json!("1:99999999999999999999999")),
    ] {
        let found = broken_by(|config, _| config["config"][key] = value.clone());
        assert_eq!(found, [Rule::Settings], "{key} {value}");
    }
}

#[test]
fn an_index_has_each_platform_once() {
    let mut layout = Layout::new();
    let one = layout.image(&[simple_tar()], |_, _| {});
    let two = layout.image(&[tar_of(&[])], |_, _| {});
    let index = layout.index(&[one.clone(), two]);
    layout.name(index, "latest");
    assert_eq!(layout.broken(), [Rule::Platform]);

    let mut unnamed = one;
    unnamed.as_object_mut().unwrap().remove("platform");
    let index = layout.index(&[unnamed]);
    layout.roots.clear();
    layout.name(index, "latest");
    let report = layout.verify(None).unwrap();
    assert_eq!((report.findings[0].severity, report.findings[0].rule), (Severity::Notice, Rule::Platform));
}

#[test]
fn indexes_that_nest_without_end_are_found() {
    let mut layout = Layout::new();
    let mut index = layout.index(&[]);
    for _ in 0..10 {
        index = layout.index(&[index]);
    }
    layout.name(index, "latest");
    assert!(layout.broken().contains(&Rule::Document));
}

#[test]
fn what_is_no_image_is_found_unless_it_attests_of_one() {
    let mut layout = Layout::new();
    let config = layout.put("application/vnd.oci.empty.v1+json", b"{}");
    let sbom = layout.put("application/spdx+json", b"{ }");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [sbom] });
    let mut manifest = layout.put_json(media_type, &manifest);
    layout.name(manifest.clone(), "sbom");
    assert_eq!(layout.broken(), [Rule::MediaType]);

    manifest["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let image = layout.image(&[simple_tar()], |_, _| {});
    let index = layout.index(&[image, manifest]);
    layout.roots.clear();
    layout.name(index, "latest");
    assert_eq!(layout.broken(), []);
    assert_eq!(layout.verify(None).unwrap().images.len(), 1);
    fs::write(layout.blob_path(&sbom), b"{}\n").unwrap();
    assert_eq!(layout.broken(), [Rule::Digest]);
}

#[test]
fn what_cannot_be_decompressed_is_found() {
    let tar = simple_tar();
    let garbage = [gzip(&tar), b"garbage".to_vec()].concat();
    let mut cut = gzip(&tar);
    cut.truncate(cut.len() - 4);
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 300 << 20), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    for (what, media_type, bytes) in
        [("garbage", GZIP, garbage), ("cut", GZIP, cut), ("plain", GZIP, tar), ("bomb", ZSTD, bomb)]
    {
        assert_eq!(broken_by_layer(media_type, &bytes), [Rule::Compression], "{what}");
    }
}
