//! `--json`: every number of the report, recomputed from the layout.

use serde_json::{Value, json};

use crate::common::{
    image, odd,
    sandbox::{Sandbox, sha256},
    workspace::workspace,
};

#[test]
fn every_number_can_be_recomputed() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).environment("prod", odd::packages()).write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["build", "ws", "-e", "prod", "-o", "oci:out:v1", "--json"]).success();
    let report: Value = serde_json::from_str(&outcome.stdout).expect("stdout is one JSON document");
    let index = image::read(&sandbox.path("out"), "v1");
    assert_eq!(report["reference"], "oci:out:v1");
    assert_eq!(report["digest"], index.digest);
    assert_eq!(report["environment"], "prod");
    assert_eq!(report["executed"], json!([]));
    let lock = std::fs::read(sandbox.path("ws/pixi.lock")).unwrap();
    assert_eq!(report["lockFileDigest"], format!("sha256:{}", sha256(&lock)));

    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for ((said, image), subdir) in images.iter().zip(&index.images).zip(["linux-64", "linux-aarch64"]) {
        assert_eq!(said["platform"], image.platform);
        assert_eq!(said["condaPlatform"], subdir);
        assert_eq!(said["manifest"], image.digest);
        assert_eq!(said["config"], image.manifest["config"]["digest"]);
        assert_eq!(said["base"], Value::Null);
        assert_eq!(said["requires"], json!(["__cuda >=12"]));
        assert_eq!(
            said["needs"],
            json!([{ "name": "__cuda", "minimum": "12", "build": null, "package": "cuda-thing", "requirement": "__cuda >=12" }])
        );
        assert_eq!(said["postLinkScripts"], json!(["post-linked 1.0 h1234567_0"]));
        let warnings = said["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|w| w.as_str().unwrap().contains("post-linked")), "{warnings:?}");
        for warning in warnings {
            assert!(outcome.stderr.contains(warning.as_str().unwrap()), "{warning} is not on stderr");
        }

        let layers = said["layers"].as_array().unwrap();
        assert_eq!(layers.len(), image.layers.len());
        let mut packages = Vec::new();
        for (number, (said, layer)) in layers.iter().zip(&image.layers).enumerate() {
            assert_eq!(said["digest"], layer.digest);
            assert_eq!(said["diffId"], layer.diff_id);
            assert_eq!(said["size"], layer.size);
            let kind = match layers.len() - number {
                1 => "application",
                2 => "environment",
                _ => "packages",
            };
            assert_eq!(said["kind"], kind);
            let own: Vec<&str> = said["packages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            if kind == "packages" {
                assert_eq!(layer.annotations["dev.pixi-oci.packages"], own.join(", "));
            }
            for label in &own {
                let record = format!("opt/pixi/env/conda-meta/{}.json", label.replace(' ', "-"));
                assert!(layer.entries.iter().any(|(path, _)| *path == record), "{record}");
            }
            packages.extend(own.iter().map(|label| label.split(' ').next().unwrap().to_owned()));
        }
        let mut expected: Vec<String> = odd::packages().into_iter().map(|package| package.name).collect();
        expected.sort();
        packages.sort();
        assert_eq!(packages, expected, "each package is in one layer");
    }
}

#[test]
fn plans_agree_with_the_lock_file() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).environment("prod", [odd::bash()]).write(&sandbox.path("ws"));
    std::fs::remove_dir_all(sandbox.path("ws/channel")).unwrap();
    let outcome = sandbox.run(&["plan", "ws", "--all", "--json", "--offline"]).success();
    let plans: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let platforms: Vec<(&str, &Value)> = plans
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|plan| {
            let environment = plan["environment"].as_str().unwrap();
            plan["platforms"].as_array().unwrap().iter().map(move |platform| (environment, platform))
        })
        .collect();
    let names: Vec<(&str, &str)> =
        platforms.iter().map(|(environment, plan)| (*environment, plan["ociPlatform"].as_str().unwrap())).collect();
    assert_eq!(
        names,
        [("default", "linux/amd64"), ("default", "linux/arm64"), ("prod", "linux/amd64"), ("prod", "linux/arm64")]
    );
    for (_, plan) in &platforms {
        let layers = plan["layers"].as_array().unwrap();
        let packages: Vec<&Value> = layers.iter().flat_map(|layer| layer["packages"].as_array().unwrap()).collect();
        assert_eq!(plan["packages"], packages.len());
        let bytes: u64 = packages.iter().map(|package| package["size"].as_u64().unwrap()).sum();
        assert_eq!(plan["bytes"], bytes);
        for layer in layers {
            let bytes: u64 = layer["packages"].as_array().unwrap().iter().map(|p| p["size"].as_u64().unwrap()).sum();
            assert_eq!(layer["bytes"], bytes);
        }
    }
    assert_eq!(plans[0]["platforms"][0]["requires"], json!(["__cuda >=12"]));
    assert_eq!(plans[0]["platforms"][0]["needs"][0]["package"], "cuda-thing");
    let table = sandbox.run(&["plan", "ws", "--all"]).success().stdout;
    assert!(
        table.contains(&format!("default linux-64: {} packages", odd::packages().len()))
            && table.contains("needs __cuda >=12 (cuda-thing)"),
        "{table}"
    );
    assert!(!sandbox.path("../cache/pixi-oci").exists(), "a plan leaves no trace");
}
