//! What the workspace says about publishing, the command line over it, and the defaults below.

use std::path::PathBuf;

use crate::tags::{TagTemplate, VersionScheme};
use pixi_oci_image::Architecture;
use pixi_oci_registry::Repository;
use pixi_oci_store::base::BaseRef;
use pixi_oci_workspace::OciConfig;

use crate::{error::PublishError, leg::Legs, request::target::PublishTarget};
use pixi_oci_project::{Declared, Inputs, Session, version::scheme};

/// The tags where none are configured.
const DEFAULT_TAGS: [&str; 3] = ["{version}", "sha-{sha}", "latest"];

const DEFAULT_SIF_TAG_PREFIX: &str = "sif-";

#[derive(Debug, Clone)]
pub struct Settings {
    /// The workspace; none where a layout or legs are published without one.
    pub workspace: Option<PathBuf>,
    /// Where to, without repetition: images first, because SIFs belong to them.
    pub targets: Vec<PublishTarget>,
    pub sif_tag_prefix: String,
    /// The configured tags, or the default ones.
    pub templates: Vec<TagTemplate>,
    pub scheme: VersionScheme,
    /// Whether the tags name an image index; else they name the one image.
    pub index: bool,
    /// What every configured tag ends with.
    pub suffix: String,
    pub token_command: Option<Vec<String>>,
    /// The base image that is not pinned by its digest.
    pub unpinned_base: Option<String>,
    /// The architectures that an index must have, and who requires them.
    pub required: Option<(Vec<Architecture>, &'static str)>,
}

impl Settings {
    pub fn of(declared: &Declared) -> Result<Self, PublishError> {
        let Declared { inputs, workspace, configuration } = declared;
        let oci = &configuration.oci;
        let required = match (&inputs.architectures[..], &configuration.architectures[..]) {
            ([], []) => None,
            ([], configured) => Some((configured.to_vec(), "`arch`")),
            (chosen, _) => Some((chosen.to_vec(), "--arch")),
        };
        let unpinned_base = match BaseRef::parse(&configuration.base) {
            Ok(base) if !base.is_pinned() => Some(configuration.base.clone()),
            // The build reports what is wrong with the name.
            _ => None,
        };
        Ok(Self {
            workspace: Some(workspace.manifest_path.clone()),
            suffix: tag_suffix(declared),
            unpinned_base,
            required,
            ..Self::of_config(oci)?
        })
    }

    /// Settings of the command line alone, for what is published without a workspace.
    pub fn without_workspace(inputs: &Inputs) -> Result<Self, PublishError> {
        let architectures = &inputs.architectures;
        let required = (!architectures.is_empty()).then(|| (architectures.clone(), "--arch"));
        Ok(Self { required, ..Self::of_config(&inputs.overrides)? })
    }

    /// Settings of a leg: its index needs the architectures that are configured, else those of the lock file.
    pub fn for_leg(declared: &Declared, session: &Session) -> Result<Self, PublishError> {
        let required = match &declared.configuration.architectures[..] {
            [] => (declared.locked_architectures(session)?, "the lock file"),
            configured => (configured.to_vec(), "`arch`"),
        };
        Ok(Self { required: Some(required), ..Self::of(declared)? })
    }

    /// These settings for the index of legs, which need what their workspace said unless --arch says otherwise.
    pub fn for_legs(self, legs: &Legs, chosen: &[Architecture]) -> Self {
        let required = match chosen {
            [] => (legs.architectures().to_vec(), "the workspace of the legs"),
            chosen => (chosen.to_vec(), "--arch"),
        };
        Self { suffix: legs.publication().suffix.clone(), required: Some(required), ..self }
    }

    fn of_config(oci: &OciConfig) -> Result<Self, PublishError> {
        Ok(Self {
            workspace: None,
            targets: targets(oci)?,
            sif_tag_prefix: sif_tag_prefix(oci).to_owned(),
            templates: templates(oci)?,
            scheme: scheme(oci),
            index: oci.index.unwrap_or(true),
            suffix: String::new(),
            token_command: oci.token_command.clone(),
            unpinned_base: None,
            required: None,
        })
    }
}

/// The first repository of images that is configured, if it is one.
pub fn first_repository(oci: &OciConfig) -> Option<Repository> {
    targets(oci).ok()?.into_iter().find(|target| !target.is_sif()).map(|target| target.repository)
}

fn sif_tag_prefix(oci: &OciConfig) -> &str {
    oci.sif_tag_prefix.as_deref().unwrap_or(DEFAULT_SIF_TAG_PREFIX)
}

fn targets(oci: &OciConfig) -> Result<Vec<PublishTarget>, PublishError> {
    let prefix = sif_tag_prefix(oci);
    let mut targets: Vec<PublishTarget> = Vec::new();
    for text in oci.repositories.iter().flatten() {
        let target = PublishTarget::parse(text, prefix)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets.sort_by_key(PublishTarget::is_sif);
    if targets.is_empty() { Err(PublishError::NoRepository) } else { Ok(targets) }
}

fn templates(oci: &OciConfig) -> Result<Vec<TagTemplate>, PublishError> {
    let parse = |texts: &mut dyn Iterator<Item = &str>| texts.map(TagTemplate::parse).collect::<Result<_, _>>();
    Ok(match &oci.tags {
        Some(tags) => parse(&mut tags.iter().map(String::as_str)),
        None => parse(&mut DEFAULT_TAGS.into_iter()),
    }?)
}

/// Two environments of a workspace in one repository would take each other's tags away: one that is not the workspace's
/// usual one, and has neither tags nor repositories of its own, has its name at the end of its tags.
pub fn tag_suffix(declared: &Declared) -> String {
    let (workspace, environment) = (&declared.workspace, declared.configuration.environment.as_str());
    let usual = workspace.oci.environment.as_deref().unwrap_or("default");
    let own = workspace.oci.environments.get(environment);
    let is_told_apart = own.is_some_and(|own| own.tags.is_some() || own.repositories.is_some());
    if environment == usual || is_told_apart { String::new() } else { format!("-{environment}") }
}
