//! What all commands that publish have in common.

use std::{collections::BTreeSet, num::NonZeroU64, path::PathBuf, process::ExitCode};

use pixi_oci_project::{Declared, Error, Inputs, Project, Session, VersionFacts};
use pixi_oci_publish::{
    DestinationReport, Legs, PublishError, PublishReport, PublishRequest, PublishSource, Settings, publish_images,
};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::OciConfig;

use crate::{
    args::{ImageArgs, PublishingArgs, Selection, registries::logins},
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    output::blockers,
    output::progress::Progress,
    result::print_report,
};

pub enum WorkspaceNeed<'a> {
    Always,
    /// Only where the command line does not say where to.
    WithoutDestination,
    /// Only one that was named.
    OfLegs(&'a Legs),
}

/// The workspace, if there is one, and a session.
pub struct Publication {
    pub path: PathBuf,
    pub inputs: Inputs,
    pub declared: Option<Declared>,
    pub session: Session,
    login: bool,
}

impl Publication {
    /// Opens the workspace, where one is needed.
    pub fn new(
        selection: &Selection,
        image: Option<(&ImageArgs, &LayerArgs)>,
        means: &Means,
        registry: &PublishingArgs,
        need: &WorkspaceNeed<'_>,
    ) -> Result<Self, CliError> {
        let workspace = match need {
            WorkspaceNeed::Always => Some(selection.open()?),
            WorkspaceNeed::WithoutDestination if !registry.to.is_empty() => selection.open().ok(),
            WorkspaceNeed::WithoutDestination => Some(selection.open()?),
            WorkspaceNeed::OfLegs(_) => selection.workspace.is_named().then(|| selection.open()).transpose()?,
        };
        let (image, layers) = image.unzip();
        let cache_from = layers.map(|layers| layers.cache_from.as_slice()).unwrap_or_default();
        let mut session = means.session(workspace.as_ref(), registry.registry.access(), layers)?;
        let mut inputs = selection.inputs(image, cache_from)?;
        inputs.overrides.repositories = (!registry.to.is_empty()).then(|| registry.to.clone());
        if let WorkspaceNeed::OfLegs(legs) = need {
            inputs.overrides = inputs.overrides.over(legs.configuration());
        }
        let declared = workspace.map(|workspace| Declared::new(workspace.into(), inputs.clone())).transpose()?;
        let oci = declared.as_ref().map_or(&inputs.overrides, |declared| &declared.configuration.oci);
        let bytes = |megabytes: NonZeroU64| megabytes.get().saturating_mul(1_000_000);
        session.registries.options.chunk_size = oci.chunk_size.map(bytes);
        session.registries.options.check_blobs = oci.check_blobs.unwrap_or(false);
        session.registries.credentials.logins = logins(&hosts(oci), &oci.registries)?;
        Ok(Self { path: selection.workspace.path(), inputs, declared, session, login: registry.login })
    }

    /// For what asks registries.
    pub fn online(self) -> Result<Self, CliError> {
        if self.session.offline {
            return Err(CliError::Usage("a registry cannot be reached offline; leave out --offline".into()));
        }
        Ok(self)
    }

    /// The environments of the workspace: `all` of the lock file, or the one that was named; if `unnamed` was, see
    /// [`Project::or_every_environment`].
    pub fn environments(&self, all: bool, unnamed: bool, session: &Session) -> Result<Vec<Project>, Error> {
        let Some(declared) = self.declared.clone() else { return Ok(Vec::new()) };
        if all {
            return Project::open_all(declared, session);
        }
        Project::open(declared, session)?.or_every_environment(unnamed)
    }

    /// A dry run of a publication.
    pub fn request(&self, source: PublishSource) -> Result<PublishRequest, CliError> {
        let settings = match (&self.declared, &source) {
            (Some(declared), PublishSource::Leg) => Settings::for_leg(declared, &self.session),
            (Some(declared), _) => Settings::of(declared),
            (None, _) => Settings::without_workspace(&self.inputs),
        }?;
        let facts = self.inputs.provenance.version.clone();
        let request = |source, settings, facts| PublishRequest {
            source,
            settings,
            tags: Vec::new(),
            facts,
            takes_published: false,
            login: self.login,
            dry_run: true,
        };
        let PublishSource::Legs(legs) = source else { return Ok(request(source, settings, facts)) };
        // Without a workspace the repository of the current directory has nothing to do with the legs.
        let now = match self.declared {
            Some(_) => facts,
            None => VersionFacts { said: facts.said, ci: facts.ci, ..VersionFacts::default() },
        };
        let facts = legs.facts(&now, settings.scheme)?;
        let (settings, tags) = (settings.for_legs(&legs, &self.inputs.architectures), legs.chosen_tags().to_vec());
        Ok(PublishRequest { tags, ..request(PublishSource::Legs(legs), settings, facts) })
    }

    /// Publishes with progress. What blocks everywhere is said, and is an error.
    pub fn publish(&self, request: &PublishRequest, output: &Output) -> Result<PublishReport, CliError> {
        let progress = Progress::new(output);
        let session = self.session.with_events(progress.listener());
        let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
        let project = self.declared.clone().filter(|_| builds).map(|declared| Project::open(declared, &session));
        let result = project
            .transpose()
            .map_err(PublishError::from)
            .and_then(|project| publish_images(request, project.as_ref(), &session));
        progress.finish();
        if let Err(PublishError::Blocked(destinations)) = &result {
            failures(destinations, output);
        }
        Ok(result?)
    }
}

/// The registries that are published to. What is wrong with a name is said where it is used.
fn hosts(oci: &OciConfig) -> BTreeSet<String> {
    let repositories = oci.repositories.iter().flatten().filter_map(|text| {
        let name = text.strip_prefix("oras://").unwrap_or(text);
        name.parse::<RepositoryRef>().ok()
    });
    repositories.map(|parsed| parsed.repository.host().to_owned()).collect()
}

/// Says how it went, and prints the result.
pub fn show(report: &PublishReport, json: bool, output: &Output) -> Result<ExitCode, CliError> {
    announce(report, output);
    print_report(report, json, || references(report), output)?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is there now, one line a repository.
pub fn references(report: &PublishReport) -> String {
    let references = report.destinations.iter().filter_map(|destination| destination.reference.as_deref());
    references.collect::<Vec<_>>().join("\n")
}

/// Says how it went.
pub fn announce(report: &PublishReport, output: &Output) {
    if report.dry_run {
        output.say("dry run: nothing is published without --publish or PUBLISH=1");
    }
    report.destinations.iter().flat_map(DestinationReport::lines).for_each(|line| output.say(&line));
    failures(&report.destinations, output);
}

/// Says what went wrong.
pub fn failures(destinations: &[DestinationReport], output: &Output) {
    for destination in destinations {
        if let Some(failure) = &destination.failure {
            blockers::failure(output, &destination.repository, failure);
        }
    }
}
