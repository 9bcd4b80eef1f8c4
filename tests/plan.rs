//! `pixi-oci plan` says what a build then does: layers, downloads and the digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use crate::common::{
    odd,
    packages::{Package, file, noise, package},
    pypi::{Locked, locked, source},
    sandbox::{Outcome, Sandbox, snapshot},
    wheels::{entry_points, file as wheel_file, wheel},
    workspace::{Workspace, workspace},
};

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    Outcome::of(
        sandbox
            .pixi_oci(arguments)
            .env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")
            // A time that package layers do not have.
            .env("SOURCE_DATE_EPOCH", "1700000000"),
    )
}

/// The plan of the only environment.
fn plan(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let outcome = run(sandbox, &[&["plan", "ws", "--json"], arguments].concat()).success();
    let plans: Value = serde_json::from_str(&outcome.stdout).expect("stdout is one JSON document");
    assert_eq!(plans.as_array().unwrap().len(), 1);
    plans[0].clone()
}

fn build(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let outcome = run(sandbox, &[&["build", "ws", "-o", "oci:out", "--json"], arguments].concat()).success();
    serde_json::from_str(&outcome.stdout).expect("stdout is one JSON document")
}

fn reasons(plan: &Value) -> Vec<&str> {
    plan["unpredicted"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect()
}

/// `(state, packages)` of the layers of a platform.
fn states(platform: &Value) -> Vec<(&str, String)> {
    let layers = platform["layers"].as_array().unwrap().iter();
    let names = |layer: &Value| {
        let packages = layer["packages"].as_array().unwrap().iter();
        packages.map(|package| package["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    layers.map(|layer| (layer["state"].as_str().unwrap(), names(layer))).collect()
}

fn wheels() -> Vec<Locked> {
    let items = [
        wheel_file("pure_wheel/__init__.py", "x = 1\n"),
        entry_points("pure-wheel", "[console_scripts]\npure-wheel = pure_wheel:main\n"),
    ];
    vec![locked(&wheel("pure-wheel", items))]
}

/// Tricky packages, a wheel, and files.
fn full() -> Workspace {
    workspace(odd::packages()).pypi(wheels()).oci("include = [\"data\"]")
}

fn write(sandbox: &Sandbox, ws: &Workspace) {
    let _ = fs::remove_dir_all(sandbox.path("ws"));
    ws.write(&sandbox.path("ws"));
    fs::create_dir_all(sandbox.path("ws/data")).unwrap();
    fs::write(sandbox.path("ws/data/table"), "1,2,3").unwrap();
}

#[test]
fn with_nothing_known_it_says_so_and_asks_nobody() {
    let sandbox = Sandbox::new();
    write(&sandbox, &full());
    // What is not there cannot be read.
    fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    let plan = plan(&sandbox, &["--offline"]);
    assert_eq!((&plan["digest"], &plan["platforms"][0]["manifest"]), (&Value::Null, &Value::Null));
    assert_eq!(reasons(&plan), ["unknownPackages", "unknownPackages"]);
    let platform = &plan["platforms"][0];
    assert!(states(platform).iter().all(|(state, _)| *state == "unknown"));
    assert!(platform["layers"].as_array().unwrap().iter().all(|layer| layer["key"].is_null()));
    assert_eq!(platform["unknownPackages"].as_array().unwrap().len(), platform["packages"].as_u64().unwrap() as usize);
    assert!(plan["download"]["archives"].as_u64().unwrap() > 20 && plan["download"]["bytes"].as_u64().unwrap() > 1000);
    let text = run(&sandbox, &["plan", "ws", "--offline"]).success().stdout;
    assert!(text.contains("digest not known: linux-64, linux-aarch64: it is not known what is in"), "{text}");
    assert!(!sandbox.path("../cache/pixi-oci").exists(), "a plan leaves no trace");
}

#[test]
fn after_a_build_all_is_cached_and_the_digest_is_that_of_the_build() {
    let sandbox = Sandbox::new();
    write(&sandbox, &full());
    let built = build(&sandbox, &[]);
    fs::remove_dir_all(sandbox.path("../cache/pixi-oci/archives")).unwrap();
    fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    let before = snapshot(&sandbox.path("."));
    let plan = plan(&sandbox, &["--offline"]);
    assert_eq!(snapshot(&sandbox.path(".")), before, "a plan writes nothing into the workspace");
    assert_eq!((reasons(&plan), &plan["digest"]), (vec![], &built["digest"]));
    assert_eq!(plan["download"]["archives"], 0);
    for (platform, image) in plan["platforms"].as_array().unwrap().iter().zip(built["images"].as_array().unwrap()) {
        assert_eq!(platform["manifest"], image["manifest"]);
        assert!(states(platform).iter().all(|(state, _)| *state == "cached"));
        // Every layer with its key, digest and size is the one that was built.
        let of = |value: &Value| (value["key"].clone(), value["digest"].clone(), value["size"].clone());
        let (layers, other) = (platform["layers"].as_array().unwrap(), platform["otherLayers"].as_array().unwrap());
        let planned: Vec<_> = layers.iter().chain(other).map(of).collect();
        let made: Vec<_> = image["layers"].as_array().unwrap().iter().map(of).collect();
        assert_eq!(planned, made);
    }
    let text = run(&sandbox, &["plan", "ws"]).success().stdout;
    assert!(text.contains(&format!("default: a build makes {}", built["digest"].as_str().unwrap())), "{text}");
    // A file of the application is part of the digest.
    fs::write(sandbox.path("ws/data/table"), "4").unwrap();
    let changed = self::plan(&sandbox, &[]);
    assert!(changed["digest"] != built["digest"] && changed["digest"] == build(&sandbox, &[])["digest"]);
}

#[test]
fn the_digest_is_predicted_whatever_the_options() {
    let sandbox = Sandbox::new();
    write(&sandbox, &full());
    for options in [
        &["--compression", "zstd:3"][..],
        &["--set", "max-layers=15"],
        &["--env", "A=1", "--label", "b=c", "--user", "1000:1000"],
        &["--arch", "arm64"],
        &["--set", "prefix=/srv/env", "--workdir", "/work"],
        &["--compression", "gzip:1", "--cmd", "[\"python\"]", "--include", "data/table -> /etc/table"],
    ] {
        let built = build(&sandbox, options);
        let planned = plan(&sandbox, options);
        assert_eq!(planned["digest"], built["digest"], "{options:?} {planned:#}");
    }
    // Options that change the key change what is there.
    let other = plan(&sandbox, &["--compression", "zstd:7"]);
    assert_eq!(reasons(&other), ["layersToBuild", "layersToBuild"]);
}

/// Wheels that stand for sources: one that is given, and the workspace's own, which is part of the application.
#[test]
fn sources_with_a_wheel_are_predicted_and_others_are_the_reason() {
    let sandbox = Sandbox::new();
    let own = "[project]\nname = \"my-app\"\nversion = \"1.0\"\n[build-system]\nrequires = [\"hatchling\"]\n\
               build-backend = \"hatchling.build\"\n[tool.hatch.build.targets.wheel]\npackages = [\"src/my_app\"]\n";
    let sources = [source("my-app", "."), source("demo", "https://files.example.org/demo-1.0.tar.gz")];
    write(&sandbox, &workspace([odd::python()]).pypi(sources).oci("include = [\"data\"]"));
    fs::create_dir_all(sandbox.path("ws/src/my_app")).unwrap();
    fs::write(sandbox.path("ws/src/my_app/__init__.py"), "").unwrap();
    fs::write(sandbox.path("ws/pyproject.toml"), own).unwrap();
    let Locked { file: Some((_, bytes)), location, .. } = locked(&wheel("demo", [wheel_file("demo/__init__.py", "")]))
    else {
        panic!("no file")
    };
    let name = location.rsplit('/').next().unwrap();
    fs::write(sandbox.path(name), bytes).unwrap();
    let built = build(&sandbox, &["--wheel", name]);
    assert_eq!(plan(&sandbox, &["--wheel", name])["digest"], built["digest"]);
    let undecided = plan(&sandbox, &[]);
    assert_eq!(reasons(&undecided), ["sources", "unknownPackages", "unknownPackages"], "{undecided:#}");
    assert_eq!(undecided["platforms"][0]["sources"], json!(["pypi:my-app", "pypi:demo"]));
}

#[test]
fn one_changed_package_is_one_layer_and_one_download() {
    let sandbox = Sandbox::new();
    let ws = |text: &str| workspace([tool(text), big("one"), big("two")]);
    write(&sandbox, &ws("old"));
    build(&sandbox, &[]);
    write(&sandbox, &ws("new"));
    // Nobody knows what is in the new package, so nobody knows whether it has a path of the others.
    let unknown = plan(&sandbox, &["--arch", "amd64"]);
    assert_eq!(reasons(&unknown), ["unknownPackages"]);
    assert_eq!(unknown["platforms"][0]["unknownPackages"], json!(["tool"]));
    let size = &unknown["platforms"][0]["layers"][2]["bytes"];
    assert_eq!((&unknown["download"]["bytes"], &unknown["download"]["packages"][0]), (size, &Value::from("tool")));
    // Without the layer but with what is in it.
    build(&sandbox, &[]);
    fs::remove_dir_all(sandbox.path("../cache/pixi-oci/archives")).unwrap();
    let records = sandbox.path("../cache/pixi-oci/layers/2/records");
    let known = plan(&sandbox, &["--arch", "amd64"]);
    let key = known["platforms"][0]["layers"][2]["key"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    fs::remove_file(records.join(&key[..2]).join(format!("{key}.json"))).unwrap();
    let missing = plan(&sandbox, &["--arch", "amd64"]);
    assert_eq!(reasons(&missing), ["layersToBuild"]);
    // The big ones are as long as their archives, which have times.
    let mut found = states(&missing["platforms"][0]);
    found.sort();
    let expected = [("cached", "one".to_owned()), ("cached", "two".into()), ("toBuild", "tool".into())];
    assert_eq!(found, expected);
    assert_eq!((&missing["download"]["bytes"], &missing["download"]["archives"]), (size, &Value::from(1)));
}

/// Nobody knows what is in a new package; what the others are if it keeps to itself is said, as what it is.
#[test]
fn one_new_package_leaves_likely_what_the_others_are() {
    let sandbox = Sandbox::new();
    let user = || package("user", [file("bin/contested", "user"), file("share/user", vec![0; 9])]);
    let old = || [big("one"), big("two"), user()];
    write(&sandbox, &workspace(old()));
    build(&sandbox, &["--arch", "amd64"]);
    // `loud` has a path of `user`, and says so to nobody before it is fetched.
    let loud = package("loud", [file("bin/contested", "loud")]).depends(&["user"]);
    for (new, likely_right) in [(big("quiet"), true), (loud, false)] {
        write(&sandbox, &workspace(old().into_iter().chain([new])));
        let planned = plan(&sandbox, &["--arch", "amd64"]);
        let layers = planned["platforms"][0]["layers"].as_array().unwrap();
        assert!(states(&planned["platforms"][0]).iter().all(|(state, _)| *state == "unknown"), "{planned:#}");
        assert!(layers.iter().all(|layer| layer["key"].is_null()));
        assert_eq!((reasons(&planned), &planned["digest"]), (vec!["unknownPackages"], &Value::Null));
        assert_eq!(planned["download"]["archives"], 1);
        let likely: BTreeMap<&str, &Value> = layers
            .iter()
            .filter(|layer| !layer["likely"].is_null())
            .map(|layer| (layer["packages"][0]["name"].as_str().unwrap(), &layer["likely"]))
            .collect();
        assert_eq!(likely.keys().copied().collect::<Vec<_>>(), ["one", "two", "user"], "{planned:#}");
        assert!(likely.values().all(|likely| likely["state"] == "cached" && likely["size"].is_u64()), "{planned:#}");
        let text = run(&sandbox, &["plan", "ws", "--arch", "amd64"]).success().stdout;
        assert_eq!((text.matches(" cached?").count(), text.matches(" unknown ").count()), (3, 1), "{text}");

        let built = build(&sandbox, &["--arch", "amd64"]);
        for layer in built["images"][0]["layers"].as_array().unwrap() {
            let Some(name) = layer["packages"][0].as_str().and_then(|label| label.split(' ').next()) else { continue };
            let Some(likely) = likely.get(name) else { continue };
            assert_eq!(layer["key"] == likely["key"], likely_right || name != "user", "{name}");
        }
    }
}

#[test]
fn what_a_build_would_refuse_is_the_reason_for_no_digest() {
    let sandbox = Sandbox::new();
    write(&sandbox, &workspace([tool("x")]));
    build(&sandbox, &[]);
    let path = sandbox.path("ws/pixi.toml");
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{manifest}include = [\"nowhere\"]\n")).unwrap();
    let plan = plan(&sandbox, &["--arch", "amd64"]);
    assert_eq!(reasons(&plan), ["buildFails"]);
    assert!(plan["unpredicted"][0]["message"].as_str().unwrap().contains("nowhere"), "{plan:#}");
    assert_eq!(states(&plan["platforms"][0]), [("cached", "tool".to_owned())]);
}

#[test]
fn a_base_image_that_may_move_has_no_digest_before() {
    let sandbox = Sandbox::new();
    let on = |base: &str| workspace([tool("x")]).oci_only(&format!("base = {base:?}"));
    // Nobody is there who could be asked.
    write(&sandbox, &on("docker://127.0.0.1:1/base:latest"));
    fs::create_dir_all(sandbox.path("../cache/pixi-oci")).unwrap();
    let plan = self::plan(&sandbox, &["--arch", "amd64"]);
    assert_eq!(reasons(&plan), ["baseNotPinned", "unknownPackages"]);
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    write(&sandbox, &on(&format!("docker://127.0.0.1:1/base@{digest}")));
    assert_eq!(reasons(&self::plan(&sandbox, &["--arch", "amd64"])), ["baseNotHere", "unknownPackages"]);
}

/// What is in `oci:DIR` that is not in another layout.
fn new_blobs(sandbox: &Sandbox, image: &Value, old: &str) -> BTreeMap<String, u64> {
    let new = image["layers"].as_array().unwrap().iter().map(|layer| {
        (layer["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned(), layer["size"].as_u64().unwrap())
    });
    new.filter(|(hex, _)| !sandbox.path(old).join("blobs/sha256").join(hex).exists()).collect()
}

/// The changes of amd64 since an image.
fn since(sandbox: &Sandbox, image: &str, arguments: &[&str]) -> Value {
    plan(sandbox, &[&["--arch", "amd64", "--against", image], arguments].concat())["platforms"][0]["changes"].clone()
}

#[test]
fn against_an_image_names_what_changed_and_the_bytes_of_it() {
    let sandbox = Sandbox::new();
    let old = || [tool("old"), big("one"), big("two"), package("gone", [file("share/gone", "")])];
    write(&sandbox, &workspace(old()));
    let first = build(&sandbox, &["--arch", "amd64"]);
    let nothing = since(&sandbox, "oci:out", &[]);
    assert_eq!((&nothing["packages"], &nothing["bytes"], &nothing["exact"]), (&json!([]), &json!(0), &json!(true)));
    fs::rename(sandbox.path("out"), sandbox.path("old")).unwrap();

    // One is another version, one another archive of the same version, one is gone and one is new.
    let two = Package { version: "2.0".into(), ..big("two") };
    write(&sandbox, &workspace([tool("new"), big("one"), two, big("three")]));
    let image = format!("oci:old@{}", first["digest"].as_str().unwrap());
    let names = |changes: &Value| -> Vec<String> {
        let packages = changes["packages"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        packages.map(|p| format!("{} {} {}", text(&p["name"]), text(&p["before"]), text(&p["after"]))).collect()
    };
    let b = "h1234567_0";
    let expected = [
        format!("gone 1.0 {b} -"),
        format!("three - 1.0 {b}"),
        format!("tool 1.0 {b} 1.0 {b}"),
        format!("two 1.0 {b} 2.0 {b}"),
    ];
    // Before it is built the sizes are those of the archives.
    let guessed = since(&sandbox, &image, &[]);
    assert_eq!((names(&guessed), &guessed["exact"]), (expected.to_vec(), &json!(false)));
    assert!(guessed["packages"][1]["bytes"].as_u64().unwrap() > 70_000, "{guessed:#}");
    let built = build(&sandbox, &["--arch", "amd64"]);
    let exact = since(&sandbox, &image, &[]);
    assert_eq!((names(&exact), &exact["exact"]), (expected.to_vec(), &json!(true)));
    let new = new_blobs(&sandbox, &built["images"][0], "old");
    assert_eq!(exact["bytes"].as_u64().unwrap(), new.values().sum::<u64>(), "{exact:#} {new:?}");
    for (index, package) in [(1, "three"), (2, "tool"), (3, "two")] {
        let layers = built["images"][0]["layers"].as_array().unwrap();
        let has = |layer: &&Value| layer["packages"][0].as_str().is_some_and(|l| l.starts_with(&format!("{package} ")));
        let layer = layers.iter().find(has).unwrap();
        assert_eq!(exact["packages"][index]["bytes"], layer["size"], "{package}");
    }
    assert_eq!(exact["packages"][0]["bytes"], 0);
    let text = run(&sandbox, &["plan", "ws", "--arch", "amd64", "--against", &image]).success().stdout;
    assert!(text.contains(&format!("! two 1.0 {b} -> 2.0 {b}")) && text.contains("- gone 1.0"), "{text}");
    // Another compression changes every layer, and no package.
    let other = since(&sandbox, "oci:out", &["--compression", "zstd"]);
    assert_eq!((names(&other), other["otherPackageLayers"].as_array().unwrap().len()), (Vec::new(), 4));
    run(&sandbox, &["plan", "ws", "--against", "oci:nowhere"]).refused(1, &["cannot use what is in oci:nowhere"]);
    run(&sandbox, &["plan", "ws", "--against", "nowhere"]).refused(2, &["docker://HOST/REPOSITORY"]);
    run(&sandbox, &["plan", "ws", "--offline", "--against", "docker://127.0.0.1:1/a"]).refused(1, &["oci:DIR"]);
}

/// Two packages that share a layer are both the reason why it is another one.
#[test]
fn what_shares_a_layer_is_counted_once() {
    let sandbox = Sandbox::new();
    let small = |n: usize, text: &str| package(&format!("small{n}"), [file(&format!("share/{n}"), text)]);
    let ws = |text: &str| workspace((0..12).map(|n| small(n, if n < 6 { text } else { "" })));
    write(&sandbox, &ws("old"));
    build(&sandbox, &["--arch", "amd64"]);
    fs::rename(sandbox.path("out"), sandbox.path("old")).unwrap();
    write(&sandbox, &ws("new"));
    let built = build(&sandbox, &["--arch", "amd64"]);
    let changes = since(&sandbox, "oci:old", &[]);
    let packages = changes["packages"].as_array().unwrap();
    let sum: u64 = packages.iter().map(|package| package["bytes"].as_u64().unwrap()).sum();
    let new: u64 = new_blobs(&sandbox, &built["images"][0], "old").values().sum();
    assert_eq!((packages.len(), changes["bytes"].as_u64()), (6, Some(new)));
    let layers: BTreeSet<u64> = packages.iter().map(|package| package["layers"][0].as_u64().unwrap()).collect();
    assert!(layers.len() < 6 && sum > 0, "{changes:#}");
}

fn tool(text: &str) -> Package {
    package("tool", [file("bin/tool", text).mode(0o755)])
}

/// A package of 70 kB that cannot be compressed: what is smaller has no layer of its own.
fn big(name: &str) -> Package {
    let seed = name.bytes().fold(7_u64, |hash, byte| hash * 31 + u64::from(byte));
    package(name, [file(&format!("share/{name}"), noise(seed, 70_000))])
}
