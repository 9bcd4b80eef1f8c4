//! Documents and blobs of images of ours that have something in them that no build writes.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::{
    fixture::{GZIP, Layout, ZSTD, digest, gzip, rules, tar_of},
    simple_tar,
};
use crate::{Report, Rule, Severity};

/// An image of ours on a base of one layer, after a change to its configuration and manifest.
fn ours(change: impl FnOnce(&Layout, &mut Value, &mut Value)) -> (Layout, Report) {
    let mut layout = Layout::new();
    let base = tar_of(&[("etc/os-release", tar::EntryType::Regular, 0o644, "x")]);
    let index = layout.dir.path().to_owned();
    let image = layout.image(&[base, simple_tar()], |config, manifest| {
        config["history"] = json!([{ "created_by": "/bin/sh -c #(nop) ADD" }, { "created_by": "pixi-oci: a layer" }]);
        manifest["annotations"] = json!({ "org.opencontainers.image.base.digest": digest(b"base") });
        let here = Layout { dir: tempfile::tempdir_in(&index).unwrap(), roots: Vec::new() };
        std::fs::create_dir_all(here.path().join("blobs")).unwrap();
        std::os::unix::fs::symlink(index.join("blobs/sha256"), here.path().join("blobs/sha256")).unwrap();
        change(&here, config, manifest);
    });
    let index = layout.index(&[image]);
    layout.name(index, "latest");
    let mut report = layout.verify_all(None).unwrap();
    let of_accounts = [Rule::Unaccounted, Rule::Changed, Rule::Removed, Rule::Inventory];
    report.findings.retain(|finding| !of_accounts.contains(&finding.rule));
    (layout, report)
}

#[test]
fn what_is_not_compared_is_said() {
    let (_, mut report) = ours(|_, config, _| {
        config["config"] = json!({ "Env": ["PATH=/bin"], "Cmd": ["x"], "Volumes": { "/v": {} } });
    });
    let said: Vec<_> = report.findings.iter().map(|finding| (finding.rule, &*finding.detail)).collect();
    let base = format!("1 base layer is not checked against {}", digest(b"base"));
    let expected = [
        (Rule::NotCompared, "Cmd, Volumes follow from the options and the base image of the build"),
        (Rule::NotCompared, &*base),
    ];
    assert_eq!(said, expected);
    assert!(report.is_sound());
    report.make_strict();
    assert!(!report.is_sound());

    let mut layout = Layout::new();
    let image = layout.image(&[simple_tar()], |_, _| {});
    layout.name(image, "latest");
    let report = layout.verify_all(None).unwrap();
    assert_eq!(report.findings[0].detail, "was not made by pixi-oci, so its files are not accounted for");
    assert_eq!((report.findings.len(), report.findings[0].severity), (1, Severity::Notice));
}

#[test]
fn fields_that_no_build_writes_are_found() {
    type Change<'a> = &'a dyn Fn(&mut Value, &mut Value);
    let cases: [(Change<'_>, &str); 11] = [
        (&|config, _| config["config"]["Healthcheck"] = json!({ "Test": ["CMD", "evil"] }), "/config/Healthcheck"),
        (&|config, _| config["config"]["OnBuild"] = json!(["RUN evil"]), "/config/OnBuild"),
        (&|config, _| config["config"]["Shell"] = json!(["/evil"]), "/config/Shell"),
        (&|config, _| config["config"]["healthcheck"] = json!({}), "/config/healthcheck"),
        (&|config, _| config["container_config"] = json!({}), "/container_config"),
        (&|config, _| config["os.features"] = json!(["x"]), "/os.features"),
        (&|_, manifest| manifest["subject"] = json!({ "digest": digest(b"x"), "size": 1 }), "/subject"),
        (&|_, manifest| manifest["artifactType"] = "a/b".into(), "/artifactType"),
        (&|_, manifest| manifest["layers"][1]["data"] = "eA==".into(), "/layers/data"),
        (&|_, manifest| manifest["layers"][0]["platform"] = json!({}), "/layers/platform"),
        (&|_, manifest| manifest["layers"][1]["artifactType"] = "a/b".into(), "/layers/artifactType"),
    ];
    for (change, place) in cases {
        let (_, report) = ours(|_, config, manifest| change(config, manifest));
        let found: Vec<_> = report.errors().map(|finding| (finding.rule, &*finding.detail)).collect();
        let text = format!("has the field {place}, which pixi-oci does not write");
        assert_eq!(found, [(Rule::ForeignField, &*text)]);
    }
}

#[test]
fn keys_that_a_runtime_reads_otherwise_are_found_at_every_depth() {
    type Change<'a> = &'a dyn Fn(&mut Value, &mut Value);
    let cases: [Change<'_>; 8] = [
        &|_, manifest| manifest["layers"][1]["Digest"] = digest(b"evil").into(),
        &|_, manifest| manifest["layers"][0]["SIZE"] = 1.into(),
        &|config, _| config["rootfs"]["Diff_Ids"] = json!([digest(b"evil"), digest(b"evil")]),
        &|config, _| config["config"]["entrypoint"] = json!(["/evil"]),
        &|config, _| config["config"]["env"] = json!(["LD_PRELOAD=/evil.so"]),
        &|config, _| config["config"]["Hea\u{17f}"] = json!({ "k": 1, "\u{212a}": 2 }),
        &|config, _| config["hi\u{17f}tory"] = json!([]),
        &|config, _| config["history"][1]["Created_By"] = "other".into(),
    ];
    for (number, change) in cases.iter().enumerate() {
        let (_, report) = ours(|_, config, manifest| change(config, manifest));
        assert_eq!(rules(&report), [Rule::Document], "case {number}");
    }
    // Labels and annotations have free keys.
    let (_, report) = ours(|_, config, manifest| {
        config["config"]["Labels"] = json!({ "a": "1", "A": "2" });
        manifest["annotations"]["a"] = "1".into();
        manifest["annotations"]["A"] = "2".into();
    });
    assert_eq!(rules(&report), []);
}

#[test]
fn bytes_outside_the_tar_are_found_in_layers_of_ours() {
    let tar = simple_tar();
    let mut extra = GzBuilder::new().extra(b"evil".to_vec()).write(Vec::new(), Compression::fast());
    extra.write_all(&tar).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"evil"].concat();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for (media_type, blob, text) in [
        (GZIP, extra.finish().unwrap(), "1 gzip members with an extra field"),
        (GZIP, [gzip(b""), gzip(&tar)].concat(), "2 gzip members or zstd frames with nothing"),
        (ZSTD, [skippable, zstd].concat(), "1 zstd frames that are skipped"),
    ] {
        for layer in [0, 1] {
            let (_, report) = ours(|layout, config, manifest| {
                manifest["layers"][layer] = layout.put(media_type, &blob);
                config["rootfs"]["diff_ids"][layer] = digest(&tar).into();
            });
            let found: Vec<_> = report.errors().map(|finding| (finding.rule, &*finding.detail)).collect();
            // Base layers may have them: estargz and zstd:chunked do.
            match layer {
                0 => assert_eq!(found, []),
                _ => assert!(matches!(found[..], [(Rule::HiddenBytes, own)] if own.contains(text)), "{found:?}"),
            }
        }
    }
}

#[test]
fn a_document_that_another_tool_wrote_is_said() {
    let (layout, _) = ours(|_, _, _| {});
    let mut layout = layout;
    let index = layout.roots[0].clone();
    let text = std::fs::read_to_string(layout.blob_path(&index)).unwrap().replace("\":", "\" :");
    let index = layout.put("application/vnd.oci.image.index.v1+json", text.as_bytes());
    layout.roots.clear();
    layout.name(index, "latest");
    let report = layout.verify_all(None).unwrap();
    assert!(report.findings.iter().any(|finding| finding.detail == "was written anew by another tool"));
}
