//! The image configurations of other people's images.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use oci_spec::image::History;
use pixi_oci_layer::{DiffId, Digest};
use serde::Deserialize;
use serde_json::Value;

use super::{Problem, document::EntryPlatform};

/// What a base image's configuration says, as far as a build needs it.
#[derive(Debug, Clone, Default)]
pub struct BaseConfig {
    /// `Env`, in its order; what has no `=` or no name is left out.
    pub env: Vec<(String, String)>,
    /// `User`.
    pub user: Option<String>,
    /// `Entrypoint`; for information, because it is a program of the base's.
    pub entrypoint: Option<Vec<String>>,
    /// `Cmd`.
    pub cmd: Option<Vec<String>>,
    /// `WorkingDir`.
    pub workdir: Option<String>,
    /// `Volumes`.
    pub volumes: BTreeSet<String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
}

/// An image configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub platform: EntryPlatform,
    pub config: BaseConfig,
    pub diff_ids: Vec<DiffId>,
    pub history: Vec<History>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(flatten)]
    platform: EntryPlatform,
    config: Option<RawConfig>,
    rootfs: RawRootfs,
    history: Option<Vec<History>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Option<Vec<Digest>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    env: Option<Vec<String>>,
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, Value>>,
    stop_signal: Option<String>,
}

impl Configuration {
    pub(crate) fn parse(what: impl Display, bytes: &[u8], layers: usize) -> Result<Self, Problem> {
        let bad = |reason: String| Problem::document(&what, "an image configuration", reason);
        let raw: RawConfiguration = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let diff_ids: Vec<DiffId> = raw.rootfs.diff_ids.unwrap_or_default().into_iter().map(DiffId).collect();
        if diff_ids.len() != layers {
            return Err(bad(format!("it has {} diff ids, but the manifest has {layers} layers", diff_ids.len())));
        }
        let config = raw.config.unwrap_or_default();
        let pair =
            |variable: &String| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Go writes empty values for what was not said.
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let list = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        let config = BaseConfig {
            env: config.env.iter().flatten().filter_map(pair).filter(|(name, _)| !name.is_empty()).collect(),
            user: text(config.user),
            entrypoint: list(config.entrypoint),
            cmd: list(config.cmd),
            workdir: text(config.working_dir),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            stop_signal: text(config.stop_signal),
        };
        Ok(Self { platform: raw.platform, config, diff_ids, history: raw.history.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_go_has_nulls_and_empty_texts() {
        let text = r#"{"architecture":"arm64","os":"linux","variant":"v8","rootfs":{"type":"layers","diff_ids":null},
            "history":null,"config":{"User":"","Env":["A=1","B","=c","C=x=y"],"Cmd":null,"Entrypoint":[],"Volumes":{"/v":{}},
            "Labels":null,"StopSignal":"","WorkingDir":"","Healthcheck":{"Test":[]},"ArgsEscaped":true}}"#;
        let parsed = Configuration::parse("test", text.as_bytes(), 0).unwrap();
        assert_eq!(parsed.platform.to_string(), "linux/arm64/v8");
        assert_eq!(parsed.config.env, [("A".into(), "1".into()), ("C".into(), "x=y".into())]);
        assert_eq!(parsed.config.volumes, BTreeSet::from(["/v".to_owned()]));
        let BaseConfig { user, entrypoint, cmd, workdir, stop_signal, .. } = parsed.config;
        assert_eq!((user, entrypoint, cmd, workdir, stop_signal), (None, None, None, None, None));
        let error = Configuration::parse("test", text.as_bytes(), 1).unwrap_err();
        assert!(error.to_string().contains("0 diff ids"), "{error}");
        Configuration::parse("test", br#"{"rootfs":{}}"#, 0).unwrap();
        assert!(Configuration::parse("test", br#"{"rootfs":{"diff_ids":["sha256:AA"]}}"#, 1).is_err());
    }
}
