//! What is in a product is what other installers write and take: rattler and uv.

use pixi_oci_test_need::{From, need};
use rattler::{
    install::{Installer, LinkOptions},
    package_cache::PackageCache,
};
use rattler_conda_types::{RepoDataRecord, Subdir};
use rattler_lock::LockFile;

use super::*;

#[tokio::test]
async fn the_cache_is_what_rattler_writes() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &["--virtual-package", "__cuda=12.6", SMALL]);
    for platform in [Subdir::Linux64, Subdir::LinuxAarch64] {
        let theirs = sandbox.path(&format!("theirs-{platform}/pkgs"));
        let cache = PackageCache::new(&theirs);
        drop(cache.acquire_global_lock().await.unwrap());
        for record in records(&sandbox.path("ws"), platform) {
            let path = record.url.to_file_path().unwrap();
            cache.get_or_fetch_from_path(&path, None, None).await.unwrap();
        }
        // Ours can be read by everybody, whoever copied the product.
        for name in snapshot(&theirs).into_keys() {
            let path = theirs.join(name);
            let mode = fs::symlink_metadata(&path).unwrap().mode();
            if mode & 0o170000 == 0o100000 {
                let run = if mode & 0o100 == 0 { 0 } else { 0o111 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777 | 0o444 | run)).unwrap();
            }
        }
        let ours = product.join(format!("pkg-cache/{platform}/pkgs"));
        // Of directories only that they are there; what rattler makes itself has the time when it did.
        let of = |root: &Path| {
            let mut all = everything(root);
            for (path, what) in &mut all {
                if what.starts_with("directory") {
                    *what = "directory".into();
                } else if path.ends_with(".lock") && !path.contains('/') {
                    what.truncate(what.find(", time").unwrap());
                }
            }
            all
        };
        let (ours, theirs) = (of(&ours), of(&theirs));
        assert!(ours.len() > 3000, "the packages are there");
        for (path, what) in &theirs {
            assert_eq!(ours.get(path), Some(what), "{path}");
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    }
}

/// What the lock file has, with archives as files of this machine.
fn records(workspace: &Path, platform: Subdir) -> Vec<RepoDataRecord> {
    let path = fs::canonicalize(workspace).unwrap();
    let channel = url::Url::from_file_path(path.join("channel")).unwrap();
    let text = fs::read_to_string(path.join("pixi.lock")).unwrap().replace("./channel", channel.as_str());
    let lock = LockFile::from_str_with_base_directory(&text, Some(&path)).unwrap();
    let environment = lock.environment("default").unwrap();
    environment.conda_repodata_records(lock.platform(platform.as_str()).unwrap()).unwrap().unwrap()
}

#[tokio::test]
async fn an_unmodified_rattler_installs_from_it_without_a_request() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &["--virtual-package", "__cuda=12.6", SMALL]);
    let mut records = records(&sandbox.path("ws"), Subdir::LinuxAarch64);
    for record in &mut records {
        let name = record.identifier.to_file_name();
        // Nobody listens there: a request would be an error.
        record.url = format!("http://127.0.0.1:1/channel/linux-aarch64/{name}").parse().unwrap();
    }
    fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    let prefix = sandbox.path("prefix");
    Installer::new()
        .with_package_cache(PackageCache::new(product.join("pkg-cache/linux-aarch64/pkgs")))
        .with_target_platform(Subdir::LinuxAarch64)
        .with_link_options(LinkOptions { allow_hard_links: Some(false), ..LinkOptions::default() })
        .install(&prefix, records)
        .await
        .unwrap();
    assert!(prefix.join("share/many/49/2999").exists());
    Outcome::of(&mut sandbox.pixi_oci(&["verify", "product", "out/product"])).success();
}

/// The real uv, from the wheels of tests/real/make-wheels; none where they are not.
#[allow(clippy::disallowed_methods, reason = "of whoever runs the tests")]
fn uv(sandbox: &Sandbox) -> Option<PathBuf> {
    let platform = if cfg!(target_arch = "x86_64") { "linux-64" } else { "linux-aarch64" };
    let wheels = PathBuf::from(std::env::var_os("PIXI_OCI_REAL_WHEELS")?).join(platform);
    let mut found = fs::read_dir(wheels).ok()?.map(|entry| entry.unwrap().path());
    let wheel = found.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("uv-"))?;
    let mut zip = zip::ZipArchive::new(fs::File::open(wheel).unwrap()).unwrap();
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    let name = names.iter().find(|name| name.ends_with("/scripts/uv"))?;
    let mut bytes = Vec::new();
    zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
    let path = sandbox.path("uv");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Some(path)
}

/// What a product has of wheels is enough for the real uv, offline.
#[test]
fn uv_installs_the_wheels_offline() {
    let sandbox = Sandbox::new();
    let uv = uv(&sandbox);
    if !need("uv among the wheels of PIXI_OCI_REAL_WHEELS", From::Debian, uv.is_some()) {
        return;
    }
    let uv = uv.unwrap();
    let demo = wheel("demo_pkg", [wheels::file("demo_pkg/__init__.py", "x = 1\n")]);
    workspace([odd::python()]).pypi([locked(&demo)]).write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &[SMALL]);
    let mut install = sandbox.program(&uv);
    install.args(["pip", "install", "--offline", "--no-index", "--target", "target", "--cache-dir", "uv-cache"]);
    install.arg("--find-links").arg(product.join("pkg-cache/linux-64/wheels")).arg("demo-pkg==1.0");
    Outcome::of(&mut install).success();
    assert!(sandbox.path("target/demo_pkg/__init__.py").exists());
}
