//! `index = false`: the image of one architecture under the tags, without an index.

use pixi_oci_test_registry::{Kind, Profile, Registry, checker};
use serde_json::Value;

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The workspace `ws` with this content, for amd64 and without an index.
fn write_plain(sandbox: &Sandbox, content: &str, platforms: &[&'static str]) {
    let tool = package("tool", [file("bin/tool", content).mode(0o755)]);
    let other = package("other", [file("share/other", "the same for ever")]).tar_bz2();
    workspace([tool, other]).platforms(platforms).oci("index = false\ncmd = [\"tool\"]").write(&sandbox.path("ws"));
}

fn run(sandbox: &Sandbox, version: &str, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.pixi_oci(&[&["publish", "ws"], arguments].concat());
    Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB").env("VERSION", version))
}

#[test]
fn everything_that_reads_tags_takes_an_image_without_an_index() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::distribution_3_1()));
    let to = registry.reference("app");
    write_plain(&sandbox, "1", &["linux-64"]);
    let planned = run(&sandbox, "1.0.0", &["--to", &to, "--json"]).success();
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    assert_eq!(planned["mediaType"], MANIFEST);
    let published = run(&sandbox, "1.0.0", &["--publish", "--to", &to, "--json"]).success();
    let published: Value = serde_json::from_str(&published.stdout).unwrap();
    let digest = published["digest"].as_str().unwrap();
    assert_eq!((published["digest"].as_str(), planned["digest"].as_str()), (Some(digest), Some(digest)));
    assert_eq!(published["images"][0]["digest"].as_str(), Some(digest));
    let tags = |registry: &Registry| -> Vec<String> { checker::check(&registry.address).tags.into_keys().collect() };
    assert_eq!(tags(&registry), ["app:1.0.0", "app:latest"]);
    for tag in ["1.0.0", "latest"] {
        assert_eq!(registry.tag("app", tag).as_deref(), Some(digest));
    }
    assert!(checker::check(&registry.address).sound().tags.contains_key("app:1.0.0"));

    // Again: nothing is sent. Other content: refused before anything is built; the plan says it, too.
    registry.clear_log();
    run(&sandbox, "1.0.0", &["--publish", "--to", &to]).success();
    assert!(registry.log().iter().all(|entry| !matches!(entry.kind, Kind::UploadPut | Kind::ManifestPut)));
    let plan = |more: &[&str]| {
        let mut command = sandbox.pixi_oci(&[&["plan", "ws", "--to", &to, "--json"], more].concat());
        let outcome = Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB").env("VERSION", "1.0.0")).success();
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()[0]["push"][0].clone()
    };
    let there = plan(&[]);
    assert_eq!(
        (&there["manifests"], &there["blobs"], &there["tags"]),
        (&0.into(), &0.into(), &serde_json::json!([])),
        "{there:#}"
    );
    write_plain(&sandbox, "2", &["linux-64"]);
    run(&sandbox, "1.0.0", &["--publish", "--to", &to]).refused(1, &["BLOCKER(tag-exists)"]);
    assert!(plan(&[])["refusal"].as_str().unwrap().contains("tag-exists"));

    // The next ones: layers are taken from it; `latest` moves, and an older release does not take it back.
    let forget = || std::fs::remove_dir_all(sandbox.path("../cache/pixi-oci/layers")).unwrap();
    forget();
    let next = run(&sandbox, "1.1.0-dev.1", &["--publish", "--to", &to, "--json"]).success();
    let report: Value = serde_json::from_str(&next.stdout).unwrap();
    let layers = report["build"]["images"][0]["layers"].as_array().unwrap();
    assert!(layers.iter().any(|layer| layer["origin"] == "registry"), "{report:#}");
    run(&sandbox, "1.1.0", &["--publish", "--to", &to]).success();
    let newest = registry.tag("app", "1.1.0");
    assert_eq!(registry.tag("app", "latest"), newest);
    run(&sandbox, "1.0.1", &["--publish", "--to", &to]).success();
    assert_eq!(registry.tag("app", "latest"), newest);

    // What is there is read by the others.
    let reference = format!("{to}:1.1.0");
    sandbox.run(&["verify", "image", &reference]).success();
    sandbox.run(&["verify", "rebuild", &reference, "ws"]).success();
    let since = sandbox.run(&["plan", "ws", "--matrix", "github", "--since", &reference]).success();
    assert!(since.stdout.contains("\"include\":[]"), "{}", since.stdout);
    sandbox.run(&["plan", "ws", "--against", &reference]).success();
    sandbox.run(&["build", "ws", "--cache-from", &reference, "-o", "oci:out:x"]).success();
    let base =
        format!("base = \"{}:1.1.0\"\nprefix = \"/usr/more\"\nworkdir = \"/more\"", to.trim_start_matches("docker://"));
    workspace([package("more", [])]).platforms(&["linux-64"]).oci_only(&base).write(&sandbox.path("on-it"));
    sandbox.build("on-it", "oci:on-it-out:x");
    let before = tags(&registry);
    sandbox.run(&["prune", "--to", &to, "--delete"]).success();
    assert_eq!(tags(&registry), before);
}

#[test]
fn an_index_gives_way_and_comes_back() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::distribution_3_1()));
    let to = registry.reference("app");
    write_plain(&sandbox, "1", &["linux-64"]);
    let with_index = run(&sandbox, "1.0.0", &["--publish", "--to", &to, "--set", "index=true"]).success();
    assert_eq!(registry.tag("app", "latest").as_deref(), Some(with_index.digest()));
    // The same version without its index is another one.
    run(&sandbox, "1.0.0", &["--publish", "--to", &to]).refused(1, &["BLOCKER(tag-exists)"]);
    run(&sandbox, "1.1.0", &["--publish", "--to", &to]).success();
    assert_eq!(registry.tag("app", "latest"), registry.tag("app", "1.1.0"));
    run(&sandbox, "1.2.0", &["--publish", "--to", &to, "--set", "index=true"]).success();
    assert_eq!(registry.tag("app", "latest"), registry.tag("app", "1.2.0"));
    sandbox.run(&["prune", "--to", &to, "--delete"]).success();
    assert_eq!(registry.broken_tags(), Vec::<String>::new());
    // A layout of one image can be published so, too.
    sandbox.run(&["build", "ws", "-o", "oci:layout:x"]).success();
    let arguments = ["publish", "--from", "oci:layout:x", "--to", &to, "--publish", "--set", "index=false"];
    let from = Outcome::of(&mut sandbox.pixi_oci(&[&arguments[..], &["--tag", "from", "--json"]].concat()));
    let report: Value = serde_json::from_str(&from.success().stdout).unwrap();
    assert_eq!(report["mediaType"], MANIFEST);
}

#[test]
fn more_than_one_image_needs_an_index() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::distribution_3_1()));
    let to = registry.reference("app");
    write_plain(&sandbox, "1", &["linux-64", "linux-aarch64"]);
    let words = ["`index = false`", "there are 2: amd64, arm64", "--arch"];
    run(&sandbox, "1.0.0", &["--publish", "--to", &to]).refused(1, &words);
    sandbox.run(&["plan", "ws", "--to", &to]).refused(1, &words);
    assert!(registry.log().is_empty() || registry.log().iter().all(|entry| !entry.kind.mutates()));
    let leg = ["--publish", "--to", &to, "--arch", "amd64", "--leg-file", "leg.json"];
    run(&sandbox, "1.0.0", &leg).refused(1, &["`index = false`", "joined by an index"]);
    let one = run(&sandbox, "1.0.0", &["--publish", "--to", &to, "--arch", "arm64"]).success();
    assert_eq!(registry.tag("app", "1.0.0").as_deref(), Some(one.digest()));
}
