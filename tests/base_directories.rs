//! What is put into a directory of the base image leaves the directory as it is: `/tmp` for everybody, `/root` for root,
//! a user's home the user's.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::common::{
    image::{self, Tree},
    packages::{file, package},
    sandbox::{Sandbox, sha256},
    workspace::workspace,
};

const HOME: (u64, u64) = (1000, 1001);

/// Writes an OCI layout with an image of one layer, whose owners and modes a build of ours could not have.
fn base(directory: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind: tar::EntryType, target: &str, mode: u32, (uid, gid): (u64, u64)| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(0);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        tar.append_data(&mut header, path, &b""[..]).unwrap();
    };
    for (path, mode, owner) in [
        ("tmp/", 0o1777, (0, 0)),
        ("root/", 0o700, (0, 0)),
        ("etc/", 0o755, (0, 0)),
        ("var/", 0o755, (0, 0)),
        ("usr/", 0o755, (0, 0)),
        ("usr/lib/", 0o755, (0, 0)),
        ("home/", 0o755, (0, 0)),
        ("home/node/", 0o750, HOME),
        ("srv/", 0o2775, (0, 50)),
        ("var/untouched/", 0o700, (7, 7)),
        ("usr/lib/secret/", 0o711, (3_000_000, 4)),
    ] {
        put(path, tar::EntryType::Directory, "", mode, owner);
    }
    put("lib", tar::EntryType::Symlink, "usr/lib", 0o777, (0, 0));
    let tar = tar.into_inner().unwrap();
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let add = |media_type: &str, bytes: &[u8]| {
        fs::write(blobs.join(sha256(bytes)), bytes).unwrap();
        json!({ "mediaType": format!("application/vnd.oci.image.{media_type}"), "size": bytes.len(),
                "digest": format!("sha256:{}", sha256(bytes)) })
    };
    let layer = add("layer.v1.tar", &tar);
    let config = json!({ "os": "linux", "architecture": "amd64", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] }, "history": [{ "created_by": "by hand" }] });
    let config = add("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = add("manifest.v1+json", manifest.to_string().as_bytes());
    fs::write(directory.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string())
        .unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Two environments in one place would be neither.
#[test]
fn an_environment_is_not_put_over_another_one() {
    let sandbox = Sandbox::new();
    let tool = |content: &str| workspace([package("tool", [file("bin/tool", content)])]).platforms(&["linux-64"]);
    tool("old").write(&sandbox.path("old"));
    sandbox.run(&["build", "old", "-o", "oci:base:x"]).success();
    tool("new").oci_only("base = \"oci:../base:x\"").write(&sandbox.path("ws"));
    let words = ["base:x has /opt/pixi/env/bin already", "prefix"];
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &words);
    assert!(!sandbox.path("out/index.json").exists());
    sandbox.run(&["build", "ws", "-o", "oci:out:x", "--set", "prefix=/opt/pixi/more"]).success();
    // One that is empty is as good as none.
    base(&sandbox.path("empty"));
    tool("new").oci_only("base = \"oci:../empty\"\nprefix = \"/var/untouched\"").write(&sandbox.path("ws"));
    sandbox.run(&["build", "ws", "-o", "oci:out:y"]).success();
}

fn built(sandbox: &Sandbox, oci: &str) -> Tree {
    let tool = package("tool", [file("bin/tool", "x").mode(0o755)]);
    workspace([tool]).platforms(&["linux-64"]).oci_only(oci).write(&sandbox.path("ws"));
    fs::write(sandbox.path("ws/f"), "x").unwrap();
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).success();
    // Closed-world and structural checks know these directories.
    let outcome = sandbox.run(&["verify", "image", "oci:out:x", "--json"]).success();
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(verdict["images"][0]["accounted"], true, "{verdict:#}");
    image::read(&sandbox.path("out"), "x").images[0].tree()
}

#[track_caller]
fn is(tree: &Tree, path: &str, mode: u32, owner: (u64, u64)) {
    assert_eq!((format!("{:o}", tree[path].mode), tree[path].owner), (format!("{mode:o}"), owner), "{path}");
}

#[test]
fn directories_of_the_base_keep_their_permissions_and_owners() {
    let sandbox = Sandbox::new();
    base(&sandbox.path("base"));
    let tree = built(
        &sandbox,
        "base = \"oci:../base\"\nprefix = \"/home/node/env\"\nworkdir = \"/srv/app\"\n\
         include = [\"f -> /tmp/a/f\", \"f -> /root/.config/f\", \"f -> /lib/secret/f\"]\n\
         directories = [\"/tmp\", \"/root\", \"/mnt/new\"]",
    );
    is(&tree, "tmp", 0o1777, (0, 0));
    is(&tree, "tmp/a", 0o755, (0, 0));
    is(&tree, "root", 0o700, (0, 0));
    is(&tree, "root/.config", 0o755, (0, 0));
    is(&tree, "home/node", 0o750, HOME);
    is(&tree, "home/node/env/bin/tool", 0o755, (0, 0));
    // Set-id bits are not ours to give.
    is(&tree, "srv", 0o775, (0, 50));
    is(&tree, "srv/app", 0o775, (0, 0));
    is(&tree, "usr/lib/secret", 0o711, (3_000_000, 4));
    is(&tree, "mnt/new", 0o755, (0, 0));
    is(&tree, "var/untouched", 0o700, (7, 7));
    let layers = image::read(&sandbox.path("out"), "x").images.remove(0).layers;
    let own = layers.last().unwrap();
    assert!(!own.entries.iter().any(|(path, _)| path.starts_with("var")), "what is not touched is not repeated");
}

/// As for `WORKDIR` of a Dockerfile.
#[test]
fn a_working_directory_of_the_base_stays_its_users() {
    for (workdir, mode, owner) in
        [("/home/node", 0o750, HOME), ("/tmp", 0o1777, (0, 0)), ("/etc", 0o775, (0, 0)), ("/new", 0o775, (0, 0))]
    {
        let sandbox = Sandbox::new();
        base(&sandbox.path("base"));
        let tree = built(&sandbox, &format!("base = \"oci:../base\"\nworkdir = {workdir:?}\ninclude = [\"f\"]"));
        is(&tree, &workdir[1..], mode, owner);
    }
}

#[test]
fn tmp_of_an_image_without_base_stays_open() {
    let sandbox = Sandbox::new();
    let tree =
        built(&sandbox, "base = \"scratch\"\ninclude = [\"f -> /tmp/a/f\"]\ndirectories = [\"/tmp\", \"/tmp/b\"]");
    is(&tree, "tmp", 0o1777, (0, 0));
    is(&tree, "tmp/b", 0o755, (0, 0));
}
