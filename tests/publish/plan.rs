//! `pixi-oci plan` and registries: what is published is known without being fetched, and what would be sent is what is sent.

use serde_json::Value;

use super::*;
use crate::common::odd;

/// Packages of which some have a layer of their own.
fn write_with(sandbox: &Sandbox, content: &str) {
    let _ = std::fs::remove_dir_all(sandbox.path("ws"));
    let tool = package("tool", [file("bin/tool", content).mode(0o755)]);
    workspace(odd::packages().into_iter().chain([tool])).write(&sandbox.path("ws"));
}

fn run(sandbox: &Sandbox, arguments: &[&str], version: &str) -> Value {
    let all = [arguments, &["--json"]].concat();
    let outcome =
        Outcome::of(sandbox.pixi_oci(&all).env("VERSION", version).env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success();
    serde_json::from_str(&outcome.stdout).expect("one JSON document")
}

fn plan(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    run(sandbox, &[&["plan", "ws"], arguments].concat(), "1.0.0-dev.1")[0].clone()
}

fn forget(sandbox: &Sandbox) {
    std::fs::remove_dir_all(sandbox.path("../cache")).unwrap();
}

fn states(plan: &Value) -> Vec<&str> {
    let platforms = plan["platforms"].as_array().unwrap().iter();
    let layers = platforms.flat_map(|platform| platform["layers"].as_array().unwrap());
    layers.map(|layer| layer["state"].as_str().unwrap()).collect()
}

fn layers_fetched(registry: &Docker) -> usize {
    registry.requests().iter().filter(|line| line.starts_with("GET ") && line.contains("/blobs/")).count()
}

/// After a build that took layers from an image, its layers are not fetched again by one that names the same image. Who names
/// none does not believe what it said.
#[test]
fn what_an_image_said_is_known_as_long_as_its_layers_are_kept() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let sandbox = Sandbox::new();
    write_with(&sandbox, "same");
    let published = run(&sandbox, &["publish", "ws", "--to", &to, "--publish", "--tag", "dev"], "1.0.0-dev.1");
    forget(&sandbox);
    let (channel, elsewhere) = (sandbox.path("ws/channel"), sandbox.path("channel"));
    std::fs::rename(&channel, &elsewhere).unwrap();
    let image = format!("{to}:dev");
    let cached = ["--cache-from", image.as_str()];
    let built = run(&sandbox, &["build", "ws", "-o", "oci:out", "--cache-from", &image], "1.0.0-dev.1");
    assert_eq!(built["digest"], published["digest"]);
    let known = plan(&sandbox, &cached);
    assert_eq!(known["digest"], published["digest"], "{known:#}");
    assert!(states(&known).iter().all(|state| *state == "cached"), "{known:#}");
    let before = layers_fetched(&registry);
    let again = run(&sandbox, &["build", "ws", "-o", "oci:again", "--cache-from", &image], "1.0.0-dev.1");
    assert_eq!((&again["digest"], layers_fetched(&registry)), (&published["digest"], before));
    // A run that names no image believes nothing that one said.
    assert!(states(&plan(&sandbox, &[])).iter().all(|state| *state != "cached"));

    // It said something that is not true.
    let files = sandbox.program("find").arg(sandbox.path("../cache/pixi-oci/facts/2-published")).output().unwrap();
    let mut lies = 0;
    for path in String::from_utf8(files.stdout).unwrap().lines().filter(|line| line.ends_with(".json")) {
        let text = std::fs::read_to_string(path).unwrap();
        lies += usize::from(text.contains("\"bin/tool\""));
        std::fs::write(path, text.replace("\"bin/tool\"", "\"bin/another\"")).unwrap();
    }
    assert!(lies > 0);
    std::fs::rename(&elsewhere, &channel).unwrap();
    let anew = sandbox.run(&["build", "ws", "-o", "oci:anew"]).success();
    assert_eq!(Some(anew.digest()), published["digest"].as_str());
    sandbox.run(&["verify", "rebuild", "oci:out", "ws"]).success();
}

#[test]
fn a_machine_with_nothing_predicts_what_is_published_and_fetches_no_layer() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let sandbox = Sandbox::new();
    write_with(&sandbox, "same");
    let published = run(&sandbox, &["publish", "ws", "--to", &to, "--publish", "--tag", "dev"], "1.0.0-dev.1");
    forget(&sandbox);
    // The archives are gone, too.
    std::fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    let before = registry.requests().len();
    let image = format!("{to}:dev");
    let plan = self::plan(&sandbox, &["--cache-from", &image]);
    assert_eq!(plan["digest"], published["digest"]);
    assert!(states(&plan).iter().all(|state| *state == "registry"), "{plan:#}");
    assert_eq!((&plan["download"]["archives"], &plan["download"]["bytes"]), (&0.into(), &0.into()));
    assert!(plan["download"]["layers"].as_u64().unwrap() > 5);
    let requests = registry.requests()[before..].to_vec();
    assert!(mutations(&requests).is_empty(), "{requests:#?}");
    // Configurations and environment layers, one of each for each architecture.
    let blobs = requests.iter().filter(|line| line.starts_with("GET ") && line.contains("/blobs/")).count();
    assert_eq!(blobs, 4, "{requests:#?}");
    // Nothing of it without being asked, and nothing offline.
    let before = registry.requests().len();
    assert!(states(&self::plan(&sandbox, &[])).iter().all(|state| *state == "unknown"));
    assert!(
        states(&self::plan(&sandbox, &["--offline", "--cache-from", &image])).iter().all(|state| *state == "unknown")
    );
    assert_eq!(registry.requests().len(), before);
    // What is compared with is the same.
    let against = self::plan(&sandbox, &["--cache-from", &image, "--against", &image]);
    assert_eq!(against["against"]["digest"], published["digest"]);
    for platform in against["platforms"].as_array().unwrap() {
        let changes = &platform["changes"];
        assert_eq!(
            (&changes["same"], &changes["bytes"], &changes["packages"]),
            (&true.into(), &0.into(), &Value::Array(vec![]))
        );
    }
}

#[test]
fn what_would_be_sent_is_what_is_sent() {
    let Some(registry) = docker() else { return };
    let to = registry.reference("app");
    let sandbox = Sandbox::new();
    write_with(&sandbox, "old");
    let send =
        |arguments: &[&str]| run(&sandbox, &[&["publish", "ws", "--to", &to], arguments].concat(), "1.0.0-dev.1");
    run(&sandbox, &["build", "ws", "-o", "oci:out"], "");
    for content in ["old", "old", "new"] {
        write_with(&sandbox, content);
        run(&sandbox, &["build", "ws", "-o", "oci:out"], "");
        let before = registry.requests().len();
        let planned = plan(&sandbox, &["--to", &to])["push"][0].clone();
        assert!(mutations(&registry.requests()[before..]).is_empty());
        assert_eq!((&planned["exact"], &planned["failure"]), (&true.into(), &Value::Null));
        let sent = send(&["--publish"])["destinations"][0].clone();
        assert_eq!(planned["blobs"], sent["uploaded"].as_array().unwrap().len(), "{content} {planned:#} {sent:#}");
        let sizes = blob_bytes(&sandbox, &sent["uploaded"]);
        assert_eq!(
            (planned["bytes"].as_u64(), &planned["present"]),
            (Some(sizes), &sent["present"].as_array().unwrap().len().into())
        );
        assert_eq!(planned["manifests"], sent["manifests"].as_array().unwrap().len(), "{content} {planned:#} {sent:#}");
        let moved = sent["tags"].as_array().unwrap().iter().filter(|tag| tag["digest"] != tag["previous"]);
        let moved: Vec<&Value> = moved.map(|tag| &tag["tag"]).collect();
        assert_eq!(planned["tags"].as_array().unwrap().iter().collect::<Vec<_>>(), moved, "{content}");
    }
    // On a machine with nothing, layers are taken as `publish` takes them; what has to be made is an estimate.
    write_with(&sandbox, "newest");
    forget(&sandbox);
    let planned = plan(&sandbox, &["--to", &to, "--arch", "amd64"]);
    assert_eq!(planned["platforms"][0]["unknownPackages"], serde_json::json!(["tool"]));
    assert_eq!(planned["push"][0]["exact"], false);
    // Nobody is there.
    let gone = plan(&sandbox, &["--to", "docker://127.0.0.1:1/app"]);
    assert!(gone["push"][0]["failure"].as_str().is_some_and(|why| !why.is_empty()), "{gone:#}");
    sandbox.run(&["plan", "ws", "--tag", "dev"]).refused(1, &["repositor"]);
}

fn blob_bytes(sandbox: &Sandbox, digests: &Value) -> u64 {
    let blobs = sandbox.path("out/blobs/sha256");
    let path = |digest: &Value| blobs.join(digest.as_str().unwrap().trim_start_matches("sha256:"));
    digests.as_array().unwrap().iter().map(|digest| std::fs::metadata(path(digest)).unwrap().len()).sum()
}

#[test]
fn an_image_on_a_pinned_base_is_predicted_and_on_a_tag_it_is_not() {
    let Some(registry) = docker() else { return };
    let sandbox = Sandbox::new();
    let below = package("basetool", [file("bin/basetool", "x").mode(0o755)]);
    workspace([below]).oci("prefix = \"/usr/base\"").write(&sandbox.path("base"));
    let to = registry.reference("base");
    let arguments = ["publish", "base", "--publish", "--tag", "dev", "--to", &to];
    let pinned = run(&sandbox, &arguments, "1.0.0-dev.1")["destinations"][0]["reference"].as_str().unwrap().to_owned();
    let on = |base: &str| {
        let tool = package("tool", [file("bin/tool", "x").mode(0o755)]);
        workspace([tool]).oci_only(&format!("base = {base:?}")).write(&sandbox.path("ws"));
    };
    on(&format!("docker://{pinned}"));
    let built = run(&sandbox, &["build", "ws", "-o", "oci:out"], "");
    let before = registry.requests().len();
    let planned = plan(&sandbox, &["--against", "oci:out"]);
    assert_eq!(planned["digest"], built["digest"]);
    assert_eq!(planned["platforms"][0]["base"]["digest"], built["images"][0]["base"]["digest"]);
    let changes = &planned["platforms"][0]["changes"];
    assert_eq!(
        (&changes["bytes"], &changes["packages"], &changes["exact"]),
        (&0.into(), &serde_json::json!([]), &true.into())
    );
    // What the tag meant when it was asked for last is no promise.
    on(&format!("{to}:dev"));
    run(&sandbox, &["build", "ws", "-o", "oci:out"], "");
    let asked = registry.requests().len();
    assert!(asked > before, "the build asks");
    let planned = plan(&sandbox, &["--arch", "amd64"]);
    assert_eq!(planned["unpredicted"][0]["reason"], "baseNotPinned");
    assert_eq!(states(&planned), ["cached"]);
    assert_eq!(registry.requests().len(), asked, "the plan does not");
    // For jobs the tag is asked for, because they would take what it means now.
    let image = registry.reference("app");
    run(&sandbox, &["publish", "ws", "--publish", "--to", &image, "--tag", "dev"], "1.0.0-dev.1");
    // Layers of an image on an image of ours are found, too.
    forget(&sandbox);
    let planned = plan(&sandbox, &["--cache-from", &format!("{image}:dev")]);
    assert_eq!(states(&planned), ["registry", "registry"]);
    let jobs = || {
        forget(&sandbox);
        let since = format!("{image}:dev");
        let matrix = sandbox.run(&["plan", "ws", "--matrix", "github", "--since", &since]).success().stdout;
        serde_json::from_str::<Value>(&matrix).unwrap()["include"].as_array().unwrap().len()
    };
    assert_eq!(jobs(), 0);
    let other = package("basetool", [file("bin/basetool", "y").mode(0o755)]);
    workspace([other]).oci("prefix = \"/usr/base\"").write(&sandbox.path("base"));
    run(&sandbox, &arguments, "1.0.0-dev.1");
    assert_eq!(jobs(), 2, "the tag has moved");
}
