//! The application layer: which files of the workspace are in the image, where, and which never are.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use crate::common::{
    image::{self, Kind, Tree, content},
    packages::{self, file, package},
    sandbox::Sandbox,
    workspace::workspace,
};

/// A workspace with a tree of files: some code, some data, some that must not be published.
fn prepare(sandbox: &Sandbox, oci: &str) {
    workspace([]).platforms(&["linux-64"]).oci(oci).write(&sandbox.path("ws"));
    for (path, text) in [
        ("src/main.py", "print()"),
        ("src/run.sh", "#!/bin/sh\n"),
        ("src/data/a.csv", "1"),
        ("src/data/b.txt", "2"),
        ("src/ignored.log", "x"),
        ("src/.hidden", "kept"),
        ("src/.env", "PASSWORD=x"),
        ("src/server.pem", "x"),
        ("src/.git/config", "x"),
        ("src/__pycache__/main.pyc", "x"),
        ("src/.env.example", "PASSWORD="),
        (".gitignore", "*.log\n/models/big.bin\n"),
        ("models/small.bin", "s"),
        ("models/big.bin", "b"),
        ("README", "r"),
        ("dist/oci/old", "an output"),
        ("dist/airgap/old", "an output"),
    ] {
        let path = sandbox.path("ws").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::set_permissions(sandbox.path("ws/src/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(sandbox.path("ws/src/main.py"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("main.py", sandbox.path("ws/src/link.py")).unwrap();
}

/// What is in the working directory or at `elsewhere`, without what every image has there.
fn files(tree: &Tree, elsewhere: &str) -> Vec<String> {
    let own = |path: &&String| path.starts_with("app/") || (!elsewhere.is_empty() && path.starts_with(elsewhere));
    let common =
        |path: &&String| path.starts_with("app/.pixi") || matches!(path.as_str(), "app/pixi.toml" | "app/pixi.lock");
    let paths = tree.iter().filter(|(_, entry)| entry.kind != Kind::Directory).map(|(path, _)| path);
    paths.filter(own).filter(|path| !common(path)).cloned().collect()
}

fn built(sandbox: &Sandbox, arguments: &[&str]) -> (Tree, String) {
    let outcome = sandbox.run(&[&["build", "ws", "-o", "oci:out:x"], arguments].concat()).success();
    (image::read(&sandbox.path("out"), "x").images[0].tree(), outcome.stderr)
}

#[test]
fn nothing_but_manifest_and_lock_file_without_include() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "");
    assert_eq!(files(&built(&sandbox, &[]).0, ""), [""; 0]);
}

#[test]
fn directories_files_patterns_and_places() {
    let sandbox = Sandbox::new();
    prepare(
        &sandbox,
        "include = [\"src\", \"models/*.bin -> /models\", { src = \"README\", dest = \"/doc/\", mode = \"0600\" }]\nexclude = [\"*.txt\"]\ndirectories = [\"/host-libs\", \"/data/deep\"]",
    );
    let (tree, warnings) = built(&sandbox, &[]);
    assert_eq!(
        files(&tree, "models"),
        [
            "app/src/.env.example",
            "app/src/.hidden",
            "app/src/data/a.csv",
            "app/src/link.py",
            "app/src/main.py",
            "app/src/run.sh",
            "models/small.bin"
        ]
    );
    assert_eq!(tree["app/src/run.sh"].mode, 0o755);
    assert_eq!(tree["app/src/main.py"].mode, 0o644);
    assert_eq!(tree["app/src/link.py"].kind, Kind::Link("main.py".into()));
    assert_eq!(tree["doc/README"].mode, 0o600);
    for directory in ["host-libs", "data/deep"] {
        assert_eq!((&tree[directory].kind, tree[directory].mode), (&Kind::Directory, 0o755), "{directory}");
    }
    for secret in ["src/.env ", "src/server.pem", "src/.git "] {
        assert!(warnings.contains(secret), "{secret} is not in {warnings}");
    }
    assert!(tree.iter().filter(|(path, _)| path.starts_with("app/src")).all(|(_, entry)| entry.mtime == 1_577_836_800));
}

#[test]
fn a_file_named_by_its_own_path_is_taken() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src/.env -> settings\", \"src/ignored.log\"]");
    let (tree, _) = built(&sandbox, &[]);
    assert_eq!(content(&tree, "app/settings"), b"PASSWORD=x");
    assert_eq!(files(&tree, ""), ["app/settings", "app/src/ignored.log"]);
    // The command line replaces the list.
    let (tree, _) = built(&sandbox, &["--include", "README -> /r"]);
    assert_eq!(files(&tree, "r"), ["r"]);
}

#[test]
fn the_whole_workspace_without_its_outputs_environments() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\".\"]\nexclude = [\"channel\"]");
    fs::create_dir_all(sandbox.path("ws/.pixi/envs/default/bin")).unwrap();
    fs::write(sandbox.path("ws/.pixi/envs/default/bin/x"), "x").unwrap();
    let (first, _) = built(&sandbox, &[]);
    let paths = files(&first, "");
    assert!(paths.contains(&"app/README".to_string()) && paths.contains(&"app/.gitignore".to_string()), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("/dist/") || path.ends_with("big.bin")), "{paths:?}");
    // Built into the workspace itself, twice: the first result is not in the second.
    let one = sandbox.build("ws", "oci:ws/out:x");
    let two = sandbox.build("ws", "oci:ws/out:x");
    assert_eq!(one.digest(), two.digest());
    let one = sandbox.build("ws", "oci-archive:ws/image.tar:x");
    let two = sandbox.build("ws", "oci-archive:ws/image.tar:x");
    assert_eq!(one.digest(), two.digest());
}

#[test]
fn global_ignore_files_do_not_count() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src\"]");
    let before = built(&sandbox, &[]).0;
    fs::create_dir_all(sandbox.home().join(".config/git")).unwrap();
    fs::write(sandbox.home().join(".config/git/ignore"), "*.py\n").unwrap();
    fs::write(sandbox.path(".gitignore"), "*.py\n").unwrap();
    fs::write(sandbox.path(".ignore"), "*.py\n").unwrap();
    assert_eq!(built(&sandbox, &[]).0, before);
    fs::write(sandbox.path("ws/src/.ignore"), "*.py\n").unwrap();
    assert!(!built(&sandbox, &[]).0.contains_key("app/src/main.py"));
}

#[test]
fn ignore_files_of_docker_count_beside_those_of_git() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src\", \"models\"]");
    let own = |tree: &Tree| files(tree, "");
    // `!` takes back what its own lines leave out, but nothing that git ignores or that is a secret; and `src` was asked for.
    fs::write(sandbox.path("ws/.dockerignore"), "src\n**/data\n!src/data/a.csv\n!**/*.log\n!**/.env\n").unwrap();
    let (tree, _) = built(&sandbox, &[]);
    assert_eq!(
        own(&tree),
        [
            "app/models/small.bin",
            "app/src/.env.example",
            "app/src/.hidden",
            "app/src/data/a.csv",
            "app/src/link.py",
            "app/src/main.py",
            "app/src/run.sh"
        ]
    );
    // Only at the root, and the first of the two.
    fs::write(sandbox.path("ws/src/.dockerignore"), "*\n").unwrap();
    fs::write(sandbox.path("ws/.containerignore"), "*/*\n!src/main.py\n").unwrap();
    assert_eq!(own(&built(&sandbox, &[]).0), ["app/src/main.py"]);
    fs::write(sandbox.path("ws/.containerignore"), "a\n[\n").unwrap();
    let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:x"]);
    outcome.refused(1, &["ws/.containerignore:2: \"[\" is not a pattern"]);
}

#[test]
fn what_desktops_leave_in_directories_is_in_no_image() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src\", \"src/data/* -> /d\"]");
    let before = built(&sandbox, &[]);
    for name in [".DS_Store", "._main.py", "data/._a.csv", "Thumbs.db", "__MACOSX/._x", "__MACOSX/x", ".fseventsd/0"] {
        let path = sandbox.path("ws/src").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "litter").unwrap();
    }
    assert_eq!(built(&sandbox, &[]), before, "and nothing is said about it");
}

#[test]
fn contents_that_are_secrets_fail_the_build() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src\"]");
    // Put together here, so that no scanner takes this file for a leak.
    let key = format!("-----BEGIN {} KEY-----\nMII", "RSA PRIVATE");
    fs::write(sandbox.path("ws/src/notes.md"), format!("keep safe:\n{key}\n")).unwrap();
    let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:x"]);
    let outcome = outcome.refused(1, &["src/notes.md", "private key", "exclude"]);
    assert!(!outcome.stderr.contains("MII"), "the secret itself is not shown");
    assert!(!sandbox.path("out").exists());
    let (tree, _) = built(&sandbox, &["--include", "src/notes.md"]);
    assert!(tree.contains_key("app/src/notes.md"), "named, it is meant");
    fs::remove_file(sandbox.path("ws/src/notes.md")).unwrap();
    // Behind much else, in UTF-16, and another name of a file that is elsewhere.
    let large = [vec![b'\n'; 5 << 20], key.clone().into_bytes()].concat();
    let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for content in [large, wide, key.into_bytes()] {
        fs::write(sandbox.path("elsewhere"), content).unwrap();
        fs::hard_link(sandbox.path("elsewhere"), sandbox.path("ws/src/linked")).unwrap();
        sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["src/linked", "private key"]);
        fs::remove_file(sandbox.path("ws/src/linked")).unwrap();
        fs::remove_file(sandbox.path("elsewhere")).unwrap();
    }
}

#[test]
fn includes_that_cannot_be() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "");
    fs::write(sandbox.path("outside"), "x").unwrap();
    for (include, words) in [
        ("../outside", ["../outside", "outside of the workspace"]),
        ("/etc/passwd", ["/etc/passwd", "outside of the workspace"]),
        ("nothing", ["nothing", "matches"]),
        ("none/*.x", ["none/*.x", "matches"]),
        ("README -> ../../x", ["../../x", "place"]),
        ("README -> pixi.toml", ["same place", "pixi.toml"]),
    ] {
        sandbox.run(&["build", "ws", "-o", "oci:out:x", "--include", include]).refused(1, &words);
    }
    assert!(!sandbox.path("out").exists());
}

/// A directory link of the workspace that leads elsewhere is a link in the image, and nothing behind it is read.
#[test]
fn links_out_of_the_workspace_are_not_followed() {
    let sandbox = Sandbox::new();
    prepare(&sandbox, "include = [\"src\"]");
    fs::create_dir(sandbox.path("secrets")).unwrap();
    fs::write(sandbox.path("secrets/key"), "secret").unwrap();
    symlink(sandbox.path("secrets"), sandbox.path("ws/src/away")).unwrap();
    let (tree, _) = built(&sandbox, &[]);
    assert!(matches!(&tree["app/src/away"].kind, Kind::Link(_)));
    assert!(!tree.keys().any(|path| path.contains("away/")));
}

/// The application layer lies above the packages: a file in the place of a directory, or a directory in the place of a
/// link, would hide what they have there.
#[test]
fn includes_that_would_hide_the_packages_files() {
    let sandbox = Sandbox::new();
    let shared = package("shared", [file("lib/a", "a"), packages::symlink("lib64", "lib"), file("bin/a", "a")]);
    workspace([shared]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    for place in ["/opt/pixi/env/bin", "/opt/pixi/env/bin/a/b", "/opt/pixi/env/lib64/b", "/tmp", "/opt", "/app/.pixi"] {
        let include = format!("pixi.toml -> {place}");
        let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:x", "--include", &include]);
        if place == "/opt/pixi/env/lib64/b" && outcome.code == Some(0) {
            // Where the link leads is right, too. Reading the tree checks that nothing is hidden.
            let tree = image::read(&sandbox.path("out"), "x").images[0].tree();
            assert!(tree.contains_key("opt/pixi/env/lib/b"));
            continue;
        }
        outcome.refused(1, &[place.trim_start_matches('/')]);
    }
}
