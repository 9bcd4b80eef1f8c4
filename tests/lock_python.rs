//! Python packages without a lock file: chosen by the real uv from an index on this machine.

use std::{fs, path::Path};

use crate::common::{
    channel::{self, entry},
    image::{self, content},
    odd,
    python_index::{add, uv, wheel},
    sandbox::{Outcome, Sandbox},
    server::serve,
};

const ANY: &str = "py3-none-any";

/// A sandbox with channels and indexes, served at an address, and the directory of uv.
struct Setup {
    sandbox: Sandbox,
    address: String,
    uv: &'static Path,
}

fn setup() -> Option<Setup> {
    let uv = uv()?;
    let sandbox = Sandbox::new();
    let python = ["linux-64/python-3.12.4-h_0_cpython", "linux-aarch64/python-3.12.4-h_0_cpython"];
    let mut packages: Vec<_> = python.iter().map(|file| entry(file, &[])).collect();
    packages.push(entry("noarch/numpy-1.26.4-py_0", &["python >=3.9"]));
    packages.push(entry("noarch/zstd-1.5-0", &[]));
    channel::write(&sandbox.path("conda-forge"), &packages);
    let (main, other) = (sandbox.path("simple"), sandbox.path("other"));
    add(
        &main,
        &wheel(
            "app",
            "1.0",
            &["lib>=1", "numpy>=1.26 ; python_version >= '3.8'", "gone ; sys_platform == 'win32'"],
            &[],
        ),
        ANY,
    );
    add(&main, &wheel("app", "2.0", &["lib>=1", "numpy>=2"], &[]), ANY);
    add(&main, &wheel("lib", "1.0", &[], &[]), ANY);
    add(&main, &wheel("lib", "1.1", &["opt ; extra == 'o'"], &["o"]), ANY);
    add(&main, &wheel("opt", "1.0", &[], &[]), ANY);
    add(&main, &wheel("zstd", "1.5.2", &[], &[]), ANY);
    for tag in [
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_99_x86_64",
        "cp312-cp312-manylinux2014_aarch64",
        ANY,
    ] {
        add(&main, &wheel("native", "1.0", &[], &[]), tag);
    }
    add(&other, &wheel("only", "1.0", &[], &[]), ANY);
    add(&other, &wheel("lib", "9.0", &[], &[]), ANY);
    add(&sandbox.path("links"), &wheel("linked", "1.0", &[], &[]), ANY);
    // A flat directory is one of files.
    fs::rename(
        sandbox.path("links/linked/linked-1.0-py3-none-any.whl"),
        sandbox.path("links/linked-1.0-py3-none-any.whl"),
    )
    .unwrap();
    add(&sandbox.path("files"), &wheel("direct", "3.0", &["lib"], &[]), ANY);
    add(&sandbox.path("files"), &wheel("local", "4.0", &[], &[]), ANY);
    fs::create_dir_all(sandbox.path("me")).unwrap();
    fs::write(
        sandbox.path("me/pyproject.toml"),
        "[project]\nname = \"me\"\nversion = \"7\"\nrequires-python = \">=3.9\"\ndependencies = [\"lib\"]\n[project.optional-dependencies]\nx = [\"opt\"]\n",
    )
    .unwrap();
    let address = serve(&sandbox.path(""));
    Some(Setup { sandbox, address, uv })
}

impl Setup {
    /// Writes a manifest with the index `simple` and what comes after it.
    fn manifest(&self, more: &str) {
        let address = &self.address;
        let text = format!(
            "[workspace]\nname = \"demo\"\nchannels = [\"./conda-forge\"]\nplatforms = [\"linux-64\", \"linux-aarch64\"]\n\
             [pypi-options]\nindex-url = \"{address}/simple\"\n{}",
            more.replace("ADDRESS", address)
        );
        fs::write(self.sandbox.path("pixi.toml"), text).unwrap();
    }

    /// With uv, and checking what is locked.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.sandbox.pixi_oci(arguments);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.uv.display())).env_remove("PIXI_FROZEN");
        Outcome::of(&mut command)
    }

    /// The lines of the lock file that say which Python packages an environment has, without `- pypi: ` and the address.
    fn locked(&self, environment: &str, platform: &str) -> Vec<String> {
        let lock = self.lock();
        let own = lock.split(&format!("\n  {environment}:\n")).nth(1).unwrap();
        let own = own.split(&format!("\n      {platform}:\n")).nth(1).unwrap();
        let lines = own.lines().take_while(|line| line.starts_with("      - "));
        lines.filter_map(|line| Some(line.trim().strip_prefix("- pypi: ")?.replace(&self.address, "ADDRESS"))).collect()
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.sandbox.path("pixi.lock")).unwrap()
    }
}

const MANY: &str = "extra-index-urls = [\"ADDRESS/other\"]\nfind-links = [{ path = \"./links\" }]\n\
    [dependencies]\npython = \"3.12.*\"\nnumpy = \"*\"\n\
    [pypi-dependencies]\napp = \"*\"\nlib = { version = \"<2\", extras = [\"o\"], index = \"ADDRESS/simple\" }\nnative = \"*\"\nonly = \">=1\"\nlinked = \"*\"\n\
    direct = { url = \"ADDRESS/files/direct/direct-3.0-py3-none-any.whl\" }\nlocal = { path = \"files/local/local-4.0-py3-none-any.whl\" }\n\
    me = { path = \"me\", editable = true, extras = [\"x\"] }\nwindows = { version = \"*\", env-markers = \"sys_platform == 'win32'\" }\n";

#[test]
fn python_packages_are_locked_as_pixi_writes_them_and_the_lock_is_true() {
    let Some(setup) = setup() else { return };
    setup.manifest(MANY);
    setup.run(&["lock"]).success();
    let expected = |native: &str| {
        [
            "ADDRESS/simple/app/app-1.0-py3-none-any.whl".to_owned(),
            "direct+ADDRESS/files/direct/direct-3.0-py3-none-any.whl".to_owned(),
            "ADDRESS/simple/lib/lib-1.1-py3-none-any.whl".to_owned(),
            "./links/linked-1.0-py3-none-any.whl".to_owned(),
            "./files/local/local-4.0-py3-none-any.whl".to_owned(),
            "./me".to_owned(),
            format!("ADDRESS/simple/native/native-1.0-{native}.whl"),
            "ADDRESS/other/only/only-1.0-py3-none-any.whl".to_owned(),
            "ADDRESS/simple/opt/opt-1.0-py3-none-any.whl".to_owned(),
        ]
    };
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    for (platform, native) in
        [("linux-64", "cp312-cp312-manylinux_2_28_x86_64"), ("linux-aarch64", "cp312-cp312-manylinux2014_aarch64")]
    {
        assert_eq!(sorted(setup.locked("default", platform)), sorted(expected(native).into()), "{}", setup.lock());
    }
    let lock = setup.lock().replace(&setup.address, "ADDRESS");
    for text in [
        "    indexes:\n    - ADDRESS/simple\n    - ADDRESS/other\n    find-links:\n    - path: ./links\n",
        "- pypi: ADDRESS/other/only/only-1.0-py3-none-any.whl\n  name: only\n  version: '1.0'\n  sha256: ",
        "  index: ADDRESS/other\n  requires_python: '>=3.8'\n",
        "  requires_dist:\n  - lib>=1\n  - numpy>=1.26 ; python_full_version >= '3.8'\n  - gone ; sys_platform == 'win32'\n",
        "- pypi: ./me\n  name: me\n  requires_dist:\n  - lib\n  - opt ; extra == 'x'\n  requires_python: '>=3.9'\n",
        "  purls:\n  - pkg:pypi/numpy\n",
    ] {
        assert!(lock.contains(text), "{text}\nis not in\n{lock}");
    }
    // It is what the manifest says, and stays as it is.
    let before = setup.lock();
    setup.run(&["plan"]).success();
    setup.run(&["lock", "--check"]).success();
    // All that was needed is in the cache now.
    fs::remove_file(setup.sandbox.path("pixi.lock")).unwrap();
    setup.run(&["lock", "--offline"]).success();
    assert_eq!(setup.lock(), before);
}

#[test]
fn what_a_wheel_requires_comes_from_the_index_where_that_has_it() {
    let Some(setup) = setup() else { return };
    let metadata =
        |python: &str| format!("Metadata-Version: 2.1\nName: opt\nVersion: 1.0\nRequires-Python: {python}\n");
    let place = setup.sandbox.path("simple/opt/opt-1.0-py3-none-any.whl.metadata");
    setup.manifest("[dependencies]\npython = \"*\"\n[pypi-dependencies]\nopt = \"*\"\n");
    fs::write(&place, metadata(">=3.7")).unwrap();
    setup.run(&["lock"]).success();
    assert!(setup.lock().contains("requires_python: '>=3.7'"), "{}", setup.lock());
    assert!(!setup.sandbox.path("../cache/pixi-oci/archives").exists(), "the wheel was fetched for it");
    // What is not that of the wheel is not believed.
    let other = Sandbox::new();
    fs::write(&place, metadata(">=3.7").replace("opt", "tpo")).unwrap();
    fs::remove_file(setup.sandbox.path("pixi.lock")).unwrap();
    setup.run(&["lock", "--cache-dir", other.path("cache").to_str().unwrap()]).success();
    assert!(setup.lock().contains("requires_python: '>=3.8'"), "{}", setup.lock());
}

#[test]
fn what_was_locked_stays_and_configuration_of_this_machine_does_not_count() {
    let Some(setup) = setup() else { return };
    let manifest = |more: &str| format!("[dependencies]\npython = \"*\"\n[pypi-dependencies]\nlib = \"{more}\"\n");
    setup.manifest(&manifest("<1.1"));
    setup.run(&["lock"]).success();
    setup.manifest(&format!("{}opt = \"*\"\n", manifest("*")));
    fs::create_dir_all(setup.sandbox.home().join(".config/uv")).unwrap();
    fs::write(setup.sandbox.home().join(".config/uv/uv.toml"), "no-index = true\n").unwrap();
    let mut command = setup.sandbox.pixi_oci(&["lock"]);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", setup.uv.display()))
        .env("UV_NO_INDEX", "1")
        .env("UV_INDEX_URL", "http://127.0.0.1:1/");
    Outcome::of(&mut command).success();
    let found = setup.locked("default", "linux-64");
    assert_eq!(found, ["ADDRESS/simple/lib/lib-1.0-py3-none-any.whl", "ADDRESS/simple/opt/opt-1.0-py3-none-any.whl"]);
}

#[test]
fn environments_of_a_group_have_one_version_and_each_its_own_part() {
    let Some(setup) = setup() else { return };
    setup.manifest(
        "[dependencies]\npython = \"*\"\n[feature.a.dependencies]\nnumpy = \"*\"\n[feature.a.pypi-dependencies]\napp = \"*\"\n\
         [feature.b.pypi-dependencies]\nlib = \"<1.1\"\n[environments]\na = { features = [\"a\"], solve-group = \"g\" }\n\
         b = { features = [\"b\"], solve-group = \"g\" }\n",
    );
    setup.run(&["lock"]).success();
    let (app, lib) = ("ADDRESS/simple/app/app-1.0-py3-none-any.whl", "ADDRESS/simple/lib/lib-1.0-py3-none-any.whl");
    assert_eq!(setup.locked("a", "linux-64"), [app, lib]);
    assert_eq!(setup.locked("b", "linux-64"), [lib]);
    assert_eq!(setup.locked("default", "linux-64"), [""; 0]);
    setup.run(&["plan", "--all"]).success();
}

#[test]
fn a_conda_package_is_a_python_package_only_if_it_is_one() {
    let Some(setup) = setup() else { return };
    setup.manifest("[dependencies]\npython = \"*\"\nzstd = \"*\"\n[pypi-dependencies]\nzstd = \"*\"\n");
    setup.run(&["lock"]).success();
    assert_eq!(setup.locked("default", "linux-64"), ["ADDRESS/simple/zstd/zstd-1.5.2-py3-none-any.whl"]);
}

#[test]
fn refusals_say_which_package_and_why() {
    let Some(setup) = setup() else { return };
    fs::create_dir_all(setup.sandbox.path("computed")).unwrap();
    fs::write(setup.sandbox.path("computed/setup.py"), "").unwrap();
    fs::create_dir_all(setup.sandbox.path("simple/sourced")).unwrap();
    fs::write(setup.sandbox.path("simple/sourced/index.html"), "<a href=\"sourced-1.0.tar.gz\">sourced-1.0.tar.gz</a>")
        .unwrap();
    for (dependencies, wanted, words) in [
        (
            "python = \"*\"\nnumpy = \"*\"",
            "app = \">=2\"",
            &["environment `default` for linux-64", "app>=2.0 depends on numpy>=2"][..],
        ),
        ("python = \"*\"", "nothing = \"*\"", &["uv says", "nothing was not found"]),
        ("python = \"*\"", "sourced = \"*\"", &["uv says", "sourced"]),
        (
            "python = \"*\"",
            "g = { git = \"https://example.org/g.git\" }",
            &["g from a git repository", "run `pixi lock`"],
        ),
        (
            "python = \"*\"",
            "computed = { path = \"computed\" }",
            &["does not write down what it requires", "run `pixi lock`"],
        ),
        ("python = \"*\"", "other = { path = \"me\" }", &["is the project `me`"]),
        (
            "python = \"*\"",
            "s = { url = \"https://example.org/s-1.0.tar.gz\" }",
            &["s from a source archive", "run `pixi lock`"],
        ),
        ("numpy = { version = \"*\", when = \"never\" }", "app = \"*\"", &["no conda package `python`"]),
    ] {
        setup.manifest(&format!("[dependencies]\n{dependencies}\n[pypi-dependencies]\n{wanted}\n"));
        setup.run(&["lock"]).refused(1, words);
        assert!(!setup.sandbox.path("pixi.lock").exists());
    }
    for said in ["true", "[\"lib\"]"] {
        let more = "[dependencies]\npython = \"*\"\n[pypi-dependencies]\nlib = \"*\"\n";
        setup.manifest(&format!("no-binary = {said}\n{more}"));
        setup.run(&["lock"]).refused(1, &["uv says", "lib"]);
    }
}

#[test]
fn a_build_without_a_lock_file_installs_the_wheels() {
    let Some(setup) = setup() else { return };
    let sandbox = &setup.sandbox;
    crate::common::workspace::workspace([odd::python()]).write(&sandbox.path("ws"));
    channel::index(&sandbox.path("ws/channel"), &[odd::python()]);
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();
    let manifest = fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    let more = format!(
        "[dependencies]\npython = \"*\"\n[pypi-options]\nindex-url = \"{}/simple\"\n[pypi-dependencies]\nlib = {{ version = \"*\", extras = [\"o\"] }}\n",
        setup.address
    );
    fs::write(sandbox.path("ws/pixi.toml"), format!("{manifest}\n{more}")).unwrap();
    setup.run(&["build", "ws", "-o", "oci:out:v1"]).success();
    let tree = image::read(&sandbox.path("out"), "v1").image("linux/arm64").tree();
    let site_packages = "opt/pixi/env/lib/python3.12/site-packages";
    assert_eq!(content(&tree, &format!("{site_packages}/lib.py")), b"version = '1.1'\n");
    assert_eq!(content(&tree, &format!("{site_packages}/opt.py")), b"version = '1.0'\n");
}
