//! Sources: injected wheels, the workspace's own package, and what is said where neither helps. Builds of sources are in
//! tests/scenarios/sdists.sh.

use std::fs;

use serde_json::Value;

use crate::common::{
    image::{self, Tree, content},
    odd,
    packages::{file as installed, package},
    pypi::{Locked, locked, source},
    sandbox::{Outcome, Sandbox},
    wheels::{Wheel, file, wheel},
    workspace::{Workspace, workspace},
};

const SITE_PACKAGES: &str = "opt/pixi/env/lib/python3.12/site-packages";
const APP: &str = "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n[project]\nname = \"my-app\"\nversion = \"1.0\"\n[project.scripts]\nmy-app = \"my_app:main\"\n";

fn with(sources: impl IntoIterator<Item = Locked>) -> Workspace {
    workspace([odd::python()]).pypi(sources)
}

fn write(sandbox: &Sandbox, path: &str, text: impl AsRef<[u8]>) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes a wheel below the place to work, and gives its name.
fn given(sandbox: &Sandbox, wheel: &Wheel) -> String {
    let Locked { file: Some((_, bytes)), location, .. } = locked(wheel) else { panic!("no file") };
    let name = location.rsplit('/').next().unwrap().to_owned();
    write(sandbox, &name, bytes);
    name
}

fn demo() -> Wheel {
    wheel("demo", [file("demo/__init__.py", "x = 1\n")])
}

fn sdist() -> Locked {
    source("demo", "https://files.example.org/demo-1.0.tar.gz")
}

fn built(sandbox: &Sandbox, arguments: &[&str]) -> (Value, Tree) {
    let outcome = sandbox.run(&[&["build", "ws", "-o", "oci:out:x", "--json"], arguments].concat()).success();
    let tree = image::read(&sandbox.path("out"), "x").image("linux/arm64").tree();
    (serde_json::from_str(&outcome.stdout).unwrap(), tree)
}

#[test]
fn an_injected_wheel_stands_for_a_source_on_both_architectures() {
    let sandbox = Sandbox::new();
    let name = given(&sandbox, &demo());
    with([sdist()]).write(&sandbox.path("ws"));
    let (report, tree) = built(&sandbox, &["--wheel", &name]);
    assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/demo/__init__.py")), b"x = 1\n");
    let sources = report["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2, "{report}");
    for source in sources {
        let said = [&source["package"], &source["origin"], &source["wheel"]].map(|value| value.as_str().unwrap());
        assert_eq!(said, ["pypi:demo", "injected", name.as_str()]);
        assert_eq!(source["sha256"].as_str().unwrap().len(), 64);
    }
    assert_eq!(report["executed"], serde_json::json!([]));

    // The same by the configuration.
    with([sdist()]).oci("wheels = [\"built/*.whl\"]").write(&sandbox.path("ws"));
    fs::create_dir(sandbox.path("ws/built")).unwrap();
    fs::copy(sandbox.path(&name), sandbox.path("ws/built").join(&name)).unwrap();
    let (again, _) = built(&sandbox, &[]);
    assert_eq!(again["sources"], report["sources"]);
}

#[test]
fn a_wheel_of_a_source_says_where_it_is_from_as_uv_does() {
    let commit = "0123456789012345678901234567890123456789";
    for (location, expected) in [
        ("https://files.example.org/demo-1.0.tar.gz".to_owned(), None),
        (
            "direct+https://me:secret@h.example/demo-1.0.tar.gz".into(),
            Some(r#"{"url":"https://****:****@h.example/demo-1.0.tar.gz","archive_info":{}}"#.to_owned()),
        ),
        (
            "./vendor/demo-1.0.tar.gz".into(),
            Some(r#"{"url":"file:///app/vendor/demo-1.0.tar.gz","archive_info":{}}"#.into()),
        ),
        ("../demo".into(), Some(r#"{"url":"file:///demo","dir_info":{}}"#.into())),
        (
            format!("git+https://git.example.org/r.git?tag=v1&subdirectory=sub#{commit}"),
            Some(format!(
                r#"{{"url":"https://git.example.org/r.git","vcs_info":{{"vcs":"git","commit_id":"{commit}","requested_revision":"v1"}},"subdirectory":"sub"}}"#
            )),
        ),
    ] {
        let sandbox = Sandbox::new();
        let name = given(&sandbox, &demo());
        with([source("demo", &location)]).write(&sandbox.path("ws"));
        let (_, tree) = built(&sandbox, &["--wheel", &name]);
        let path = format!("{SITE_PACKAGES}/demo-1.0.dist-info/direct_url.json");
        let said = tree.contains_key(&path).then(|| String::from_utf8_lossy(content(&tree, &path)).into_owned());
        assert_eq!(said, expected, "{location}");
    }
}

#[test]
fn a_wheel_that_stands_for_nothing_is_refused() {
    let sandbox = Sandbox::new();
    let name = given(&sandbox, &demo());
    write(&sandbox, "other-1.0-py3-none-any.whl", "");
    write(&sandbox, "demo-2.0-py3-none-any.whl", "");
    write(&sandbox, "demo-1.0-cp311-cp311-linux_x86_64.whl", "");
    write(&sandbox, "demo-1.0.zip", "");
    write(&sandbox, "damaged/demo-1.0-py3-none-any.whl", "no zip");
    with([sdist()]).write(&sandbox.path("ws"));
    for (wheels, words) in [
        (&["other-1.0-py3-none-any.whl"][..], &["other-1.0-py3-none-any.whl", "would not be used", "pypi:demo"][..]),
        (&["demo-2.0-py3-none-any.whl"], &["version 1.0 of pypi:demo is locked"]),
        (&["demo-1.0-cp311-cp311-linux_x86_64.whl"], &["pypi:demo", "no wheel that was given is for", "cp311"]),
        (&["demo-1.0.zip"], &["demo-1.0.zip", "this is no wheel"]),
        (&["damaged/demo-1.0-py3-none-any.whl"], &["demo-1.0-py3-none-any.whl"]),
        (&[&name, "demo-1.0-cp311-cp311-linux_x86_64.whl"], &["none of the platforms", "cp311"]),
    ] {
        let arguments: Vec<&str> = wheels.iter().flat_map(|wheel| ["--wheel", *wheel]).collect();
        let arguments = [&["build", "ws", "-o", "oci:out:x"], &arguments[..]].concat();
        sandbox.run(&arguments).refused(1, words);
        assert!(!sandbox.path("out").exists());
    }
    with([sdist()]).oci("wheels = [\"none/*.whl\"]").write(&sandbox.path("ws"));
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["none/*.whl", "matches"]);
}

#[test]
fn the_workspaces_own_package_is_installed_from_its_files() {
    let sandbox = Sandbox::new();
    let own = source("my-app", ".");
    with([own.clone()])
        .manifest("[pypi-dependencies]\nmy-app = { path = \".\", editable = true }\n")
        .write(&sandbox.path("ws"));
    write(&sandbox, "ws/pyproject.toml", APP);
    write(&sandbox, "ws/src/my_app/__init__.py", "def main(): print('hi')\n");
    write(&sandbox, "ws/src/my_app/.env", "SECRET=1");
    let (report, tree) = built(&sandbox, &[]);
    assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/my_app/__init__.py")), b"def main(): print('hi')\n");
    assert!(String::from_utf8_lossy(content(&tree, "opt/pixi/env/bin/my-app")).contains("from my_app import main"));
    assert!(!tree.keys().any(|path| path.ends_with("my_app/.env") || path.ends_with(".pth")), "{:?}", tree.keys());
    assert_eq!(report["sources"][0]["origin"], "own");
    assert_eq!(report["executed"], serde_json::json!([]));
    // It is the application, and no package layer changes with it.
    let index = image::read(&sandbox.path("out"), "x");
    let layers = |index: &image::Index| {
        let layers = &index.image("linux/amd64").layers;
        layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>()
    };
    let before = layers(&index);
    write(&sandbox, "ws/src/my_app/__init__.py", "def main(): print('changed')\n");
    built(&sandbox, &[]);
    let after = layers(&image::read(&sandbox.path("out"), "x"));
    assert_eq!(before.len(), after.len());
    assert_eq!(before[..before.len() - 1], after[..after.len() - 1]);
    assert_ne!(before.last(), after.last());

    // Not without its backend.
    write(&sandbox, "ws/pyproject.toml", APP.replace("version = \"1.0\"", "dynamic = [\"version\"]"));
    sandbox
        .run(&["build", "ws", "-o", "oci:other:x"])
        .refused(1, &["pypi:my-app", "dynamic", "--build-sdists", "--wheel"]);
}

#[test]
fn an_editable_package_outside_of_the_workspace_is_refused() {
    let sandbox = Sandbox::new();
    write(&sandbox, "lib/pyproject.toml", APP.replace("my-app", "lib"));
    let manifest = |editable: &str| format!("[pypi-dependencies]\nlib = {{ path = \"../lib\"{editable} }}\n");
    let lib = source("lib", "../lib");
    with([lib.clone()]).manifest(&manifest(", editable = true")).write(&sandbox.path("ws"));
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["pypi:lib", "editable", "outside of the workspace"]);
    with([lib]).manifest(&manifest("")).write(&sandbox.path("ws"));
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["pypi:lib", "../lib", "--build-sdists"]);
}

#[test]
fn only_the_command_line_lets_sources_be_built() {
    let sandbox = Sandbox::new();
    let demo = || [source("demo", "https://files.example.org/demo-1.0.tar.gz")];
    for key in ["build-sdists = \"host\"", "build-sdists = true"] {
        with(demo()).oci(key).write(&sandbox.path("ws"));
        sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["build-sdists"]);
    }
    with(demo()).write(&sandbox.path("ws"));
    for place in ["--build-sdists=elsewhere", "--build-sdists=1"] {
        sandbox.run(&["build", "ws", "-o", "oci:out:x", place]).refused(2, &["podman", "host"]);
    }
    // What follows the flag is no value of it.
    sandbox.run(&["build", "--build-sdists", "ws", "-o", "oci:out:x", "--offline"]).refused(1, &["pypi:demo"]);
}

/// A build backend that takes its version from git, as many do, and believes only what it finds.
const ASKING: &str = r#"
import os, subprocess, zipfile

def build_wheel(directory, settings=None, metadata=None):
    version = os.environ["SETUPTOOLS_SCM_PRETEND_VERSION_FOR_DEMO"]
    described = subprocess.run(["git", "describe", "--tags", "--dirty"], stdout=subprocess.PIPE, text=True).stdout
    assert described.strip() == "v" + version, described
    assert not os.path.exists(".git/hooks") and "evil" not in open(".git/config").read()
    info = f"demo-{version}.dist-info"
    name = f"demo-{version}-py3-none-any.whl"
    files = {
        "demo.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: demo\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return name
"#;

#[test]
fn a_build_is_told_its_version_from_git_and_gets_no_repository_of_ours() {
    let sandbox = Sandbox::new();
    let shim = installed("bin/python3.12", "#!/bin/sh\nexec python3 \"$@\"\n").mode(0o755);
    let python = package("python", [shim]).version("3.12.1");
    workspace([python]).pypi([source("demo", "./demo")]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    let project = "[build-system]\nrequires = []\nbuild-backend = \"asking\"\nbackend-path = [\".\"]\n\
                   [project]\nname = \"demo\"\ndynamic = [\"version\"]\n";
    write(&sandbox, "ws/demo/pyproject.toml", project);
    write(&sandbox, "ws/demo/asking.py", ASKING);
    let git = |arguments: &[&str]| {
        let identity = ["-C", "ws", "-c", "user.name=x", "-c", "user.email=x@example.org"];
        Outcome::of(sandbox.program("git").args(identity).args(arguments)).success()
    };
    git(&["init", "-q"]);
    git(&["config", "evil.key", "secret"]);
    git(&["add", "pixi.toml", "pixi.lock", "demo"]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v1.4.0"]);
    let build = || {
        let run = ["build", "ws", "-o", "oci:out:x", "--json", "--build-sdists=host"];
        let outcome = sandbox.run(&run).success();
        let tree = image::read(&sandbox.path("out"), "x").image("linux/amd64").tree();
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        (tree, report["executed"][0].as_str().unwrap_or_default().to_owned())
    };
    let (tree, executed) = build();
    assert!(tree.contains_key(&format!("{SITE_PACKAGES}/demo-1.4.0.dist-info/METADATA")), "{:?}", tree.keys());
    assert!(executed.ends_with("told that it is version 1.4.0"), "{executed}");
    // On the way to the next one, and with changes that no commit has.
    git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    write(&sandbox, "ws/demo/asking.py", format!("{ASKING}#\n"));
    let (tree, executed) = build();
    let found = tree.keys().find(|path| path.ends_with(".dist-info/METADATA")).unwrap();
    assert!(found.contains("/demo-1.4.1.dev1+g") && found.contains(".dirty.dist-info"), "{found}");
    assert!(executed.contains("told that it is version 1.4.1.dev1+g"), "{executed}");
}

#[test]
fn what_builds_need_may_be_in_another_environment_than_the_image() {
    let sandbox = Sandbox::new();
    let python = || {
        let shim = installed("bin/python3.12", "#!/bin/sh\nexec python3 \"$@\"\n").mode(0o755);
        package("python", [shim]).version("3.12.1")
    };
    let metadata = format!("{}/tool-1.0.dist-info/METADATA", "lib/python3.12/site-packages");
    let tool = package("tool", [installed(&metadata, "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")]);
    let write_workspace = |oci: &str| {
        workspace([python()])
            .environment("tools", [python(), tool.clone()])
            .pypi([source("demo", "./demo")])
            .platforms(&["linux-64"])
            .oci(oci)
            .write(&sandbox.path("ws"));
    };
    let project = "[build-system]\nrequires = [\"tool>=1\"]\nbuild-backend = \"asking\"\nbackend-path = [\".\"]\n\
                   [project]\nname = \"demo\"\nversion = \"1.0\"\n";
    write(&sandbox, "ws/demo/pyproject.toml", project);
    let backend = ASKING.lines().filter(|line| !line.contains("described") && !line.contains("assert"));
    let backend = backend.collect::<Vec<_>>().join("\n");
    let backend = backend.replace("os.environ[\"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_DEMO\"]", "\"1.0\"");
    write(&sandbox, "ws/demo/asking.py", backend);
    let run = ["build", "ws", "-o", "oci:out:x", "--build-sdists=host"];
    write_workspace("");
    sandbox.run(&run).refused(1, &["pypi:demo", "tool>=1", "build-environment"]);
    write_workspace("build-environment = \"tools\"");
    sandbox.run(&run).success();
    let tree = image::read(&sandbox.path("out"), "x").image("linux/amd64").tree();
    assert!(tree.contains_key(&format!("{SITE_PACKAGES}/demo.py")), "{:?}", tree.keys());
    assert!(!tree.keys().any(|path| path.contains("tool-1.0")), "{:?}", tree.keys());
}
