//! Layers are sent while others are still fetched and made; what names them comes when all is there.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use pixi_oci_test_registry::{Kind, Point, Profile, Registry, sample};

use super::{
    reuse::{Machine, noise},
    *,
};
use crate::common::channel_server::{ChannelServer, Fault};

const PATIENCE: Duration = Duration::from_secs(120);

/// A build of two images that stops before the second one's layers, until the gate is dropped.
struct Halfway {
    sandbox: Sandbox,
    channel: ChannelServer,
    to: Registry,
    gate: MutexGuard<'static, ()>,
    /// Hears when a layer of the first image is in the registry.
    sent: Receiver<()>,
}

/// The package of the second image.
const SECOND: &str = "linux-aarch64/more-1.0-h1234567_0.conda";

impl Halfway {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let channel = ChannelServer::new(&sandbox.path("ws/channel"));
        let more = package("more", [file("share/more", "1")]).version("1.0");
        workspace([more]).channel(&channel.address).write(&sandbox.path("ws"));
        // What is in the packages is known, so each is fetched when the layers of its image are made.
        let to = Registry::start(Profile::distribution_3_1());
        let forget = || {
            for kind in ["archives", "pushed"] {
                std::fs::remove_dir_all(sandbox.path("../cache/pixi-oci").join(kind)).unwrap();
            }
        };
        Outcome::of(&mut command(&sandbox, &to)).success();
        forget();
        // How many requests there are until the first layer has come.
        let to = Registry::start(Profile::distribution_3_1());
        Outcome::of(&mut command(&sandbox, &to)).success();
        let layer = to.log().iter().position(|entry| entry.kind == Kind::UploadPut).unwrap() + 1;
        forget();
        let to = Registry::start(Profile::distribution_3_1());
        let closed: &'static Arc<Mutex<()>> = Box::leak(Box::default());
        let gate = closed.lock().unwrap();
        channel.faults(SECOND, [Fault::Wait(closed.clone())]);
        let (arrived, sent) = mpsc::channel();
        to.at(layer, Point::After, move |_| arrived.send(()).unwrap());
        Self { sandbox, channel, to, gate, sent }
    }

    /// Publishes until a layer is there, while the second image cannot even begin.
    fn begin(&self) -> Child {
        let mut command = command(&self.sandbox, &self.to);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.sent.recv_timeout(PATIENCE).expect("a layer is sent before all are made");
        child
    }

    fn count(&self, kind: Kind) -> usize {
        self.to.log().iter().filter(|entry| entry.kind == kind).count()
    }
}

fn command(sandbox: &Sandbox, to: &Registry) -> Command {
    let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "--to", &to.reference("app"), "--json"]);
    command.env("VERSION", "1.0.0-dev.1");
    command
}

#[test]
fn layers_are_sent_before_the_others_are_made() {
    let halfway = Halfway::new();
    let child = halfway.begin();
    assert_eq!(halfway.count(Kind::ManifestPut), 0);
    let Halfway { gate, to, .. } = halfway;
    drop(gate);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    // Sent once each, and the report does not take them for what was there before.
    let destination = &report["destinations"][0];
    let puts = to.log().iter().filter(|entry| entry.kind == Kind::UploadPut).count();
    assert_eq!(destination["uploaded"].as_array().unwrap().len(), puts);
    assert_eq!(destination["present"], serde_json::json!([]));
    assert_eq!(to.tag("app", "1.0.0-dev.1").as_deref(), report["digest"].as_str());
    assert_eq!(to.broken_tags(), Vec::<String>::new());
}

#[test]
fn a_build_that_fails_later_leaves_nothing_that_has_a_name() {
    let halfway = Halfway::new();
    let child = halfway.begin();
    halfway.channel.faults(SECOND, [Fault::Status(404, Vec::new())]);
    let Halfway { gate, to, .. } = halfway;
    drop(gate);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(to.log().iter().all(|entry| entry.kind != Kind::ManifestPut), "{:#?}", to.log());
    assert!(to.history().is_empty(), "no tag was ever put");
}

#[test]
fn an_end_that_is_wanted_ends_the_sending_too() {
    let halfway = Halfway::new();
    let child = halfway.begin();
    let kill = halfway.sandbox.program("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    drop(halfway.gate);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(halfway.to.log().iter().all(|entry| entry.kind != Kind::ManifestPut));
}

/// What a release would be is known only when it is built: where its tag is taken, nothing is sent on the off-chance.
#[test]
fn nothing_is_sent_ahead_where_a_tag_is_taken() {
    for taken in ["1.0.0", "1.0.0-arm64"] {
        let (sandbox, registry) = (sandbox(), Registry::start(Profile::distribution_3_1()));
        registry.put_image("app", &sample::image(1, 1), &[taken]);
        registry.clear_log();
        let refused = publish(&sandbox, "1.0.0", &["--publish", "--to", &registry.reference("app")]);
        assert!(refused.stderr.contains("BLOCKER(tag-exists)"), "{refused:?}");
        // Beside the upload that is opened and cancelled to see whether it may be.
        let is_probe = |kind| matches!(kind, Kind::UploadStart | Kind::UploadCancel);
        let log = registry.log();
        let changed = log.iter().filter(|entry| entry.kind.mutates() && !is_probe(entry.kind));
        let changed: Vec<_> = changed.map(|entry| entry.line()).collect();
        assert_eq!(changed, Vec::<String>::new());
    }
}

/// The digests of the blobs that were sent to a registry, in this order.
fn sent(registry: &Registry) -> Vec<String> {
    let log = registry.log();
    let puts = log.iter().filter(|entry| entry.kind == Kind::UploadPut);
    puts.map(|entry| entry.target.rsplit_once("digest=").unwrap().1.replace("%3A", ":")).collect()
}

/// Nothing is known of any package, and the last one does not come: the layers of the others are in both registries all the same,
/// and so is the base image.
#[test]
fn layers_are_in_every_registry_before_the_last_package_is_here() {
    let machine = Machine::new("same");
    let sandbox = &machine.sandbox;
    let registries = [(); 3].map(|()| Registry::start(Profile::distribution_3_1()));
    let [bases, one, two] = &registries;
    workspace([package("tool", [file("bin/tool", "x").mode(0o755)])]).write(&sandbox.path("base"));
    let publish = ["publish", "base", "--publish", "--to", &bases.reference("base")];
    Outcome::of(sandbox.pixi_oci(&publish).env("VERSION", "1.0.0")).success();
    let base = format!("base = \"{}:1.0.0\"\nprefix = \"/usr/more\"\nworkdir = \"/more\"", bases.reference("base"));
    std::fs::remove_dir_all(sandbox.path("ws")).unwrap();
    let packages = (0..6).map(|n| package(&format!("lib{n}"), [file(&format!("lib/lib{n}.so"), noise(n))]));
    let channel = format!("{}/channel", machine.channel.address);
    workspace(packages).channel(&channel).oci_only(&base).write(&sandbox.path("ws"));
    std::fs::remove_dir_all(sandbox.path("../cache")).unwrap();
    let last = std::fs::read_dir(sandbox.path("ws/channel/linux-64")).unwrap();
    let mut last = last.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (last, lock) = (last.find(|name| name.starts_with("lib3-")).unwrap(), Arc::new(Mutex::new(())));
    let gate = lock.lock().unwrap();
    machine.channel.faults(&last, [Fault::Wait(lock.clone())]);

    let to = [one.reference("app"), one.reference("other"), two.reference("app")];
    let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "--arch", "amd64", "--json"]);
    command.args(to.iter().flat_map(|to| ["--to", to]));
    command.env("VERSION", "1.0.0-dev.1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // Five layers of one package each; of the base a layer of a package, the environment and the application.
    let began = Instant::now();
    while [one, two].iter().any(|registry| sent(registry).len() < 5 + 3) {
        if began.elapsed() > PATIENCE {
            drop(gate);
            let ended = child.wait_with_output().unwrap();
            panic!("{:?} {:?} {}", sent(one), sent(two), String::from_utf8_lossy(&ended.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!([one, two].iter().all(|registry| registry.history().is_empty()), "no tag before all is there");
    drop(gate);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    for (registry, at) in [(one, 0), (two, 2)] {
        let mut blobs = sent(registry);
        let count = blobs.len();
        blobs.sort();
        blobs.dedup();
        assert_eq!(blobs.len(), count, "sent twice");
        assert_eq!(report["destinations"][at]["uploaded"].as_array().unwrap().len(), count);
        assert_eq!(registry.broken_tags(), [""; 0]);
    }
    let other = &report["destinations"][1];
    assert_eq!((&other["uploaded"], &other["present"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(machine.downloads().len(), 6, "each archive once");
    // The same as where all was known before.
    let again = sandbox.pixi_oci(&["build", "ws", "--arch", "amd64", "--json", "-o", "oci:again"]).output().unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["digest"], report["digest"]);
}

/// Layers that an image of the registry has are linked from it; what is made cannot be there, and is sent before all is made.
#[test]
fn what_is_made_goes_ahead_where_the_rest_is_linked() {
    let (machine, registry) = (Machine::new("same"), Registry::start(Profile::distribution_3_1()));
    let sandbox = &machine.sandbox;
    let write = |changed: u64| {
        std::fs::remove_dir_all(sandbox.path("ws")).unwrap();
        let content = |n| if n < changed { noise(100 + n) } else { noise(n) };
        let packages = (0..6).map(|n| package(&format!("lib{n}"), [file(&format!("lib/lib{n}.so"), content(n))]));
        let channel = format!("{}/channel", machine.channel.address);
        workspace(packages).channel(&channel).write(&sandbox.path("ws"));
    };
    write(0);
    let publish = ["publish", "ws", "--publish", "--arch", "amd64", "--json", "--tag", "x", "--to"];
    Outcome::of(&mut sandbox.pixi_oci(&[&publish[..], &[&registry.reference("one")]].concat())).success();
    std::fs::remove_dir_all(sandbox.path("../cache")).unwrap();
    registry.clear_log();
    write(2);
    let lock = Arc::new(Mutex::new(()));
    let gate = lock.lock().unwrap();
    machine.channel.faults("linux-64/lib1-1.0-h1234567_0.conda", [Fault::Wait(lock.clone())]);
    let (two, from) = (registry.reference("two"), format!("{}:x", registry.reference("one")));
    let mut command = sandbox.pixi_oci(&[&publish[..], &[&two, "--cache-from", &from]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while sent(&registry).is_empty() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ahead = sent(&registry);
    drop(gate);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let layers = report["build"]["images"][0]["layers"].as_array().unwrap();
    let made: Vec<_> = layers.iter().filter(|layer| layer["origin"] == "made").map(|layer| &layer["digest"]).collect();
    assert!(made.len() == 2 && ahead.len() == 1 && made.iter().any(|made| *made == &ahead[0]), "{ahead:?} {report:#}");
    let linked = report["destinations"][0]["mounted"].as_array().unwrap();
    let others: Vec<_> = layers.iter().filter(|layer| layer["origin"] == "registry").collect();
    assert!(others.len() == 4 && others.iter().all(|layer| linked.contains(&layer["digest"])), "{report:#}");
    assert_eq!(registry.broken_tags(), [""; 0]);
}

#[test]
fn a_package_that_is_not_there_ends_all_and_is_named() {
    let machine = Machine::new("same");
    let registry = Registry::start(Profile::distribution_3_1());
    let gone = std::fs::read_dir(machine.sandbox.path("ws/channel/linux-64")).unwrap();
    let gone = gone.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("/lib3-")).unwrap();
    std::fs::remove_file(&gone).unwrap();
    let to = registry.reference("app");
    let publish = ["publish", "ws", "--publish", "--arch", "amd64", "--to", &to];
    let refused = machine.run(&publish, "1.0.0-dev.1").refused(1, &["package lib3: ", " answered 404"]);
    assert!(!refused.stderr.contains("interrupted"), "{}", refused.stderr);
    assert!(registry.history().is_empty());
}
