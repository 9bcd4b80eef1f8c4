//! The image configurations of base images.

use std::{collections::BTreeSet, fmt::Display};

use oci_read::document::{self as read, ImageConfig, Platform};
use oci_spec::image::History;
use pixi_oci_layer::DiffId;

use super::Problem;

/// What a base image's configuration says, as far as a build needs it.
#[derive(Debug, Clone, Default)]
pub struct BaseConfig {
    /// `Env`, in its order; what has no `=` or no name is left out.
    pub env: Vec<(String, String)>,
    pub user: Option<String>,
    pub cmd: Option<Vec<String>>,
    pub volumes: BTreeSet<String>,
    pub stop_signal: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Configuration {
    pub platform: Platform,
    pub config: BaseConfig,
    pub diff_ids: Vec<DiffId>,
    pub history: Vec<History>,
}

impl Configuration {
    pub(crate) fn parse(what: impl Display, bytes: &[u8], layers: usize) -> Result<Self, Problem> {
        let bad = |reason: String| Problem::document(&what, "an image configuration", reason);
        let read = ImageConfig::parse(bytes).map_err(|error| bad(error.to_string()))?;
        let diff_ids = read.rootfs.diff_ids.iter().map(|text| text.parse().map(DiffId)).collect::<Result<Vec<_>, _>>();
        let diff_ids = diff_ids.map_err(|error| bad(error.to_string()))?;
        if diff_ids.len() != layers {
            return Err(bad(format!("it has {} diff ids, but the manifest has {layers} layers", diff_ids.len())));
        }
        let (platform, config) = (read.platform(), read.config);
        let pair =
            |variable: &String| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let config = BaseConfig {
            env: config.env.iter().filter_map(pair).filter(|(name, _)| !name.is_empty()).collect(),
            user: text(config.user),
            cmd: Some(config.cmd).filter(|cmd| !cmd.is_empty()),
            volumes: config.volumes.into_keys().collect(),
            stop_signal: text(config.stop_signal),
        };
        Ok(Self { platform, config, diff_ids, history: read.history.into_iter().flatten().map(history).collect() })
    }
}

fn history(read: read::History) -> History {
    let mut entry = History::default();
    entry
        .set_created(read.created)
        .set_author(read.author)
        .set_created_by(read.created_by)
        .set_comment(read.comment)
        .set_empty_layer(read.empty_layer);
    entry
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
        let BaseConfig { user, cmd, stop_signal, .. } = parsed.config;
        assert_eq!((user, cmd, stop_signal), (None, None, None));
        let error = Configuration::parse("test", text.as_bytes(), 1).unwrap_err();
        assert!(error.to_string().contains("0 diff ids"), "{error}");
        Configuration::parse("test", b"{}", 0).unwrap();
        assert!(Configuration::parse("test", br#"{"rootfs":{"diff_ids":["sha256:AA"]}}"#, 1).is_err());
    }
}
