//! A package whose archive is longer than `split-above` goes over several layers, which are together what its one layer would be;
//! whatever takes, compares or verifies layers works with them.

use std::{collections::BTreeMap, fs, path::Path};

use pixi_oci_test_registry::docker::{Docker, Mode};
use serde_json::Value;

use crate::common::{
    forge::{Entry, by_rule, forge},
    image::{self, Image, Kind},
    packages::{Package, file, hard_link, noise, package, symlink},
    pypi::locked,
    sandbox::{BINARY, Outcome, Sandbox, copy_tree, has, sha256},
    wheels::{file as wheel_file, wheel},
    workspace::{Workspace, workspace},
};

const SITE: &str = "opt/pixi/env/lib/python3.12/site-packages";

/// Some 3.3 MiB, so that with a threshold of 1 MiB it goes over four layers.
fn giant(text: &str) -> Package {
    let library = file("lib/liba.so.1", noise(1, 900_000)).mode(0o755);
    let items = [
        file("bin/giant", text).mode(0o755),
        file("etc/conda/env_vars.d/giant.json", r#"{"GIANT": "1"}"#),
        library.clone(),
        symlink("lib/liba.so", "liba.so.1"),
        hard_link("zzz/again", &library),
        file("lib/libb.so", noise(2, 900_000)),
        file("lib/libc.so", noise(3, 900_000)),
        file("share/d", noise(4, 700_000)),
        file("share/prefix", "PREFIX").patched("text"),
    ];
    package("giant", items).tar_bz2()
}

/// One file and nothing else, for every platform, so that there are fewer parts than there could be.
fn single() -> Package {
    package("single", [file("share/single", noise(5, 1_300_000))]).noarch("generic").tar_bz2()
}

fn small() -> [Package; 2] {
    let python = package("python", [file("bin/python3.12", "elf")]).version("3.12.1");
    [python.tar_bz2(), package("small", [file("share/small", noise(6, 70_000))]).tar_bz2()]
}

fn project(text: &str) -> Workspace {
    let modules = |n: u64| wheel_file(&format!("big/m{n}.bin"), noise(10 + n, 800_000));
    let wheel = locked(&wheel("big", [wheel_file("big/__init__.py", "x = 1\n"), modules(0), modules(1)]));
    workspace([giant(text), single()].into_iter().chain(small())).pypi([wheel]).oci("split-above = 1")
}

fn layers_of<'a>(image: &'a Image, package: &str) -> Vec<&'a image::Layer> {
    let is_of = |layer: &&image::Layer| {
        let packages = layer.annotations["dev.pixi-oci.packages"].as_str().unwrap_or_default();
        packages.split(' ').next() == Some(package)
    };
    image.layers.iter().filter(is_of).collect()
}

fn parts(layers: &[&image::Layer]) -> Vec<String> {
    layers.iter().map(|layer| layer.annotations["dev.pixi-oci.part"].as_str().unwrap_or("-").to_owned()).collect()
}

fn has_path(layer: &image::Layer, path: &str) -> bool {
    layer.entries.iter().any(|(own, _)| own == path)
}

fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).expect("one JSON document")
}

#[test]
fn the_parts_are_together_what_one_layer_is() {
    let sandbox = Sandbox::new();
    project("1").write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:split:x");
    sandbox.run(&["build", "ws", "--set", "split-above=256", "-o", "oci:whole:x"]).success();
    let (split, whole) = (image::read(&sandbox.path("split"), "x"), image::read(&sandbox.path("whole"), "x"));
    for image in &split.images {
        let other = whole.image(&image.platform);
        let (mut ours, mut theirs) = (image.tree(), other.tree());
        // What an image says of its layers differs, and nothing else.
        for tree in [&mut ours, &mut theirs] {
            assert!(tree.remove("opt/pixi/layers.json").is_some());
        }
        assert_eq!(ours, theirs);
        assert_eq!(image.env("GIANT"), Some("1"));
        for same in ["python", "small"] {
            let pair = [image, other].map(|image| layers_of(image, same)[0]);
            assert_eq!(pair[0].digest, pair[1].digest, "{same}");
            assert_eq!(pair[0].annotations, pair[1].annotations, "{same}");
        }
        let giant = layers_of(image, "giant");
        assert_eq!(parts(&giant), ["1/4", "2/4", "3/4", "4/4"]);
        assert!(has_path(giant[0], "opt/pixi/env/conda-meta/giant-1.0-h1234567_0.json"));
        let places = ["lib/liba.so.1", "zzz/again", "lib/libb.so", "lib/libc.so", "share/d"];
        let places = places.map(|path| giant.iter().position(|layer| has_path(layer, &format!("opt/pixi/env/{path}"))));
        assert_eq!(places, [Some(0), Some(0), Some(1), Some(2), Some(3)]);
        assert!(giant.iter().all(|layer| layer.size < 1 << 20));
        // They lie on one another, biggest packages first.
        let order = image.layers.iter().filter_map(|layer| layer.annotations["dev.pixi-oci.part"].as_str());
        assert_eq!(order.collect::<Vec<_>>(), ["1/4", "2/4", "3/4", "4/4", "1/2", "2/2", "1/2"]);
        // A record takes no part of its own, and no part is empty.
        assert_eq!(parts(&layers_of(image, "single")), ["1/2"]);
        let big = layers_of(image, "pypi:big");
        assert!(has_path(big[0], &format!("{SITE}/big-1.0.dist-info/RECORD")));
        assert!(has_path(big[1], &format!("{SITE}/big/m1.bin")));
        let steps = image.config["history"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["created_by"] == "pixi-oci: giant 1.0 h1234567_0, part 2/4"), "{steps:?}");
    }
    let singles: Vec<&str> = split.images.iter().map(|image| &*layers_of(image, "single")[0].digest).collect();
    assert_eq!(singles[0], singles[1], "one for both architectures");
    // However many cores there are.
    if has("taskset") {
        let mut command = sandbox.program("taskset");
        command.args(["-c", "0", BINARY, "build", "ws", "-o", "oci:one-core:x", "--json"]);
        assert_eq!(report(&Outcome::of(&mut command).success())["digest"], split.digest.as_str());
    }
}

/// What is in the image comes from the packages alone, so that these are the same on every machine, and for ever.
#[test]
fn the_digests_are_as_they_were() {
    let sandbox = Sandbox::new();
    workspace([giant("1"), single()]).oci("split-above = 1").write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let index = image::read(&sandbox.path("out"), "x");
    let image = index.image("linux/amd64");
    let layers = layers_of(image, "giant").into_iter().chain(layers_of(image, "single"));
    let found: String = layers
        .map(|layer| {
            let contents: Vec<String> = layer
                .entries
                .iter()
                .map(|(path, entry)| match &entry.kind {
                    Kind::File(bytes) => format!("{path} {:o} {} {}", entry.mode, entry.mtime, sha256(bytes)),
                    other => format!("{path} {:o} {} {other:?}", entry.mode, entry.mtime),
                })
                .collect();
            let key = layer.annotations["dev.pixi-oci.layer-key"].as_str().unwrap();
            format!("{key} {} {}\n", layer.diff_id, sha256(contents.join("\n").as_bytes()))
        })
        .collect();
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/split.txt"));
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(expected, found, "if that is meant, raise LAYER_FORMAT_VERSION and take this:\n{found}");
}

/// What `verify image` finds in a copy of the image that was changed.
fn findings(sandbox: &Sandbox, change: impl FnOnce(&Path)) -> BTreeMap<String, Vec<String>> {
    let copy = sandbox.path("bad");
    let _ = fs::remove_dir_all(&copy);
    copy_tree(&sandbox.path("good"), &copy, |_| {});
    change(&copy);
    let mut found = by_rule(&report(&sandbox.run(&["verify", "image", "oci:bad", "--json"]).refused_with(3)));
    // The table has the length of each layer.
    found.remove("inventory");
    found
}

#[test]
fn every_file_of_every_part_is_accounted_for() {
    let sandbox = Sandbox::new();
    project("1").write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:good:x");
    let verdict = report(&sandbox.run(&["verify", "image", "oci:good", "--json"]).success());
    let packages = verdict["images"][0]["packages"].as_array().unwrap();
    assert_eq!(packages.iter().filter(|package| package["name"] == "giant").count(), 1);
    for (step, path) in [
        ("giant 1.0 h1234567_0, part 2/4", "opt/pixi/env/lib/libb.so".to_owned()),
        ("giant 1.0 h1234567_0, part 4/4", "opt/pixi/env/share/prefix".to_owned()),
        ("pypi:big 1.0, part 2/2", format!("{SITE}/big/m1.bin")),
    ] {
        let in_step = |dir: &Path, change: &dyn Fn(&mut Vec<Entry>)| {
            let mut changed = false;
            forge(dir, "amd64", |own, entries| {
                if own == step {
                    changed = true;
                    change(entries);
                }
            });
            assert!(changed, "{step}");
        };
        let removed = findings(&sandbox, |dir| in_step(dir, &|entries| entries.retain(|entry| entry.path != path)));
        assert!(removed["removed"].len() == 1 && removed["removed"][0].starts_with(&path), "{removed:?}");
        let changed = findings(&sandbox, |dir| {
            in_step(dir, &|entries| {
                entries.iter_mut().find(|entry| entry.path == path).unwrap().content.push(b'!');
            });
        });
        assert!(changed["changed"][0].starts_with(&path) && changed.len() == 1, "{changed:?}");
        let evil = "opt/pixi/env/bin/evil";
        let added = findings(&sandbox, |dir| {
            in_step(dir, &|entries| entries.push(Entry::file(evil, "evil")));
        });
        assert!(added["unaccounted"][0].starts_with(evil) && added.len() == 1, "{added:?}");
    }
}

#[test]
fn a_plan_says_how_many_parts_there_are_at_most_and_the_cache_how_many_there_are() {
    let sandbox = Sandbox::new();
    project("1").write(&sandbox.path("ws"));
    let with_cache = |arguments: &[&str]| {
        let mut command = sandbox.pixi_oci(arguments);
        report(&Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success())
    };
    let plan = || with_cache(&["plan", "ws", "--arch", "amd64", "--json"])[0].clone();
    let parts_of = |plan: &Value, name: &str| -> Vec<String> {
        let layers = plan["platforms"][0]["layers"].as_array().unwrap();
        let own = layers.iter().filter(|layer| layer["packages"][0]["name"] == name);
        own.map(|layer| format!("{}/{}", layer["part"]["index"], layer["part"]["of"])).collect()
    };
    let before = plan();
    assert_eq!(parts_of(&before, "giant"), ["1/4", "2/4", "3/4", "4/4"]);
    assert_eq!(parts_of(&before, "single"), ["1/2", "2/2"]);
    let shares =
        before["platforms"][0]["layers"].as_array().unwrap().iter().map(|layer| layer["bytes"].as_u64().unwrap());
    assert_eq!(shares.sum::<u64>(), before["platforms"][0]["bytes"].as_u64().unwrap());
    let text = sandbox.run(&["plan", "ws", "--arch", "amd64"]).success().stdout;
    assert!(text.contains("giant 1.0, part 3/4"), "{text}");

    let build = |text: &str| {
        let _ = fs::remove_dir_all(sandbox.path("ws"));
        project(text).write(&sandbox.path("ws"));
        with_cache(&["build", "ws", "--arch", "amd64", "-o", "oci:out:x", "--json"])
    };
    let origins = |report: &Value, origin: &str| {
        let layers = report["images"][0]["layers"].as_array().unwrap().iter();
        layers.filter(|layer| layer["origin"] == origin).count()
    };
    let first = build("1");
    assert_eq!(origins(&first, "made"), 4 + 1 + 2 + 2);
    let cached = plan();
    assert_eq!((&cached["digest"], parts_of(&cached, "single").len()), (&first["digest"], 1), "{cached:#}");
    fs::remove_dir_all(sandbox.path("../cache/pixi-oci/archives")).unwrap();
    let again = build("1");
    assert_eq!((&again["digest"], origins(&again, "cache")), (&first["digest"], 9));

    // A lost part alone is made again.
    let lost = first["images"][0]["layers"][2]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let blob = sandbox.path("../cache/pixi-oci/layers/2/blobs").join(&lost[..2]).join(&lost);
    fs::remove_file(&blob).unwrap_or_else(|error| panic!("{}: {error}", blob.display()));
    let mended = build("1");
    assert_eq!((&mended["digest"], origins(&mended, "made")), (&first["digest"], 1));
    sandbox.run(&["verify", "image", "oci:out"]).success();
    sandbox.run(&["verify", "rebuild", "oci:out:x", "ws"]).success();

    // Another package has other parts, of which only the changed are sent.
    let _ = fs::remove_dir_all(sandbox.path("ws"));
    project("2").write(&sandbox.path("ws"));
    let against = ["plan", "ws", "--arch", "amd64", "--against", "oci:out:x", "--json"];
    let changes = with_cache(&against)[0]["platforms"][0]["changes"].clone();
    assert_eq!(changes["packages"][0]["name"], "giant");
    assert_eq!(changes["packages"][0]["layers"].as_array().unwrap().len(), 4, "{changes:#}");
    assert_eq!(changes["otherPackageLayers"].as_array().unwrap().len(), 0, "{changes:#}");
}

#[test]
fn published_parts_are_taken_by_a_machine_that_has_nothing() {
    let Some(registry) = Docker::start(Mode::Plain) else { return };
    let to = registry.reference("app");
    let sandbox = Sandbox::new();
    project("1").write(&sandbox.path("ws"));
    let run = |arguments: &[&str]| {
        let mut command = sandbox.pixi_oci(&[arguments, &["--json"]].concat());
        command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB");
        report(&Outcome::of(command.env("VERSION", "1.0.0-dev.1")).success())
    };
    let published = run(&["publish", "ws", "--to", &to, "--publish"]);
    fs::remove_dir_all(sandbox.path("../cache")).unwrap();
    let named = format!("{to}:1.0.0-dev.1");
    let built = run(&["build", "ws", "--cache-from", &named, "-o", "oci:out:x"]);
    assert_eq!(built["digest"], published["build"]["digest"]);
    let layers = built["images"].as_array().unwrap().iter().flat_map(|image| image["layers"].as_array().unwrap());
    assert_eq!(layers.filter(|layer| layer["origin"] == "made").count(), 0, "{built:#}");
    sandbox.run(&["verify", "image", "oci:out"]).success();
}

#[test]
fn a_sif_has_the_files_of_all_parts() {
    let sandbox = Sandbox::new();
    project("1").platforms(&["linux-64"]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    sandbox.build("ws", "sif:tool");
    sandbox.run(&["verify", "image", "sif:tool.sif", "--against", "oci:out:x"]).success();
}
