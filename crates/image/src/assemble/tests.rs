use std::collections::BTreeMap;

use pixi_oci_layer::{Compression, Digest, Layer};
use serde_json::Value;

use super::*;
use crate::Index;

fn layer(content: &str, compression: Compression) -> LayerEntry {
    let layer = Layer {
        digest: Digest::of(content.as_bytes()),
        size: content.len() as u64,
        diff_id: DiffId(Digest::of(content.to_uppercase().as_bytes())),
        tar_size: 10_240,
        compression,
    };
    LayerEntry::new(&layer, BTreeMap::from([("org.example.key".to_owned(), content.to_owned())]))
}

fn input(architecture: Architecture) -> AssembleInput {
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let map = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let mut step = History::default();
    step.set_created_by(Some("ENV A=B".into())).set_empty_layer(Some(true));
    let mut base = History::default();
    base.set_created(Some("2023-05-06T07:08:09.123456789Z".into())).set_created_by(Some("ADD rootfs".into()));
    AssembleInput {
        platform: Platform::new(architecture),
        base_layers: vec![layer("base", Compression::default())],
        base_history: vec![step, base],
        layers: vec![OwnLayer {
            entry: layer("own", Compression::Zstd { level: 3 }),
            created_by: "pixi-oci build".into(),
            comment: Some("python 3.12".into()),
        }],
        settings: ImageSettings {
            env: vec![("PATH".into(), "/opt/pixi/env/bin:/bin".into()), ("LANG".into(), "C.UTF-8".into())],
            entrypoint: Some(strings(&["/opt/pixi/entrypoint"])),
            cmd: Some(strings(&["python", "-m", "app"])),
            user: Some("1000:1000".into()),
            workdir: Some("/app".into()),
            labels: map(&[("z", "1"), ("a", "2")]),
            exposed_ports: strings(&["8080"]).into_iter().collect(),
            volumes: strings(&["/data"]).into_iter().collect(),
            stop_signal: Some("SIGINT".into()),
            manifest_annotations: map(&[("org.opencontainers.image.title", "demo")]),
        },
        created: 951_782_400,
    }
}

fn pretty(bytes: &[u8]) -> String {
    serde_json::to_string_pretty(&serde_json::from_slice::<Value>(bytes).unwrap()).unwrap()
}

#[test]
fn documents_are_these() {
    let image = assemble(&input(Architecture::Amd64)).unwrap();
    assert_eq!(pretty(&image.config_bytes), include_str!("testdata/config.json").trim_end());
    assert_eq!(pretty(&image.manifest_bytes), include_str!("testdata/manifest.json").trim_end());
    let index = Index::new(vec![image], &BTreeMap::new()).unwrap();
    assert_eq!(pretty(&index.bytes), include_str!("testdata/index.json").trim_end());
    assert_eq!(index.descriptor.digest, Digest::of(&index.bytes));
    assert_eq!(
        index.descriptor.digest.to_string(),
        "sha256:395f6689d127320e6f4badbbfb786491c144fe8f3fcf000d115e3665528be0b5"
    );
}

#[test]
fn every_run_gives_the_same_bytes() {
    let mut input = input(Architecture::Arm64);
    for n in 0..50 {
        input.settings.labels.insert(format!("label{n}"), "x".into());
        input.settings.exposed_ports.insert(format!("{}", 1000 + n));
    }
    let first = assemble(&input).unwrap();
    for _ in 0..5 {
        assert_eq!(assemble(&input).unwrap(), first);
    }
}

#[test]
fn the_documents_are_what_oci_spec_reads() {
    let image = assemble(&input(Architecture::Arm64)).unwrap();
    let manifest = oci_spec::image::ImageManifest::from_reader(image.manifest_bytes.as_slice()).unwrap();
    assert_eq!(manifest.media_type(), &Some(MediaType::ImageManifest));
    assert_eq!(Descriptor::try_from(manifest.config()).unwrap(), image.config);
    let layers: Vec<_> = manifest.layers().iter().map(|layer| Descriptor::try_from(layer).unwrap()).collect();
    assert_eq!(layers, image.layers.iter().map(|layer| layer.descriptor.clone()).collect::<Vec<_>>());
    let config = ImageConfiguration::from_reader(image.config_bytes.as_slice()).unwrap();
    assert_eq!(config.rootfs().diff_ids().len(), 2);
    assert_eq!(config.architecture(), &Arch::ARM64);
}

#[test]
fn history_pairs_with_layers_whatever_the_base_says() {
    let with_layer = |input: &AssembleInput| {
        let config = ImageConfiguration::from_reader(assemble(input).unwrap().config_bytes.as_slice()).unwrap();
        let history = config.history().clone().unwrap();
        assert_eq!(history.last().unwrap().created_by().as_deref(), Some("pixi-oci build"));
        history.iter().filter(|entry| entry.empty_layer() != Some(true)).count()
    };
    let mut input = input(Architecture::Amd64);
    assert_eq!(with_layer(&input), 2);
    input.base_history.push(History::default());
    assert_eq!(with_layer(&input), 2, "too long");
    input.base_history.clear();
    assert_eq!(with_layer(&input), 2, "none");
    input.base_layers.clear();
    assert_eq!(with_layer(&input), 1, "scratch");
}

#[test]
fn an_image_that_says_nothing_has_no_empty_fields() {
    let input = AssembleInput {
        platform: Platform { architecture: Architecture::Arm64, variant: Some("v8".into()) },
        base_layers: vec![],
        base_history: vec![],
        layers: vec![],
        settings: ImageSettings::default(),
        created: 0,
    };
    let image = assemble(&input).unwrap();
    assert_eq!(
        String::from_utf8(image.config_bytes).unwrap(),
        r#"{"architecture":"arm64","config":{},"created":"1970-01-01T00:00:00Z","history":[],"os":"linux","rootfs":{"diff_ids":[],"type":"layers"},"variant":"v8"}"#
    );
}

#[test]
fn index_is_sorted_and_has_one_image_an_architecture() {
    let [amd64, arm64] = [Architecture::Amd64, Architecture::Arm64].map(|arch| assemble(&input(arch)).unwrap());
    let none = BTreeMap::new();
    let index = Index::new(vec![arm64.clone(), amd64.clone()], &none).unwrap();
    assert_eq!(index, Index::new(vec![amd64.clone(), arm64], &none).unwrap());
    let document: Value = serde_json::from_slice(&index.bytes).unwrap();
    assert_eq!(document["manifests"][0]["platform"], serde_json::json!({"architecture": "amd64", "os": "linux"}));
    assert_eq!(document["manifests"][1]["platform"]["architecture"], "arm64");

    let mut variant = amd64.clone();
    variant.platform.variant = Some("v3".into());
    let error = Index::new(vec![amd64, variant], &none).unwrap_err();
    assert_eq!(error, Error::DuplicateArchitecture { architecture: Architecture::Amd64 });
    assert_eq!(Index::new(vec![], &none).unwrap_err(), Error::EmptyIndex);
}

#[test]
fn wrong_settings_and_times_make_no_image() {
    let mut wrong = input(Architecture::Amd64);
    wrong.settings.workdir = Some("/proc/self/fd/8".into());
    assert!(matches!(assemble(&wrong), Err(Error::Setting { setting: "workdir", .. })));
    let mut wrong = input(Architecture::Amd64);
    wrong.created = -1;
    assert_eq!(assemble(&wrong).unwrap_err(), Error::Time { seconds: -1 });
}
