//! From configuration, packages and base image to the image's runtime settings, labels and annotations.

use std::collections::BTreeMap;

use pixi_oci_image::ImageSettings;
use pixi_oci_store::base::BaseConfig;
use pixi_oci_workspace::{OciConfig, Workspace};

use pixi_oci_project::Configuration;

/// What the standard annotations are made of (OCI image-spec, annotations.md).
pub struct Provenance<'a> {
    pub workspace: &'a Workspace,
    pub environment: &'a str,
    pub oci: &'a OciConfig,
    /// The release that is made, else the commit by its short name.
    pub version: Option<String>,
    pub release: Option<String>,
    pub revision: Option<String>,
    /// RFC 3339.
    pub created: &'a str,
}

/// The annotation that tells a release from an alias: the whole version, whatever tag the index is found by.
pub const RELEASE: &str = "dev.pixi-oci.version";

/// The annotations of the index and of each image manifest, which are also the image's labels.
pub fn standard_annotations(provenance: &Provenance<'_>) -> BTreeMap<String, String> {
    let workspace = provenance.workspace;
    let title = match provenance.environment {
        "default" => workspace.about.name.clone(),
        other => format!("{} ({other})", workspace.about.name),
    };
    let one_line = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    [
        ("title", Some(title)),
        ("version", provenance.version.clone()),
        ("description", workspace.about.description.as_ref().map(one_line)),
        ("licenses", workspace.about.license.as_ref().map(one_line)),
        ("authors", (!workspace.about.authors.is_empty()).then(|| workspace.about.authors.join(", "))),
        ("source", provenance.oci.source.clone().or(workspace.about.repository.clone())),
        ("url", provenance.oci.url.clone().or(workspace.about.homepage.clone())),
        ("revision", provenance.revision.clone()),
        ("created", Some(provenance.created.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?)))
    .chain(provenance.oci.annotations.clone())
    .chain(provenance.release.clone().map(|release| (RELEASE.to_owned(), release)))
    .collect()
}

/// What the image's runtime settings are made of.
pub struct ImageInput<'a> {
    pub configuration: &'a Configuration,
    /// What the base image's configuration says, if there is one.
    pub base: Option<&'a BaseConfig>,
    pub env: Vec<(String, String)>,
    /// The script that activates what variables cannot.
    pub entrypoint: Option<&'a str>,
    pub task: Option<Vec<String>>,
    /// Labels and annotations that follow from the workspace and the base.
    pub annotations: BTreeMap<String, String>,
}

/// Puts the settings together; the configuration wins over what is inherited.
pub fn image_settings(input: ImageInput<'_>) -> ImageSettings {
    let oci = &input.configuration.oci;
    let base = input.base.cloned().unwrap_or_default();
    let own: Vec<String> = oci.entrypoint.clone().unwrap_or_default();
    // Activation comes before whatever else is to run.
    let entrypoint: Vec<String> = input.entrypoint.map(str::to_string).into_iter().chain(own).collect();
    let mut labels = input.annotations.clone();
    labels.extend(oci.labels.clone());
    ImageSettings {
        env: input.env,
        entrypoint: (!entrypoint.is_empty()).then_some(entrypoint),
        cmd: oci.cmd.clone().or(input.task).or(base.cmd),
        user: oci.user.clone().or(base.user),
        workdir: Some(input.configuration.workdir.clone()),
        labels,
        exposed_ports: oci.ports.iter().flatten().map(ToString::to_string).collect(),
        volumes: base.volumes,
        stop_signal: base.stop_signal,
        manifest_annotations: input.annotations,
    }
}
