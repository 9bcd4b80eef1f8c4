//! Everything a publication depends on, besides what a build depends on.

pub mod fleet;
pub mod settings;
pub mod target;

use pixi_oci_image::Architecture;
use pixi_oci_project::{Session, VersionFacts};

use crate::{
    error::PublishError,
    leg::Legs,
    request::{settings::Settings, target::TargetForm},
    tags::{TagPlan, TagPlanInput, TagTarget, TagsThere, Version, tag_plan},
};

#[derive(Debug, Clone)]
pub struct PublishRequest {
    pub source: PublishSource,
    pub settings: Settings,
    /// Tags of the command line, instead of the configured ones.
    pub tags: Vec<String>,
    pub facts: VersionFacts,
    /// Whether layers are taken from what is published in the first repository already, if nothing else is named.
    pub takes_published: bool,
    /// Whether a dry run, too, runs the token command of the workspace.
    pub login: bool,
    /// Only report what would be done: nothing is written to a registry.
    pub dry_run: bool,
}

/// A request on its way.
pub struct Publishing<'a> {
    pub request: &'a PublishRequest,
    /// What the request's facts say, if they say one.
    pub version: Option<Version>,
    pub session: &'a Session,
}

impl<'a> Publishing<'a> {
    pub fn new(request: &'a PublishRequest, session: &'a Session) -> Self {
        Self { request, version: request.facts.version(request.settings.scheme), session }
    }

    /// The tags that a repository gets that has some already. Images of these architectures get tags of their own.
    pub fn tags(
        &self,
        form: &TargetForm,
        architectures: &[Architecture],
        known: &TagsThere,
    ) -> Result<TagPlan, PublishError> {
        let known = known.below(form.prefix());
        let input = self.tag_input(architectures, &known);
        let plan = match form {
            TargetForm::Sif { tag: Some(tag), .. } => {
                tag_plan(&TagPlanInput { explicit: std::slice::from_ref(tag), ..input })
            }
            _ => tag_plan(&input),
        };
        Ok(plan?.with_prefix(form.prefix()))
    }

    /// What these tags follow from.
    pub fn tag_input<'i>(&'i self, architectures: &'i [Architecture], known: &'i TagsThere) -> TagPlanInput<'i> {
        let request = self.request;
        TagPlanInput {
            version: self.version.as_ref(),
            scheme: request.settings.scheme,
            sha: request.facts.commit(),
            templates: &request.settings.templates,
            suffix: &request.settings.suffix,
            explicit: &request.tags,
            existing: &known.tags,
            versions: &known.versions,
            // An image that has the tags itself needs none of its own.
            architectures: if request.settings.index { architectures } else { &[] },
        }
    }
}

impl PublishRequest {
    /// Nothing is published for a change that is not merged.
    pub(crate) fn check_merged(&self) -> Result<(), PublishError> {
        match self.facts.unmerged() {
            Some((system, change)) if !self.dry_run => {
                Err(PublishError::PullRequest { system, change: change.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the workspace's images are built for it.
    pub(crate) fn builds(&self) -> bool {
        matches!(self.source, PublishSource::Workspace | PublishSource::Leg)
    }

    /// Whether images, or SIFs, are published anywhere.
    pub(crate) fn has(&self, sifs: bool) -> bool {
        self.settings.targets.iter().any(|target| target.is_sif() == sifs)
    }

    /// Whether the images can be published as the settings want them: without an index there is one.
    pub(crate) fn check_index(&self, architectures: &[Architecture]) -> Result<(), PublishError> {
        let is_joined = matches!(self.source, PublishSource::Leg | PublishSource::Legs(_));
        if self.settings.index || (architectures.len() == 1 && !is_joined) {
            return Ok(());
        }
        let names: Vec<&str> = architectures.iter().map(|architecture| architecture.as_str()).collect();
        let found = if is_joined {
            "images of several jobs are joined by an index".to_owned()
        } else {
            format!("there are {}: {}", names.len(), names.join(", "))
        };
        Err(PublishError::NoIndex { found })
    }

    /// What a tag of the index is on.
    pub(crate) fn root(&self, architectures: &[Architecture]) -> TagTarget {
        match architectures {
            [only] if !self.settings.index => TagTarget::Image(*only),
            _ => TagTarget::Index,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishSource {
    /// The workspace's images, which are built first.
    Workspace,
    /// The workspace's image for one architecture, without an index: somebody joins it with others later.
    Leg,
    /// What is in an OCI layout, `oci:DIR[:TAG]` or `oci:DIR@DIGEST`, as it is.
    Layout(String),
    /// An index of images that are in the repositories already: what their jobs left.
    Legs(Legs),
}
