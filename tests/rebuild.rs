//! `pixi-oci verify rebuild`: an image is what its lock file says, or the layer that is not is named.

use std::fs;

use pixi_oci_test_registry::docker::{Docker, Mode};
use serde_json::Value;

use crate::common::{
    image, odd,
    packages::{Package, file, noise, package},
    poison::poison,
    pypi::{Locked, locked},
    sandbox::{Outcome, Sandbox},
    wheels::{entry_points, file as wheel_file, wheel},
    workspace::workspace,
};

fn wheels() -> Vec<Locked> {
    let items = [
        wheel_file("pure_wheel/__init__.py", "x = 1\n"),
        entry_points("pure-wheel", "[console_scripts]\npure-wheel = pure_wheel:main\n"),
    ];
    vec![locked(&wheel("pure-wheel", items))]
}

/// Packages of which two have a layer each.
fn packages() -> Vec<Package> {
    let big = |name: &str, seed| package(name, [file(&format!("share/{name}"), noise(seed, 70_000))]);
    odd::packages().into_iter().chain([big("good", 1), big("bad", 2)]).collect()
}

fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).expect("stdout is one JSON document")
}

fn rebuild(sandbox: &Sandbox, image: &str, arguments: &[&str]) -> Outcome {
    sandbox.run(&[&["verify", "rebuild", image, "ws"], arguments].concat())
}

#[test]
fn an_image_is_made_again_byte_for_byte() {
    let sandbox = Sandbox::new();
    workspace(packages()).pypi(wheels()).environment("prod", packages()).write(&sandbox.path("ws"));
    // Other times, another environment, another compression, the layers of a cache, a place that would be in the image.
    for (epoch, arguments) in [
        (None, &[][..]),
        (Some("1700000000"), &["--include", "pixi.toml", "--compression", "zstd"]),
        (Some("1700000000"), &["-e", "prod", "--include", "."]),
    ] {
        let _ = fs::remove_dir_all(sandbox.path("ws/out"));
        for _ in 0..2 {
            let mut build = sandbox.pixi_oci(&[&["build", "ws", "-o", "oci:ws/out:v1"], arguments].concat());
            epoch.map(|epoch| build.env("SOURCE_DATE_EPOCH", epoch));
            Outcome::of(build.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success();
        }
        let settings: Vec<&str> = arguments.iter().copied().filter(|a| !["-e", "prod"].contains(a)).collect();
        let again = rebuild(&sandbox, "oci:ws/out:v1", &settings).success();
        assert!(again.stdout.contains("it is the same") && again.stdout.contains("and the index"), "{}", again.stdout);
        let one = report(
            &rebuild(&sandbox, "oci:ws/out:v1", &[&settings[..], &["--arch", "arm64", "--json"]].concat()).success(),
        );
        assert_eq!((&one["verdict"], &one["comparison"]["sameness"]), (&"passed".into(), &"identical".into()));
        assert_eq!(one["comparison"]["images"].as_array().unwrap().len(), 1);
        assert!(one["comparison"]["index"].is_null(), "not all of it was made again");
        assert_eq!(one["madeWith"]["environment"], if arguments.contains(&"prod") { "prod" } else { "default" });
    }
    // Nothing is left, in the place for temporary files or beside the workspace.
    assert_eq!(fs::read_dir(sandbox.path("../tmp")).unwrap().count(), 0);
}

/// The first path that differs: the record of the package, which was changed to fit.
const RECORD: &str = "/opt/pixi/env/conda-meta/bad-1.0-h1234567_0.json: other content";

/// A layer under a true key with other bytes: its image is sound, a build that takes layers takes it, and it is found.
#[test]
fn a_layer_that_is_not_what_its_key_says_is_found() {
    let Some(registry) = Docker::start(Mode::Plain) else { return };
    let sandbox = Sandbox::new();
    workspace(packages()).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    rebuild(&sandbox, "oci:out:v1", &[]).success();
    poison(&sandbox.path("out"), "bad 1.0 h1234567_0", "opt/pixi/env/share/bad");
    sandbox.run(&["verify", "image", "oci:out"]).success();
    let to = registry.reference("app");
    sandbox.run(&["publish", "ws", "--publish", "--from", "oci:out:v1", "--to", &to, "--tag", "evil"]).success();
    let from = format!("{to}:evil");
    let mut build = sandbox.pixi_oci(&["build", "ws", "-o", "oci:taken", "--cache-from", &from, "--json"]);
    let taken = Outcome::of(build.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success();
    assert!(taken.stdout.contains("\"origin\": \"registry\""), "{}", taken.stdout);

    for image in ["oci:out:v1", "oci:taken", &from] {
        let outcome = rebuild(&sandbox, image, &["--json", "--out", "proof"]);
        assert_eq!(outcome.code, Some(3), "{image}: {}", outcome.stderr);
        let verdict = report(&outcome);
        assert_eq!(verdict["verdict"], "failed");
        assert_eq!(fs::read_to_string(sandbox.path("proof/report.json")).unwrap(), outcome.stdout);
        for image in verdict["comparison"]["images"].as_array().unwrap() {
            let layers = image["layers"].as_array().unwrap();
            let different: Vec<&Value> = layers.iter().filter(|layer| layer["sameness"] == "different").collect();
            assert_eq!(different.len(), 1, "{image:#}");
            assert_eq!(different[0]["content"], "bad 1.0 h1234567_0");
            assert_eq!(different[0]["firstDifference"], RECORD);
            assert_ne!(different[0]["image"]["digest"], different[0]["again"]["digest"]);
            assert_eq!(image["documents"], serde_json::json!([]), "what follows from the layer is not said twice");
        }
        for words in ["linux/arm64 layer", "(bad 1.0 h1234567_0)", RECORD] {
            assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
        }
    }
}

#[test]
fn what_else_differs_is_named() {
    let sandbox = Sandbox::new();
    workspace(packages()).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    let failed = |arguments: &[&str]| {
        let outcome = rebuild(&sandbox, "oci:out:v1", &[arguments, &["--json"]].concat());
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        (report(&outcome)["comparison"]["sameness"].clone(), outcome.stderr)
    };
    let (sameness, said) = failed(&["--compression", "gzip:1"]);
    assert!(sameness == "content" && said.contains("compressed differently"), "{sameness} {said}");
    let (sameness, said) = failed(&["--label", "a=b"]);
    assert!(sameness == "different" && said.contains("config/config/Labels/a: nothing in the image"), "{said}");
    let (_, said) = failed(&["--set", "prefix=/srv/env"]);
    assert!(said.contains("the image has /opt where there is /srv"), "{said}");
    let (_, said) = failed(&["--env", "X=1"]);
    assert!(said.contains("91-pixi-oci.sh: other content") && said.contains("config/config/Env"), "{said}");
    fs::write(sandbox.path("ws/pixi.toml"), fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap() + "\n# x\n")
        .unwrap();
    let (_, said) = failed(&[]);
    assert!(said.contains("(application)") && said.contains("/app/pixi.toml: other content"), "{said}");
    // What is damaged is not compared, and what makes no sense is said before anything is made.
    rebuild(&sandbox, "oci:out:v1", &["--cache-from", "docker://127.0.0.1:1/x"]).refused(2, &["--cache-from"]);
    rebuild(&sandbox, "oci:nothing", &[]).refused(1, &["not an OCI layout"]);
    workspace([]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    rebuild(&sandbox, "oci:out:v1", &["--arch", "arm64"]).refused(1, &["linux-aarch64"]);
    let index = image::read(&sandbox.path("out"), "v1");
    let blob = sandbox.path("out/blobs/sha256").join(index.images[0].layers[0].digest.trim_start_matches("sha256:"));
    fs::write(blob, "damaged").unwrap();
    let damaged = rebuild(&sandbox, "oci:out:v1", &[]);
    assert!(damaged.code == Some(3) && damaged.stdout.contains("it is damaged"), "{damaged:#?}");
}

/// The commit and the base that a tag named are taken from the image.
#[test]
fn what_the_workspace_does_not_say_any_more_is_taken_from_the_image() {
    let Some(registry) = Docker::start(Mode::Plain) else { return };
    let sandbox = Sandbox::new();
    let base = |content: &str| {
        let tool = package("basetool", [file("bin/basetool", content).mode(0o755)]);
        let _ = fs::remove_dir_all(sandbox.path("base"));
        workspace([tool]).oci("prefix = \"/usr/base\"").write(&sandbox.path("base"));
        let to = registry.reference("base");
        sandbox.run(&["publish", "base", "--publish", "--to", &to, "--tag", "stable"]).success();
    };
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-C", "ws"];
        Outcome::of(sandbox.program("git").args(identity).args(arguments)).success();
    };
    base("old");
    workspace(packages())
        .oci_only(&format!("base = \"{}:stable\"", registry.reference("base")))
        .write(&sandbox.path("ws"));
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    let mut build = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out:v1"]);
    Outcome::of(build.env("SOURCE_DATE_EPOCH", "1700000000")).success();
    // Time goes on: another commit, another base.
    git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    base("new");
    let anew = sandbox.run(&["build", "ws", "-o", "oci:anew", "--json"]).success();
    let again = rebuild(&sandbox, "oci:out:v1", &["--json", "--cache-dir", "fresh"]).success();
    let verdict = report(&again);
    assert_eq!(verdict["madeWith"]["created"], 1_700_000_000);
    let used = verdict["madeWith"]["bases"]["linux/amd64"].as_str().unwrap();
    assert!(used.contains("/base:stable@sha256:") && !anew.stdout.contains(used.split_once('@').unwrap().1), "{used}");
    assert_eq!(verdict["madeWith"]["revision"].as_str().map(str::len), Some(40));
    // Without git as well: the image says it.
    fs::remove_dir_all(sandbox.path("ws/.git")).unwrap();
    rebuild(&sandbox, "oci:out:v1", &[]).success();
}
