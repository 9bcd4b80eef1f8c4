//! The tree of a wheel equals what uv installs.
//!
//! Needs a `uv` program, named by `PIXI_OCI_UV`, and a host Python that it finds; skipped with a message otherwise. Wheels
//! are made in code; `PIXI_OCI_WHEELS` names a directory with more,
//! which must fit the version of the host's Python; those of aarch64 may be there too.
//!
//! Expected differences: uv calls itself `uv` in `INSTALLER`; a virtual environment, which uv needs here, has headers in
//! `include/site`; a wheel that is given by its path gets `uv_cache.json`.
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "the environment names a program; a skip is loud")]

use pixi_oci_test_need::From;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pixi_oci_layer::{Mode, Node};
use pixi_oci_package::{PackageTree, Python};
use pixi_oci_testkit::wheels::{Install, Wheel, directory, entry_points, file, line, path, stored, wheel};
use pixi_oci_wheel::{DirectUrl, WheelExpected};
use tempfile::TempDir;
use url::Url;

use crate::records;

/// Executable bit and contents of a file, `None` for an empty directory.
type Files = BTreeMap<String, Option<(bool, Vec<u8>)>>;

fn uv() -> Option<PathBuf> {
    pixi_oci_test_need::path("PIXI_OCI_UV", From::Elsewhere)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&text));
    String::from_utf8(output.stdout).unwrap()
}

/// A virtual environment that uv installs to.
struct Venv {
    directory: TempDir,
    uv: PathBuf,
    python: Python,
    before: Files,
}

impl Venv {
    fn new(uv: PathBuf) -> Self {
        let directory = TempDir::with_prefix("venv").unwrap();
        run(Command::new(&uv).args(["venv", "--quiet", "--no-config"]).arg(directory.path().join("v")));
        let code = "import sys; print(sys.version_info[1])";
        let minor: u64 =
            run(Command::new(directory.path().join("v/bin/python")).args(["-c", code])).trim().parse().unwrap();
        let python = Python {
            version: (3, minor),
            executable: path("bin/python"),
            site_packages: path(&format!("lib/python3.{minor}/site-packages")),
        };
        let before = files(&directory.path().join("v"));
        Self { directory, uv, python, before }
    }

    fn prefix(&self) -> String {
        self.directory.path().join("v").to_str().unwrap().into()
    }

    fn install(&self, arguments: &[&str]) -> Files {
        let mut command = Command::new(&self.uv);
        command.args(["pip", "install", "--quiet", "--no-config", "--no-deps", "--no-index", "--link-mode", "copy"]);
        command.arg("--cache-dir").arg(self.directory.path().join("cache"));
        run(command.arg("--python").arg(self.directory.path().join("v/bin/python")).args(arguments));
        let mut after = files(&self.directory.path().join("v"));
        after.retain(|path, file| self.before.get(path) != Some(file));
        after
    }
}

fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        let entries: Vec<_> = fs::read_dir(&directory).unwrap().map(Result::unwrap).collect();
        let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if entries.is_empty() {
            files.insert(name(&directory), None);
        }
        for entry in entries {
            let kind = entry.file_type().unwrap();
            if name(&entry.path()) == ".lock" {
                // uv's own, of the environment.
            } else if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
                files.insert(name(&entry.path()), Some((executable, fs::read(entry.path()).unwrap())));
            }
        }
    }
    files
}

fn ours(tree: &PackageTree, prefix: &str) -> Files {
    let relative = |path: &str| path.strip_prefix(&prefix[1..]).unwrap()[1..].to_owned();
    let entry = |node: &Node| match node {
        Node::File(file) => Some((file.mode == Mode::EXECUTABLE, file.content.to_vec().unwrap())),
        Node::Directory { .. } => None,
        other => panic!("{other:?}"),
    };
    tree.tree.iter().map(|(path, node)| (relative(path.as_str()), entry(node))).collect()
}

/// Takes the expected differences away.
fn comparable(files: Files) -> Files {
    let mut comparable = Files::new();
    for (path, file) in files {
        let path = path.replace("include/site/", "include/");
        let name = path.rsplit('/').next().unwrap();
        let in_dist_info = path.contains(".dist-info/");
        let file = file.map(|(executable, bytes)| match name {
            "INSTALLER" if in_dist_info => {
                assert!(matches!(&*bytes, b"uv" | b"uv-pixi"), "{bytes:?}");
                (executable, Vec::new())
            }
            "RECORD" if in_dist_info => {
                let text = String::from_utf8(bytes).unwrap().replace("include/site/", "include/");
                let lines = text.split_inclusive('\n').filter(|line| {
                    !line.contains(".dist-info/INSTALLER,") && !line.contains(".dist-info/uv_cache.json,")
                });
                (executable, lines.collect::<String>().into_bytes())
            }
            _ => (executable, bytes),
        });
        if !(in_dist_info && name == "uv_cache.json") {
            comparable.insert(path, file);
        }
    }
    comparable
}

fn assert_equal(name: &str, ours: Files, theirs: Files) {
    let (ours, theirs) = (comparable(ours), comparable(theirs));
    let mut different = Vec::new();
    for path in ours.keys().chain(theirs.keys()) {
        if ours.get(path) != theirs.get(path) {
            let show = |files: &Files| match files.get(path) {
                None => "nothing".into(),
                Some(None) => "an empty directory".into(),
                Some(Some((executable, bytes))) => {
                    format!("{executable} {}", String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]))
                }
            };
            different.push(format!("{path}\n  ours: {}\n  uv:   {}", show(&ours), show(&theirs)));
        }
    }
    assert!(different.is_empty(), "{name}:\n{}", different.join("\n"));
    assert!(ours.len() > 4, "{name}: {:?}", ours.keys());
}

/// Compares a wheel of a directory, as from an index.
fn compare(uv: &Path, directory: &Path, expected: &WheelExpected) {
    let venv = Venv::new(uv.into());
    let requirement = format!("{}=={}", expected.name, expected.version);
    let mut arguments = vec!["--find-links", directory.to_str().unwrap(), &requirement];
    if expected.file_name.ends_with("aarch64.whl") {
        // uv can be told to install what it cannot run.
        arguments.extend(["--python-platform", "aarch64-manylinux_2_40"]);
    }
    let theirs = venv.install(&arguments);
    let prefix = venv.prefix();
    let install = Install { python: venv.python.clone(), prefix: &prefix, ..Install::default() };
    let (info, tree) = install.archive(&directory.join(&expected.file_name), expected).unwrap();
    let ours = ours(&tree, &prefix);
    let paths = info.paths(&venv.python, None).unwrap();
    assert_eq!(paths.iter().map(|path| path.path.as_str()).collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    assert_equal(&expected.file_name, ours, theirs);
}

/// Everything that the format allows.
fn odd() -> Wheel {
    let data = |path: &str, body: &str| file(&format!("odd_Name-1.0.data/{path}"), body);
    let scripts = "[console_scripts]\nodd = odd.cli:app.main [extra]\npip3 = odd:a\npip3.5 = odd:b\n[gui_scripts]\n# comment\nodd-gui=odd:gui\n";
    let mut odd = wheel(
        "odd_Name",
        [
            file("odd/__init__.py", "x"),
            stored("odd/data.bin", [0, 1, 2]),
            file("odd/tool.sh", "#!/bin/sh\n").mode(0o100_755),
            file("odd/group-only", "").mode(0o100_010),
            file("odd/windows", "").mode(0o100_755),
            file("odd/with, \"comma\".txt", "x"),
            file("odd/ünï.txt", "x"),
            file("odd/streamed.txt", "streamed").streamed(true),
            file("odd/streamed2.txt", "streamed").streamed(false),
            directory("odd/empty/"),
            directory("odd/"),
            entry_points("odd_Name", scripts),
            data("purelib/odd_pure/a.py", "a"),
            data("platlib/odd_plat.py", "a"),
            data("data/share/odd/x", "y"),
            data("data/bin/from-data", "y"),
            data("headers/odd.h", "int odd;"),
            data("headers/sub/odd.h", "int odd;"),
            data("scripts/plain.sh", "#!/bin/sh\n"),
            data("scripts/with-python", "#!python\nprint()\n"),
            data("scripts/with-pythonw", "#!pythonw -x\nprint()\r\n"),
            data("scripts/short", "#!"),
            data("scripts/odd", "#!python\nin the way of the entry point\n"),
            data("scripts/odd-script.py", "likewise"),
            directory("odd_Name-1.0.data/"),
            directory("odd_Name-1.0.data/data/empty-in-data/"),
            file("odd_Name-1.0.dist-info/licenses/LICENSE", "MIT"),
            file("odd_Name-1.0.dist-info/RECORD.jws", "{}").unlisted(),
        ],
    );
    odd.members[4].system = 0;
    let lines = odd
        .record_lines()
        .replace("odd/tool.sh,", "./odd//tool.sh,")
        .replace("\nodd/group-only,", "\n/odd/group-only,");
    let gone = line("odd/gone.py", b"");
    odd.record(
        format!("{gone}{lines}\r\nodd/__pycache__/x.pyc,,\nodd/,,\n")
            .replace("\nodd/streamed.txt", "\r\nodd/streamed.txt"),
    )
}

#[test]
fn made_in_code() {
    let Some(uv) = uv() else { return };
    let directory = TempDir::new().unwrap();
    let executable = Wheel { record_mode: 0o100_777, ..wheel("executable", [file("x.py", "").mode(0o100_777)]) };
    for wheel in [odd(), executable, wheel("least", [file("least.py", "")])] {
        wheel.write(directory.path());
        compare(&uv, directory.path(), &wheel.expected());
    }
}

#[test]
fn with_faulty_records() {
    let Some(uv) = uv() else { return };
    for (wheel, what) in records::faulty() {
        eprintln!("comparing a wheel whose {what}");
        let directory = TempDir::new().unwrap();
        wheel.write(directory.path());
        compare(&uv, directory.path(), &wheel.expected());
    }
}

#[test]
fn from_a_path() {
    let Some(uv) = uv() else { return };
    let directory = TempDir::new().unwrap();
    let wheel = wheel("direct", [file("direct.py", "")]);
    let archive = wheel.write(directory.path());
    let venv = Venv::new(uv);
    let theirs = venv.install(&[archive.to_str().unwrap()]);
    let direct_url = Some(DirectUrl::new(Url::from_file_path(&archive).unwrap()));
    let prefix = venv.prefix();
    let install = Install { python: venv.python.clone(), prefix: &prefix, direct_url, ..Install::default() };
    let (_, tree) = install.archive(&archive, &wheel.expected()).unwrap();
    let ours = ours(&tree, &prefix);
    assert!(ours.keys().any(|path| path.ends_with("direct_url.json")));
    assert_equal("direct", ours, theirs);
}

/// Real wheels, from wherever the caller has them.
#[test]
fn real() {
    let Some(uv) = uv() else { return };
    let Some(directory) = pixi_oci_test_need::path("PIXI_OCI_WHEELS", From::Elsewhere) else { return };
    let mut compared = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let file_name = entry.unwrap().file_name().into_string().unwrap();
        if !file_name.ends_with(".whl") {
            continue;
        }
        let mut parts = file_name.split('-');
        let name = parts.next().unwrap().to_lowercase().replace(['_', '.'], "-");
        let version = parts.next().unwrap().into();
        eprintln!("comparing {file_name}");
        compare(&uv, &directory, &WheelExpected { name, version, file_name });
        compared += 1;
    }
    assert!(compared > 0, "no wheels in {}", directory.display());
}
