//! What a registry has in another of its repositories is linked there, and its bytes pass through no machine.

use std::collections::BTreeSet;

use pixi_oci_test_registry::{
    Kind, Profile, Registry, checker,
    docker::{PASSWORD, USER},
    fake::Mount,
};
use serde_json::Value;

use super::{
    reuse::{Machine, forget, json, origins, packages},
    *,
};

const PUBLISHED: &str = "1.0.0-dev.1";

fn digests(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|digest| digest.as_str().unwrap().to_owned()).collect()
}

/// The package layers of a report.
fn package_layers(report: &Value) -> BTreeSet<String> {
    let images = report["build"]["images"].as_array().unwrap().iter();
    let layers = images.flat_map(|image| image["layers"].as_array().unwrap());
    layers.filter(|layer| layer["kind"] == "packages").map(|layer| layer["digest"].as_str().unwrap().into()).collect()
}

fn publish_to(machine: &Machine, to: &str, from: Option<&str>, really: bool) -> Value {
    let from = from.map(|from| format!("{from}:{PUBLISHED}"));
    let mut arguments = vec!["publish", "ws", "--to", to];
    arguments.extend(really.then_some("--publish"));
    arguments.extend(from.iter().flat_map(|from| ["--cache-from", from]));
    let mut command = machine.sandbox.pixi_oci(&[&arguments[..], &["--json"]].concat());
    command
        .env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")
        .env("VERSION", PUBLISHED)
        .env("REGISTRY_USER", USER)
        .env("REGISTRY_TOKEN", PASSWORD);
    json(&Outcome::of(&mut command).success())
}

/// What a plan says of the repository.
fn plan_to(machine: &Machine, to: &str) -> serde_json::Value {
    let mut command = machine.sandbox.pixi_oci(&["plan", "ws", "--json", "--to", to]);
    command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB").env("VERSION", PUBLISHED);
    json(&Outcome::of(&mut command).success())[0]["push"][0].clone()
}

#[test]
fn layers_of_another_repository_are_linked_and_neither_made_nor_sent() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("same");
    let first = publish_to(&machine, &registry.reference("one"), None, true);
    forget(&machine);
    let (before, asked) = (registry.requests().len(), machine.downloads());

    let (one, two) = (registry.reference("one"), registry.reference("two"));
    let dry = publish_to(&machine, &two, Some(&one), false);
    assert_eq!(mutations(&registry.requests()[before..]), Vec::<&String>::new());
    let second = publish_to(&machine, &two, Some(&one), true);
    for report in [&dry, &second] {
        assert_eq!(report["digest"], first["digest"]);
        assert_eq!((origins(report, "made"), machine.downloads()), (0, asked.clone()));
        let mounted = digests(&report["destinations"][0]["mounted"]);
        assert!(mounted.is_superset(&package_layers(report)), "{report:#}");
    }
    assert!(package_layers(&second).len() > 6);
    // Everything else is the same as well, and so linked, too: no blob is sent at all.
    assert_eq!(digests(&second["destinations"][0]["uploaded"]).len(), 0, "{second:#}");
    let requests = registry.requests_until("PUT /v2/two/manifests/1.0.0-dev.1 ");
    let sent = requests[before..].iter().filter(|line| line.contains("/blobs/uploads/") && line.starts_with("PUT "));
    assert_eq!(sent.collect::<Vec<_>>(), Vec::<&String>::new());
    checker::check(&registry.address).sound();
}

/// 202, 201 without doing it, a repository that is not there: they cost a request or two, and then the layers are made.
#[test]
fn a_registry_that_does_not_link_gets_the_bytes() {
    for mount in [Mount::Works, Mount::Never, Mount::Lies] {
        let registry = Registry::start(Profile { mount, ..Profile::gitea() });
        let machine = Machine::new("same");
        let (one, two) = (registry.reference("team/one"), registry.reference("team/two"));
        let first = publish_to(&machine, &one, None, true);
        forget(&machine);
        registry.clear_log();
        let second = publish_to(&machine, &two, Some(&one), true);
        assert_eq!(second["digest"], first["digest"], "{mount:?}");
        let layers = package_layers(&second);
        let uploaded = digests(&second["destinations"][0]["uploaded"]);
        let mounted = digests(&second["destinations"][0]["mounted"]);
        if mount == Mount::Works {
            assert!(mounted.is_superset(&layers) && uploaded.is_empty(), "{second:#}");
            assert_eq!(origins(&second, "made"), 0);
        } else {
            assert!(uploaded.is_superset(&layers) && mounted.is_empty(), "{mount:?}: {second:#}");
            assert_eq!(origins(&second, "registry"), 0, "{mount:?}");
        }
        if mount == Mount::Lies {
            // Three layers were asked for at once, and three blobs were sent at once: nobody is believed a second time.
            let tries = registry.log().iter().filter(|entry| entry.kind == Kind::Mount).count();
            assert!(tries <= 3 + 3, "{tries}");
        }
        assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{mount:?}");
        assert_eq!(registry.tag("team/two", PUBLISHED).as_deref(), second["digest"].as_str(), "{mount:?}");
    }
}

/// The layers are on this machine, and all the same they are not sent to a registry that has them.
#[test]
fn layers_of_this_machine_are_linked_too() {
    let registry = Registry::start(Profile::gitea());
    let machine = Machine::new("same");
    let (one, two) = (registry.reference("team/one"), registry.reference("team/two"));
    publish_to(&machine, &one, None, true);
    let second = publish_to(&machine, &two, Some(&one), true);
    assert_eq!(origins(&second, "made") + origins(&second, "registry"), 0);
    assert_eq!(second["destinations"][0]["uploaded"], serde_json::json!([]), "{second:#}");
    assert!(digests(&second["destinations"][0]["mounted"]).is_superset(&package_layers(&second)));
}

/// Nobody has to say from where: this machine knows what it has sent.
#[test]
fn what_this_machine_sent_to_another_repository_is_linked() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("same");
    let first = publish_to(&machine, &registry.reference("team/one"), None, true);
    let before = registry.requests_until("PUT /v2/team/one/manifests/1.0.0-dev.1 ").len();
    let dry = publish_to(&machine, &registry.reference("team/two"), None, false);
    assert_eq!(mutations(&registry.requests()[before..]), Vec::<&String>::new());
    assert_eq!(dry["digest"], first["digest"]);
    // What would be linked is said before: by the dry run, and by the plan.
    let planned = plan_to(&machine, &registry.reference("team/two"));
    let second = publish_to(&machine, &registry.reference("team/two"), None, true);
    let destination = &second["destinations"][0];
    for key in ["uploaded", "mounted", "present"] {
        assert_eq!(digests(&dry["destinations"][0][key]), digests(&destination[key]), "{key}");
    }
    let counted = |key: &str| planned[key].as_u64().unwrap() as usize;
    assert_eq!((counted("linked"), counted("blobs"), counted("bytes")), (digests(&destination["mounted"]).len(), 0, 0));
    assert_eq!(destination["uploaded"], serde_json::json!([]), "{second:#}");
    assert!(digests(&destination["mounted"]).is_superset(&package_layers(&second)), "{second:#}");
    let requests = registry.requests_until("PUT /v2/team/two/manifests/1.0.0-dev.1 ");
    let uploads = requests[before..].iter().filter(|line| line.contains("/blobs/uploads/") && !is_probe(line));
    let (links, sent): (Vec<&String>, Vec<&String>) = uploads.partition(|line| line.contains("from=team%2Fone"));
    assert_eq!((links.len(), sent), (digests(&destination["mounted"]).len(), Vec::new()));
    checker::check(&registry.address).sound();
    // Without the note everything is sent, and no repository is asked for anything.
    std::fs::remove_dir_all(machine.sandbox.path("../cache/pixi-oci/pushed")).unwrap();
    let third = publish_to(&machine, &registry.reference("team/three"), None, true);
    assert_eq!(third["destinations"][0]["mounted"], serde_json::json!([]));
}

/// The other repository was deleted since, or the registry does not link: then the blobs are sent.
#[test]
fn a_note_that_is_wrong_costs_requests_only() {
    for mount in [Mount::Works, Mount::Never, Mount::Lies] {
        let registry = Registry::start(Profile { mount, ..Profile::gitea() });
        let machine = Machine::new("same");
        let first = publish_to(&machine, &registry.reference("team/one"), None, true);
        let blobs = digests(&first["destinations"][0]["uploaded"]);
        blobs.iter().for_each(|digest| registry.lose("team/one", digest));
        let second = publish_to(&machine, &registry.reference("team/two"), None, true);
        assert_eq!(digests(&second["destinations"][0]["uploaded"]), blobs, "{mount:?}: {second:#}");
        assert_eq!(registry.tag("team/two", PUBLISHED).as_deref(), second["digest"].as_str(), "{mount:?}");
        assert!(!registry.broken_tags().iter().any(|tag| tag.contains("team/two")), "{mount:?}");
    }
}

#[test]
fn the_layers_of_a_base_image_in_the_same_registry_are_linked() {
    let registry = Registry::start(Profile::gitea());
    let sandbox = Sandbox::new();
    let publish = |workspace: &str, to: &str| {
        let mut command = sandbox.pixi_oci(&["publish", workspace, "--publish", "--json", "--to", to]);
        command.env("VERSION", "1.0.0").env("REGISTRY_USER", USER).env("REGISTRY_TOKEN", PASSWORD);
        json(&Outcome::of(&mut command).success())
    };
    workspace([package("basetool", [file("bin/basetool", "x").mode(0o755)])])
        .oci("prefix = \"/usr/base\"")
        .write(&sandbox.path("base"));
    let base = publish("base", &registry.reference("team/base"));
    let login = format!(r#"{{"auths": {{"{}": {{"auth": "cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk"}}}}}}"#, registry.address);
    std::fs::create_dir_all(sandbox.home().join(".docker")).unwrap();
    std::fs::write(sandbox.home().join(".docker/config.json"), login).unwrap();
    let reference = base["destinations"][0]["reference"].as_str().unwrap();
    workspace([package("tool", [])]).oci_only(&format!("base = \"docker://{reference}\"")).write(&sandbox.path("ws"));
    let on_it = publish("ws", &registry.reference("team/app"));
    let images = on_it["build"]["images"].as_array().unwrap().iter();
    let layers = images.flat_map(|image| image["layers"].as_array().unwrap());
    let of_base: BTreeSet<String> =
        layers.filter(|layer| layer["kind"] == "base").map(|layer| layer["digest"].as_str().unwrap().into()).collect();
    assert!(of_base.len() >= 3, "{on_it:#}");
    assert_eq!(digests(&on_it["destinations"][0]["mounted"]), of_base);
    assert_eq!(registry.broken_tags(), Vec::<String>::new());
}

/// Two projects, each in its repository: what both have is stored once, and the second sends what only it has.
#[test]
fn two_projects_share_blobs_and_only_the_rest_is_sent() {
    let Some(registry) = docker() else { return };
    let one = Machine::new("one");
    let first = publish_to(&one, &registry.reference("group/one"), None, true);
    // The same channel and other packages beside the six big ones; another working directory, too.
    std::fs::remove_dir_all(one.sandbox.path("ws")).unwrap();
    let others = packages("two").into_iter().filter(|package| package.name != "user" && package.name != "linked");
    workspace(others.chain([package("mine", [file("lib/mine.so", super::reuse::noise(99))])]))
        .channel(&format!("{}/channel", one.channel.address))
        .oci("workdir = \"/srv\"\ncmd = [\"tool\"]")
        .write(&one.sandbox.path("ws"));
    let before = registry.requests().len();
    let second = publish_to(&one, &registry.reference("group/two"), Some(&registry.reference("group/one")), true);

    let (ours, theirs) = (package_layers(&second), package_layers(&first));
    let shared: BTreeSet<String> = ours.intersection(&theirs).cloned().collect();
    let (amd64, arm64) = (images(&second, 0), images(&second, 1));
    for n in 0..6 {
        let label = format!("lib{n} 1.0 h1234567_0");
        assert!(shared.contains(&amd64[&label]) && shared.contains(&arm64[&label]), "{label}: {shared:?}");
    }
    let destination = &second["destinations"][0];
    let (sent, linked) = (digests(&destination["uploaded"]), digests(&destination["mounted"]));
    assert!(linked.is_superset(&shared), "{second:#}");
    assert!(sent.is_disjoint(&theirs), "{second:#}");
    assert!(ours.difference(&theirs).all(|only| sent.contains(only)), "{second:#}");
    // What the registry says it took, too.
    let requests = registry.requests_until("PUT /v2/group/two/manifests/1.0.0-dev.1 ");
    let took = requests[before..].iter().filter(|line| line.starts_with("PUT ") && line.contains("/blobs/uploads/"));
    assert_eq!(took.count(), sent.len());
    checker::check(&registry.address).sound();
}

/// The layer of each package of one image.
fn images(report: &Value, image: usize) -> std::collections::BTreeMap<String, String> {
    let layers = report["build"]["images"][image]["layers"].as_array().unwrap().iter();
    let of_layer = |layer: &Value| -> Vec<(String, String)> {
        let packages = layer["packages"].as_array().unwrap().iter();
        packages.map(|label| (label.as_str().unwrap().into(), layer["digest"].as_str().unwrap().into())).collect()
    };
    layers.flat_map(of_layer).collect()
}
