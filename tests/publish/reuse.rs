//! The registry as cache: a machine that has nothing takes layers from what is published.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use pixi_oci_test_registry::{Kind, Profile, Registry, checker};
use serde_json::Value;

use super::*;
use crate::common::{channel_server::ChannelServer, odd, sandbox::snapshot};

/// Packages that have a layer each, of which one has this content; and one that is for every platform.
pub(super) fn packages(content: &str) -> Vec<Package> {
    let many = (0..6).map(|n| package(&format!("lib{n}"), [file(&format!("lib/lib{n}.so"), noise(n))]));
    let tool = package("tool", [file("bin/tool", content).mode(0o755)]);
    let linked = package("linked", [symlink("lib64", "lib"), file("share/linked", "l")]);
    let user = package("user", [file("lib64/user", "u")]);
    many.chain([tool, linked, user]).chain(odd::packages()).collect()
}

/// 70 kB that cannot be compressed: what is smaller has no layer of its own.
pub(super) fn noise(seed: u64) -> Vec<u8> {
    crate::common::packages::noise(seed, 70_000)
}

/// A machine with nothing but the workspace; its channel is asked over HTTP.
pub(super) struct Machine {
    pub(super) sandbox: Sandbox,
    pub(super) channel: ChannelServer,
}

impl Machine {
    pub(super) fn new(content: &str) -> Self {
        let sandbox = Sandbox::new();
        let channel = ChannelServer::new(&sandbox.path("ws"));
        let address = format!("{}/channel", channel.address);
        // Where it is from is part of a package's record.
        workspace(packages(content)).channel(&address).write(&sandbox.path("ws"));
        Self { sandbox, channel }
    }

    pub(super) fn run(&self, arguments: &[&str], version: &str) -> Outcome {
        let mut command = self.sandbox.pixi_oci(&[arguments, &["--json"]].concat());
        command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB");
        Outcome::of(command.env("VERSION", version))
    }

    /// The archives that were downloaded. Parts of them are none.
    pub(super) fn downloads(&self) -> Vec<String> {
        let whole = self.channel.requests().into_iter().filter(|request| !request.headers.contains_key("range"));
        let mut asked: Vec<String> = whole.map(|request| request.target).collect();
        asked.sort();
        let archives = asked.iter().filter(|path| path.ends_with(".conda") || path.ends_with(".tar.bz2"));
        archives.map(|path| path.rsplit_once('/').unwrap().1.to_owned()).collect()
    }
}

pub(super) fn origins(report: &Value, origin: &str) -> usize {
    let build = if report["build"].is_null() { report } else { &report["build"] };
    let images = build["images"].as_array().unwrap();
    let layers = images.iter().flat_map(|image| image["layers"].as_array().unwrap());
    layers.filter(|layer| layer["origin"] == origin).count()
}

pub(super) fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).expect("one JSON document")
}

/// Channels of different machines have different ports: their records differ, unless it is one machine with another cache.
pub(super) fn forget(machine: &Machine) {
    fs::remove_dir_all(machine.sandbox.path("../cache")).unwrap();
}

#[test]
fn servers_are_asked_once_about_a_package_of_many_workspaces() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("old");
    let address = format!("{}/channel", machine.channel.address);
    let all = ["ws", "ws/other"];
    let write = |content: &str| {
        for ws in all {
            let repository = format!("repositories = [{:?}]", registry.reference(&ws.replace('/', "-")));
            workspace(packages(content)).channel(&address).oci(&repository).write(&machine.sandbox.path(ws));
        }
    };
    write("old");
    let publish = ["publish", "--publish", "--tag", "stable"];
    machine.run(&[&publish[..], &all].concat(), "1.0.0-dev.1").success();
    forget(&machine);
    let before = machine.channel.requests().len();
    write("new");
    let plan = ["plan", "--matrix", "github", "--since", ":stable"];
    let jobs = machine.sandbox.run(&[&plan[..], &all].concat()).success();
    assert_eq!(json(&jobs)["include"].as_array().unwrap().len(), 4, "{}", jobs.stdout);
    let asked: Vec<String> =
        machine.channel.requests()[before..].iter().map(|request| request.target.clone()).collect();
    let tools: Vec<&String> = asked.iter().filter(|target| target.contains("/tool-")).collect();
    assert_eq!(tools.len(), 2, "of each architecture: {tools:?}");
}

#[test]
fn a_machine_with_nothing_downloads_the_packages_of_changed_layers_only() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let machine = Machine::new("old");
    machine.run(&["publish", "ws", "--to", &to, "--publish"], "1.0.0-dev.1").success();
    forget(&machine);
    let before = registry.requests().len();
    let asked = machine.channel.requests().len();
    fs::remove_dir_all(machine.sandbox.path("ws")).unwrap();
    workspace(packages("new"))
        .channel(&format!("{}/channel", machine.channel.address))
        .write(&machine.sandbox.path("ws"));

    let outcome = machine.run(&["publish", "ws", "--to", &to, "--publish"], "1.0.0-dev.1").success();
    let report = json(&outcome);
    let made = origins(&report, "made");
    assert!(origins(&report, "registry") >= 2 * 6 && made > 0, "{report:#}");
    // Only the packages that share a layer with the changed one.
    let images = report["build"]["images"].as_array().unwrap().iter();
    let layers = images.flat_map(|image| image["layers"].as_array().unwrap());
    let labels =
        layers.filter(|layer| layer["origin"] == "made").flat_map(|layer| layer["packages"].as_array().unwrap());
    let expected: BTreeSet<String> = labels.map(|label| label.as_str().unwrap().replace(' ', "-")).collect();
    assert!(expected.iter().any(|stem| stem.starts_with("tool-")), "{expected:?}");
    assert!(!expected.iter().any(|stem| stem.starts_with("lib")), "{expected:?}");
    let asked: Vec<String> = machine.channel.requests()[asked..].iter().map(|request| request.target.clone()).collect();
    let stem = |target: &String| {
        let name = target.rsplit('/').next().unwrap_or_default();
        name.trim_end_matches(".conda").trim_end_matches(".tar.bz2").to_owned()
    };
    assert_eq!(asked.iter().map(stem).collect::<BTreeSet<_>>(), expected);
    // No layer's bytes passed: what was read are documents and the two environment layers.
    // What was sent is read back, if it is small.
    let requests = registry.requests()[before..].to_vec();
    let sent: Vec<&str> =
        report["destinations"][0]["uploaded"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let read = |line: &&String| line.starts_with("GET ") && line.contains("/blobs/");
    let blobs_read = requests.iter().filter(read).filter(|line| !sent.iter().any(|digest| line.contains(digest)));
    assert!(blobs_read.count() <= 2 + 2, "{requests:#?}");
    // For what is there it was asked once, though the index is a new one, and a layer is in two images.
    let images = report["build"]["images"].as_array().unwrap().iter();
    let layers = images.flat_map(|image| image["layers"].as_array().unwrap());
    let reused = layers.filter(|layer| layer["origin"] == "registry").map(|layer| &layer["digest"]);
    let present = report["destinations"][0]["present"].as_array().unwrap();
    for digest in reused {
        let blob = format!("/blobs/{} ", digest.as_str().unwrap());
        let asked: Vec<_> = requests.iter().filter(|line| line.contains(&blob)).collect();
        assert!(asked.len() == 1 && asked[0].starts_with("HEAD ") && present.contains(digest), "{asked:?}");
    }
    checker::check(&registry.address).sound();

    // The same as from nothing.
    let fresh = machine.sandbox.pixi_oci(&["build", "ws", "-o", "oci:fresh"]).output().unwrap();
    let fresh = String::from_utf8(fresh.stdout).unwrap();
    assert!(fresh.trim_end().ends_with(report["digest"].as_str().unwrap()), "{fresh} {}", report["digest"]);
}

#[test]
fn a_build_takes_layers_from_a_registry_and_no_package() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let machine = Machine::new("same");
    let published = json(&machine.run(&["publish", "ws", "--to", &to, "--publish"], "1.0.0-dev.1").success());
    forget(&machine);
    let asked = machine.downloads();
    let tag = published["destinations"][0]["tags"][0]["tag"].as_str().unwrap().trim_end_matches("-amd64").to_owned();
    let from = format!("{to}:{tag}");
    let built = json(&machine.run(&["build", "ws", "-o", "oci:out", "--cache-from", &from], "x").success());
    assert_eq!(built["digest"], published["digest"]);
    assert_eq!((origins(&built, "made"), machine.downloads()), (0, asked));
    machine.sandbox.run(&["verify", "image", "oci:out"]).success();
    // A fetched layer is as readable as one that was made.
    for blob in fs::read_dir(machine.sandbox.path("out/blobs/sha256")).unwrap() {
        assert_eq!(blob.unwrap().metadata().unwrap().permissions().mode() & 0o444, 0o444);
    }
    // What was fetched is kept for the next time.
    let again = json(&machine.run(&["build", "ws", "-o", "oci:again", "--cache-from", &from], "x").success());
    assert_eq!((origins(&again, "made"), origins(&again, "registry")), (0, 0));
    assert_eq!(snapshot(&machine.sandbox.path("out/blobs")), snapshot(&machine.sandbox.path("again/blobs")));
}

#[test]
fn a_new_tag_takes_the_layers_of_the_newest_image_and_says_which() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let machine = Machine::new("same");
    // By name the older one comes last.
    for (version, epoch) in [("1.0.0-dev.2", "1700000000"), ("1.0.0-dev.1", "1800000000")] {
        let mut command = machine.sandbox.pixi_oci(&["publish", "ws", "--to", &to, "--publish"]);
        Outcome::of(command.env("VERSION", version).env("SOURCE_DATE_EPOCH", epoch)).success();
    }
    let said = format!(r#""event":"layers-from","image":"{}/app:1.0.0-dev.1""#, registry.address);
    for publish in [&["--publish"][..], &[]] {
        forget(&machine);
        let asked = machine.downloads();
        let before = registry.requests().len();
        let arguments = [&["publish", "ws", "--to", &to, "--tag", "pr-7", "--progress", "json"], publish].concat();
        let outcome = machine.run(&arguments, "x").success();
        assert_eq!((origins(&json(&outcome), "made"), machine.downloads()), (0, asked), "{publish:?}");
        // The second time the tag itself is there.
        assert_eq!(outcome.stderr.contains(&said), publish.len() == 1, "{}", outcome.stderr);
        let read = |line: &&String| line.starts_with("GET ") && line.contains("/manifests/1.0.0-dev.");
        // Two to compare, and one to read; the tag itself, once it is there.
        assert!(registry.requests()[before..].iter().filter(read).count() <= 3);
        checker::check(&registry.address).sound();
    }
    forget(&machine);
    let (asked, before) = (machine.downloads(), registry.requests().len());
    let plan = machine.run(&["plan", "ws", "--to", &to, "--tag", "pr-8", "--progress", "json"], "x").success();
    let heads = registry.requests()[before..].to_vec();
    let heads = heads.iter().filter(|line| line.starts_with("HEAD ") && line.contains("/blobs/"));
    assert_eq!(heads.clone().count(), heads.collect::<BTreeSet<_>>().len(), "each blob is asked for once");
    assert!(plan.stderr.contains("layers-from"), "{}", plan.stderr);
    let plan = json(&plan);
    let layers = plan[0]["platforms"].as_array().unwrap().iter().flat_map(|p| p["layers"].as_array().unwrap());
    assert!(layers.clone().count() > 12 && layers.clone().all(|layer| layer["state"] == "registry"), "{plan:#}");
    assert_eq!(machine.downloads(), asked);
    forget(&machine);
    let own = ["publish", "ws", "--to", &to, "--tag", "pr-9", "--no-cache-from", "--progress", "json"];
    let outcome = machine.run(&own, "x").success();
    assert!(origins(&json(&outcome), "made") > 0 && !outcome.stderr.contains("layers-from"));
}

#[test]
fn a_release_that_exists_is_refused_before_a_package_is_fetched() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let machine = Machine::new("old");
    let publish = ["publish", "ws", "--to", &to, "--publish"];
    let write = |content: &str, oci: &str| {
        fs::remove_dir_all(machine.sandbox.path("ws")).unwrap();
        let channel = format!("{}/channel", machine.channel.address);
        workspace(packages(content)).channel(&channel).oci(oci).write(&machine.sandbox.path("ws"));
    };
    write("old", "");
    let first = json(&machine.run(&publish, "1.0.0").success());
    // Another package; other documents of the same layers.
    for (content, oci, wanted) in [
        ("new", "", "an image with the locked tool, which it does not have"),
        ("old", "labels = { colour = \"red\" }", "must not become sha256:"),
    ] {
        write(content, oci);
        forget(&machine);
        let asked = machine.downloads();
        let refused = machine.run(&publish, "1.0.0").refused(1, &["BLOCKER(tag-exists): ", "app:1.0.0 is sha256:"]);
        assert!(refused.stderr.contains(wanted), "{}", refused.stderr);
        let plan = json(&machine.run(&["plan", "ws", "--to", &to], "1.0.0").success());
        let refusal = plan[0]["push"][0]["refusal"].as_str().unwrap_or_default();
        assert!(refusal.starts_with("BLOCKER(tag-exists): ") && refusal.contains(wanted), "{plan:#}");
        assert_eq!(machine.downloads(), asked, "no package was fetched");
    }
    // The same image again is no refusal, on a machine that has nothing and on one that has everything.
    write("old", "");
    forget(&machine);
    for _ in 0..2 {
        assert_eq!(json(&machine.run(&publish, "1.0.0").success())["digest"], first["digest"]);
    }
    let plan = json(&machine.run(&["plan", "ws", "--to", &to], "1.0.0").success());
    assert_eq!(plan[0]["push"][0]["refusal"], Value::Null, "{plan:#}");
}

#[test]
fn a_stale_lock_file_is_refused_before_anybody_is_asked() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("same");
    // As most of these, it was not made by a solver.
    let publish = ["publish", "ws", "--to", &registry.reference("app"), "--publish"];
    let mut command = machine.sandbox.pixi_oci(&publish);
    let refused =
        Outcome::of(command.env("VERSION", "1.0.0").env_remove("PIXI_FROZEN")).refused(1, &["is not up to date"]);
    assert!(machine.downloads().is_empty() && registry.requests().is_empty(), "{}", refused.stderr);
}

#[test]
fn nothing_changed_costs_a_request_for_each_tag_and_architecture_and_four_more() {
    let registry = Registry::start(Profile::distribution_3_1());
    let to = registry.reference("app");
    let machine = Machine::new("same");
    for (version, tags) in [("1.0.0-dev.1", 1), ("1.0.0", 2)] {
        let publish = ["publish", "ws", "--to", &to, "--publish"];
        let first = json(&machine.run(&publish, version).success());
        registry.clear_log();
        let again = json(&machine.run(&publish, version).success());
        assert_eq!(again["digest"], first["digest"]);
        let log: Vec<String> = registry.log().iter().map(|entry| entry.line()).collect();
        // Those of images count as tags, too.
        assert!(log.len() <= 4 + (tags + 2) + 2, "{version}: {log:#?}");
        let destination = &again["destinations"][0];
        assert_eq!(destination["uploaded"], Value::Array(Vec::new()));
        let blobs = |report: &Value, list: &str| report["destinations"][0][list].as_array().unwrap().len();
        assert_eq!(blobs(&again, "present"), blobs(&first, "uploaded") + blobs(&first, "present"));
        let careful = json(&machine.run(&[&publish[..], &["--set", "check-blobs=true"]].concat(), version).success());
        let asked = registry.log().iter().filter(|entry| entry.kind == Kind::BlobHead).count();
        assert_eq!(asked, blobs(&careful, "present"));
    }
}

#[test]
fn releases_and_the_careful_make_everything() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let machine = Machine::new("same");
    machine.run(&["publish", "ws", "--to", &to, "--publish"], "1.0.0-dev.1").success();
    for (version, arguments, reused) in [
        ("1.0.0", &[][..], false),
        ("1.0.1", &["--cache-from", &format!("{to}:latest")], true),
        ("1.0.2-dev.1", &["--no-cache-from"], false),
        ("1.0.2-dev.1", &[], true),
    ] {
        forget(&machine);
        let publish = [&["publish", "ws", "--to", &to, "--publish", "--progress", "json"], arguments].concat();
        let outcome = machine.run(&publish, version).success();
        assert_eq!(origins(&json(&outcome), "registry") > 0, reused, "{version} {arguments:?}");
        // A release that asks for nothing hears what there is.
        assert_eq!(outcome.stderr.contains(r#""event":"layers-there""#), version == "1.0.0", "{}", outcome.stderr);
        checker::check(&registry.address).sound();
    }
}

#[test]
fn a_registry_that_lacks_a_layer_or_is_none_costs_only_time() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("same");
    // Published to one repository, and now to another one, which has nothing yet.
    machine.run(&["publish", "ws", "--to", &registry.reference("one"), "--publish"], "1.0.0-dev.1").success();
    forget(&machine);
    let from = format!("{}:latest", registry.reference("nothing"));
    let built = machine.run(&["build", "ws", "-o", "oci:out", "--cache-from", &from], "x").success();
    assert!(origins(&json(&built), "made") > 0);
    forget(&machine);
    let gone =
        machine.run(&["build", "ws", "-o", "oci:out2", "--cache-from", "docker://127.0.0.1:1/app"], "x").success();
    assert!(gone.stderr.contains("no layers are taken from 127.0.0.1:1/app"), "{}", gone.stderr);
    assert_eq!(json(&gone)["digest"], json(&built)["digest"]);
}
