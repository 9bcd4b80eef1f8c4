//! Each rule on a layout that breaks it, and a whole layout that breaks none.

mod fixture;

use std::fs;

use serde_json::{Value, json};
use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};

use crate::{Error, Rule, Severity, verify_layout};
use fixture::{Layout, Line, append, digest, gzip, rules, tar_of, verify_tars};

fn simple_tar() -> Vec<u8> {
    tar_of(&[("app/", Directory, 0o755, ""), ("app/run", Regular, 0o755, "#!"), ("app/link", Symlink, 0o777, "/x")])
}

/// The rules that an image breaks after `change` to its configuration and manifest.
fn broken_by(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<(Severity, Rule)> {
    let mut layout = Layout::new();
    let image = layout.image(&[simple_tar()], change);
    layout.name(image, "latest");
    layout.verify(None).unwrap().findings.into_iter().map(|f| (f.severity, f.rule)).collect()
}

#[test]
fn a_whole_layout_has_no_findings() {
    let mut layout = Layout::new();
    let second = tar_of(&[("app/data", Regular, 0o644, "1")]);
    let image = layout.image(&[simple_tar(), second.clone()], |_, _| {});
    let index = layout.index(&[image]);
    layout.name(index, "v1");
    let report = layout.verify(Some("v1")).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.is_sound());
    let image = &report.images[0];
    assert_eq!(image.platform, "linux/amd64");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.layers[0].entries, 3);
    assert_eq!(image.layers[1].diff_id, digest(&second));
    assert_eq!(image.layers[1].tar_size, second.len() as u64);
}

#[test]
fn plain_and_zstd_layers_are_read() {
    let tar = simple_tar();
    for (media_type, bytes) in [
        ("application/vnd.oci.image.layer.v1.tar", tar.clone()),
        ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(tar.as_slice(), 1).unwrap()),
    ] {
        let mut layout = Layout::new();
        let layer = layout.put(media_type, &bytes);
        let image = layout.image(std::slice::from_ref(&tar), |_, manifest| manifest["layers"] = json!([layer]));
        layout.name(image, "latest");
        assert_eq!(layout.verify(None).unwrap().findings, [], "{media_type}");
    }
}

#[test]
fn only_the_named_image_is_verified() {
    let mut layout = Layout::new();
    let good = layout.image(&[simple_tar()], |_, _| {});
    layout.name(good, "good");
    layout.roots.push(json!({ "mediaType": "x", "digest": "sha256:../../secret", "size": 1,
        "annotations": { "org.opencontainers.image.ref.name": "bad" } }));
    assert_eq!(layout.verify(Some("good")).unwrap().findings, []);
    assert!(!layout.verify(None).unwrap().is_sound());
    let error = layout.verify(Some("none")).unwrap_err().to_string();
    assert!(error.ends_with("it has good, bad"), "{error}");
}

#[test]
fn what_is_no_layout_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify_layout(dir.path(), None), Err(Error::NotALayout { file: "oci-layout", .. })));
    let layout = Layout::new();
    assert!(matches!(layout.verify(None), Err(Error::Empty { .. })));
    fs::write(layout.path().join("index.json"), r#"{"manifests":[],"layers":[]}"#).unwrap();
    assert!(matches!(verify_layout(layout.path(), None), Err(Error::BadIndex { .. })));
}

#[test]
fn damaged_blobs_are_found() {
    for rule in [Rule::Digest, Rule::Size] {
        let mut layout = Layout::new();
        let image = layout.image(&[simple_tar()], |_, _| {});
        layout.name(image, "latest");
        for entry in fs::read_dir(layout.path().join("blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let whole = fs::read(&path).unwrap();
            let mut bytes = whole.clone();
            match rule {
                Rule::Digest => *bytes.last_mut().unwrap() ^= 1,
                _ => bytes.push(0),
            }
            fs::write(&path, &bytes).unwrap();
            let report = layout.verify(None).unwrap();
            assert_eq!(report.findings[0].rule, rule);
            assert!(!report.is_sound());
            fs::remove_file(&path).unwrap();
            assert_eq!(layout.verify(None).unwrap().findings[0].rule, Rule::MissingBlob);
            fs::write(&path, &whole).unwrap();
        }
        assert!(layout.verify(None).unwrap().is_sound());
    }
}

#[test]
fn documents_that_disagree_are_found() {
    use Severity::{Error, Notice};
    let other = digest(b"other");
    assert_eq!(broken_by(|config, _| config["rootfs"]["diff_ids"] = json!([other])), [(Error, Rule::DiffId)]);
    assert_eq!(broken_by(|config, _| config["rootfs"]["diff_ids"] = json!([])), [(Error, Rule::LayerCount)]);
    assert_eq!(broken_by(|config, _| config["history"] = json!([])), [(Error, Rule::History)]);
    assert_eq!(broken_by(|config, _| config["history"] = Value::Null), [(Notice, Rule::History)]);
    assert_eq!(broken_by(|config, _| config["architecture"] = "arm64".into()), [(Error, Rule::Platform)]);
    assert_eq!(broken_by(|_, manifest| manifest["manifests"] = json!([])), [(Error, Rule::Document)]);
    assert_eq!(
        broken_by(|_, manifest| manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into()),
        [(Error, Rule::MediaType)]
    );
    assert_eq!(
        broken_by(|_, manifest| _ = manifest.as_object_mut().unwrap().remove("mediaType")),
        [(Notice, Rule::MediaType)]
    );
    assert_eq!(broken_by(|_, manifest| manifest["layers"][0]["size"] = (-1).into()), [(Error, Rule::Document)]);
    assert_eq!(
        broken_by(|_, manifest| manifest["layers"][0]["mediaType"] = "application/x".into()),
        [(Error, Rule::MediaType)]
    );
    assert_eq!(
        broken_by(|_, manifest| manifest["layers"][0]["urls"] = json!(["http://a"])),
        [(Notice, Rule::ForeignLayer)]
    );
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
        assert_eq!(found, [(Severity::Error, Rule::Settings)], "{key} {value}");
    }
}

#[test]
fn two_images_of_one_platform_are_found() {
    let mut layout = Layout::new();
    let one = layout.image(&[simple_tar()], |_, _| {});
    let two = layout.image(&[tar_of(&[])], |_, _| {});
    let index = layout.index(&[one, two]);
    layout.name(index, "latest");
    assert_eq!(rules(&layout.verify(None).unwrap()), [(Severity::Error, Rule::Platform, String::new())]);
}

#[test]
fn an_artifact_is_no_image() {
    let mut layout = Layout::new();
    let config = layout.put("application/vnd.oci.empty.v1+json", b"{}");
    let sbom = layout.put("application/spdx+json", b"{}");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [sbom] });
    let manifest = layout.put_json(media_type, &manifest);
    layout.name(manifest, "sbom");
    let report = layout.verify(None).unwrap();
    assert!(report.is_sound() && report.images.is_empty());
}

#[test]
fn entries_that_no_layer_may_have_are_found() {
    use Severity::{Error, Notice};
    let cases: &[(&[Line<'_>], Severity, Rule)] = &[
        (&[("a", Regular, 0o644, "1"), ("./a", Regular, 0o644, "2")], Error, Rule::DuplicateEntry),
        (&[("/etc/passwd", Regular, 0o644, "1")], Error, Rule::EscapingPath),
        (&[("a/../../b", Regular, 0o644, "1")], Error, Rule::EscapingPath),
        (&[("a", Link, 0o644, "../b")], Error, Rule::EscapingPath),
        (&[("a", Link, 0o644, "b")], Error, Rule::HardLink),
        (&[("a", Symlink, 0o777, "/etc"), ("a/b", Regular, 0o644, "1")], Error, Rule::ThroughLink),
        (&[("a", Regular, 0o644, "1"), ("a/b", Regular, 0o644, "1")], Error, Rule::ThroughLink),
        (&[("a", Fifo, 0o644, "")], Notice, Rule::SpecialFile),
        (&[("a", Regular, 0o4755, "1")], Notice, Rule::Setuid),
        (&[(".wh.a", Regular, 0o644, "")], Notice, Rule::Whiteout),
    ];
    for (lines, severity, rule) in cases {
        let found = rules(&verify_tars(&[tar_of(lines)]));
        assert!(matches!(&*found, [(s, r, _)] if (s, r) == (severity, rule)), "{lines:?}: {found:?}");
    }
}

#[test]
fn layers_are_seen_on_top_of_one_another() {
    let base = tar_of(&[
        ("usr/lib/", Directory, 0o755, ""),
        ("lib", Symlink, 0o777, "usr/lib"),
        ("opt/old/x", Regular, 0o644, "1"),
        ("opt/old/y", Regular, 0o644, "1"),
    ]);
    // A hard link to a file below, a directory in the place of a link, a path through that link.
    let top =
        tar_of(&[("copy", Link, 0o644, "opt/old/x"), ("lib/a", Regular, 0o644, "1"), ("lib/", Directory, 0o755, "")]);
    assert_eq!(
        rules(&verify_tars(&[base.clone(), top])),
        [(Severity::Notice, Rule::ThroughLink, "lib/a".into()), (Severity::Notice, Rule::ReplacesLink, "lib".into())]
    );
    // What is hidden can be linked to no more, and a link that is hidden can be replaced.
    let top = tar_of(&[
        ("opt/old/.wh..wh..opq", Regular, 0o644, ""),
        (".wh.lib", Regular, 0o644, ""),
        ("lib/", Directory, 0o755, ""),
        ("copy", Link, 0o644, "opt/old/x"),
    ]);
    let report = verify_tars(&[base, top]);
    let errors: Vec<_> = report.errors().map(|f| (f.rule, f.path.clone().unwrap())).collect();
    assert_eq!(errors, [(Rule::HardLink, "copy".into())]);
    assert!(!report.findings.iter().any(|f| f.rule == Rule::ReplacesLink));
}

#[test]
fn tars_that_two_readers_read_differently_are_found() {
    let mut after_end = simple_tar();
    after_end.extend(simple_tar());

    let mut wrong_sum = simple_tar();
    wrong_sum[0] = b'b';

    let mut sized_directory = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(Directory);
    header.set_size(512);
    header.as_old_mut().name[0] = b'd';
    append(&mut sized_directory, &mut header, &[0; 512]);
    sized_directory.extend([0; 1024]);

    let mut long_name_bomb = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    append(&mut long_name_bomb, &mut header, &[]);

    let truncated = simple_tar()[..600].to_vec();
    for (what, tar) in [
        ("after_end", after_end),
        ("wrong_sum", wrong_sum),
        ("sized_directory", sized_directory),
        ("long_name_bomb", long_name_bomb),
        ("truncated", truncated),
    ] {
        let found = rules(&verify_tars(&[tar]));
        assert!(matches!(&*found, [(Severity::Error, Rule::Tar, _)]), "{what}: {found:?}");
    }
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/file", "d".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, [0; 0].as_slice()).unwrap();
    builder.append_pax_extensions([("path", b"pax/name".as_slice()), ("mtime", b"1.5")]).unwrap();
    builder.append_data(&mut tar::Header::new_ustar(), "other", [0; 0].as_slice()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(Link);
    builder.append_link(&mut header, "link", &long).unwrap();
    builder.append_link(&mut header, "link2", "pax/name").unwrap();
    let tar = builder.into_inner().unwrap();
    let report = verify_tars(&[tar]);
    // Both hard links find the names that the extension headers gave.
    assert_eq!(report.findings, []);
    assert_eq!(report.images[0].layers[0].entries, 4);
}

#[test]
fn what_cannot_be_decompressed_is_found() {
    let tar = simple_tar();
    let mut garbage = gzip(&tar);
    garbage.extend(b"garbage");
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 100 << 20), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    for (media_type, bytes) in
        [(fixture::GZIP, garbage), (fixture::GZIP, tar.clone()), ("application/vnd.oci.image.layer.v1.tar+zstd", bomb)]
    {
        let mut layout = Layout::new();
        let layer = layout.put(media_type, &bytes);
        let image = layout.image(std::slice::from_ref(&tar), |_, manifest| manifest["layers"] = json!([layer]));
        layout.name(image, "latest");
        let report = layout.verify(None).unwrap();
        assert!(report.errors().any(|f| f.rule == Rule::Compression), "{:?}", report.findings);
    }
}

#[test]
fn findings_are_bounded_and_printable() {
    let names: Vec<_> = (0..1200).map(|n| format!("x\x1b[31m{n}")).collect();
    let lines: Vec<Line<'_>> = names.iter().map(|name| (&**name, Regular, 0o4755, "")).collect();
    let report = verify_tars(&[tar_of(&lines)]);
    assert_eq!(report.findings.len(), 1001);
    assert_eq!(report.findings.last().unwrap().detail, "200 further findings are not listed");
    assert_eq!(report.findings[0].path.as_deref(), Some("x\\u{1b}[31m0"));
    assert!(report.is_sound());
}
