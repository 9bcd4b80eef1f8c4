//! What the workspace says about publishing, the command line over it, and the defaults below.

use pixi_oci_image::Architecture;
use pixi_oci_lock::LockFile;
use pixi_oci_publish::{
    base::BaseRef,
    registry::{Repository, RepositoryRef},
    tags::TagTemplate,
};
use pixi_oci_workspace::{OciConfig, Workspace};

use super::{PublishError, PublishRequest, PublishSource};
use crate::{BuildRequest, Error, configuration::configuration, target::locked_architectures};

/// The tags where none are configured.
const DEFAULT_TAGS: [&str; 3] = ["{version}", "sha-{sha}", "latest"];

/// How a workspace is published.
pub struct Settings {
    /// Where to, without repetition.
    pub repositories: Vec<Repository>,
    /// The configured tags, or the default ones.
    pub templates: Vec<TagTemplate>,
    /// What every configured tag ends with.
    pub suffix: String,
    /// The configured token command.
    pub token_command: Option<Vec<String>>,
    /// The base image that is not pinned by its digest.
    pub unpinned_base: Option<String>,
    /// The architectures that an index must have, and who says so.
    pub required: Option<(Vec<Architecture>, &'static str)>,
}

/// Puts the sources together. A layout that is published with `--to` needs no workspace.
pub fn settings(request: &PublishRequest) -> Result<Settings, PublishError> {
    let build = &request.build;
    let workspace = match Workspace::open(&build.workspace) {
        Ok(workspace) => workspace,
        Err(_) if matches!(request.source, PublishSource::Layout(_)) && build.overrides.repositories.is_some() => {
            return without_workspace(build);
        }
        Err(error) => return Err(Error::from(error).into()),
    };
    let configuration = configuration(build, &workspace)?;
    let oci = &configuration.oci;
    let required = match (&build.architectures[..], &configuration.architectures[..], &request.source) {
        ([], [], PublishSource::Legs(_)) => {
            let lock = LockFile::of(&workspace).map_err(Error::from)?;
            Some((locked_architectures(&lock, &configuration.environment)?, "the lock file"))
        }
        ([], [], _) => None,
        ([], configured, _) => Some((configured.to_vec(), "`arch`")),
        (said, _, _) => Some((said.to_vec(), "--arch")),
    };
    let unpinned_base = match BaseRef::parse(&configuration.base) {
        Ok(base) if !base.is_pinned() => Some(configuration.base.clone()),
        // What is no base image is said by the build.
        _ => None,
    };
    Ok(Settings {
        repositories: repositories(oci.repositories.as_deref().unwrap_or_default())?,
        templates: templates(oci)?,
        suffix: tag_suffix(&workspace, &configuration.environment),
        token_command: oci.token_command.clone(),
        unpinned_base,
        required,
    })
}

fn without_workspace(build: &BuildRequest) -> Result<Settings, PublishError> {
    let said = &build.overrides;
    let architectures = &build.architectures;
    Ok(Settings {
        repositories: repositories(said.repositories.as_deref().unwrap_or_default())?,
        templates: templates(said)?,
        suffix: String::new(),
        token_command: said.token_command.clone(),
        unpinned_base: None,
        required: (!architectures.is_empty()).then(|| (architectures.clone(), "--arch")),
    })
}

/// The first repository that is configured, if it is one.
pub fn first_repository(oci: &OciConfig) -> Option<Repository> {
    repositories(oci.repositories.as_deref().unwrap_or_default()).ok()?.into_iter().next()
}

/// Repositories by their names, each once.
pub fn repositories(texts: &[String]) -> Result<Vec<Repository>, PublishError> {
    let mut repositories: Vec<Repository> = Vec::new();
    for text in texts {
        let parsed: RepositoryRef = text.parse()?;
        if parsed.tag.is_some() || parsed.digest.is_some() {
            return Err(PublishError::TaggedRepository { text: text.chars().take(300).collect() });
        }
        if !repositories.contains(&parsed.repository) {
            repositories.push(parsed.repository);
        }
    }
    if repositories.is_empty() { Err(PublishError::NoRepository) } else { Ok(repositories) }
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
pub fn tag_suffix(workspace: &Workspace, environment: &str) -> String {
    let usual = workspace.oci.environment.as_deref().unwrap_or("default");
    let own = workspace.oci.environments.get(environment);
    let is_told_apart = own.is_some_and(|own| own.tags.is_some() || own.repositories.is_some());
    if environment == usual || is_told_apart { String::new() } else { format!("-{environment}") }
}
