use pixi_oci_layer::TreePath;

use super::*;

fn prefix(text: &str) -> TargetPrefix {
    TargetPrefix::new(text).unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PLAIN: KeyPackage<'static> =
    KeyPackage { sha256: Cow::Borrowed(SHA), url: None, subdir: None, channel: None, python: None, changes: &[] };

/// Everything that design and docs list changes the key, and each in its own way.
#[test]
fn whatever_changes_a_layer_changes_its_key() {
    let python = Python {
        version: (3, 13),
        executable: path("bin/python3.13"),
        site_packages: path("lib/python3.13/site-packages"),
    };
    let threaded = Python { site_packages: path("lib/python3.13t/site-packages"), ..python.clone() };
    let older = Python { version: (3, 12), ..python.clone() };
    let renamed = Python { executable: path("bin/python3"), ..python.clone() };
    let elsewhere = [Change::Clobbered { path: path("lib64/a"), to: path("lib/b") }];
    let dropped = [Change::Dropped { path: path("share") }];
    let resolved = [Change::Resolved { path: path("lib64/a"), to: path("lib/a") }];
    let clobbered = [Change::Clobbered { path: path("lib64/a"), to: path("lib/a") }];
    let other = SHA.replace('0', "f");
    let packages: Vec<Vec<KeyPackage<'_>>> = vec![
        vec![PLAIN],
        vec![KeyPackage { sha256: other.as_str().into(), ..PLAIN }],
        vec![PLAIN, KeyPackage { sha256: other.as_str().into(), ..PLAIN }],
        vec![KeyPackage { sha256: other.as_str().into(), ..PLAIN }, PLAIN],
        vec![KeyPackage { url: Some("https://a".into()), ..PLAIN }],
        vec![KeyPackage { channel: Some("https://a".into()), ..PLAIN }],
        vec![KeyPackage { subdir: Some("noarch".into()), ..PLAIN }],
        vec![KeyPackage { url: Some("https://a".into()), channel: Some("https://a".into()), ..PLAIN }],
        vec![KeyPackage { python: Some(&python), ..PLAIN }],
        vec![KeyPackage { python: Some(&threaded), ..PLAIN }],
        vec![KeyPackage { python: Some(&older), ..PLAIN }],
        vec![KeyPackage { python: Some(&renamed), ..PLAIN }],
        vec![KeyPackage { changes: &elsewhere, ..PLAIN }],
        vec![KeyPackage { changes: &dropped, ..PLAIN }],
        vec![KeyPackage { changes: &resolved, ..PLAIN }],
        vec![KeyPackage { changes: &clobbered, ..PLAIN }],
    ];
    let mut keys = std::collections::BTreeSet::new();
    for packages in &packages {
        for prefix in [prefix("/opt/pixi/env"), prefix("/srv/env")] {
            for compression in ["gzip", "gzip:9", "zstd", "zstd:19"] {
                for part in [None, Some((1, 2)), Some((2, 2)), Some((1, 3))] {
                    let part = part.map(|(index, of)| LayerPart { index, of });
                    assert!(keys.insert(LayerKey::new(packages, part, &prefix, compression.parse().unwrap())));
                }
            }
        }
    }
    assert_eq!(keys.len(), packages.len() * 2 * 4 * 4);
}

/// The text first, its digest second: a change here makes every layer of every user anew.
#[test]
fn the_document_is_the_published_one() {
    let changes = [Change::Resolved { path: path("lib64/a"), to: path("lib/a") }];
    let packages = [KeyPackage {
        url: Some("https://conda.anaconda.org/conda-forge/linux-64/a-1-0.conda".into()),
        channel: Some("https://conda.anaconda.org/conda-forge/".into()),
        changes: &changes,
        ..PLAIN
    }];
    let key = |part| LayerKey::new(&packages, part, &prefix("/opt/pixi/env"), Compression::default());
    let text = format!(
        r#"{{"version":1,"layerFormat":1,"packageTree":1,"compression":"libdeflate 1.26.1 gzip:6","time":1577836800,"prefix":"/opt/pixi/env","packages":[{{"sha256":"{SHA}","url":"https://conda.anaconda.org/conda-forge/linux-64/a-1-0.conda","channel":"https://conda.anaconda.org/conda-forge/","changes":[{{"resolved":{{"path":"lib64/a","to":"lib/a"}}}}]}}]}}"#
    );
    assert_eq!(key(None).to_string(), Digest::of(text.as_bytes()).to_string());
    let text = text.replace("}]}]}", r#"}]}],"part":{"index":2,"of":3}}"#);
    assert_eq!(key(Some(LayerPart { index: 2, of: 3 })).to_string(), Digest::of(text.as_bytes()).to_string());
}
