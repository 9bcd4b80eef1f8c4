//! Runs the binary with nothing of this machine's environment but a fixed `PATH`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_pixi-oci");

/// A directory with a fresh home, cache and place to work.
pub struct Sandbox(TempDir);

impl Sandbox {
    pub fn new() -> Self {
        let sandbox = Self(TempDir::new().unwrap());
        for directory in ["home", "cache", "work", "tmp"] {
            fs::create_dir(sandbox.0.path().join(directory)).unwrap();
        }
        sandbox
    }

    /// A path below the place to work, which is also the working directory of what runs.
    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join("work").join(below)
    }

    pub fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// Lets every user read and write everything in this sandbox; nothing above it is touched.
    pub fn open_to_everybody(&self) {
        Outcome::of(Command::new("/bin/chmod").args(["-R", "a+rwX"]).arg(self.0.path())).success();
    }

    /// A program with the clean environment.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let place = |name: &str| self.0.path().join(name);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.home())
            .env("TMPDIR", place("tmp"))
            .env("XDG_CACHE_HOME", place("cache"))
            .env("XDG_CONFIG_HOME", place("home").join(".config"))
            .env("XDG_DATA_HOME", place("home").join(".local/share"))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            // What is made twice is to be made twice: `layer_cache` has tests of the cache.
            .env("PIXI_OCI_LAYER_CACHE_SIZE", "0")
            // Most lock files here are made to show one thing, and are not what a solver would make of their manifest.
            .env("PIXI_FROZEN", "true")
            // What stderr says must not depend on how long something takes: `progress` has tests of it.
            .env("PIXI_NO_PROGRESS", "true")
            .current_dir(self.path(""));
        command
    }

    /// `pixi-oci` with the clean environment.
    pub fn pixi_oci(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(BINARY);
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.pixi_oci(arguments))
    }

    /// `pixi-oci build WORKSPACE -o OUTPUT`, which must succeed.
    pub fn build(&self, workspace: &str, output: &str) -> Outcome {
        self.run(&["build", workspace, "-o", output]).success()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn refused_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It failed in an orderly way, and said all `words`.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_eq!(self.stdout, "", "stdout is for results");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{}", self.stderr);
        // Drawn messages break lines.
        let flat = self.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(self.stderr.contains(word) || flat.contains(word), "{word:?} is not in:\n{}", self.stderr);
        }
        self
    }

    /// The digest at the end of the printed reference.
    #[track_caller]
    pub fn digest(&self) -> &str {
        let (_, digest) = self.stdout.trim_end().rsplit_once('@').expect("REFERENCE@DIGEST on stdout");
        assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
        digest
    }
}

/// Every path below `root` with its kind, mode and content, for comparing directories byte by byte. Times and owners
/// of files are not part of a layout.
pub fn snapshot(root: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let what = if meta.is_dir() {
                visit(root, &path, found);
                "directory".to_owned()
            } else if meta.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_file() {
                format!("{} bytes, sha256:{}", meta.len(), sha256(&fs::read(&path).unwrap()))
            } else {
                format!("special {:o}", meta.mode())
            };
            found.insert(name, what);
        }
    }
    let mut found = BTreeMap::new();
    if root.exists() {
        visit(root, root, &mut found);
    }
    found
}

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a program of Debian's is installed; a test that lacks it is counted as skipped.
pub fn has(program: &str) -> bool {
    pixi_oci_test_need::program(program, pixi_oci_test_need::From::Debian)
}

/// Copies a directory of files, directories and links, entries in the order that `order` puts them.
pub fn copy_tree(from: &Path, to: &Path, order: fn(&mut Vec<PathBuf>)) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    order(&mut entries);
    for entry in entries {
        let target = to.join(entry.file_name().unwrap());
        let meta = fs::symlink_metadata(&entry).unwrap();
        if meta.is_dir() {
            copy_tree(&entry, &target, order);
        } else if meta.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&entry).unwrap(), target).unwrap();
        } else {
            fs::copy(&entry, target).unwrap();
        }
    }
}
