//! What the most used commands say when all is well. Words change in a diff of `tests/snapshots`, not by accident.

use std::fs;

use pixi_oci_test_registry::docker::{Docker, Mode};

use crate::common::{
    odd,
    packages::{file, package},
    sandbox::Sandbox,
    transcript::Transcript,
    workspace::workspace,
};

/// One package, one directory of files, one architecture.
fn sandbox(oci: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let tool = package("tool", [file("bin/tool", "x").mode(0o755)]);
    workspace([tool]).platforms(&["linux-64"]).oci(oci).write(&sandbox.path("ws"));
    fs::create_dir(sandbox.path("ws/data")).unwrap();
    fs::write(sandbox.path("ws/data/table"), "1,2,3").unwrap();
    sandbox
}

#[test]
fn plan_and_build() {
    let (sandbox, mut said) = (sandbox("include = [\"data\"]"), Transcript::default());
    said.run(&sandbox, &["plan", "ws"], 0);
    said.run(&sandbox, &["build", "ws", "-o", "oci:out", "-v"], 0);
    said.run(&sandbox, &["build", "ws", "-o", "oci:out", "--json"], 0);
    let cache = [("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")];
    said.run_with(&sandbox, &["build", "ws", "-o", "oci:out"], &cache, 0);
    said.run_with(&sandbox, &["plan", "ws"], &cache, 0);
    said.run_with(&sandbox, &["plan", "ws", "--json"], &cache, 0);
    said.run_with(&sandbox, &["plan", "ws", "--against", "oci:out"], &cache, 0);
    said.run(&sandbox, &["plan", "ws", "--matrix", "github"], 0);
    said.run(&sandbox, &["plan", "ws", "--matrix", "woodpecker"], 0);
    said.check("plan-and-build");
}

#[test]
fn publish_and_prune() {
    let Some(registry) = Docker::start(Mode::Plain) else { return };
    let (sandbox, mut said) = (sandbox("include = [\"data\"]"), Transcript::default());
    let to = registry.reference("app");
    let version = [("VERSION", "1.0.0")];
    said.run_with(&sandbox, &["publish", "ws", "--to", &to], &version, 0);
    said.run_with(&sandbox, &["publish", "ws", "--to", &to, "--publish"], &version, 0);
    said.run_with(&sandbox, &["publish", "ws", "--to", &to, "--json"], &version, 0);
    said.run_with(&sandbox, &["plan", "ws", "--to", &to], &version, 0);
    said.run(&sandbox, &["prune", "--to", &to], 0);
    said.run_with(&sandbox, &["publish", "ws"], &version, 1);
    said.run_with(&sandbox, &["publish", "ws", "--to", "docker://127.0.0.1:1/app"], &version, 1);
    said.run_with(&sandbox, &["publish", "ws", "--to", &to, "--tag", "latest"], &[("VERSION", "1.0.0-dev")], 1);
    said.check("publish-and-prune");
}

#[test]
fn verify() {
    let (sandbox, mut said) = (sandbox(""), Transcript::default());
    said.run(&sandbox, &["build", "ws", "-o", "oci:out"], 0);
    said.run(&sandbox, &["verify", "image", "oci:out"], 0);
    said.run(&sandbox, &["verify", "image", "oci:out", "--json"], 0);
    said.run(&sandbox, &["verify", "rebuild", "oci:out", "ws"], 0);
    said.run(&sandbox, &["verify", "rebuild", "oci:out", "ws", "--label", "a=b"], 3);
    let index = sandbox.path("out/index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("\"size\":", "\"size\":1")).unwrap();
    said.run(&sandbox, &["verify", "image", "oci:out"], 3);
    said.check("verify");
}

#[test]
fn product() {
    let (sandbox, mut said) = (sandbox(""), Transcript::default());
    said.run(&sandbox, &["product", "ws", "--workdir", "work", "-v"], 0);
    said.run(&sandbox, &["verify", "product", "work/product"], 0);
    fs::write(sandbox.path("work/product/more"), "x").unwrap();
    said.run(&sandbox, &["verify", "product", "work/product"], 3);
    said.check("product");
}

#[test]
fn warnings() {
    let (sandbox, mut said) = (Sandbox::new(), Transcript::default());
    workspace(odd::packages()).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    said.run(&sandbox, &["build", "ws", "-o", "oci:out"], 0);
    said.check("warnings");
}

/// As people and other tools write it.
#[test]
fn architectures_have_several_names() {
    let sandbox = sandbox("");
    let digest = |arguments: &[&str]| {
        let built = sandbox.run(&[&["build", "ws", "-o", "oci:out"], arguments].concat()).success();
        built.digest().to_owned()
    };
    let expected = digest(&["--arch", "amd64"]);
    for name in ["x86_64", "linux/amd64", "linux-64", "amd64, x86_64"] {
        assert_eq!(digest(&["--arch", name]), expected, "{name}");
    }
    assert_eq!(digest(&["--platform", "linux/amd64"]), expected);
    assert_eq!(digest(&["--set", "arch=[\"x86_64\"]"]), expected);
    sandbox.run(&["build", "ws", "--arch", "linux/arm64/v8"]).refused(1, &["linux-aarch64"]);
}
