//! With the real git, and repositories that try to run programs.

#![allow(clippy::disallowed_methods)] // File times around the present are what is tested.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use super::*;

struct Repository {
    scratch: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir(repository.path("ws")).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.write("file", "one\n");
        repository.commit();
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("ws").join(name), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        git(&self.path("ws"), arguments);
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=m"]);
    }

    /// A program that leaves a trace.
    fn program(&self) -> String {
        let program = format!("touch {}; cat", self.path("trace").display());
        fs::write(self.path("program"), format!("#!/bin/sh\n{program}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
        self.path("program").to_str().unwrap().to_owned()
    }

    fn has_run(&self) -> bool {
        self.path("trace").exists()
    }

    /// What git remembers of a file no longer fits, so that it has to be read.
    fn touch(&self, name: &str) {
        let file = fs::File::options().write(true).open(self.path("ws").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    }

    fn tree(&self) -> WorkTree {
        Git::at(&self.path("ws")).tree().unwrap()
    }
}

fn git(directory: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "protocol.file.allow=always"]);
    command.args(["-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"]).args(arguments).current_dir(directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_tree_is_clean_or_names_what_is_not() {
    let repository = Repository::new();
    repository.write("not tracked", "");
    assert_eq!(repository.tree(), WorkTree::Clean);
    repository.touch("file");
    assert_eq!(repository.tree(), WorkTree::Clean);
    repository.write("file", "two\n");
    assert_eq!(repository.tree(), WorkTree::Dirty { path: "file".into() });
    repository.git(&["add", "file"]);
    assert_eq!(repository.tree(), WorkTree::Dirty { path: "file".into() });
    repository.git(&["reset", "--quiet", "--hard"]);
    fs::remove_file(repository.path("ws/file")).unwrap();
    assert_eq!(repository.tree(), WorkTree::Dirty { path: "file".into() });
    let outside = Git::at(repository.scratch.path()).tree().unwrap_err();
    let git = Command::new("git")
        .arg("rev-parse")
        .current_dir(repository.scratch.path())
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert_eq!(
        outside.said,
        String::from_utf8(git.stderr).unwrap().trim(),
        "it is said without asking git, and in its words"
    );
    // A workspace may be reached through a link.
    let link = repository.path("link");
    std::os::unix::fs::symlink(repository.path("ws"), &link).unwrap();
    assert_eq!(Git::at(&link).commit(), Git::at(&repository.path("ws")).commit());
    assert!(Git::at(&link).commit().is_some());
}

#[test]
fn no_program_of_a_repository_runs() {
    let repository = Repository::new();
    let program = repository.program();
    repository.write(".gitattributes", "file filter=evil diff=evil\n");
    repository.commit();
    for key in ["core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "diff.external"] {
        repository.git(&["config", key, &program]);
    }
    repository.git(&["config", "filter.evil.required", "true"]);
    repository.git(&["config", "core.hooksPath", repository.scratch.path().to_str().unwrap()]);
    fs::copy(&program, repository.path("post-index-change")).unwrap();
    repository.touch("file");
    // The same bytes are the same, whatever a filter would make of them.
    let look = Git::at(&repository.path("ws"));
    assert_eq!(look.tree().unwrap(), WorkTree::Clean);
    repository.write("file", "two\n");
    assert_eq!(look.tree().unwrap(), WorkTree::Unknown { path: "file".into() });
    assert!(look.describe(&["v*"]).is_none() && look.commit().is_some());
    let diff = look.output(&["diff", "--name-only", "HEAD"]).unwrap();
    assert_eq!(diff, b"file\n");
    assert!(!repository.has_run());
    // The programs would have run.
    git(&repository.path("ws"), &["status"]);
    assert!(repository.has_run());
}

#[test]
fn a_filter_that_cannot_be_switched_off_is_not_asked() {
    let repository = Repository::new();
    let program = repository.program();
    repository.git(&["config", "filter.a=b.clean", &program]);
    repository.write(".gitattributes", "file filter=a=b\n");
    repository.touch("file");
    let look = Git::at(&repository.path("ws"));
    assert!(matches!(look.tree().unwrap(), WorkTree::Unknown { .. }));
    assert!(look.output(&["diff", "--name-only", "HEAD"]).is_err() && look.commit().is_some());
    assert!(!repository.has_run());
}

#[test]
fn files_of_lfs_are_compared_with_their_pointers() {
    let repository = Repository::new();
    let hash = "9bfce334a37bd1bc1d36b0370195b31fe9a9389dd43d0873891a3544ef1140a1";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize 6\n");
    repository.write("big", &pointer);
    repository.write(".gitattributes", "big filter=lfs diff=lfs merge=lfs -text\n");
    repository.commit();
    // A checkout without the files.
    assert_eq!(repository.tree(), WorkTree::Clean);
    let program = repository.program();
    repository.git(&["config", "filter.lfs.process", &program]);
    repository.git(&["config", "filter.lfs.required", "true"]);
    repository.write("big", "large\n");
    assert_eq!(repository.tree(), WorkTree::Clean);
    repository.write("big", "other\n");
    assert_eq!(repository.tree(), WorkTree::Dirty { path: "big".into() });
    assert!(!repository.has_run());
}

#[test]
fn submodules_belong_to_the_tree() {
    let inner = Repository::new();
    let repository = Repository::new();
    repository.git(&["submodule", "--quiet", "add", inner.path("ws").to_str().unwrap(), "sub"]);
    repository.commit();
    assert_eq!(repository.tree(), WorkTree::Clean);
    let program = repository.program();
    git(&repository.path("ws/sub"), &["config", "core.fsmonitor", &program]);
    repository.write("sub/file", "two\n");
    assert_eq!(repository.tree(), WorkTree::Dirty { path: "sub/file".into() });
    assert!(!repository.has_run());
}

#[test]
fn the_nearest_tag_is_found() {
    let repository = Repository::new();
    let look = || Git::at(&repository.path("ws"));
    assert_eq!(look().describe(&["v*"]), None);
    repository.git(&["tag", "v1.2-rc-1"]);
    repository.git(&["tag", "other"]);
    let commit = look().commit().unwrap();
    let tag = || "v1.2-rc-1".to_owned();
    assert_eq!(look().describe(&["v*"]), Some(Description { tag: tag(), distance: 0, commit: commit.clone() }));
    repository.write("file", "two\n");
    repository.commit();
    let description = look().describe(&["v*"]).unwrap();
    assert_eq!((description.tag, description.distance), (tag(), 1));
    assert_ne!(description.commit, commit);
    assert_eq!(look().branch().as_deref(), Some("main"));
}

#[test]
fn a_fresh_repository_has_one_commit_and_nothing_of_another() {
    let repository = Repository::new();
    let program = repository.program();
    repository.git(&["config", "filter.evil.clean", &program]);
    repository.write(".gitattributes", "file filter=evil\n");
    repository.write("secret", "");
    fs::create_dir(repository.path("ws/src")).unwrap();
    repository.write("src/[a] b.py", "");
    let make = |name: &str| {
        let place = repository.path(name);
        fs::create_dir(&place).unwrap();
        let paths = [".gitattributes", "file", "src/[a] b.py"];
        Git::fresh(&place, &repository.path("ws"), &paths, "v1.4.0").unwrap();
        place
    };
    let (one, two) = (make("one"), make("two"));
    assert!(!repository.has_run());
    // The same files, the same bytes.
    let read =
        |place: &Path| (fs::read(place.join("index")).unwrap(), fs::read(place.join("refs/tags/v1.4.0")).unwrap());
    assert_eq!(read(&one), read(&two));
    // Where a build finds it.
    let there = repository.path("there");
    fs::create_dir_all(there.join("src")).unwrap();
    for path in [".gitattributes", "file", "src/[a] b.py"] {
        fs::copy(repository.path("ws").join(path), there.join(path)).unwrap();
    }
    fs::rename(&one, there.join(".git")).unwrap();
    let look = Git::at(&there);
    assert_eq!(look.tree().unwrap(), WorkTree::Clean);
    let description = look.describe(&["v*"]).unwrap();
    assert_eq!((description.tag.as_str(), description.distance), ("v1.4.0", 0));
    let config = fs::read_to_string(there.join(".git/config")).unwrap();
    assert!(!config.contains("remote") && !config.contains("evil"), "{config}");
    assert!(!there.join(".git/hooks").exists() && !there.join(".git/paths").exists());
}
