//! Versions of own wheels: the locked one, or the one that git says.

use std::{fs, process::Command};

use pixi_oci_test_need::From;

use super::{BUILD, SRC_MODULES, own, python, requirement, write};
use crate::own::own_wheel;

#[test]
fn a_version_that_nothing_says_is_the_locked_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("project");
    let dynamic = "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n[tool.hatch.version]\nsource = \"code\"\npath = \"x.py\"\n";
    write(&root, "hatchling.build", dynamic, &[("my_app/__init__.py", "__version__ = '9'\n")]);
    let scratch = directory.path();
    let wheel = own_wheel(&root, &root, (None, Some("1.2.0")), scratch).unwrap().unwrap();
    assert_eq!(wheel.version, "1.2.0");
}

#[test]
fn a_version_in_git_is_that_of_its_tag_or_on_the_way_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("project");
    let dynamic = "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n[tool.hatch.version]\nsource = \"vcs\"\n";
    write(&root, "hatchling.build", dynamic, &[("my_app/__init__.py", "__version__ = '9'\n")]);
    let path = root.join("pyproject.toml");
    let text = fs::read_to_string(&path).unwrap().replace("[\"hatchling\"]", "[\"hatchling\", \"hatch-vcs\"]");
    fs::write(&path, &text).unwrap();
    let reason = own(&root, None).unwrap().unwrap_err().to_string();
    assert!(reason.contains("git"), "{reason}");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments).current_dir(&root);
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=one"]);
    git(&["tag", "v1.2.0"]);
    assert_eq!(own(&root, None).unwrap().unwrap().version, "1.2.0");
    git(&["commit", "--quiet", "--allow-empty", "--message=two"]);
    let version = own(&root, None).unwrap().unwrap().version;
    assert!(version.starts_with("1.2.1.dev1+g"), "{version}");
    // Where the plugin is told otherwise, only it knows.
    fs::write(&path, format!("{text}[tool.setuptools_scm]\nversion_scheme = \"post-release\"\n")).unwrap();
    assert!(own(&root, None).unwrap().unwrap_err().to_string().contains("hatch-vcs"));
}

/// On a tag and after it, for each plugin that may say the version.
#[test]
fn versions_in_git_are_those_of_the_real_plugins() {
    let Some(backends) = pixi_oci_test_need::path("PIXI_OCI_REAL_BACKENDS", From::Debian) else { return };
    let dynamic = "[project]\nname = \"my-app\"\ndynamic = [\"version\"]\n";
    for (backend, plugin, source) in [
        ("hatchling.build", "hatch-vcs", "vcs"),
        ("hatchling.build", "uv-dynamic-versioning", "uv-dynamic-versioning"),
        ("hatchling.build", "versioningit", "versioningit"),
        ("setuptools.build_meta", "setuptools-scm", ""),
        ("setuptools.build_meta", "versioningit", ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("project");
        let settings = match source {
            "" => String::new(),
            source => format!("[tool.hatch.version]\nsource = \"{source}\"\n"),
        };
        write(&root, backend, &format!("{dynamic}{settings}"), SRC_MODULES);
        let path = root.join("pyproject.toml");
        let requirement = requirement(backend);
        let text = fs::read_to_string(&path).unwrap();
        // Without their table these two say nothing with setuptools.
        let table = match (source, plugin) {
            ("", "setuptools-scm") => "[tool.setuptools_scm]\n",
            ("", _) => "[tool.versioningit]\n",
            _ => "",
        };
        let text = text.replace(&format!("[\"{requirement}\"]"), &format!("[\"{requirement}\", \"{plugin}\"]")) + table;
        if source.is_empty() {
            fs::write(&path, text.replace(table, "")).unwrap();
            assert!(own(&root, None).unwrap().is_err(), "{plugin} without its table");
        }
        fs::write(&path, text).unwrap();
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments).current_dir(&root);
            assert!(command.status().unwrap().success(), "{arguments:?}");
        };
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message=one"]);
        git(&["tag", "v1.2.0"]);
        for step in ["on the tag", "after it"] {
            let real = directory.path().join(step);
            fs::create_dir(&real).unwrap();
            let said = python(BUILD, &[backends.as_ref(), backend.as_ref(), real.as_ref()], &root, &backends);
            let theirs = said.lines().last().unwrap().split('-').nth(1).unwrap().to_owned();
            // What the backend leaves beside the package, and what it writes over.
            git(&["clean", "--quiet", "--force", "-d", "-x"]);
            git(&["checkout", "--quiet", "."]);
            let ours = own(&root, None).unwrap().unwrap_or_else(|reason| panic!("{plugin}: {reason}"));
            assert_eq!(ours.version, theirs, "{backend} with {plugin}, {step}");
            git(&["commit", "--quiet", "--allow-empty", "--message=two"]);
        }
    }
}
