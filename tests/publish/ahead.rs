//! Layers are sent while others are still fetched and made; what names them comes when all is there.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver},
    },
    time::Duration,
};

use pixi_oci_test_registry::{Kind, Point, Profile, Registry, sample};

use super::*;
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
