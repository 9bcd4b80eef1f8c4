//! `pixi-oci publish`, `publish-index` and `prune`: the binary against docker-registry, read back by others.

mod ahead;
mod bases;
mod blockers;
mod fetching;
mod fleet;
mod interrupted;
mod layers;
mod legs;
mod login;
mod mounts;
mod plain;
mod plan;
mod proxies;
mod prune;
mod registries;
mod reuse;
mod sif;
mod tags;

use pixi_oci_test_registry::docker::{Docker, Mode};

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox},
    workspace::workspace,
};

/// A sandbox with the workspace `ws`, whose images take three layers each.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox, "1");
    sandbox
}

fn write(sandbox: &Sandbox, content: &str) {
    let tool = package("tool", [file("bin/tool", content).mode(0o755)]);
    // A zip has the time at which it was made.
    let other = package("other", [file("share/other", "the same for ever")]).tar_bz2();
    workspace([tool, other]).oci("cmd = [\"tool\"]").write(&sandbox.path("ws"));
}

fn publish(sandbox: &Sandbox, version: &str, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.pixi_oci(&[&["publish", "ws"], arguments].concat());
    Outcome::of(command.env("VERSION", version))
}

fn docker() -> Option<Docker> {
    Docker::start(Mode::Plain)
}

/// Requests that change something.
fn mutations(requests: &[String]) -> Vec<&String> {
    requests.iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ") && !is_probe(line)).collect()
}

/// Whether an upload is opened or cancelled: that changes nothing unless something is put into it.
fn is_probe(line: &str) -> bool {
    let opens = line.starts_with("POST ") && !line.contains("mount=");
    line.contains("/blobs/uploads/") && (opens || line.starts_with("DELETE "))
}

/// `HOST/REPOSITORY@DIGEST` on stdout.
#[track_caller]
fn digest(outcome: &Outcome) -> String {
    outcome.digest().to_owned()
}
