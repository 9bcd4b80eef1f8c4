//! The arrows between crates, as docs/architecture.md draws them.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// Who may depend on whom. A new arrow is a decision: add it here and to the picture.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "pixi-oci",
        &[
            "airgap",
            "git",
            "image",
            "net",
            "pipeline",
            "plan",
            "podman",
            "project",
            "publish",
            "registry",
            "store",
            "verify",
            "workspace",
        ],
    ),
    (
        "pixi-oci-airgap",
        &[
            "contents",
            "fetch",
            "layer",
            "lock",
            "net",
            "package",
            "pipeline",
            "plan",
            "product",
            "project",
            "sources",
            "store",
            "workspace",
        ],
    ),
    ("pixi-oci-cachedir", &[]),
    ("pixi-oci-contents", &["formats", "layer", "net", "project", "store", "workspace"]),
    ("pixi-oci-fetch", &["lock", "net"]),
    ("pixi-oci-formats", &["layer", "oci-read"]),
    ("pixi-oci-git", &[]),
    ("pixi-oci-image", &["layer"]),
    ("pixi-oci-layer", &[]),
    ("pixi-oci-lock", &["net", "workspace"]),
    ("pixi-oci-net", &[]),
    // Independent of what writes the bytes that it reads.
    ("pixi-oci-oci-read", &[]),
    ("pixi-oci-package", &["layer"]),
    (
        "pixi-oci-pipeline",
        &[
            "contents",
            "fetch",
            "formats",
            "image",
            "layer",
            "lock",
            "net",
            "oci-read",
            "package",
            "project",
            "registry",
            "store",
            "wheel",
            "workspace",
        ],
    ),
    (
        "pixi-oci-plan",
        &[
            "contents",
            "fetch",
            "image",
            "layer",
            "lock",
            "oci-read",
            "package",
            "pipeline",
            "product",
            "project",
            "registry",
            "sources",
            "store",
            "workspace",
        ],
    ),
    ("pixi-oci-platform", &[]),
    ("pixi-oci-podman", &[]),
    ("pixi-oci-product", &["formats", "layer", "package"]),
    ("pixi-oci-project", &["fetch", "image", "layer", "lock", "net", "package", "registry", "store", "workspace"]),
    (
        "pixi-oci-publish",
        &[
            "formats",
            "image",
            "layer",
            "lock",
            "oci-read",
            "pipeline",
            "plan",
            "project",
            "registry",
            "store",
            "workspace",
        ],
    ),
    ("pixi-oci-registry", &["image", "layer", "net", "oci-read"]),
    ("pixi-oci-sif", &["image", "layer", "oci-read", "squashfs"]),
    (
        "pixi-oci-sources",
        &[
            "contents",
            "fetch",
            "git",
            "image",
            "layer",
            "lock",
            "net",
            "package",
            "pipeline",
            "podman",
            "project",
            "wheel",
            "workspace",
        ],
    ),
    ("pixi-oci-squashfs", &[]),
    ("pixi-oci-store", &["image", "layer", "net", "oci-read", "registry", "sif"]),
    // A dependency of tests only, and itself independent of what it judges.
    ("pixi-oci-test-installer", &[]),
    ("pixi-oci-test-need", &[]),
    ("pixi-oci-test-registry", &["test-need"]),
    ("pixi-oci-testkit", &["layer", "package", "wheel"]),
    ("pixi-oci-verify", &["formats", "oci-read", "podman"]),
    ("pixi-oci-wheel", &["layer", "package"]),
    ("pixi-oci-workspace", &["net"]),
];

/// What every crate may use: they know the operating system and its files, and nothing of what we do.
const FOUNDATION: [&str; 2] = ["cachedir", "platform"];

/// Pure crates: no network and no runtime may come in, not even through others.
const PURE: [&str; 4] = ["pixi-oci-layer", "pixi-oci-image", "pixi-oci-squashfs", "pixi-oci-sif"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        // Nobody has downloaded what other systems need.
        .arg(format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

#[test]
fn crates_depend_on_one_another_as_drawn() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let ours = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str()?.strip_prefix("pixi-oci-"));
        let mut ours: Vec<&str> = ours.collect();
        ours.sort_unstable();
        found.insert(package["name"].as_str().unwrap(), ours);
    }
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        ARROWS.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "the crates there are"
    );
    for (name, allowed) in ARROWS {
        for dependency in &found[name] {
            assert!(
                allowed.contains(dependency) || FOUNDATION.contains(dependency),
                "{name} depends on {dependency}, which docs/architecture.md does not draw"
            );
        }
    }
}

#[test]
fn the_pure_middle_brings_no_network() {
    for pure in PURE {
        // Not from the metadata: there a crate has the features that anybody in the workspace asks of it.
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--edges=normal",
                "--prefix=none",
                "--format={p}",
                "--package",
                pure,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&pure), "{tree}");
        for network in ["tokio", "reqwest", "hyper", "rattler_networking"] {
            assert!(!names.contains(&network), "{pure} brings {network}");
        }
    }
}

#[test]
fn versions_with_known_holes_are_not_used() {
    // Archives and terminals: the least versions in which the advisories named are mended.
    let least = [
        ("tar", [0, 4, 46]),                // GHSA-3pv8-6f4r-ffg2, CVE-2026-33056
        ("tracing-subscriber", [0, 3, 20]), // RUSTSEC-2025-0055
        ("zip", [2, 3, 0]),                 // CVE-2025-29787
        ("rattler", [0, 43, 2]),            // CVE-2026-47425
    ];
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("name = ").map(|name| name.trim_matches('"')) else { continue };
        let version = lines.next().unwrap().trim_start_matches("version = ").trim_matches('"');
        let numbers: Vec<u32> = version.split(['.', '-', '+']).take(3).map(|n| n.parse().unwrap_or(0)).collect();
        for (_, minimum) in least.iter().filter(|(known, _)| *known == name) {
            assert!(numbers >= minimum.to_vec(), "{name} {version}");
        }
        assert!(!name.starts_with("openssl-sys") && name != "native-tls", "{name} is in the tree");
    }
}
