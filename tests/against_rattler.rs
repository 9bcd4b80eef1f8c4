//! The whole way, against rattler's installer: what is under the prefix of a built image is what `pixi install --frozen`
//! would write for this prefix and platform. The exceptions are those of docs/reproducibility.md, and no others.
//!
//! Packages made in code, and with `PIXI_OCI_REAL_CHANNEL=DIR` (of tests/real/make-channel) its workspaces, too.

use pixi_oci_test_installer::{Prefix, Seen, file};
use pixi_oci_test_need::From;
use std::{collections::BTreeSet, fs, path::Path};

use rattler_conda_types::{RepoDataRecord, Subdir};
use rattler_lock::{LockFile, LockedPackage, UrlOrPath};
use url::Url;

use crate::common::{
    image::{self, Kind, Tree},
    odd,
    packages::PREFIX,
    sandbox::Sandbox,
    workspace::workspace,
};

/// The time of everything that has none of its own: 2020-01-01.
const CONSTANT_TIME: i64 = 1_577_836_800;

/// What is in the image, with the modes and times checked that are normalised.
fn built(tree: &Tree) -> Prefix {
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
                    file(path, bytes.to_vec(), entry.mode & 0o111 != 0, Some(mtime))
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

fn install(records: Vec<RepoDataRecord>, subdir: Subdir) -> Prefix {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(pixi_oci_test_installer::install(records, subdir, PREFIX)).unwrap()
}

/// Records have what the archive says, where lock files leave it out, and the channel by its own name.
fn without_what_lock_files_leave_out(seen: &mut Prefix) {
    for seen in seen.values_mut() {
        let Seen::Record { what } = seen else { continue };
        for key in ["url", "channel", "arch", "platform", "license", "license_family", "timestamp"] {
            what.as_object_mut().unwrap().remove(key);
        }
    }
}

/// Entry points: rattler gives them the time of the installation.
fn entry_points(seen: &Prefix) -> BTreeSet<String> {
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
            assert_eq!(*ours, Some(CONSTANT_TIME), "{path}");
            *theirs = *ours;
        }
        let history = ours.remove("conda-meta/history");
        assert!(matches!(history, Some(Seen::File { content, .. }) if content.0.is_empty()));
        without_what_lock_files_leave_out(&mut ours);
        without_what_lock_files_leave_out(&mut theirs);
        compared += pixi_oci_test_installer::compare(ours, theirs, platform);
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
