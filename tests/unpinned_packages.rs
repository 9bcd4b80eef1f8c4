//! Conda packages that the lock file has no sha256 of: built with a warning, and pinned on request.

use std::{fs, path::Path};

use serde_json::Value;

use crate::common::{
    image::{self, content},
    packages::{Package, file, package},
    sandbox::{Outcome, Sandbox, sha256},
    workspace::workspace,
};

fn local(text: &str) -> Package {
    package("local", [file("share/local", text)])
}

/// A workspace whose lock file has only an md5, or nothing, of `local`.
fn without(hashes: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    workspace([local("1"), package("other", [file("share/other", "x")])]).write(&sandbox.path("ws"));
    let path = sandbox.path("ws/pixi.lock");
    let text = fs::read_to_string(&path).unwrap();
    let mut of_local = false;
    let lines = text.lines().filter(|line| {
        if line.starts_with("- ") {
            of_local = line.contains("/local-1.0-");
        }
        !(of_local && hashes.iter().any(|hash| line.trim_start().starts_with(hash)))
    });
    let text: Vec<&str> = lines.collect();
    fs::write(path, text.join("\n") + "\n").unwrap();
    sandbox
}

fn archive(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.path("ws/channel/linux-64/local-1.0-h1234567_0.conda")
}

fn build(sandbox: &Sandbox) -> Outcome {
    sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "oci:out:v1", "--json"])
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let warnings = report["images"][0]["warnings"].as_array().unwrap().clone();
    warnings.iter().map(|text| text.as_str().unwrap().to_owned()).filter(|text| text.contains("sha256")).collect()
}

fn in_image(sandbox: &Sandbox, path: &str) -> Vec<u8> {
    content(&image::read(&sandbox.path("out"), "v1").image("linux/amd64").tree(), path).to_vec()
}

#[test]
fn what_is_there_is_built_with_a_warning_and_recorded() {
    for hashes in [&["sha256:"][..], &["sha256:", "md5:", "size:"]] {
        let sandbox = without(hashes);
        let hash = sha256(&fs::read(archive(&sandbox)).unwrap());
        let outcome = build(&sandbox).success();
        let line = format!("`local = \"{hash}\"` to [tool.pixi-oci.hashes]");
        let warnings = warnings(&outcome);
        assert!(warnings.len() == 1 && warnings[0].starts_with("local 1.0 h1234567_0: the lock file has no sha256"));
        assert!(warnings[0].ends_with(&line), "{warnings:?}");
        let record = in_image(&sandbox, "opt/pixi/env/conda-meta/local-1.0-h1234567_0.json");
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["sha256"], hash);
        sandbox.run(&["verify", "image", "oci:out"]).success();
    }
}

#[test]
fn what_is_there_now_counts() {
    let sandbox = without(&["sha256:", "md5:", "size:"]);
    build(&sandbox).success();
    assert_eq!(in_image(&sandbox, "opt/pixi/env/share/local"), b"1");
    let plan = sandbox.run(&["plan", "ws"]).success();
    assert!(plan.stdout.contains("the digest of local is not known"), "{plan:?}");
    replace(&archive(&sandbox), &local("2"));
    build(&sandbox).success();
    assert_eq!(in_image(&sandbox, "opt/pixi/env/share/local"), b"2");
}

fn replace(archive: &Path, package: &Package) {
    fs::write(archive, package.bytes()).unwrap();
}

#[test]
fn products_have_what_is_there() {
    let sandbox = without(&["sha256:", "md5:", "size:"]);
    let hash = sha256(&fs::read(archive(&sandbox)).unwrap());
    let outcome = sandbox.run(&["product", "ws", "--workdir", "wd", "--arch", "amd64"]).success();
    assert!(outcome.stderr.contains(&format!("`local = \"{hash}\"` to [tool.pixi-oci.hashes]")), "{outcome:?}");
    let manifest = fs::read_to_string(sandbox.path("wd/product/manifest.json")).unwrap();
    assert!(manifest.contains(&format!("sha256:{hash}")), "{manifest}");
    sandbox.run(&["verify", "product", "wd/product"]).success();
}

#[test]
fn a_wrong_md5_is_refused() {
    let sandbox = without(&["sha256:", "size:"]);
    replace(&archive(&sandbox), &local("2"));
    build(&sandbox).refused(1, &["local", "md5"]);
}

/// Some channels publish a wrong one; pixi does not look at it where there is a sha256.
#[test]
fn a_wrong_md5_beside_a_sha256_is_ignored() {
    let sandbox = without(&[]);
    let path = sandbox.path("ws/pixi.lock");
    let text = fs::read_to_string(&path).unwrap();
    let md5s: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("md5: ")).collect();
    assert_eq!(md5s.len(), 4, "of each architecture");
    fs::write(path, md5s.iter().fold(text.clone(), |text, md5| text.replace(md5, &"0".repeat(32)))).unwrap();
    build(&sandbox).success();
    assert_eq!(in_image(&sandbox, "opt/pixi/env/share/local"), b"1");
}

#[test]
fn pinned_packages_are_what_they_are_pinned_to() {
    let sandbox = without(&["sha256:", "md5:", "size:"]);
    let hash = sha256(&fs::read(archive(&sandbox)).unwrap());
    let manifest = sandbox.path("ws/pixi.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n[tool.pixi-oci.hashes]\nlocal = \"{hash}\"\n")).unwrap();
    assert_eq!(warnings(&build(&sandbox).success()), Vec::<String>::new());
    assert!(!sandbox.run(&["plan", "ws"]).success().stdout.contains("is not known: the lock file"));
    replace(&archive(&sandbox), &local("2"));
    // Whatever is there now; with another cache.
    assert_eq!(warnings(&build(&sandbox).success()), Vec::<String>::new());
    let other = ["build", "ws", "--arch", "amd64", "-o", "oci:out:v1", "--cache-dir", "other"];
    sandbox.run(&other).refused(1, &["local", "sha256", &hash]);
    fs::write(&manifest, format!("{text}\n[tool.pixi-oci.hashes]\nlocal = \"abc\"\n")).unwrap();
    build(&sandbox).refused(1, &["a sha256 has 64 lower-case hex digits"]);
}

#[test]
fn a_release_takes_only_what_is_pinned() {
    let sandbox = without(&["sha256:"]);
    let publish = || {
        let mut command = sandbox.pixi_oci(&["publish", "ws", "--to", "127.0.0.1:1/app", "--arch", "amd64"]);
        Outcome::of(command.env("VERSION", "1.0.0"))
    };
    publish().refused(1, &["BLOCKER(unpinned-package)", "version 1.0.0", "local", "[tool.pixi-oci.hashes]"]);
    let hash = sha256(&fs::read(archive(&sandbox)).unwrap());
    let manifest = sandbox.path("ws/pixi.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text}\n[tool.pixi-oci.hashes]\nlocal = \"{hash}\"\n")).unwrap();
    // There is no registry.
    publish().refused(1, &["BLOCKER(registry-down)"]);
}
