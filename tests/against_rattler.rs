//! The whole way, against rattler's installer: what is under the prefix of a built image is what `pixi install --frozen`
//! would write for this prefix and platform. The exceptions are those of docs/reproducibility.md, and no others.
//!
//! Packages made in code, and with `PIXI_OCI_REAL_CHANNEL=DIR` (of tests/real/make-channel) its workspaces, too.

use pixi_oci_test_need::From;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rattler::{
    install::{Installer, LinkOptions},
    package_cache::PackageCache,
};
use rattler_conda_types::{RepoDataRecord, Subdir};
use rattler_lock::{LockFile, LockedPackage, UrlOrPath};
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::common::{
    image::{self, Kind, Tree},
    odd,
    packages::PREFIX,
    sandbox::{Sandbox, sha256},
    workspace::workspace,
};

/// The time of everything that has none of its own: 2020-01-01.
const CONSTANT_TIME: i64 = 1_577_836_800;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Directory,
    Link { target: String },
    Record { what: Value },
    File { digest: String, text: Option<String>, executable: bool, mtime: i64 },
}

fn file(path: &str, bytes: &[u8], mode: u32, mtime: i64) -> Seen {
    if path.starts_with("conda-meta/") && path.ends_with(".json") {
        return Seen::Record { what: normalised(bytes) };
    }
    // Short texts are shown when they differ.
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() < 2000).map(str::to_owned);
    Seen::File { digest: sha256(bytes), text, executable: mode & 0o111 != 0, mtime }
}

/// A record without what differs for a reason: the build machine's paths, the channel's name for itself, and what was
/// asked for; lists sorted.
fn normalised(json: &[u8]) -> Value {
    let mut record: Value = serde_json::from_slice(json).unwrap();
    for key in [
        "link",
        "extracted_package_dir",
        "package_tarball_full_path",
        "md5",
        "requested_spec",
        "requested_specs",
        "url",
        "channel",
        // Of the archive itself, where lock files leave them out.
        "arch",
        "platform",
        "license",
        "license_family",
        "timestamp",
    ] {
        record.as_object_mut().unwrap().remove(key);
    }
    for list in ["/files", "/paths_data/paths"] {
        record.pointer_mut(list).unwrap().as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    record
}

/// What rattler wrote.
fn installed(root: &Path) -> BTreeMap<String, Seen> {
    fn visit(root: &Path, directory: &Path, seen: &mut BTreeMap<String, Seen>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let meta = fs::symlink_metadata(&path).unwrap();
            let found = if meta.is_dir() {
                visit(root, &path, seen);
                Seen::Directory
            } else if meta.is_symlink() {
                Seen::Link { target: fs::read_link(&path).unwrap().to_str().unwrap().into() }
            } else {
                file(&name, &fs::read(&path).unwrap(), meta.permissions().mode(), meta.mtime())
            };
            seen.insert(name, found);
        }
    }
    let mut seen = BTreeMap::new();
    visit(root, root, &mut seen);
    seen
}

/// What is in the image, with the modes and times checked that are normalised.
fn built(tree: &Tree) -> BTreeMap<String, Seen> {
    let prefix = format!("{}/", &PREFIX[1..]);
    let below = tree.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&prefix)?, entry)));
    below
        .map(|(path, entry)| {
            let mtime = entry.mtime as i64;
            let seen = match &entry.kind {
                Kind::Directory => {
                    assert_eq!((entry.mode, mtime), (0o755, CONSTANT_TIME), "{path}");
                    Seen::Directory
                }
                // rattler's are as old as the installation.
                Kind::Link(target) => Seen::Link { target: target.clone() },
                Kind::File(bytes) => {
                    assert!(matches!(entry.mode, 0o755 | 0o644), "{path} has mode {:o}", entry.mode);
                    file(path, bytes, entry.mode, mtime)
                }
                Kind::HardLink(_) => unreachable!("trees have files instead"),
            };
            (path.to_owned(), seen)
        })
        .collect()
}

/// What the lock file has for a platform, read by rattler's own reader, with archives as files of this machine.
fn records(workspace: &Path, environment: &str, subdir: Subdir) -> Vec<RepoDataRecord> {
    let lock = LockFile::from_path(&workspace.join("pixi.lock")).unwrap();
    let platform = lock.platform(subdir.as_str()).unwrap();
    let environment = lock.environment(environment).unwrap();
    environment
        .packages(platform)
        .unwrap()
        .map(|package| {
            let LockedPackage::Conda(package) = package else { panic!("only conda packages") };
            let data = package.as_binary().unwrap();
            let url = match &data.location {
                UrlOrPath::Url(url) => url.clone(),
                UrlOrPath::Path(path) => {
                    Url::from_file_path(workspace.join(path.as_str()).canonicalize().unwrap()).unwrap()
                }
            };
            RepoDataRecord {
                package_record: data.package_record.clone(),
                identifier: data.file_name.clone(),
                url,
                channel: None,
            }
        })
        .collect()
}

fn install(records: Vec<RepoDataRecord>, subdir: Subdir) -> BTreeMap<String, Seen> {
    let directory = TempDir::new().unwrap();
    let prefix = directory.path().join("prefix");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let installer = Installer::new()
        .with_package_cache(PackageCache::new(directory.path().join("cache")))
        .with_target_platform(subdir)
        .with_alternative_target_prefix(PREFIX)
        .with_link_options(LinkOptions {
            allow_symbolic_links: Some(true),
            allow_hard_links: Some(false),
            allow_ref_links: Some(false),
        });
    runtime.block_on(installer.install(&prefix, records)).unwrap();
    installed(&prefix)
}

/// Entry points: rattler gives them the time of the installation.
fn entry_points(seen: &BTreeMap<String, Seen>) -> BTreeSet<String> {
    let records = seen.values().filter_map(|seen| if let Seen::Record { what } = seen { Some(what) } else { None });
    let paths = records.flat_map(|record| record["paths_data"]["paths"].as_array().unwrap());
    let scripts = paths.filter(|path| path["path_type"] == "unix_python_entry_point");
    scripts.map(|path| path["_path"].as_str().unwrap().to_owned()).collect()
}

/// Builds the environment of a workspace and compares both architectures; gives how many paths were compared.
fn compare(sandbox: &Sandbox, workspace: &Path, environment: &str, base: &str) -> usize {
    let arguments = ["build", workspace.to_str().unwrap(), "-e", environment, "-o", "oci:compared:x", "--base", base];
    sandbox.run(&[&arguments[..], &["--set", "base-glibc=9.9"]].concat()).success();
    let index = image::read(&sandbox.path("compared"), "x");
    let mut compared = 0;
    for (platform, subdir) in [("linux/amd64", Subdir::Linux64), ("linux/arm64", Subdir::LinuxAarch64)] {
        let mut ours = built(&index.image(platform).tree());
        let mut theirs = install(records(workspace, environment, subdir), subdir);
        let scripts = entry_points(&theirs);
        for path in &scripts {
            let (Seen::File { mtime: ours, .. }, Seen::File { mtime: theirs, .. }) =
                (ours.get_mut(path).unwrap(), theirs.get_mut(path).unwrap())
            else {
                panic!("{path}");
            };
            assert_eq!(*ours, CONSTANT_TIME, "{path}");
            *theirs = CONSTANT_TIME;
        }
        assert!(theirs.remove("CACHEDIR.TAG").is_some() && theirs.remove("conda-meta/history").is_some());
        let history = ours.remove("conda-meta/history");
        assert!(matches!(history, Some(Seen::File { text: Some(text), .. }) if text.is_empty()));
        // Directories of losers that won in the end are left behind, or not, as the packages happened to be linked.
        for side in [&mut ours, &mut theirs] {
            side.retain(|path, seen| *seen != Seen::Directory || !path.starts_with("__clobbers__"));
        }
        let paths: BTreeSet<_> = ours.keys().chain(theirs.keys()).cloned().collect();
        for path in &paths {
            assert_eq!(ours.get(path), theirs.get(path), "{platform} {path}: ours, theirs");
        }
        compared += paths.len();
    }
    compared
}

#[test]
fn odd_packages_are_installed_as_rattler_installs_them() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let compared = compare(&sandbox, &sandbox.path("ws"), "default", "scratch");
    assert!(compared > 6000, "{compared}");
}

/// Another Python: other directories for the same noarch packages.
#[test]
fn noarch_packages_follow_python() {
    let sandbox = Sandbox::new();
    let mut packages = odd::packages();
    packages.retain(|package| package.name != "python" && package.name != "many");
    let python = crate::common::packages::file("bin/python3.13", "x").mode(0o755);
    let mut python = crate::common::packages::package("python", [python]).version("3.13.0");
    python.index["python_site_packages_path"] = "lib/python3.13t/site-packages".into();
    packages.push(python);
    workspace(packages).write(&sandbox.path("ws"));
    compare(&sandbox, &sandbox.path("ws"), "default", "scratch");
}

#[test]
fn real_packages_are_installed_as_rattler_installs_them() {
    // Said by whoever made the channel; without it there is nothing to compare.
    let Some(channel) = pixi_oci_test_need::variable("PIXI_OCI_REAL_CHANNEL", From::Debian) else { return };
    // Dynamically linked programs and activation scripts want a base image.
    #[allow(clippy::disallowed_methods)]
    let base = std::env::var("PIXI_OCI_REAL_BASE").expect("tests/run sets both");
    let base = format!("oci:{}:debian", Path::new(&base).canonicalize().unwrap().display());
    let workspaces = Path::new(&channel).canonicalize().unwrap().join("workspaces");
    let mut compared = 0;
    for entry in fs::read_dir(&workspaces).unwrap() {
        let workspace = entry.unwrap().path();
        let lock = LockFile::from_path(&workspace.join("pixi.lock")).unwrap();
        let mut names: Vec<String> = lock.environments().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        for name in names {
            let sandbox = Sandbox::new();
            compared += compare(&sandbox, &workspace, &name, &base);
        }
    }
    assert!(compared > 0, "no workspace in {}", workspaces.display());
}
