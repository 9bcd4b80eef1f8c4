//! A lock file whose index has no address here, with packages that somebody must decide about: wheels of an index that only
//! a mirror has, two source archives of it, and a directory beside the workspace.

use std::{fs, path::Path};

use serde_json::Value;

use crate::common::{
    image::{self, content},
    odd,
    pypi::{locked, named, source},
    sandbox::Sandbox,
    server::serve,
    wheels::{Wheel, file, wheel},
    workspace::workspace,
};

const SITE_PACKAGES: &str = "opt/pixi/env/lib/python3.12/site-packages";
const INDEX: &str = "https://files.index.example/packages/4b/0d";
const SOURCES: [&str; 3] = ["first-sdist", "second-sdist", "models"];
const TAGS: [(&str, &str); 2] = [
    ("linux-64", "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"),
    ("linux-aarch64", "cp312-cp312-manylinux_2_17_aarch64.manylinux2014_aarch64"),
];

fn module(name: &str) -> Wheel {
    wheel(name, [file(&format!("{name}/__init__.py"), format!("name = '{name}'\n"))])
}

fn write(sandbox: &Sandbox) {
    let mut packages = vec![locked(&module("pure")).at(INDEX)];
    for (platform, tags) in TAGS {
        let native = wheel("native", [file("native.py", platform)]);
        packages.push(named(&native, &format!("native-1.0-{tags}.whl")).only(platform).at(INDEX));
    }
    for name in &SOURCES[..2] {
        packages.push(source(name, &format!("{INDEX}/{}-1.0.tar.gz", name.replace('-', "_"))));
    }
    packages.push(source("models", "../models"));
    workspace([odd::python()]).pypi(packages).write(&sandbox.path("ws"));
    fs::create_dir(sandbox.path("models")).unwrap();
    fs::write(sandbox.path("models/setup.py"), "raise SystemExit('this must not run')\n").unwrap();
}

/// Wheels of the sources that somebody built, as arguments.
fn wheels_of_sources(sandbox: &Sandbox) -> Vec<String> {
    let arguments = SOURCES.iter().flat_map(|name| {
        let wheel = locked(&module(&name.replace('-', "_")));
        let (path, bytes) = wheel.file.unwrap();
        let name = Path::new(&path).file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(sandbox.path(&name), bytes).unwrap();
        ["--wheel".to_owned(), name]
    });
    arguments.collect()
}

fn arguments<'a>(first: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn a_plan_names_every_package_that_needs_a_decision_with_what_can_be_done() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let outcome = sandbox.run(&["plan", "ws", "--json"]).success();
    let plans: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let reasons = plans[0]["unpredicted"].as_array().unwrap();
    let message = reasons.iter().find(|reason| reason["reason"] == "sources").unwrap_or_else(|| panic!("{reasons:?}"))
        ["message"]
        .as_str()
        .unwrap();
    for name in SOURCES {
        assert!(message.contains(&format!("pypi:{name}")), "{message}");
    }
    for remedy in ["--build-sdists", "--wheel FILE", "depend on a wheel or a conda package instead"] {
        assert!(message.contains(remedy), "{message}");
    }
    let human = sandbox.run(&["plan", "ws"]).success();
    let said = human.stdout + &human.stderr;
    assert!(SOURCES.iter().all(|name| said.contains(&format!("pypi:{name}"))), "{said}");
}

#[test]
fn an_index_without_an_address_is_an_error_that_says_where_mirrors_are_set() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let wheels = wheels_of_sources(&sandbox);
    sandbox
        .run(&arguments(&["build", "ws", "-o", "oci:out:v1"], &wheels))
        .refused(1, &["files.index.example", "[mirrors]", ".pixi/config.toml"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn mapped_and_with_wheels_for_its_sources_it_is_built() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let wheels = wheels_of_sources(&sandbox);
    let mirror = serve(&sandbox.path("ws/wheels"));
    fs::create_dir(sandbox.path("ws/.pixi")).unwrap();
    fs::write(sandbox.path("ws/.pixi/config.toml"), format!("[mirrors]\n\"{INDEX}\" = [\"{mirror}\"]\n")).unwrap();
    let build = ["build", "ws", "-o", "oci:out:v1", "--json"];
    let outcome = sandbox.run(&arguments(&build, &wheels)).success();
    assert!(!outcome.stdout.contains(&mirror), "what is recorded is where the lock file says that it is");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["executed"], serde_json::json!([]));
    let index = image::read(&sandbox.path("out"), "v1");
    for (platform, conda) in [("linux/amd64", "linux-64"), ("linux/arm64", "linux-aarch64")] {
        let tree = index.image(platform).tree();
        assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/native.py")), conda.as_bytes());
        for name in ["pure", "first_sdist", "second_sdist", "models"] {
            let text = format!("name = '{name}'\n");
            assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/{name}/__init__.py")), text.as_bytes());
        }
    }
}
