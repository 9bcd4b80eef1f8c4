//! What differs between systems is in one crate, and files are opened in one way.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::common::{
    packages::{file, package},
    sandbox::{BINARY, Outcome, Sandbox},
    workspace::workspace,
};

/// Names that only Linux, or only glibc, has; and the crates that have such names.
const LINUX_ONLY: [&str; 26] = [
    "renameat2",
    "prctl",
    "statx",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "epoll",
    "pidfd",
    "os::linux",
    "O_PATH",
    "/dev/shm",
    "procfs",
    "O_TMPFILE",
    "memfd",
    "mallopt",
    "statfs",
    "inotify",
    "openat2",
    "xattr",
    "\"/proc",
    "binfmt_misc",
    "/sys/",
    "\"unshare\", \"--user\"",
    "libc::",
    "nix::",
    "rustix::",
];

/// What opens whatever is there, also a named pipe, or reads without a limit.
const OPENS: [&str; 5] =
    ["File::open(", "fs::read(", "fs_err::read(", "fs::read_to_string(", "fs_err::read_to_string("];

/// Lines with these words are about something else: paths in images, a stream that is already open, directories.
const ALLOWED: [(&str, &str); 4] = [
    ("image/src/settings.rs", "/proc"),
    ("podman/src/container.rs", "\"/proc"),
    ("product/src/writer.rs", "File::open(&directory)"),
    ("store/src/oci_layout/names.rs", "File::open(&self.dir)"),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Tests run where they are.
            if !matches!(name, "tests" | "target" | "platform") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs")
            && !name.contains("tests")
            && !name.starts_with("against_")
            && name != "testing.rs"
        {
            found.push(path);
        }
    }
}

/// Whether the line has the word, and not only a longer one that ends like it (`unix::`).
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|before: char| before.is_ascii_alphanumeric()))
}

/// The lines of the crates that have one of `words`, without comments and the tests at the end of a file.
fn lines_with(words: &[&str]) -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let mut files = Vec::new();
    sources(&crates, &mut files);
    assert!(files.len() > 100, "these are the sources: {}", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let name = file.strip_prefix(&crates).unwrap().display().to_string();
        for (number, line) in code.lines().enumerate() {
            let allowed = ALLOWED.iter().any(|(file, words)| name == *file && line.contains(words));
            if !line.trim_start().starts_with("//") && !allowed && words.iter().any(|word| has_word(line, word)) {
                found.push(format!("crates/{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn only_one_crate_knows_the_operating_system() {
    let found = lines_with(&LINUX_ONLY);
    assert!(found.is_empty(), "put these into crates/platform, with what other systems do:\n{}", found.join("\n"));
}

/// Shells of macOS allow 256 open files.
#[test]
fn as_many_files_are_open_as_may_be() {
    let sandbox = Sandbox::new();
    workspace([package("a", [file("share/a", "a")])]).write(&sandbox.path("ws"));
    // git is called for the version; this one says what it may.
    let tools = sandbox.path("bin");
    fs::create_dir_all(&tools).unwrap();
    let git = tools.join("git");
    fs::write(&git, "#!/bin/sh\nulimit -Sn >\"$HOME/files\"\nexit 1\n").unwrap();
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(sandbox.path("ws/.git")).unwrap();
    let mut command = sandbox.program("/bin/sh");
    command.args(["-c", "ulimit -Sn 100; ulimit -Hn 1000; PATH=$PWD/bin:$PATH; exec \"$0\" plan ws", BINARY]);
    Outcome::of(&mut command);
    assert_eq!(fs::read_to_string(sandbox.home().join("files")).unwrap(), "1000\n");
}

#[test]
fn files_are_opened_by_one_helper() {
    let found = lines_with(&OPENS);
    assert!(found.is_empty(), "use pixi_oci_platform::{{open, read, read_text}}:\n{}", found.join("\n"));
}

/// Runs `pixi-oci`, ends it after a minute, and gives its exit code: 124 if it would not have ended.
fn ends(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.program("timeout");
    command.args(["-k", "5", "60", BINARY]).args(arguments);
    let outcome = Outcome::of(&mut command);
    assert!(matches!(outcome.code, Some(0..=3)), "{arguments:?} waits for ever: {outcome:#?}");
    outcome
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_named_pipe_keeps_no_build_waiting() {
    let ws = workspace([package("a", [file("share/a", "a")])]).oci("include = [\"src\"]");
    let build = ["build", "ws", "-o", "oci:out:x"];
    // Needed: an error. Not needed, or of others: the build works all the same.
    for (place, works) in [
        ("ws/pixi.toml", false),
        ("ws/pixi.lock", false),
        ("ws/.pixi/config.toml", false),
        ("ws/src/.gitignore", false),
        ("ws/src/below/.ignore", false),
        ("ws/.dockerignore", false),
        ("ws/.git", true),
        ("ws/.git/HEAD", true),
        ("ws/.git/config", true),
        (".pixi-oci-build-x/lock", true),
        ("out/index.json", false),
        ("out/oci-layout", false),
    ] {
        let sandbox = Sandbox::new();
        ws.write(&sandbox.path("ws"));
        fs::create_dir_all(sandbox.path("ws/src/below")).unwrap();
        fs::write(sandbox.path("ws/src/main.py"), "pass\n").unwrap();
        if place.starts_with("out") {
            sandbox.run(&build).success();
        }
        pipe(&sandbox.path(place));
        let outcome = ends(&sandbox, &build);
        assert_eq!(outcome.code, Some(if works { 0 } else { 1 }), "{place}: {outcome:#?}");
    }
}

#[test]
fn a_named_pipe_in_what_is_checked_is_refused() {
    let sandbox = Sandbox::new();
    workspace([package("a", [file("share/a", "a")])]).write(&sandbox.path("ws"));
    pipe(&sandbox.path("leg.json"));
    for arguments in [
        &["publish-index", "--to", "docker://localhost:1/a", "leg.json"][..],
        &["build", "ws", "--wheel", "leg.json"],
        &["verify", "image", "oci-archive:leg.json"],
    ] {
        assert_ne!(ends(&sandbox, arguments).code, Some(0), "{arguments:?}");
    }
    sandbox.build("ws", "oci:out:x");
    for file in ["index.json", "oci-layout"] {
        let kept = fs::read(sandbox.path("out").join(file)).unwrap();
        pipe(&sandbox.path("out").join(file));
        ends(&sandbox, &["verify", "image", "oci:out:x"]).refused(1, &[]);
        fs::remove_file(sandbox.path("out").join(file)).unwrap();
        fs::write(sandbox.path("out").join(file), kept).unwrap();
    }
    sandbox.run(&["product", "ws", "--workdir", "made", "--installer=linux-64=/bin/true"]).success();
    let product = sandbox.path("made/product");
    let archive = find(&product.join("pkg-cache/linux-64"), ".conda").remove(0);
    for path in [product.join("manifest.json"), product.join("SHA256SUMS"), product.join("DIGEST"), archive] {
        let kept = fs::read(&path).unwrap();
        pipe(&path);
        assert_ne!(ends(&sandbox, &["verify", "product", "made/product"]).code, Some(0), "{path:?}");
        let prefix = sandbox.path("env");
        let installed = ends(
            &sandbox,
            &["install-product", "made/product", "--platform", "linux-64", "--prefix", prefix.to_str().unwrap()],
        );
        assert!(installed.code != Some(0) || path.extension().is_none(), "{path:?}: {installed:#?}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, kept).unwrap();
    }
    ends(&sandbox, &["verify", "product", "made/product"]).success();
}

/// Files whose names end so.
fn find(root: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(find(&path, end));
        } else if path.to_str().is_some_and(|path| path.ends_with(end)) {
            found.push(path);
        }
    }
    found
}
