//! `publish --to oras://`: SIFs in registries, pulled back as Apptainer pulls them.

use std::fs;

use pixi_oci_test_registry::{checker, client};
use serde_json::{Value, json};

use super::*;

const SIF_LAYER: &str = "application/vnd.sylabs.sif.layer.v1.sif";

/// What `apptainer pull oras://` does, and demands (internal/pkg/client/oras): an index is resolved by its platform; exactly one
/// layer of its type, with the right size and digest; a SIF for the machine.
fn pull(registry: &Docker, repository: &str, reference: &str, arch: &str) -> (Value, Vec<u8>) {
    let get = |kind: &str, name: &str| {
        let answer = client::get(&registry.address, &format!("/v2/{repository}/{kind}/{name}"));
        assert_eq!(answer.status, 200, "{kind} {name}");
        answer
    };
    let mut manifest = get("manifests", reference).json();
    if let Some(children) = manifest["manifests"].as_array() {
        let platform = json!({"os": "linux", "architecture": arch});
        let child = children.iter().find(|child| child["platform"] == platform).expect("an image for the machine");
        manifest = get("manifests", child["digest"].as_str().unwrap()).json();
    }
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let [layer] = &manifest["layers"].as_array().unwrap()[..] else { panic!("one layer: {manifest}") };
    assert_eq!(layer["mediaType"], SIF_LAYER);
    let digest = layer["digest"].as_str().unwrap();
    let bytes = get("blobs", digest).body;
    assert_eq!((checker::digest(&bytes), json!(bytes.len())), (digest.to_owned(), layer["size"].clone()));
    assert_eq!(bytes[32..42], *b"SIF_MAGIC\0");
    let code = if arch == "amd64" { b"02\0" } else { b"04\0" };
    assert_eq!(bytes[45..48], *code);
    (manifest, bytes)
}

/// The tags of a repository, but for lists of referrers.
fn tags(registry: &Docker, repository: &str) -> Vec<String> {
    let found = checker::check(&registry.address).sound();
    let own = found.tags.keys().filter_map(|tag| tag.strip_prefix(&format!("{repository}:")));
    own.filter(|tag| !tag.starts_with("sha256-")).map(str::to_owned).collect()
}

fn oras(registry: &Docker, name: &str) -> String {
    registry.reference(name).replace("docker://", "oras://")
}

#[test]
fn sifs_are_beside_their_images() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = ["--to", &oras(&registry, "app"), "--to", &registry.reference("app")];
    let predicted = publish(&sandbox, "1.2.3", &to).success();
    assert_eq!(tags(&registry, "app"), [""; 0]);
    let published = publish(&sandbox, "1.2.3", &[&to[..], &["--publish"]].concat()).success();
    assert_eq!(published.stdout, predicted.stdout);
    let lines: Vec<&str> = published.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!("{}/app@sha256:", registry.address)), "{lines:?}");
    assert!(lines[1].starts_with(&format!("oras://{}/app@sha256:", registry.address)), "{lines:?}");
    let sif = ["sif-1.2.3", "sif-1.2.3-amd64", "sif-1.2.3-arm64", "sif-latest"];
    assert_eq!(tags(&registry, "app"), [&["1.2.3", "1.2.3-amd64", "1.2.3-arm64", "latest"][..], &sif].concat());

    // The same bytes as a build gives, under all names; each says whose it is, and is found by that.
    Outcome::of(sandbox.pixi_oci(&["build", "ws", "-o", "sif:out/tool"]).env("VERSION", "1.2.3")).success();
    let found = checker::check(&registry.address).sound();
    for arch in ["amd64", "arm64"] {
        let built = fs::read(sandbox.path(&format!("out/tool-{arch}.sif"))).unwrap();
        for reference in ["sif-1.2.3", "sif-latest", &format!("sif-1.2.3-{arch}")] {
            let (manifest, bytes) = pull(&registry, "app", reference, arch);
            assert!(bytes == built, "{arch} {reference}");
            assert_eq!(manifest["artifactType"], SIF_LAYER);
            assert_eq!(manifest["config"]["mediaType"], "application/vnd.sylabs.sif.config.v1+json");
            let title = manifest["layers"][0]["annotations"]["org.opencontainers.image.title"].as_str().unwrap();
            assert!(title.ends_with(&format!("-{arch}.sif")), "{title}");
            assert_eq!(manifest["subject"]["digest"], found.tags[&format!("app:1.2.3-{arch}")]);
            let list = manifest["subject"]["digest"].as_str().unwrap().replace(':', "-");
            let list = client::get(&registry.address, &format!("/v2/app/manifests/{list}")).json();
            assert_eq!(list["manifests"][0]["digest"], found.tags[&format!("app:sif-1.2.3-{arch}")]);
            assert_eq!(list["manifests"][0]["artifactType"], SIF_LAYER);
        }
    }

    // Again nothing is sent.
    let before = registry.requests().len();
    publish(&sandbox, "1.2.3", &[&to[..], &["--publish"]].concat()).success();
    assert_eq!(mutations(&registry.requests()[before..]), Vec::<&String>::new());
    // An older release moves nothing, and SIFs do not count for images.
    let older = publish(&sandbox, "1.2.2", &[&to[..], &["--publish"]].concat()).success();
    assert!(older.stderr.contains("app:sif-latest stays where it is: release 1.2.3"), "{}", older.stderr);
    let now = checker::check(&registry.address).sound().tags;
    for tag in ["app:latest", "app:sif-latest", "app:sif-1.2.3"] {
        assert_eq!(now[tag], found.tags[tag], "{tag}");
    }
}

#[test]
fn a_sif_of_its_own_repository_is_made_once() {
    let Some(registry) = docker() else { return };
    let Some(other) = docker() else { return };
    let sandbox = sandbox();
    let named = format!("{}:testing", oras(&registry, "tool"));
    let to = ["--to", &oras(&registry, "tool"), "--to", &named, "--to", &oras(&other, "tool")];
    let arguments = [&to[..], &["--arch", "amd64", "--set", "tags=[\"{version}\"]", "--publish", "--json"]].concat();
    let report = publish(&sandbox, "1.0.0", &arguments).success();
    assert_eq!(tags(&registry, "tool"), ["sif-1.0.0", "sif-1.0.0-amd64", "testing", "testing-amd64"]);
    assert_eq!(tags(&other, "tool"), ["sif-1.0.0", "sif-1.0.0-amd64"]);
    let (manifest, one) = pull(&registry, "tool", "testing", "amd64");
    assert_eq!(manifest["subject"], Value::Null);
    assert!(one == pull(&other, "tool", "sif-1.0.0", "amd64").1);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let [first, again, elsewhere] = &report["destinations"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((&first["uploaded"], &again["uploaded"]), (&elsewhere["uploaded"], &json!([])));
    // Images come later: the release that is there does not change, and what is new belongs to them.
    let both = ["--to", &registry.reference("tool"), "--to", to[1], "--arch", "amd64", "--publish"];
    publish(&sandbox, "1.0.0", &both).success();
    assert_eq!(pull(&registry, "tool", "sif-1.0.0", "amd64").0, manifest);
    publish(&sandbox, "1.0.1", &both).success();
    assert_ne!(pull(&registry, "tool", "sif-1.0.1", "amd64").0["subject"], Value::Null);
    // Without a version the tag says which release it is.
    let alone = ["publish", "ws", "--to", &format!("{}:2.0.0", oras(&other, "tool")), "--publish"];
    sandbox.run(&alone).success();
    assert!(tags(&other, "tool").contains(&"2.0.0-arm64".to_owned()));
}

#[test]
fn a_tag_of_the_other_form_is_not_taken() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let (image, sif) = (registry.reference("app"), oras(&registry, "app"));
    publish(&sandbox, "1.0.0-dev", &["--to", &image, "--publish", "--tag", "x"]).success();
    publish(&sandbox, "1.0.0-dev", &["--to", &sif, "--publish", "--tag", "y"]).success();
    let before = tags(&registry, "app");
    let blocker = "BLOCKER(tag-exists)";
    let as_sif = format!("{sif}:x");
    publish(&sandbox, "1.0.0-dev", &["--to", &as_sif]).refused(1, &[blocker, "is an image", "a SIF"]);
    publish(&sandbox, "1.0.0-dev", &["--to", &as_sif, "--publish"]).refused(1, &[blocker]);
    publish(&sandbox, "1.0.0-dev", &["--to", &image, "--publish", "--tag", "sif-y"]).refused(1, &[blocker, "is a SIF"]);
    // The staging tag of an image, and that of a SIF.
    publish(&sandbox, "1.0.0-dev", &["--to", &format!("{sif}:x-amd64"), "--publish"]).refused(1, &[blocker]);
    let both = ["--to", &image, "--to", &sif, "--publish", "--set", "sif-tag-prefix="];
    publish(&sandbox, "1.0.0", &both).refused(1, &["images and SIFs would both have the tag 1.0.0", "sif-tag-prefix"]);
    let leg = ["--to", &sif, "--publish", "--arch", "amd64", "--leg-file", "leg.json"];
    publish(&sandbox, "1.0.0", &leg).refused(1, &["leave out --leg-file"]);
    assert_eq!(tags(&registry, "app"), before);
    // Without a prefix SIFs have the tags of releases, and still do not count as such for images.
    let set = ["--set", "tags=[\"{version}\", \"{major}\"]", "--publish"];
    publish(&sandbox, "1.5.0", &[&["--to", &format!("{sif}:1.5.0")], &set[..]].concat()).success();
    let older = publish(&sandbox, "1.4.0", &[&["--to", &image], &set[..]].concat()).success();
    assert!(!older.stderr.contains("stays where it is"), "{}", older.stderr);
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags["app:1"], found.tags["app:1.4.0"]);
}

#[test]
fn sifs_that_no_index_needs_are_removed_with_their_entries() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = ["--to", &registry.reference("app"), "--to", &oras(&registry, "app"), "--arch", "amd64"];
    for content in ["1", "2"] {
        write(&sandbox, content);
        // The first one loses its name to the second.
        let version = format!("1.0.0-dev{content}");
        let tags = ["--publish", "--tag", &format!("v{content}"), "--tag", "moving"];
        publish(&sandbox, &version, &[&to[..], &tags].concat()).success();
    }
    // What Apptainer pushes, under a name like ours.
    let (mut manifest, _) = pull(&registry, "app", "sif-v1", "amd64");
    let fields = manifest.as_object_mut().unwrap();
    fields.retain(|key, _| !["artifactType", "subject", "annotations"].contains(&key.as_str()));
    let put = |tag: &str, bytes: &[u8]| {
        let headers = [("Content-Type", manifest["mediaType"].as_str().unwrap())];
        let answer = client::request(&registry.address, "PUT", &format!("/v2/app/manifests/{tag}"), &headers, bytes);
        assert_eq!(answer.status, 201);
    };
    put("theirs-amd64", manifest.to_string().as_bytes());
    // The index of the first version goes: its image and its SIF have staging tags only.
    for tag in ["v1", "sif-v1"] {
        let digest = checker::check(&registry.address).tags[&format!("app:{tag}")].clone();
        let target = format!("/v2/app/manifests/{digest}");
        assert_eq!(client::request(&registry.address, "DELETE", &target, &[], b"").status, 202);
    }
    let lists = || checker::check(&registry.address).tags.into_keys().filter(|tag| tag.contains(":sha256-")).count();
    assert_eq!(lists(), 2);
    let pruned = sandbox.run(&["prune", "-v", "--delete", "--to", to[1], "--to", to[3]]).success();
    let names: Vec<&str> = pruned.stdout.lines().map(|line| line.split(['/', '@']).nth(1).unwrap()).collect();
    assert_eq!(names, ["app:sif-v1-amd64", "app:v1-amd64"]);
    assert!(pruned.stderr.contains("app:theirs-amd64 stays: it is a SIF that Apptainer pushed"), "{}", pruned.stderr);
    assert!(pruned.stderr.contains("app:sif-v2-amd64 stays: the index sif-moving"), "{}", pruned.stderr);
    assert_eq!(lists(), 1);
}
