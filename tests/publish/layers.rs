//! `pixi-oci layers`: several machines make the layers of images that another one publishes.

use std::{
    collections::BTreeSet,
    fs,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pixi_oci_test_registry::{
    Fault, Kind, Profile, Registry, Rule, checker,
    docker::{PASSWORD, USER},
    http::Response,
};
use serde_json::{Value, json};

use super::{
    reuse::{Machine, forget, json as document, noise, origins, packages},
    *,
};
use crate::common::{channel_server::Fault as ChannelFault, sandbox::sha256};

fn keys(report: &Value) -> BTreeSet<String> {
    report["layers"].as_array().unwrap().iter().map(|layer| layer["key"].as_str().unwrap().to_owned()).collect()
}

/// The keys of the package layers of all images.
fn built(report: &Value) -> BTreeSet<String> {
    let build = if report["build"].is_null() { report } else { &report["build"] };
    let layers = build["images"].as_array().unwrap().iter().flat_map(|image| image["layers"].as_array().unwrap());
    layers.filter_map(|layer| Some(layer["key"].as_str()?.to_owned())).collect()
}

fn shards(machine: &Machine, arguments: &[&str]) -> Vec<Value> {
    let all = ["plan", "ws", "--matrix", "layers", "--shards", "3"];
    let outcome = Outcome::of(&mut machine.sandbox.pixi_oci(&[&all[..], arguments].concat())).success();
    assert_eq!(outcome.stdout.lines().count(), 1, "$GITHUB_OUTPUT takes one line");
    document(&outcome)["include"].as_array().unwrap().clone()
}

#[test]
fn machines_make_each_layer_once_and_the_image_downloads_no_package() {
    let Some(registry) = docker() else { return };
    let (kept, app) = (registry.reference("layers"), registry.reference("app"));
    let machine = Machine::new("tool");
    let expected = built(&document(&machine.run(&["build", "ws", "-o", "oci:expected"], "")));
    forget(&machine);

    let before = machine.downloads();
    let jobs = shards(&machine, &[]);
    assert_eq!(machine.downloads(), before, "a plan downloads no package");
    let before = machine.channel.requests().len();
    assert_eq!(jobs.iter().map(|job| job["shard"].as_str().unwrap()).collect::<Vec<_>>(), ["1/3", "2/3", "3/3"]);
    let mut made = BTreeSet::new();
    for (number, job) in jobs.iter().enumerate() {
        forget(&machine);
        let shard = job["shard"].as_str().unwrap();
        let command = ["layers", "ws", "--shard", shard, "--to", &kept];
        let dry = document(&machine.run(&command, "").success());
        let sent = registry.requests().len();
        let report = document(&machine.run(&[&command[..], &["--publish"]].concat(), "").success());
        assert_eq!((&dry["count"], &dry["bytes"], &dry["layers"]), (&report["count"], &report["bytes"], &json!([])));
        assert_eq!(report["bytes"], job["bytes"]);
        assert_eq!(job["layers"], report["count"]);
        assert_eq!(report["count"].as_u64().unwrap() as usize, keys(&report).len(), "shard {number}");
        assert!(mutations(&registry.requests()[sent..]).iter().all(|line| line.contains("/layers/")));
        assert!(made.is_disjoint(&keys(&report)), "a layer is made by one machine");
        made.append(&mut keys(&report));
    }
    assert_eq!(made, expected);
    // What no server tells by parts, of tars and of links that others go through, every machine has to fetch.
    let requests = machine.channel.requests()[before..].to_vec();
    let whole = requests.iter().filter(|request| !request.headers.contains_key("range"));
    let mut fetched: Vec<&str> = whole.map(|request| request.target.as_str()).collect();
    fetched.retain(|path| path.ends_with(".conda") && !path.contains("/linked-") && !path.contains("/links-"));
    let once: BTreeSet<&&str> = fetched.iter().collect();
    assert!(fetched.len() == once.len() && once.len() > 10, "{fetched:?}");
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags.len(), 3, "{:?}", found.tags.keys());

    forget(&machine);
    let before = machine.channel.requests().len();
    let publish = ["publish", "ws", "--to", &app, "--cache-from", &kept, "--publish"];
    let report = document(&machine.run(&publish, "1.0.0").success());
    assert_eq!(machine.channel.requests().len(), before, "the image needs no package");
    assert_eq!((built(&report), origins(&report, "made")), (expected, 0));
    let whole =
        document(&machine.run(&["publish", "ws", "--from", "oci:expected", "--to", &app, "--tag", "other"], ""));
    assert_eq!(whole["images"][0]["layers"], report["images"][0]["layers"]);
    checker::check(&registry.address).sound();
    // Nothing is left to make.
    forget(&machine);
    assert_eq!(shards(&machine, &["--cache-from", &format!("{app}:1.0.0")]), Vec::<Value>::new());
    let command =
        ["layers", "ws", "--shard", "1/3", "--to", &kept, "--cache-from", &format!("{app}:1.0.0"), "--publish"];
    let nothing = document(&machine.run(&command, "").success());
    assert_eq!((keys(&nothing).len(), nothing["destination"].is_null()), (0, true));
}

#[test]
fn workspaces_have_the_layers_in_common_made_once() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("tool");
    let other = packages("tool").into_iter().chain([package("extra", [file("lib/extra", noise(77))])]);
    let channel = format!("{}/channel", machine.channel.address);
    workspace(other).channel(&channel).write(&machine.sandbox.path("ws/other"));
    // Both have their packages on the one server.
    for entry in fs::read_dir(machine.sandbox.path("ws/other/channel/linux-64")).unwrap() {
        let entry = entry.unwrap();
        let to = machine.sandbox.path("ws/channel/linux-64").join(entry.file_name());
        if !to.exists() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    let kept = registry.reference("layers");
    let one = |arguments: &[&str]| {
        let command = ["layers", "--arch", "amd64", "--to", &kept, "--tag", "run-7"];
        keys(&document(&machine.run(&[&command[..], arguments].concat(), "").success()))
    };
    one(&["--shard", "1/1", "ws", "ws/other"]);
    let of_lib0 = machine.channel.requests().iter().filter(|request| request.target.contains("/lib0-")).count();
    assert_eq!(of_lib0, 1, "both workspaces have it");
    let shares = ["1/2", "2/2"].map(|shard| one(&["--shard", shard, "--publish", "ws", "ws/other"]));
    assert!(shares[0].is_disjoint(&shares[1]) && !shares[0].is_empty() && !shares[1].is_empty());
    let build = |ws: &str| built(&document(&machine.run(&["build", ws, "--arch", "amd64", "-o", "oci:out"], "")));
    let (own, other) = (build("ws"), build("ws/other"));
    assert!(own.intersection(&other).count() >= 6);
    assert_eq!(shares.iter().flatten().cloned().collect::<BTreeSet<_>>(), own.union(&other).cloned().collect());
    let found = checker::check(&registry.address).sound();
    let tags: Vec<&String> = found.tags.keys().collect();
    assert_eq!(tags, ["layers:run-7-1-of-2", "layers:run-7-2-of-2"]);
}

#[test]
fn more_layers_than_one_image_may_have_need_more_shards() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("tool");
    let channel = format!("{}/channel", machine.channel.address);
    let many = (0..510).map(|n| package(&format!("many{n}"), [file(&format!("lib/{n}"), noise(n))]));
    fs::remove_dir_all(machine.sandbox.path("ws")).unwrap();
    let on = workspace(many).platforms(&["linux-64"]).channel(&channel).oci("max-layers = 600");
    on.write(&machine.sandbox.path("ws"));
    let run = |shard: &str| machine.run(&["layers", "ws", "--shard", shard, "--to", &registry.reference("layers")], "");
    run("1/1").refused(1, &["510 layers", "500 at most", "more shards"]);
    assert_eq!(document(&run("2/2").success())["count"], 255);
}

#[test]
fn a_base_image_of_many_layers_counts_and_is_not_fetched() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("tool");
    let many = (0..8).map(|n| package(&format!("base{n}"), [file(&format!("lib/base{n}"), noise(n))]));
    workspace(many).platforms(&["linux-64"]).oci("prefix = \"/usr/base\"").write(&machine.sandbox.path("base"));
    let base = machine.run(&["publish", "base", "--to", &registry.reference("base"), "--publish"], "1.0.0").success();
    let base = document(&base)["destinations"][0]["reference"].as_str().unwrap().to_owned();
    let on_it = format!("base = \"docker://{base}\"\nmax-layers = 24");
    let channel = format!("{}/channel", machine.channel.address);
    fs::remove_dir_all(machine.sandbox.path("ws")).unwrap();
    workspace(packages("tool")).channel(&channel).oci_only(&on_it).write(&machine.sandbox.path("ws"));
    let build = ["build", "ws", "--arch", "amd64", "-o", "oci:out"];
    let expected = built(&document(&machine.run(&build, "").success()));
    forget(&machine);
    let before = registry.requests().len();
    let (kept, layers) =
        (registry.reference("layers"), ["layers", "ws", "--arch", "amd64", "--shard", "1/1", "--publish"]);
    let report = document(&machine.run(&[&layers[..], &["--to", &kept]].concat(), "").success());
    assert_eq!(keys(&report), expected);
    let requests = registry.requests()[before..].to_vec();
    let read = requests.iter().filter(|line| line.starts_with("GET ") && line.contains("/base/blobs/")).count();
    assert_eq!(read, 1, "the configuration: {requests:#?}");
}

#[test]
fn a_share_that_vanishes_while_it_is_read_does_not_hide_the_others() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (machine, kept) = (Machine::new("tool"), registry.reference("layers"));
    let share = |shard: &str| {
        let command = ["layers", "ws", "--arch", "amd64", "--shard", shard, "--to", &kept, "--publish"];
        keys(&document(&machine.run(&command, "").success())).len()
    };
    let [gone, there] = ["1/2", "2/2"].map(share);
    assert!(gone > 0 && there > 0);
    // It is still listed.
    let not_found = Fault::Answer(Response::error(404, "MANIFEST_UNKNOWN"));
    registry.rules([Rule { target: "latest-1-of-2".into(), ..Rule::always(Kind::ManifestGet, not_found) }]);
    forget(&machine);
    let build = ["build", "ws", "--arch", "amd64", "-o", "oci:out", "--cache-from", &kept];
    let report = document(&machine.run(&build, "").success());
    assert_eq!((origins(&report, "made"), origins(&report, "registry")), (gone, there));
}

#[test]
fn images_are_read_with_the_login_for_publishing() {
    let Some(registry) = Docker::start(Mode::Htpasswd) else { return };
    let machine = Machine::new("tool");
    let run = |arguments: &[&str]| {
        let mut command = machine.sandbox.pixi_oci(&[arguments, &["--json", "--arch", "amd64"]].concat());
        command.envs([("REGISTRY_USER", USER), ("REGISTRY_TOKEN", PASSWORD), ("VERSION", "1.0.0")]);
        document(&Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success())
    };
    let (app, kept) = (registry.reference("app"), registry.reference("layers"));
    run(&["publish", "ws", "--to", &app, "--publish"]);
    forget(&machine);
    let share =
        run(&["layers", "ws", "--shard", "1/1", "--to", &kept, "--cache-from", &format!("{app}:1.0.0"), "--publish"]);
    assert_eq!(share["count"], 0, "{share:#}");
}

#[test]
fn what_a_server_says_of_a_package_is_compared_with_its_archive() {
    let Some(registry) = docker() else { return };
    let kept = registry.reference("layers");
    let machine = Machine::new("tool");
    let name = "lib3-1.0-h1234567_0.conda";
    let honest = fs::read(machine.sandbox.path("ws/channel/linux-64").join(name)).unwrap();
    // Of the same length, because it is a package of another name only.
    let other = package("lib3", [file("lib/lib7.so", noise(3))]).bytes();
    assert_eq!(honest.len(), other.len());
    machine.channel.lie(name, other);
    let share = |index: usize| {
        forget(&machine);
        let shard = format!("{index}/2");
        machine.run(&["layers", "ws", "--arch", "amd64", "--to", &kept, "--publish", "--shard", &shard], "")
    };
    let host = machine.channel.address.strip_prefix("http://").unwrap();
    let (fine, liar): (Vec<Outcome>, Vec<Outcome>) = [share(1), share(2)].into_iter().partition(|o| o.code == Some(0));
    assert_eq!((fine.len(), liar.len()), (1, 1));
    liar.into_iter().for_each(|liar| drop(liar.refused(1, &["lib3 1.0", &format!("what {host} answered")])));
    assert_eq!(checker::check(&registry.address).sound().tags.len(), 1, "of the other share");
}

/// What is being sent when a package fails is given up, and what waits is not begun.
#[test]
fn a_share_that_fails_sends_nothing_more() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (machine, kept) = (Machine::new("tool"), registry.reference("layers"));
    machine.sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "oci:known"]).success();
    let archive = "lib5-1.0-h1234567_0.conda";
    let digest = sha256(&fs::read(machine.sandbox.path("ws/channel/linux-64").join(archive)).unwrap());
    let archives = machine.sandbox.path("../cache/pixi-oci/archives");
    fs::remove_file(archives.join(&digest[..2]).join(format!("{digest}.conda"))).unwrap();
    registry.rules([Rule::always(Kind::UploadPut, Fault::Stall)]);
    let closed = Arc::new(Mutex::new(()));
    let gate = closed.lock().unwrap();
    let faults = [ChannelFault::Wait(closed.clone()), ChannelFault::Status(404, Vec::new())];
    machine.channel.faults(archive, faults);
    let layers = ["layers", "ws", "--arch", "amd64", "--shard", "1/1", "--to", &kept, "--publish"];
    let mut command = machine.sandbox.pixi_oci(&layers);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let count = |kind: Kind| registry.log().iter().filter(|entry| entry.kind == kind).count();
    let begin = Instant::now();
    while count(Kind::UploadPut) < 3 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{:#?}", registry.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(gate);
    let ended = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && errors.contains("lib5"), "{errors}");
    assert_eq!((count(Kind::UploadPut), count(Kind::ManifestPut)), (3, 0), "three are sent at a time");
}

#[test]
fn what_cannot_be_a_share_is_refused_before_anything_is_made() {
    let Some(registry) = docker() else { return };
    let kept = registry.reference("layers");
    let machine = Machine::new("tool");
    for shard in ["0/2", "3/2", "1", "1/", "1/257", "-1/2", "a/b", "1/2/3"] {
        machine.run(&["layers", "ws", "--to", &kept, &format!("--shard={shard}")], "").refused(2, &["expected I/N"]);
    }
    let run =
        |arguments: &[&str]| machine.run(&[&["layers", "ws", "--shard", "1/2", "--publish"], arguments].concat(), "");
    run(&["--to", &kept, "--to", &registry.reference("other")]).refused(1, &["one repository"]);
    run(&["--to", &format!("oras://{}/sifs", registry.address)]).refused(1, &["one repository"]);
    run(&["--to", &kept, "--tag", "a b"]).refused(1, &["a b-1-of-2", "letters, digits"]);
    machine.sandbox.run(&["plan", "ws", "--matrix", "layers"]).refused(2, &["--shards"]);
    machine.sandbox.run(&["plan", "ws", "--matrix", "github", "--shards", "2"]).refused(2, &["--matrix layers"]);
    let mut change = machine.sandbox.pixi_oci(&["layers", "ws", "--shard", "1/2", "--to", &kept, "--publish"]);
    change.envs([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_REF", "refs/pull/7/merge"),
    ]);
    Outcome::of(&mut change).refused(1, &["BLOCKER(pull-request)"]);
    assert_eq!(machine.downloads(), Vec::<String>::new());
    assert_eq!(mutations(&registry.requests()), Vec::<&String>::new());
}

/// Those of docs/fleet.md, with the variables of the engine that each is for.
#[test]
fn the_commands_of_the_manual_work() {
    let Some(registry) = docker() else { return };
    let machine = Machine::new("tool");
    let manual = include_str!("../../docs/fleet.md").replace("\\\n", " ").replace("\"$PIXI_OCI\"", "pixi-oci");
    let manual = manual.replace("${{ matrix.shard }}", "1/4").replace("${{ github.run_id }}", "7");
    let blocks = manual.split("\n```").skip(1).step_by(2).flat_map(str::lines);
    let commands: Vec<&str> = blocks.filter_map(|line| Some(line.split_once("pixi-oci layers ")?.1)).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    let mut tags = BTreeSet::new();
    for command in commands {
        let mut arguments = command.trim_end_matches("']").to_owned();
        for host in ["ghcr.io/me", "git.example.org/me", "$CI_REGISTRY_IMAGE", "registry.example.org/lab"] {
            arguments = arguments.replace(host, &registry.address);
        }
        let mut run = machine.sandbox.program("sh");
        run.current_dir(machine.sandbox.path("ws")).env("PIXI_FROZEN", "true").envs([
            ("SHARD", "1/4"),
            ("CI_NODE_INDEX", "2"),
            ("CI_NODE_TOTAL", "4"),
            ("CI_PIPELINE_ID", "8"),
            ("CI_PIPELINE_NUMBER", "9"),
            ("SLURM_ARRAY_TASK_ID", "3"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_JOB_ID", "10"),
            ("JOB_COMPLETION_INDEX", "3"),
        ]);
        run.args(["-c", &format!("exec {} layers --json {arguments}", crate::common::sandbox::BINARY)]);
        let report = document(&Outcome::of(&mut run).success());
        assert!(report["count"].as_u64() > Some(0), "{command}: {report:#}");
        tags.insert(report["destination"]["tags"][0]["tag"].as_str().unwrap().to_owned());
    }
    let expected = ["latest-4-of-4", "run-10-3-of-4", "run-7-1-of-4", "run-8-2-of-4", "run-9-1-of-4"];
    assert_eq!(tags.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
