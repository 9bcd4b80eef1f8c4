//! Layers of earlier builds are taken, and nothing else changes by that.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use serde_json::Value;

use crate::common::{
    image, odd,
    packages::{Package, file, package, symlink},
    pypi::{Locked, locked},
    sandbox::{Outcome, Sandbox, snapshot},
    wheels::{entry_points, file as wheel_file, wheel},
    workspace::workspace,
};

fn build(sandbox: &Sandbox, output: &str, size: &str) -> Outcome {
    Outcome::of(
        sandbox
            .pixi_oci(&["build", "ws", "-o", output, "--json", "-v"])
            .env("PIXI_OCI_LAYER_CACHE_SIZE", size)
            // A time that package layers do not have.
            .env("SOURCE_DATE_EPOCH", "1700000000"),
    )
}

fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).expect("stdout is one JSON document")
}

/// The labels of the packages in layers of this origin, over all images.
fn packages_of(report: &Value, origin: &str) -> Vec<String> {
    let images = report["images"].as_array().unwrap();
    let layers = images.iter().flat_map(|image| image["layers"].as_array().unwrap());
    let mut labels: Vec<String> = layers
        .filter(|layer| layer["origin"] == origin)
        .flat_map(|layer| layer["packages"].as_array().unwrap())
        .map(|label| label.as_str().unwrap().to_owned())
        .collect();
    labels.sort();
    labels.dedup();
    labels
}

fn wheels() -> Vec<Locked> {
    let items = [
        wheel_file("pure_wheel/__init__.py", "x = 1\n"),
        entry_points("pure-wheel", "[console_scripts]\npure-wheel = pure_wheel:main\n"),
    ];
    vec![locked(&wheel("pure-wheel", items))]
}

/// The archives and the channel are gone: what is not there cannot be touched.
fn without_archives(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.path("../cache/pixi-oci/archives")).unwrap();
    fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
}

#[test]
fn a_rebuild_with_nothing_changed_touches_no_archive() {
    let sandbox = Sandbox::new();
    let ws = workspace(odd::packages()).pypi(wheels());
    ws.write(&sandbox.path("ws"));
    let first = report(&build(&sandbox, "oci:first", "1GB").success());
    assert!(packages_of(&first, "made").len() > 10);
    without_archives(&sandbox);
    let again = build(&sandbox, "oci:again", "1GB").success();
    assert_eq!(report(&again)["digest"], first["digest"]);
    assert_eq!(packages_of(&report(&again), "made"), Vec::<String>::new());
    assert!(!again.stderr.contains("fetched"), "{}", again.stderr);
    assert_eq!(snapshot(&sandbox.path("first/blobs")), snapshot(&sandbox.path("again/blobs")));
    // What the image says of its packages is the same, too.
    let warnings = |report: &Value| report["images"][0]["warnings"].clone();
    assert_eq!(warnings(&report(&again)), warnings(&first));
}

/// What it needs is where it belongs: no file is linked, moved or written again, and the environment layer is not compressed again.
#[test]
fn a_build_without_changes_leaves_layers_where_they_are() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).pypi(wheels()).write(&sandbox.path("ws"));
    let first = report(&build(&sandbox, "oci:out", "1GB").success());
    let identities = || -> BTreeMap<String, (u64, u64, i64, i64)> {
        let blobs = walk(&sandbox.path("../cache/pixi-oci/layers/2/blobs")).into_iter();
        let blobs = blobs.filter(|file| file.extension().is_none());
        blobs
            .map(|file| {
                let found = fs::metadata(&file).unwrap();
                let name = file.file_name().unwrap().to_str().unwrap().to_owned();
                (name, (found.ino(), found.nlink(), found.ctime(), found.ctime_nsec()))
            })
            .collect()
    };
    let before = identities();
    let again = build(&sandbox, "oci:out", "1GB").success();
    assert_eq!((report(&again)["digest"].clone(), identities()), (first["digest"].clone(), before.clone()));
    sandbox.run(&["verify", "image", "oci:out"]).success();

    let layers = first["images"][0]["layers"].as_array().unwrap();
    let digest = |kind: &str| {
        let layer = layers.iter().find(|layer| layer["kind"] == kind).unwrap();
        layer["digest"].as_str().unwrap().replace("sha256:", "")
    };
    assert!(before.contains_key(&digest("environment")) && !before.contains_key(&digest("application")));
    build(&sandbox, "oci:other", "1GB").success();
    assert_eq!(identities()[&digest("environment")].1, 3, "the cache and two layouts have it");
}

/// Another time is in every entry of the environment layer.
#[test]
fn an_environment_layer_is_taken_for_the_same_tar_only() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let at = |epoch: &str, arguments: &[&str], size: &str| {
        let mut command = sandbox.pixi_oci(&[&["build", "ws", "-o", "oci:out", "--json"], arguments].concat());
        command.env("PIXI_OCI_LAYER_CACHE_SIZE", size).env("SOURCE_DATE_EPOCH", epoch);
        report(&Outcome::of(&mut command).success())["digest"].as_str().unwrap().to_owned()
    };
    let mut digests = Vec::new();
    for (epoch, arguments) in
        [("1700000000", &[][..]), ("1700000001", &[]), ("1700000000", &["--compression", "zstd"]), ("1700000000", &[])]
    {
        digests.push(at(epoch, arguments, "1GB"));
        assert_eq!(digests.last(), Some(&at(epoch, arguments, "0")), "{epoch} {arguments:?}");
    }
    assert_eq!(digests[0], digests[3]);
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[test]
fn without_the_cache_everything_is_made_and_is_the_same() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).pypi(wheels()).write(&sandbox.path("ws"));
    let cached = report(&build(&sandbox, "oci:first", "1GB").success());
    let made = report(&build(&sandbox, "oci:again", "0").success());
    assert_eq!(made["digest"], cached["digest"]);
    assert_eq!(packages_of(&made, "cache"), Vec::<String>::new());
}

#[test]
fn only_layers_with_a_changed_package_are_made() {
    let sandbox = Sandbox::new();
    let tool = |text: &str| package("tool", [file("bin/tool", text).mode(0o755)]);
    let ws = |text: &str| workspace([tool(text), big("one"), big("two")]);
    ws("old").write(&sandbox.path("ws"));
    build(&sandbox, "oci:first", "1GB").success();
    fs::remove_dir_all(sandbox.path("ws")).unwrap();
    ws("new").write(&sandbox.path("ws"));
    let changed = report(&build(&sandbox, "oci:out", "1GB").success());
    assert_eq!(packages_of(&changed, "made"), ["tool 1.0 h1234567_0"]);
    assert_eq!(packages_of(&changed, "cache"), ["one 1.0 h1234567_0", "two 1.0 h1234567_0"]);
    let fresh = Sandbox::new();
    ws("new").write(&fresh.path("ws"));
    assert_eq!(report(&build(&fresh, "oci:out", "0").success())["digest"], changed["digest"]);
}

/// Another package can change where a package's files go: then its layer is another one, though the package is not.
#[test]
fn a_layer_that_another_package_changes_is_made_anew() {
    let sandbox = Sandbox::new();
    let user = || package("user", [file("lib64/x", "x"), file("bin/contested", "user")]);
    let first = || package("first", [file("lib/first", "")]);
    let linked = || package("linked", [symlink("lib64", "lib"), file("lib/linked", "")]);
    let winner = || package("winner", [file("bin/contested", "winner")]).depends(&["user"]);
    let sets: [Vec<Package>; 4] =
        [vec![user(), first()], vec![user(), linked()], vec![user(), winner()], vec![user(), first()]];
    let mut digests = BTreeMap::new();
    for (round, set) in sets.into_iter().enumerate() {
        let _ = fs::remove_dir_all(sandbox.path("ws"));
        workspace(set.clone()).write(&sandbox.path("ws"));
        let cached = report(&build(&sandbox, &format!("oci:out{round}"), "1GB").success());
        let fresh = Sandbox::new();
        workspace(set).write(&fresh.path("ws"));
        let made = report(&build(&fresh, "oci:out", "0").success());
        assert_eq!(made["digest"], cached["digest"], "round {round}");
        digests.insert(round, cached["digest"].clone());
        assert_eq!(packages_of(&cached, "made").is_empty(), round == 3, "round {round}: {cached:#}");
    }
    assert_eq!(digests[&0], digests[&3]);
}

#[test]
fn a_layer_of_packages_for_every_platform_is_made_once() {
    let sandbox = Sandbox::new();
    workspace([package("everywhere", [file("share/e", "e")]).noarch("generic")]).write(&sandbox.path("ws"));
    let report = report(&build(&sandbox, "oci:out:v1", "1GB").success());
    let origin = |image: usize| report["images"][image]["layers"][0]["origin"].as_str().unwrap().to_owned();
    assert_eq!([origin(0), origin(1)], ["made", "cache"]);
    let index = image::read(&sandbox.path("out"), "v1");
    assert_eq!(index.images[0].layers[0].digest, index.images[1].layers[0].digest);
}

#[test]
fn two_projects_share_the_layers_of_the_same_packages() {
    let sandbox = Sandbox::new();
    workspace([big("numpy"), big("mine")]).write(&sandbox.path("ws"));
    let one = report(&build(&sandbox, "oci:one", "1GB").success());
    fs::remove_dir_all(sandbox.path("ws")).unwrap();
    workspace([big("numpy"), big("yours")]).oci("workdir = \"/srv\"").write(&sandbox.path("ws"));
    let two = report(&build(&sandbox, "oci:two", "1GB").success());
    assert_eq!(packages_of(&two, "cache"), ["numpy 1.0 h1234567_0"]);
    let blob = |report: &Value| {
        let layers = report["images"][0]["layers"].as_array().unwrap().clone();
        layers.into_iter().find(|layer| layer["packages"][0] == "numpy 1.0 h1234567_0").unwrap()["digest"].clone()
    };
    assert_eq!(blob(&one), blob(&two));
}

#[test]
fn what_was_written_into_a_kept_layer_is_not_used() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    let first = report(&build(&sandbox, "oci:first", "1GB").success());
    let before = snapshot(&sandbox.path("first/blobs"));
    // Layouts and the cache share files; whoever writes into one writes into the other.
    for entry in walk(&sandbox.path("../cache/pixi-oci/layers/2/blobs")) {
        let mut bytes = fs::read(&entry).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&entry, bytes).unwrap();
        fs::File::options().append(true).open(&entry).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let again = report(&build(&sandbox, "oci:again", "1GB").success());
    assert_eq!(again["digest"], first["digest"]);
    assert_eq!(snapshot(&sandbox.path("again/blobs")), before);
}

/// What is known of an archive says nothing of another package that a lock file calls by its hash.
#[test]
fn a_known_archive_under_another_name_is_read_and_refused() {
    let sandbox = Sandbox::new();
    let tool = big("tool");
    workspace([tool.clone()]).write(&sandbox.path("ws"));
    build(&sandbox, "oci:first", "1GB").success();
    fs::remove_dir_all(sandbox.path("ws")).unwrap();
    workspace([big("other")]).archive("other", tool.bytes()).write(&sandbox.path("ws"));
    build(&sandbox, "oci:out", "1GB").refused(1, &["other-1.0-h1234567_0", "tool"]);
}

#[test]
fn the_cache_keeps_to_its_size() {
    let sandbox = Sandbox::new();
    workspace([big("one"), big("two"), big("three")]).write(&sandbox.path("ws"));
    build(&sandbox, "oci:out", "150kB").success();
    let sizes: u64 = walk(&sandbox.path("../cache/pixi-oci/layers/2/blobs"))
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!((70_000..=150_000).contains(&sizes), "{sizes}");
    build(&sandbox, "oci:out", "many").refused(2, &["20GB"]);
}

/// A later build fetches what it needs again; the layers are there all the same.
#[test]
fn the_downloaded_archives_keep_to_their_size() {
    let sandbox = Sandbox::new();
    workspace([big("one"), big("two"), big("three")]).write(&sandbox.path("ws"));
    let build = |size: &str, layers: &str| {
        let mut command = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out"]);
        command.env("PIXI_OCI_ARCHIVE_CACHE_SIZE", size).env("PIXI_OCI_LAYER_CACHE_SIZE", layers);
        Outcome::of(&mut command).success()
    };
    let archives = || -> Vec<u64> {
        let files = walk(&sandbox.path("../cache/pixi-oci/archives"));
        let archives = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "conda"));
        archives.map(|file| fs::metadata(file).unwrap().len()).collect()
    };
    // Six of them: every package is there for both architectures.
    let first = build("200kB", "0");
    let kept = archives();
    assert!(kept.len() == 2 && (140_000..=200_000).contains(&kept.iter().sum::<u64>()), "{kept:?}");
    let again = build("0", "1GB");
    assert_eq!((first.digest(), archives()), (again.digest(), Vec::new()));
    // The next one needs none.
    fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    assert_eq!(build("0", "1GB").digest(), first.digest());
}

/// A package of 70 kB that cannot be compressed.
fn big(name: &str) -> Package {
    let mut state = name
        .bytes()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(70_000)
    .collect();
    package(name, [file(&format!("share/{name}"), bytes)])
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
