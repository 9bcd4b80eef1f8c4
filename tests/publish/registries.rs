//! What arrives at registries, and how often.

use std::{
    collections::HashMap,
    net::TcpListener,
    process::Command,
    sync::{Arc, Condvar, Mutex, mpsc},
    time::{Duration, Instant},
};

use pixi_oci_test_registry::{
    Kind, Point, Profile, Registry, checker, client,
    docker::{Docker, Mode, PASSWORD, USER},
};
use serde_json::Value;

use super::*;
use crate::common::{channel_server::read_request, front::hand_on, sandbox::has};

#[test]
fn a_dry_run_is_the_default_and_writes_nothing() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    for (variable, arguments) in [(None, &[][..]), (Some("0"), &[]), (Some(""), &["--json"]), (Some("false"), &["-v"])]
    {
        let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--to", &to], arguments].concat());
        command.env("VERSION", "1.2.3");
        variable.map(|value| command.env("PUBLISH", value));
        let outcome = Outcome::of(&mut command).success();
        assert!(outcome.stderr.contains("dry run"), "{}", outcome.stderr);
    }
    let mut odd = sandbox.pixi_oci(&["publish", "ws", "--to", &to]);
    Outcome::of(odd.env("PUBLISH", "true ").env("VERSION", "1.2.3")).refused(2, &["PUBLISH"]);
    let predicted = publish(&sandbox, "1.2.3", &["--to", &to]).success();
    assert!(predicted.stderr.contains("1.2.3-arm64") && predicted.stderr.contains("to send"), "{}", predicted.stderr);
    assert!(predicted.stdout.starts_with(&format!("{}/app@sha256:", registry.address)), "{}", predicted.stdout);
    let requests = registry.requests_until("/v2/app/tags/list");
    assert_eq!(mutations(&requests), Vec::<&String>::new());
    assert!(checker::check(&registry.address).tags.is_empty());
    // And then it comes as predicted.
    let published = publish(&sandbox, "1.2.3", &["--to", &to, "--publish"]).success();
    assert_eq!(published.stdout, predicted.stdout);
    assert_eq!(checker::check(&registry.address).sound().tags["app:1.2.3"], digest(&published));
}

#[test]
fn everything_arrives_once_and_a_second_time_nothing_is_sent() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("group/app");
    let first = publish(&sandbox, "v1.2.3", &["--to", &to, "--publish", "--json"]).success();
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    let found = checker::check(&registry.address).sound();
    let tags: Vec<&str> = found.tags.keys().map(|tag| tag.strip_prefix("group/app:").unwrap()).collect();
    assert_eq!(tags, ["1.2.3", "1.2.3-amd64", "1.2.3-arm64", "latest"]);
    for tag in ["group/app:1.2.3", "group/app:latest"] {
        assert_eq!(found.tags[tag], first["digest"]);
    }
    let order: Vec<&str> =
        first["destinations"][0]["tags"].as_array().unwrap().iter().map(|t| t["tag"].as_str().unwrap()).collect();
    assert_eq!(order, ["1.2.3-amd64", "1.2.3-arm64", "1.2.3", "latest"]);

    let before = registry.requests().len();
    let second = publish(&sandbox, "1.2.3", &["--to", &to, "--publish", "--json"]).success();
    let second: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(second["digest"], first["digest"]);
    let destination = &second["destinations"][0];
    assert_eq!(destination["bytes"], 0);
    assert_eq!(destination["uploaded"], serde_json::json!([]));
    let blobs = destination["present"].as_array().unwrap().len();
    let requests = registry.requests();
    let again = requests[before..].to_vec();
    assert_eq!(mutations(&again), Vec::<&String>::new());
    // One look at each blob, manifest and tag; the first contact, the probe, the list of tags, and the tags that must not change.
    assert!(again.len() <= blobs + 3 + 4 + 3 + 3 + 4 + 2, "{blobs} blobs: {again:#?}");

    // One package changes: its layer, the layers above all packages, and the configurations.
    write(&sandbox, "2");
    let third = publish(&sandbox, "1.2.4", &["--to", &to, "--publish", "--json"]).success();
    let third: Value = serde_json::from_str(&third.stdout).unwrap();
    let images = third["images"].as_array().unwrap();
    let kept: Vec<&Value> = images.iter().flat_map(|image| image["layers"].as_array().unwrap()).collect();
    let sent = third["destinations"][0]["uploaded"].as_array().unwrap();
    let present = third["destinations"][0]["present"].as_array().unwrap();
    assert!(present.len() >= 2 && present.iter().all(|blob| kept.contains(&blob)), "{third:#}");
    assert!(sent.len() < kept.len() + images.len(), "{third:#}");
    checker::check(&registry.address).sound();
}

#[test]
fn the_same_digest_from_a_build_a_layout_and_every_repository() {
    let Some(registry) = docker() else { return };
    let Some(other) = docker() else { return };
    let sandbox = sandbox();
    let mut build = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out:v1"]);
    let built = Outcome::of(build.env("VERSION", "1.0.0")).success();
    let to = [registry.reference("a"), registry.reference("b"), other.reference("a")];
    let arguments = ["--to", &to[0], "--to", &to[1], "--to", &to[2], "--to", &to[0], "--publish"];
    let published = publish(&sandbox, "1.0.0", &[&arguments[..], &["--json"]].concat()).success();
    let report: Value = serde_json::from_str(&published.stdout).unwrap();
    assert_eq!(report["digest"], built.digest());
    let destinations = report["destinations"].as_array().unwrap();
    assert_eq!(destinations.len(), 3, "one that is given twice counts once");
    // Sent once to each registry.
    assert_eq!(destinations[1]["uploaded"], serde_json::json!([]));
    assert_eq!(destinations[1]["mounted"], destinations[0]["uploaded"]);
    assert_eq!(destinations[2]["uploaded"], destinations[0]["uploaded"]);
    for registry in [&registry, &other] {
        checker::check(&registry.address).sound();
    }
    // From a layout, without a workspace, unchanged.
    let arguments =
        ["publish", "nowhere", "--from", "oci:out:v1", "--to", &registry.reference("copy"), "--tag", "2.0.0"];
    let copied = sandbox.run(&[&arguments[..], &["--publish"]].concat()).success();
    assert_eq!(copied.digest(), built.digest());
    assert_eq!(checker::check(&registry.address).sound().tags["copy:2.0.0"], built.digest());
    let by_digest = format!("oci:out@{}", built.digest());
    let arguments = ["publish", "nowhere", "--from", &by_digest, "--to", &registry.reference("copy"), "--tag", "x"];
    assert_eq!(sandbox.run(&[&arguments[..], &["--publish"]].concat()).success().digest(), built.digest());
}

#[test]
fn every_way_into_a_registry() {
    for mode in Mode::ALL {
        let Some(registry) = Docker::start(mode) else { return };
        let sandbox = sandbox();
        let to = registry.reference("app");
        let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "--to", &to]);
        command.env("VERSION", "1.0.0").env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USER", USER);
        if let Some(ca) = &registry.ca_file {
            command.arg("--ca-file").arg(ca);
        }
        let outcome = Outcome::of(&mut command).success();
        let open = registry.open_view();
        assert_eq!(checker::check(&open.address).sound().tags["app:latest"], digest(&outcome), "{mode:?}");
        assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
    }
}

#[test]
fn the_token_is_for_the_first_registry_only() {
    let Some(first) = Docker::start(Mode::Htpasswd) else { return };
    let Some(second) = Docker::start(Mode::Htpasswd) else { return };
    let sandbox = sandbox();
    let to = [first.reference("app"), second.reference("app")];
    let arguments = ["publish", "ws", "--publish", "--to", &to[0], "--to", &to[1]];
    let run = |sandbox: &Sandbox| {
        let mut command = sandbox.pixi_oci(&arguments);
        Outcome::of(command.env("VERSION", "1.0.0").env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USER", USER))
    };
    // Another port is another registry: the token is not sent there, and nothing is published.
    run(&sandbox).refused(1, &["BLOCKER(empty-token)", &second.address]);
    assert!(checker::check(&first.open_view().address).tags.is_empty());
    let login = format!(r#"{{"auths": {{"{}": {{"auth": "cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk"}}}}}}"#, second.address);
    std::fs::create_dir_all(sandbox.home().join(".docker")).unwrap();
    std::fs::write(sandbox.home().join(".docker/config.json"), login).unwrap();
    let outcome = run(&sandbox).success();
    assert_eq!(outcome.stdout.lines().count(), 2);
    for registry in [&first, &second] {
        checker::check(&registry.open_view().address).sound();
    }
}

#[test]
fn skopeo_reads_it() {
    let Some(registry) = docker() else { return };
    if !has("skopeo") {
        return;
    }
    let sandbox = sandbox();
    let to = registry.reference("app");
    let outcome = publish(&sandbox, "1.0.0", &["--to", &to, "--publish"]).success();
    let skopeo = |arguments: &[&str]| {
        let mut command: Command = sandbox.program("skopeo");
        command.args(["--insecure-policy", "--override-os", "linux", "--override-arch", "arm64"]);
        Outcome::of(command.args(arguments)).success()
    };
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("{to}:latest")]);
    assert_eq!(checker::digest(raw.stdout.as_bytes()), digest(&outcome));
    let inspected = skopeo(&["inspect", "--tls-verify=false", &format!("{to}:1.0.0")]);
    assert_eq!(serde_json::from_str::<Value>(&inspected.stdout).unwrap()["Architecture"], "arm64");
    skopeo(&["copy", "--all", "--src-tls-verify=false", &format!("{to}:latest"), "oci:copied:v1"]);
    assert_eq!(crate::common::image::read(&sandbox.path("copied"), "v1").digest, digest(&outcome));
}

#[test]
fn one_repository_that_fails_does_not_keep_the_others_from_being_served() {
    use pixi_oci_test_registry::{Fault, Kind, Profile, Registry, Rule, http::Response};
    let (bad, good) = (Registry::start(Profile::distribution_3_1()), Registry::start(Profile::distribution_3_1()));
    bad.rules([Rule::always(Kind::UploadPut, Fault::Answer(Response::new(403)))]);
    let sandbox = sandbox();
    let (bad_to, good_to) = (bad.reference("app"), good.reference("app"));
    let arguments = ["--publish", "--to", &bad_to, "--to", &good_to];
    let outcome = publish(&sandbox, "1.0.0", &arguments);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains(&format!("BLOCKER(auth-denied): {}", bad.address)), "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with(&format!("{}/app@", good.address)), "{}", outcome.stdout);
    assert!(good.tag("app", "latest").is_some() && bad.tag("app", "1.0.0-amd64").is_none());
    // Said again when the reason is gone, it is finished.
    bad.heal();
    assert_eq!(publish(&sandbox, "1.0.0", &arguments).success().stdout.lines().count(), 2);
    assert!(bad.broken_tags().is_empty());
}

/// What `--json` looks like; digests and numbers are masked.
#[test]
fn the_shape_of_the_report() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    let arguments = ["--to", &to, "--publish", "--json", "--arch", "amd64"];
    let outcome = publish(&sandbox, "1.0.0", &arguments).success();
    let mut report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    // Has a test of its own.
    report.as_object_mut().unwrap().remove("build").unwrap();
    mask(&mut report, &registry.address);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/publish.json");
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    assert_eq!(report, expected, "{report:#}");
    assert_eq!(client::get(&registry.address, "/v2/app/manifests/latest").status, 200);
}

fn mask(value: &mut Value, address: &str) {
    match value {
        Value::String(text) => {
            let shown = text.replace(address, "HOST");
            *text = match shown.split_once("sha256:") {
                Some((before, _)) => format!("{before}DIGEST"),
                None => shown,
            };
        }
        Value::Number(_) => *value = "NUMBER".into(),
        Value::Array(list) => {
            list.iter_mut().for_each(|item| mask(item, address));
            list.dedup();
        }
        Value::Object(map) => map.values_mut().for_each(|item| mask(item, address)),
        _ => {}
    }
}

/// Each registry of a run has a login of its own: by variables with its name, or by those that the workspace names.
#[test]
fn logins_of_single_registries() {
    let Some(first) = Docker::start(Mode::Htpasswd) else { return };
    let Some(second) = Docker::start(Mode::Htpasswd) else { return };
    let sandbox = sandbox();
    let manifest = std::fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    let login = format!("registries.\"{}\" = {{ username = \"{USER}\", token = \"env:SECOND\" }}\n", second.address);
    std::fs::write(sandbox.path("ws/pixi.toml"), format!("{manifest}{login}")).unwrap();
    let name = first.address.replace(['.', ':'], "_").to_uppercase();
    let run = |command: &str| {
        let arguments = ["ws", "--publish", "--to", &first.reference("app"), "--to", &second.reference("app")];
        let mut command = sandbox.pixi_oci(&[&[command][..], &arguments].concat());
        command.env("VERSION", "1.0.0").env("REGISTRY_TOKEN", "canary-of-another");
        command.env(format!("REGISTRY_USER_{name}"), USER).env(format!("REGISTRY_TOKEN_{name}"), PASSWORD);
        Outcome::of(command.env("SECOND", PASSWORD)).success()
    };
    let outcome = run("publish");
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:#?}");
    let planned = run("plan");
    assert_eq!(planned.stdout.matches("to send to").count(), 2, "{planned:#?}");
    assert!(!planned.stdout.contains("app: not known"), "{planned:#?}");
}

/// The first registry does not answer before the other one has everything.
#[test]
fn registries_are_served_at_the_same_time_and_reported_in_order() {
    let run = |to: &[&Registry]| {
        let sandbox = sandbox();
        let to: Vec<String> = to.iter().map(|registry| registry.reference("app")).collect();
        let arguments: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).chain(["--publish", "--json"]).collect();
        let report = publish(&sandbox, "1.0.0-dev.1", &arguments).success();
        serde_json::from_str::<Value>(&report.stdout).unwrap()
    };
    let [learnt, one, two] = [(); 3].map(|()| Registry::start(Profile::distribution_3_1()));
    run(&[&learnt]);
    let puts: Vec<usize> =
        (1..).zip(learnt.log()).filter(|(_, entry)| entry.kind == Kind::ManifestPut).map(|(at, _)| at).collect();
    let (ended, end) = mpsc::channel();
    let (served, was_served) = mpsc::channel();
    two.at(*puts.last().unwrap(), Point::After, move |_| ended.send(()).unwrap());
    one.at(puts[0], Point::After, move |_| served.send(end.recv_timeout(Duration::from_secs(60)).is_ok()).unwrap());
    let report = run(&[&one, &two]);
    assert!(was_served.recv().unwrap(), "the second registry waits for the first one");
    let order: Vec<&Value> = report["destinations"].as_array().unwrap().iter().map(|to| &to["repository"]).collect();
    assert_eq!(order, [&format!("{}/app", one.address), &format!("{}/app", two.address)]);
    for registry in [one, two] {
        assert_eq!(registry.tag("app", "1.0.0-dev.1").as_deref(), report["digest"].as_str());
        assert_eq!(registry.broken_tags(), [""; 0]);
    }
}

/// What of each of several registries is asked before it is known what is published, and how often it was.
const QUESTIONS: [&str; 3] =
    ["GET /v2/app/tags/list", "GET /v2/app/manifests/latest", "HEAD /v2/app/manifests/1.1.0-amd64"];
type Asked = Arc<(Mutex<HashMap<&'static str, usize>>, Condvar)>;

/// Three names of a registry. A question is answered when it was asked of all.
fn fronts(server: &str, asked: &Asked) -> Vec<String> {
    let front = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, server) = (asked.clone(), server.to_owned());
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let (asked, server) = (asked.clone(), server.clone());
                std::thread::spawn(move || {
                    let request = read_request(&mut socket)?;
                    let question = format!("{} {}", request.method, request.target);
                    if let Some(question) = QUESTIONS.iter().find(|known| question.starts_with(**known)) {
                        let (counts, changed) = &*asked;
                        let mut counts = counts.lock().unwrap();
                        *counts.entry(question).or_default() += 1;
                        changed.notify_all();
                        let most = Duration::from_secs(20);
                        drop(changed.wait_timeout_while(counts, most, |counts| counts[question] < 3).unwrap());
                    }
                    hand_on(&mut socket, &request, &request.target, &server, &[])
                });
            }
        });
        address
    };
    (0..3).map(front).collect()
}

/// Each question goes to all registries at the same time: what one takes for its answer is not added to what the others take.
#[test]
fn registries_are_asked_at_the_same_time() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    publish(&sandbox, "1.0.0", &["--to", &registry.reference("app"), "--publish"]).success();
    let asked = Asked::default();
    let to: Vec<String> =
        fronts(&registry.address, &asked).iter().map(|front| format!("docker://{front}/app")).collect();
    let arguments: Vec<&str> = to.iter().flat_map(|to| ["--to", to]).chain(["--publish"]).collect();
    let begun = Instant::now();
    publish(&sandbox, "1.1.0", &arguments).success();
    // Where they are asked one after the other, the first waits for twenty seconds.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let counts = asked.0.lock().unwrap();
    assert!(QUESTIONS.iter().all(|question| counts[question] >= 3), "{counts:?}");
}

/// Without TLS no certificate is looked at, so that a machine without any can do it.
#[test]
fn a_registry_without_tls_needs_no_certificates() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::plain()));
    workspace([package("tool", [file("bin/tool", "1")])]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    let none = sandbox.path("none");
    std::fs::create_dir(&none).unwrap();
    let to = registry.reference("app");
    let mut publish = sandbox.pixi_oci(&["publish", "--publish", "--from", "oci:out:v1", "--to", &to, "--tag", "t"]);
    publish.env("SSL_CERT_FILE", none.join("pem")).env("SSL_CERT_DIR", &none);
    Outcome::of(&mut publish).success();
    assert!(registry.tag("app", "t").is_some());
}
