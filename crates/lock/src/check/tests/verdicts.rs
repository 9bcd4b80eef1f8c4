//! Kinds of lock files of which pixi says what is not obvious; `tests/parity` compares whole collections.

use pixi_oci_workspace::Workspace;
use tempfile::TempDir;

use super::all;
use crate::{LockFile, LockedPlatform, PlatformWanted};

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A workspace on the disk: the text of its manifest after `[workspace]`'s first keys, and its lock file.
struct Case {
    workspace: Workspace,
    lock: LockFile,
    directory: TempDir,
}

fn case(manifest: &str, lock: &str) -> Case {
    let directory = tempfile::tempdir().unwrap();
    let manifest = format!("[workspace]\nname = \"w\"\nchannels = [\"https://h.example/c\"]\n{manifest}");
    std::fs::write(directory.path().join("pixi.toml"), manifest).unwrap();
    std::fs::write(directory.path().join("pixi.lock"), lock).unwrap();
    let workspace = Workspace::open(directory.path()).unwrap_or_else(|e| panic!("{e}"));
    let lock = LockFile::of(&workspace).unwrap_or_else(|e| panic!("{e}"));
    Case { workspace, lock, directory }
}

impl Case {
    fn differences(&self) -> Vec<String> {
        all(&self.workspace, &self.lock)
    }
}

/// A lock file of format 7 with these platform rows, and the package `plain` on each of these platforms.
fn v7(rows: &str, environments: &[(&str, &[&str])], depends: &str) -> String {
    let mut text = format!("version: 7\nplatforms:\n{rows}environments:\n");
    for (name, platforms) in environments {
        let packages: String = platforms.iter().map(|p| format!("      {p}:\n      - conda: {PLAIN}\n")).collect();
        let packages = if packages.is_empty() { " {}\n".to_owned() } else { format!("\n{packages}") };
        text += &format!("  {name}:\n    channels:\n    - url: https://h.example/c/\n    packages:{packages}");
    }
    text + &format!("packages:\n- conda: {PLAIN}\n  subdir: noarch\n  sha256: {SHA}\n{depends}")
}

const PLAIN: &str = "https://h.example/c/noarch/plain-1.0-0.conda";
const LINUX: &str = "- name: linux-64\n  virtual-packages:\n  - __unix=0=0\n  - __linux=4.18\n  - __glibc=2.28\n  \
                     - __archspec=0=x86_64\n";

#[test]
fn archspec_has_the_version_1_for_packages() {
    let rich = LINUX.replace("name: linux-64", "name: p1\n  subdir: linux-64").replace("=x86_64", "=x86_64_v3");
    for (platforms, row, name, needs, fits) in [
        ("[\"linux-64\"]", LINUX, "linux-64", "x86_64", true),
        ("[\"linux-64\"]", LINUX, "linux-64", "x86_64_v3", false),
        ("[{ platform = \"linux-64\", archspec = \"x86_64_v3\" }]", &rich, "p1", "x86_64_v3", true),
    ] {
        let depends = format!("  depends:\n  - __archspec 1.* {needs}\n");
        let lock = v7(row, &[("default", &[name])], &depends);
        let case = case(&format!("platforms = {platforms}\n[dependencies]\nplain = \"*\""), &lock);
        assert_eq!(case.differences().is_empty(), fits, "{needs}: {:?}", case.differences());
    }
}

#[test]
fn a_row_that_says_nothing_is_what_the_manifest_says() {
    let manifest = "platforms = [{ platform = \"linux-64\", glibc = \"2.34\" }]\n[dependencies]\nplain = \"*\"";
    let bare = case(manifest, &v7("- name: linux-64\n", &[("default", &["linux-64"])], ""));
    assert_eq!(bare.differences(), [""; 0]);
    let platforms = bare.lock.platforms("default").unwrap();
    let [LockedPlatform { name, extras, .. }] = &platforms[..] else { panic!("{platforms:?}") };
    assert_eq!((name.as_str(), extras[0].to_string().as_str()), ("linux-64-glibc-2-34", "__glibc=2.34"));
    // One that says something else is not.
    assert!(!case(manifest, &v7(LINUX, &[("default", &["linux-64"])], "")).differences().is_empty());
}

#[test]
fn features_extend_the_platforms_of_the_workspace() {
    let manifest = "platforms = [\"linux-64\"]\n[dependencies]\nplain = \"*\"\n[feature.arm]\nplatforms = [\"linux-aarch64\"]\n\
                    [environments]\narm = [\"arm\"]";
    let case = case(manifest, &v7(LINUX, &[("default", &["linux-64"]), ("arm", &[])], ""));
    let missing = "platform linux-aarch64 is in the manifest and not in the lock";
    assert_eq!(case.differences(), [format!("arm: {missing}"), format!("default: {missing}")]);
}

#[test]
fn every_subdir_has_the_virtual_packages_that_pixi_gives_it() {
    let unix = "__unix=0=0";
    let linux = |machine| vec![unix, "__linux=4.18", "__glibc=2.28", machine];
    for (subdir, packages) in [
        ("linux-32", linux("__archspec=0=x86")),
        ("linux-armv7l", linux("__archspec=0=aarch64")),
        ("linux-ppc64", linux("__archspec=0=ppc64")),
        ("linux-riscv64", linux("__archspec=0=riscv64")),
        ("linux-s390x", linux("__archspec=0=s390x")),
        ("osx-64", vec![unix, "__osx=13.0", "__archspec=0=x86_64"]),
        ("win-32", vec!["__win=10.0", "__archspec=0=x86"]),
        ("emscripten-wasm32", vec![unix]),
        ("wasi-wasm32", vec![]),
    ] {
        let listed: String = packages.iter().map(|package| format!("  - {package}\n")).collect();
        let listed = if listed.is_empty() { listed } else { format!("  virtual-packages:\n{listed}") };
        let lock = v7(&format!("- name: {subdir}\n{listed}"), &[("default", &[subdir])], "");
        let case = case(&format!("platforms = [\"{subdir}\"]\n[dependencies]\nplain = \"*\""), &lock);
        assert_eq!(case.differences(), [""; 0], "{subdir}");
    }
}

#[test]
fn an_environment_without_packages_has_its_platforms() {
    let manifest =
        "platforms = [\"linux-64\"]\n[feature.prod.dependencies]\nplain = \"*\"\n[environments]\nprod = [\"prod\"]";
    let case = case(manifest, &v7(LINUX, &[("default", &[]), ("prod", &["linux-64"])], ""));
    assert_eq!(case.differences(), [""; 0]);
    let platform = case.lock.select_platform("default", &PlatformWanted::Name("linux-64".into()), &[]).unwrap();
    assert!(case.lock.packages("default", &platform).unwrap().is_empty());
    assert!(!case.lock.has_packages("default") && case.lock.has_packages("prod"));
}

#[test]
fn a_platform_has_the_name_that_pixi_derives_from_system_requirements() {
    let manifest = "platforms = [\"linux-64\"]\n[system-requirements]\ncuda = \"12\"\n[dependencies]\nplain = \"*\"";
    let row = LINUX.replace("name: linux-64", "name: p1\n  subdir: linux-64").replace("s:\n", "s:\n  - __cuda=12\n");
    let case = case(manifest, &v7(&row, &[("default", &["p1"])], ""));
    assert_eq!(case.differences(), [""; 0]);
    let named = PlatformWanted::Name("linux-64-cuda-12".into());
    assert_eq!(case.lock.select_platform("default", &named, &[]).unwrap().lock_name, "p1");
}

#[test]
fn a_directory_is_no_archive() {
    let manifest = "platforms = [\"linux-64\"]\n[dependencies]\npython = \"*\"\n[pypi-dependencies]\nfoo = { path = \"foo.tar.gz\" }";
    let lock = v7(LINUX, &[("default", &["linux-64"])], "").replace("plain-1.0", "python-3.12.0");
    let lock = lock.replace("0-0.conda\npackages", "0-0.conda\n      - pypi: ./foo.tar.gz\npackages")
        + "- pypi: ./foo.tar.gz\n  name: foo\n  version: '1'\n";
    let case = case(manifest, &lock);
    let message = "default: foo 1 is locked as an archive, and is a directory (linux-64)";
    assert!(!case.differences().contains(&message.to_owned()), "{:?}", case.differences());
    std::fs::create_dir(case.directory.path().join("foo.tar.gz")).unwrap();
    assert!(case.differences().contains(&message.to_owned()), "{:?}", case.differences());
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 676697\n";
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("pixi.toml"), "[workspace]\nname = \"w\"\nchannels = []\nplatforms = []\n")
        .unwrap();
    std::fs::write(directory.path().join("pixi.lock"), pointer).unwrap();
    let workspace = Workspace::open(directory.path()).unwrap();
    let error = LockFile::of(&workspace).unwrap_err().to_string();
    assert!(error.contains("pixi.lock is not the file itself") && error.contains("run `git lfs pull`"), "{error}");
    std::fs::write(directory.path().join("pixi.toml"), pointer).unwrap();
    let error = Workspace::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("pixi.toml is not the file itself") && error.contains("run `git lfs pull`"), "{error}");
}
