//! What cannot become an image or a product is said before a single package is downloaded.

use std::fs;

use pixi_oci_test_registry::{Profile, Registry};
use serde_json::{Value, json};

use crate::common::{
    channel_server::ChannelServer,
    packages::*,
    sandbox::{Outcome, Sandbox, copy_tree},
    workspace::{Workspace, workspace},
};

/// A workspace for both architectures whose packages are on a server.
fn served(sandbox: &Sandbox) -> (Workspace, ChannelServer) {
    let server = ChannelServer::new(&sandbox.path("ws/channel"));
    (workspace([package("tool", [file("bin/tool", "x").mode(0o755)])]).channel(&server.address), server)
}

fn private_key() -> String {
    format!("-----BEGIN {} KEY-----\n", "PRIVATE")
}

/// A base image for each of the two architectures in one layout, the first with the users `first`, the second with `second`.
fn two_bases(sandbox: &Sandbox, first: &str, second: &str) {
    let mut entries = Vec::new();
    for (name, platform, users) in [("one", "linux-64", first), ("two", "linux-aarch64", second)] {
        let ws = sandbox.path(name);
        workspace([]).platforms(&[platform]).oci("include = [\"passwd -> /etc/passwd\"]").write(&ws);
        fs::write(ws.join("passwd"), format!("{users}:x:1000:1000::/:/bin/sh\n")).unwrap();
        sandbox.build(name, &format!("oci:{name}-layout:x"));
        let layout = sandbox.path(&format!("{name}-layout"));
        copy_tree(&layout.join("blobs"), &sandbox.path("bases/blobs"), |_| ());
        let read = |path: &str| -> Value { serde_json::from_slice(&fs::read(layout.join(path)).unwrap()).unwrap() };
        let index = read("index.json")["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        entries.push(read(&format!("blobs/{index}"))["manifests"][0].clone());
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    fs::write(sandbox.path("bases/index.json"), index.to_string()).unwrap();
    fs::write(sandbox.path("bases/oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}").unwrap();
}

#[test]
fn what_an_image_cannot_be_made_with() {
    let sandbox = Sandbox::new();
    let (ws, server) = served(&sandbox);
    let to = Registry::start(Profile::distribution_3_1());
    two_bases(&sandbox, "app", "other");
    let bases =
        format!("base = \"oci:{}\"\nprefix = \"/usr/more\"\nworkdir = \"/more\"", sandbox.path("bases").display());
    let one = format!("base = \"oci:{}:x\"\nprefix = \"/usr/more\"", sandbox.path("one-layout").display());
    let unreachable = "base = \"127.0.0.1:9/base:1\"";
    let scratch = "base = \"scratch\"";
    let cases = [
        (format!("{scratch}\ninclude = [\"src\"]"), ["private key (PEM)", "src/settings"]),
        (format!("{scratch}\ninclude = [\"nothing\"]"), ["nothing", "include"]),
        (format!("{scratch}\nuser = \"app\""), ["\"app\"", "/etc/passwd"]),
        (format!("{bases}\nuser = \"app\""), ["\"app\"", "/etc/passwd"]),
        (one, ["linux/arm64", "it is there for linux/amd64"]),
        (unreachable.to_owned(), ["127.0.0.1:9", "does not answer"]),
    ];
    for (oci, words) in cases {
        ws.clone().oci_only(&oci).write(&sandbox.path("ws"));
        fs::create_dir_all(sandbox.path("ws/src")).unwrap();
        fs::write(sandbox.path("ws/src/settings"), private_key()).unwrap();
        let to = to.reference("app");
        for command in [&["build", "ws", "-o", "oci:out:x"][..], &["publish", "ws", "--publish", "--to", &to]] {
            Outcome::of(sandbox.pixi_oci(command).env("VERSION", "1.0.0-dev.1")).refused(1, &words);
            assert_eq!(server.asked(), [""; 0], "{command:?} with {oci}");
        }
    }
    // The same where all is well.
    ws.oci_only(&format!("{bases}\nuser = \"1000\"")).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_a_product_cannot_be_made_with() {
    let sandbox = Sandbox::new();
    let (ws, server) = served(&sandbox);
    ws.write(&sandbox.path("ws"));
    let small = "--installer=linux-64=/bin/true";
    let refused = |more: &[&str], words: &[&str]| {
        sandbox.run(&[&["product", "ws", "--workdir", "out", small], more].concat()).refused(1, words);
        assert_eq!(server.asked(), [""; 0], "{more:?}");
        assert!(!sandbox.path("out/product").exists());
    };
    refused(&["--with-pixi"], &["pixi add pixi"]);
    refused(&["--installer", "linux-64=ws/pixi.toml"], &["no 64-bit ELF"]);
    refused(&["--installer", "osx-64=/bin/true"], &["osx-64"]);
    fs::create_dir_all(sandbox.path("out/resources")).unwrap();
    fs::write(sandbox.path("out/resources/data"), private_key()).unwrap();
    refused(&[], &["private key (PEM)", "resources/data"]);
    fs::remove_file(sandbox.path("out/resources/data")).unwrap();
    // The whole workspace goes beside the product.
    fs::write(sandbox.path("ws/anything"), private_key()).unwrap();
    refused(&[], &["private key (PEM)", "ws/anything"]);
    fs::remove_file(sandbox.path("ws/anything")).unwrap();
    sandbox.run(&["product", "ws", "--workdir", "out", small]).success();
    assert_eq!(server.asked().len(), 2);
}
