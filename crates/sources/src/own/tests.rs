//! Own wheels, case by case, and each compared with what the real backend makes of the same project.
//!
//! The comparison needs the backends of tests/real/make-backends in `PIXI_OCI_REAL_BACKENDS`; it is skipped aloud otherwise.
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "the environment names programs; a skip is loud")]

mod versions;

use pixi_oci_test_need::From;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::{NotStatic, OwnWheel, own_wheel};
use crate::SourceError;

/// Says what a wheel is: files with modes and contents, and the metadata that matters. In Python, so that it has no line
/// in common with what it judges.
const DESCRIBE: &str = r#"
import email, hashlib, json, re, sys, zipfile
sys.path.insert(0, sys.argv[1])
from packaging.requirements import Requirement
wheel = zipfile.ZipFile(sys.argv[2])
files, metadata, points = {}, {}, []
for info in wheel.infolist():
    name = re.sub(r"^[^/]*\.dist-info/", "DIST-INFO/", info.filename)
    content = wheel.read(info)
    if name == "DIST-INFO/METADATA":
        message = email.message_from_string(content.decode())
        for key in ["Name", "Version", "Summary", "Requires-Python", "License-Expression"]:
            metadata[key] = message[key] or ""
        for key in ["Provides-Extra", "Project-URL"]:
            metadata[key] = sorted(message.get_all(key, []))
        # Poetry adds what follows from Requires-Python.
        implied = "Programming Language :: Python"
        metadata["Classifier"] = sorted(c for c in message.get_all("Classifier", []) if not c.startswith(implied))
        metadata["Keywords"] = sorted((message["Keywords"] or "").split(","))
        # uv writes the one for the other, which mean the same here.
        wanted = [text.replace("python_full_version", "python_version") for text in message.get_all("Requires-Dist", [])]
        metadata["Requires-Dist"] = sorted(str(Requirement(text)) for text in wanted)
        # Some backends indent or trim a description.
        metadata["body"] = [line.strip() for line in message.get_payload().strip().splitlines()]
    elif name == "DIST-INFO/entry_points.txt":
        group = None
        for line in content.decode().splitlines():
            if line.startswith("["):
                group = line
            elif line.strip():
                points.append([group, *[part.strip() for part in line.split("=", 1)]])
    elif name not in ("DIST-INFO/RECORD", "DIST-INFO/WHEEL") and not name.endswith("/"):
        files[name] = [bool(info.external_attr >> 16 & 0o100), hashlib.sha256(content).hexdigest()]
print(json.dumps([files, metadata, sorted(points)], indent=1, sort_keys=True))
"#;
const BUILD: &str = r#"
import importlib, os, sys
sys.path.insert(0, sys.argv[1])
print("\n" + importlib.import_module(sys.argv[2]).build_wheel(sys.argv[3]))
"#;

struct Case {
    name: &'static str,
    backend: &'static str,
    /// After `[build-system]`.
    pyproject: &'static str,
    /// Paths and contents beside `pyproject.toml`; an executable file's path ends in `*`.
    files: &'static [(&'static str, &'static str)],
    /// The paths in the wheel outside of `.dist-info`.
    wheel: &'static [&'static str],
}

const PLAIN: &str = "[project]\nname = \"My-App\"\nversion = \"1.0\"\n";
const RICH: &str = r#"[project]
name = "My-App"
version = "1.0.0rc1"
description = "Does: it"
readme = "README.md"
requires-python = ">=3.9"
license = "MIT"
authors = [{ name = "Ä B", email = "a@b.example" }, { name = "Only Name" }]
keywords = ["one", "two"]
classifiers = ["Programming Language :: Python :: 3", "Topic :: Utilities"]
dependencies = ["click>=8", "tomli; python_version < '3.11'"]
[project.optional-dependencies]
fast = ["orjson>=3; sys_platform == 'linux'", "uvloop"]
[project.urls]
Home = "https://h.example"
[project.scripts]
my-app = "my_app.cli:main"
[project.gui-scripts]
my-gui = "my_app.cli:main"
[project.entry-points."my.group"]
one = "my_app.cli"
"#;
const PACKAGE: &[(&str, &str)] = &[
    ("README.md", "# Title\n\nText: with colon\n"),
    ("LICENSE", "MIT\n"),
    ("my_app/__init__.py", "__version__ = \"3.4\"\n"),
    ("my_app/cli.py*", "def main(): print('hi')\n"),
    ("my_app/py.typed", ""),
    ("my_app/sub/deep.py", "x = 1\n"),
    ("my_app/data.json", "{}\n"),
    ("my_app/__pycache__/cli.cpython-311.pyc", "no bytecode"),
    ("tests/test_it.py", ""),
    ("docs/index.md", ""),
];
const SRC: &[(&str, &str)] = &[
    ("README.md", "# Title\n"),
    ("LICENSE", "MIT\n"),
    ("src/my_app/__init__.py", "\"\"\"Summary line.\n\nMore.\n\"\"\"\n__version__ = '3.4'\n"),
    ("src/my_app/cli.py", "def main(): print('hi')\n"),
    ("src/my_app/data.json", "{}\n"),
    ("src/my_app/sub/deep.py", "x = 1\n"),
    ("tests/test_it.py", ""),
];
/// As [`PACKAGE`] and [`SRC`], with modules only.
const MODULES: &[(&str, &str)] = &[
    ("README.md", "# Title\n\nText: with colon\n"),
    ("LICENSE", "MIT\n"),
    ("my_app/__init__.py", "__version__ = \"3.4\"\n"),
    ("my_app/cli.py*", "def main(): print('hi')\n"),
    ("my_app/py.typed", ""),
    ("my_app/sub/deep.py", "x = 1\n"),
    ("my_app/__pycache__/cli.cpython-311.pyc", "no bytecode"),
    ("my_app.egg-info/PKG-INFO", ""),
    ("tests/__init__.py", ""),
    ("docs/index.md", ""),
];
const SRC_MODULES: &[(&str, &str)] = &[
    ("LICENSE", "MIT\n"),
    ("src/my_app/__init__.py", "__version__: str = '3.4'\n"),
    ("src/my_app/cli.py", "def main(): print('hi')\n"),
    ("src/my_app/sub/deep.py", "x = 1\n"),
    ("src/my_app.egg-info/PKG-INFO", ""),
    ("tests/test_it.py", ""),
];
const FLAT: &[&str] =
    &["my_app/__init__.py", "my_app/cli.py", "my_app/data.json", "my_app/py.typed", "my_app/sub/deep.py"];
const DEEP: &[&str] = &["my_app/__init__.py", "my_app/cli.py", "my_app/data.json", "my_app/sub/deep.py"];
const FLAT_MODULES: &[&str] = &["my_app/__init__.py", "my_app/cli.py", "my_app/py.typed", "my_app/sub/deep.py"];
const DEEP_MODULES: &[&str] = &["my_app/__init__.py", "my_app/cli.py", "my_app/sub/deep.py"];

/// Every kind of what is accepted, for each backend of the list.
const CASES: &[Case] = &[
    Case { name: "hatchling, flat", backend: "hatchling.build", pyproject: RICH, files: PACKAGE, wheel: FLAT },
    Case {
        name: "hatchling, src, version in a file",
        backend: "hatchling.build",
        pyproject: "[project]\nname = \"my.app\"\ndynamic = [\"version\"]\n[tool.hatch.version]\npath = \"src/my_app/__init__.py\"\n",
        files: SRC,
        wheel: DEEP,
    },
    Case {
        name: "hatchling, the package is named all the same",
        backend: "hatchling.build",
        pyproject: "[project]\nname = \"my-app\"\nversion = \"1\"\n[tool.hatch.build.targets.wheel]\npackages = [\"src/my_app\"]\n[tool.hatch.envs.test]\ndependencies = [\"pytest\"]\n",
        files: SRC,
        wheel: DEEP,
    },
    Case {
        name: "setuptools, flat",
        backend: "setuptools.build_meta",
        pyproject: RICH,
        files: MODULES,
        wheel: FLAT_MODULES,
    },
    Case {
        name: "setuptools, src, version of an attribute",
        backend: "setuptools.build_meta",
        pyproject: "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n[tool.setuptools.dynamic]\nversion = { attr = \"my_app.__version__\" }\n[tool.setuptools.packages.find]\nwhere = [\"src\"]\n",
        files: SRC_MODULES,
        wheel: DEEP_MODULES,
    },
    Case {
        name: "flit, src, version of the module",
        backend: "flit_core.buildapi",
        pyproject: "[project]\nname = \"my_app\"\ndescription = \"d\"\ndynamic = [\"version\"]\n",
        files: SRC,
        wheel: DEEP,
    },
    Case {
        name: "flit, flat",
        backend: "flit_core.buildapi",
        pyproject: "[project]\nname = \"my-app\"\nversion = \"1\"\ndescription = \"d\"\n",
        files: PACKAGE,
        wheel: FLAT,
    },
    Case { name: "uv, src", backend: "uv_build", pyproject: RICH, files: SRC, wheel: DEEP },
    Case {
        name: "uv, flat",
        backend: "uv_build",
        pyproject: "[project]\nname = \"my-app\"\nversion = \"1\"\n[tool.uv.build-backend]\nmodule-name = \"my_app\"\nmodule-root = \"\"\n",
        files: PACKAGE,
        wheel: FLAT,
    },
    Case { name: "poetry, src", backend: "poetry.core.masonry.api", pyproject: PLAIN, files: SRC, wheel: DEEP },
    Case { name: "poetry, flat", backend: "poetry.core.masonry.api", pyproject: RICH, files: PACKAGE, wheel: FLAT },
    Case {
        name: "pdm, src, version in a file",
        backend: "pdm.backend",
        pyproject: "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n[tool.pdm.version]\nsource = \"file\"\npath = \"src/my_app/__init__.py\"\n",
        files: SRC,
        wheel: DEEP,
    },
    Case { name: "pdm, flat", backend: "pdm.backend", pyproject: PLAIN, files: PACKAGE, wheel: FLAT },
];

fn requirement(backend: &str) -> &str {
    match backend {
        "hatchling.build" => "hatchling",
        "setuptools.build_meta" => "setuptools>=61",
        "flit_core.buildapi" => "flit_core<4",
        "uv_build" => "uv_build>=0.5",
        "poetry.core.masonry.api" => "poetry-core",
        _ => "pdm-backend",
    }
}

fn write(root: &Path, backend: &str, pyproject: &str, files: &[(&str, &str)]) {
    let requires = requirement(backend);
    let pyproject = format!("[build-system]\nrequires = [\"{requires}\"]\nbuild-backend = \"{backend}\"\n{pyproject}");
    for (path, text) in files.iter().chain(&[("pyproject.toml", pyproject.as_str())]) {
        let file = root.join(path.trim_end_matches('*'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let mode = if path.ends_with('*') { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn own(root: &Path, name: Option<&str>) -> Result<Result<OwnWheel, NotStatic>, SourceError> {
    let scratch = root.with_extension("own");
    fs::create_dir_all(&scratch).unwrap();
    own_wheel(root, root, (name, None), &scratch)
}

fn python(code: &str, arguments: &[&std::ffi::OsStr], directory: &Path, backends: &Path) -> String {
    let path = format!("{}:{}", backends.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("python3");
    command.args(["-c", code]).args(arguments).current_dir(directory).env("PATH", path).env("PYTHONPATH", backends);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn wheels_have_the_files_that_backends_choose() {
    let backends = pixi_oci_test_need::path("PIXI_OCI_REAL_BACKENDS", From::Debian);
    let mut different = Vec::new();
    for case in CASES {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("project");
        write(&root, case.backend, case.pyproject, case.files);
        let wheel = own(&root, None).unwrap().unwrap_or_else(|reason| panic!("{}: {reason}", case.name));
        let all: Vec<String> = paths(&wheel.path);
        let paths: Vec<&str> = all.iter().map(String::as_str).filter(|path| !path.contains(".dist-info/")).collect();
        assert_eq!(paths, case.wheel, "{}", case.name);

        let Some(backends) = &backends else { continue };
        let real = directory.path().join("real");
        fs::create_dir(&real).unwrap();
        let said = python(BUILD, &[backends.as_ref(), case.backend.as_ref(), real.as_ref()], &root, backends);
        let real = real.join(said.lines().last().unwrap());
        assert_eq!(
            real.file_name().unwrap().to_str().unwrap().split('-').take(2).collect::<Vec<_>>(),
            wheel.path.file_name().unwrap().to_str().unwrap().split('-').take(2).collect::<Vec<_>>()
        );
        let describe = |wheel: &Path| python(DESCRIBE, &[backends.as_ref(), wheel.as_ref()], &root, backends);
        let (ours, theirs) = (describe(&wheel.path), describe(&real));
        if ours != theirs {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let (ours, theirs) = (lines(&ours), lines(&theirs));
            let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
            different.push(format!(
                "{}:\nours {:#?}\ntheirs {:#?}",
                case.name,
                only(&ours, &theirs),
                only(&theirs, &ours)
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The paths in a zip of stored members, in order.
fn paths(wheel: &Path) -> Vec<String> {
    let bytes = fs::read(wheel).unwrap();
    let starts = memchr::memmem::find_iter(&bytes, b"PK\x01\x02");
    let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    starts.map(|at| String::from_utf8(bytes[at + 46..at + 46 + number(at + 28)].to_vec()).unwrap()).collect()
}

#[test]
fn what_only_the_backend_knows_is_not_guessed() {
    let hatch = "hatchling.build";
    let tools = "setuptools.build_meta";
    let dynamic = "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n";
    let with = |base: &str, more: &str| format!("{base}{more}");
    let module: &[(&str, &str)] = &[("my_app/__init__.py", "__version__ = read()\n")];
    let plain = |text: &str| text.to_owned();
    let package = || vec![("my_app/__init__.py", "")];
    let attribute = "[tool.setuptools.dynamic]\nversion = { attr = \"my_app.version\" }\n";
    let cases: Vec<(&str, String, Vec<(&str, &str)>, &str)> = vec![
        // Versions.
        (hatch, plain(dynamic), module.into(), "version is dynamic"),
        (hatch, with(dynamic, "[tool.hatch.version]\nsource = \"vcs\"\n"), module.into(), "version is dynamic"),
        (hatch, with(dynamic, "[tool.hatch.version]\npath = \"my_app/__init__.py\"\n"), module.into(), "plain text"),
        (tools, with(dynamic, attribute), module.into(), "plain text"),
        (hatch, plain("[project]\nname = \"my-app\"\nversion = \"one\"\n"), package(), "PEP 440"),
        // Metadata.
        (
            hatch,
            PLAIN.replace("version = ", "dynamic = [\"dependencies\"]\nversion = "),
            package(),
            "`dependencies` is dynamic",
        ),
        (hatch, with(PLAIN, "future-key = 1\n"), package(), "future-key"),
        (hatch, with(PLAIN, "description = \"a\\nRequires-Dist: evil\"\n"), package(), "line break"),
        (hatch, with(PLAIN, "dependencies = [\"a @ file:///x\"]\n"), package(), "file of this machine"),
        (hatch, plain("[tool.x]\n"), package(), "no [project] table"),
        // Which files there are.
        (
            hatch,
            with(PLAIN, "[tool.hatch.build.hooks.vcs]\nversion-file = \"x\"\n"),
            package(),
            "tool.hatch.build.hooks",
        ),
        (
            hatch,
            with(PLAIN, "[tool.hatch.build.targets.wheel]\nforce-include = {x = \"y\"}\n"),
            package(),
            "force-include",
        ),
        (hatch, with(PLAIN, "[tool.hatch.build.targets.wheel]\npackages = [\"other\"]\n"), package(), "wheel.packages"),
        (hatch, plain(PLAIN), vec![("other/__init__.py", "")], "no my_app/__init__.py"),
        (hatch, plain(PLAIN), vec![("my_app.py", "")], "no my_app/__init__.py"),
        (hatch, plain(PLAIN), vec![("my_app/__init__.py", ""), ("src/x", "")], "no src/my_app/__init__.py"),
        (
            hatch,
            plain(PLAIN),
            vec![("my_app/__init__.py", ""), ("my_app/log", ""), (".gitignore", "log\n")],
            "git ignores",
        ),
        (hatch, plain(PLAIN), vec![("my_app/__init__.py", ""), ("hatch_build.py", "")], "hatch_build.py"),
        (tools, plain(PLAIN), vec![("my_app/__init__.py", ""), ("setup.py", "")], "setup.py"),
        (tools, plain(PLAIN), vec![("my_app/__init__.py", ""), ("setup.cfg", "")], "setup.cfg"),
        (tools, plain(PLAIN), vec![("my_app/__init__.py", ""), ("MANIFEST.in", "")], "MANIFEST.in"),
        (
            tools,
            plain(PLAIN),
            vec![("my_app/__init__.py", ""), ("my_app/data.json", "")],
            "data.json, which is no module",
        ),
        (tools, plain(PLAIN), vec![("my_app/__init__.py", ""), ("two/__init__.py", "")], "two/__init__.py is beside"),
        (tools, plain(PLAIN), vec![("src/my_app/__init__.py", ""), ("src/two.py", "")], "two.py is beside"),
        (tools, with(PLAIN, "[tool.setuptools.package-data]\nmy_app = [\"*\"]\n"), package(), "package-data"),
        // What is compiled.
        (tools, with(PLAIN, "[[tool.setuptools.ext-modules]]\nname = \"x\"\n"), package(), "ext-modules"),
        (hatch, plain(PLAIN), vec![("my_app/__init__.py", ""), ("my_app/fast.pyx", "")], "fast.pyx is compiled"),
        (
            "maturin",
            plain(PLAIN),
            vec![("my_app/__init__.py", ""), ("src/lib.rs", "")],
            "only its build backend maturin",
        ),
        ("scikit_build_core.build", plain(PLAIN), package(), "scikit_build_core"),
        ("mesonpy", plain(PLAIN), package(), "mesonpy"),
    ];
    for (backend, pyproject, files, words) in cases {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("project");
        write(&root, backend, &pyproject, &files);
        let reason = own(&root, None).unwrap().expect_err(words).to_string();
        assert!(reason.contains(words), "{reason:?} does not say {words:?}");
    }
}

#[test]
fn requirements_of_the_build_beside_the_backend_are_for_the_backend() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("project");
    write(&root, "setuptools.build_meta", PLAIN, &[("my_app/__init__.py", "")]);
    let path = root.join("pyproject.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[\"setuptools>=61\"]", "[\"setuptools\", \"Setuptools_Rust[toml]\"]")).unwrap();
    let reason = own(&root, None).unwrap().unwrap_err().to_string();
    assert!(reason.contains("setuptools-rust"), "{reason}");
}

#[test]
fn secrets_and_links_out_are_not_packed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("project");
    write(
        &root,
        "hatchling.build",
        PLAIN,
        &[("my_app/__init__.py", ""), ("my_app/.env", "A=1"), ("my_app/x.key", "k"), (".gitignore", ".env\n")],
    );
    let wheel = own(&root, Some("my-app")).unwrap().unwrap();
    assert_eq!(wheel.left_out.keys().collect::<Vec<_>>(), ["my_app/.env", "my_app/x.key"]);
    assert!(paths(&wheel.path).iter().all(|path| !path.ends_with(".env") && !path.ends_with(".key")));

    let key = format!("-----BEGIN {} KEY-----\n", "PRIVATE");
    fs::write(root.join("my_app/settings.py"), key).unwrap();
    let failed = |root: &Path| match own(root, None) {
        Err(error) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(failed(&root), SourceError::Secret { .. }));
    fs::remove_file(root.join("my_app/settings.py")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.join("my_app/host")).unwrap();
    assert!(matches!(failed(&root), SourceError::OutsideLink { .. }));
    fs::remove_file(root.join("my_app/host")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("my_app/host")).unwrap();
    assert!(own(&root, None).unwrap().unwrap_err().to_string().contains("link to a directory"));
    fs::remove_file(root.join("my_app/host")).unwrap();
    assert!(own(&root, Some("another")).unwrap().unwrap_err().to_string().contains("My-App"));
}
