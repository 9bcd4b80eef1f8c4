//! The repositories that a publication goes to, and what they have.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use oci_read::document::Document;
use pixi_oci_pipeline::RELEASE;
use pixi_oci_registry::{
    Access, CredentialSources, Credentials, Error, ErrorKind, Registry, Repository, push::PushPlan, variable_suffix,
};

use crate::{
    error::PublishError,
    leg::{CheckedLeg, join},
    request::{
        PublishRequest, Publishing,
        target::{PublishTarget, TargetForm},
    },
    tags::{TagPlan, TagsThere, to_look_up},
};

/// A repository on the way.
pub struct Destination {
    pub target: PublishTarget,
    /// `Err`: what blocks.
    pub state: Result<Connection, Error>,
    /// Whether it blocks only because there is no login, which a dry run does without.
    pub needs_login: bool,
    /// What it gets, once that is known.
    pub plan: Option<(PushPlan, TagPlan)>,
}

impl Destination {
    /// Whether nothing can be published because of it.
    pub fn blocks(&self) -> bool {
        self.state.is_err() && !self.needs_login
    }
}

/// A repository that answers.
pub struct Connection {
    pub registry: Registry,
    pub known: TagsThere,
}

/// Reads from the manifests themselves whether tags that the plan would put are releases or aliases, and whether those that keep
/// others where they are belong to the same form: a name does not tell. Tags of the other form are left out.
pub async fn look_up(
    registry: &Registry,
    form: &TargetForm,
    there: TagsThere,
    tags: impl Fn(&TagsThere) -> Result<TagPlan, PublishError>,
) -> Result<TagsThere, Error> {
    let mut known = TagsThere { versions: Default::default(), ..there };
    let mut seen = BTreeSet::new();
    loop {
        // The caller says what is wrong with it.
        let Ok(plan) = tags(&known) else { return Ok(known) };
        let mut others = BTreeSet::new();
        for tag in to_look_up(&plan, &known.tags).into_iter().filter(|tag| seen.insert(tag.clone())) {
            let bytes = match registry.manifest(&tag).await {
                // It is gone by now, or just being put, by a run that looks at the tags after that.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    others.insert(tag);
                    continue;
                }
                read => read?.1,
            };
            let Ok(document) = Document::parse("", &bytes) else { continue };
            let version = document.common().annotations.get(RELEASE);
            if document.is_sif() != form.is_sif() {
                others.insert(tag);
            } else if let Some(version) = version.filter(|_| plan.tags.iter().any(|planned| planned.tag == tag)) {
                known.versions.insert(tag, version.clone());
            }
        }
        if others.is_empty() {
            return Ok(known);
        }
        known.tags.retain(|tag| !others.contains(tag));
    }
}

/// Asks all registries at the same time whether they are there, what tags they have, and before a publication whether they take
/// uploads.
pub fn open(run: &Publishing<'_>, legs: &[CheckedLeg]) -> Result<Vec<Destination>, PublishError> {
    let all = run.request.settings.targets.iter().map(|target| open_one(run, legs, target));
    let mut destinations = Vec::new();
    for (destination, warning) in run.session.run(join_all(all))? {
        if let Some(warning) = warning {
            run.session.warn(warning);
        }
        destinations.push(destination);
    }
    Ok(destinations)
}

/// One of them, and what is to be said of it.
async fn open_one(run: &Publishing<'_>, legs: &[CheckedLeg], target: &PublishTarget) -> (Destination, Option<String>) {
    let (request, repository) = (run.request, &target.repository);
    let mut is_anonymous = false;
    let opened = async {
        let credentials = credentials(run, repository).find(repository).await?;
        is_anonymous = credentials == Credentials::Anonymous;
        let registry = connect_as(credentials, run, repository).await?;
        join::check(legs, &registry, repository).await?;
        let known = TagsThere { tags: registry.tags().await?, ..TagsThere::default() };
        if !request.dry_run {
            // A build that may not be uploaded is not begun.
            registry.probe_upload().await?;
        }
        Ok(Connection { known, registry })
    };
    let opened: Result<Connection, Error> = opened.await;
    let others = others_login(request, repository);
    let state = opened.map_err(|error| match &others {
        Some(variables) if error.kind() == ErrorKind::EmptyToken => error.with_hint(variables),
        _ => error,
    });
    let is_denied = state.as_ref().is_err_and(|error| error.kind() == ErrorKind::AuthDenied);
    let needs_login = request.dry_run && is_anonymous && is_denied;
    // Many registries let everybody read.
    let is_readable = match &state {
        Ok(open) if request.dry_run => open.registry.wants_login().await,
        _ => false,
    };
    let has_program = others.is_none() && request.settings.token_command.is_some();
    let is_warned = (is_readable && !has_program) || (needs_login && others.is_some());
    let warning = is_warned.then(|| {
        let how = others.as_deref().unwrap_or("set REGISTRY_TOKEN, or log in with `podman login` or `docker login`");
        format!("no login for {} (BLOCKER(empty-token) with --publish); {how}", repository.host())
    });
    (Destination { target: target.clone(), state, needs_login, plan: None }, warning)
}

/// How to log in at a registry that the token of the first one is not for.
fn others_login(request: &PublishRequest, repository: &Repository) -> Option<String> {
    let first = &request.settings.targets.first()?.repository;
    if first.host() == repository.host() {
        return None;
    }
    let (first, name) = (first.host(), variable_suffix(repository.host()));
    Some(format!(
        "REGISTRY_TOKEN and the token command are for {first}; set REGISTRY_USER_{name} and REGISTRY_TOKEN_{name}"
    ))
}

pub async fn connect(run: &Publishing<'_>, repository: &Repository) -> Result<Registry, Error> {
    connect_as(credentials(run, repository).find(repository).await?, run, repository).await
}

async fn connect_as(
    credentials: Credentials,
    run: &Publishing<'_>,
    repository: &Repository,
) -> Result<Registry, Error> {
    let session = run.session;
    let access = if run.request.dry_run { Access::Pull } else { Access::Push };
    let options = &session.registries.options;
    let registry = Registry::connect(repository, access, options, credentials, session.upload_events(repository))?;
    registry.ping().await?;
    Ok(registry)
}

/// A token is for one registry: the first one. The others find theirs by their host.
pub fn credentials(run: &Publishing<'_>, repository: &Repository) -> CredentialSources {
    let request = run.request;
    let mut sources = run.session.registries.credentials.clone();
    // A manifest's program is run where a token is needed, and never for a change that is not merged: whoever proposes the change
    // writes the manifest.
    let runs = (!request.dry_run || request.login) && request.facts.unmerged().is_none();
    sources.token_command = request.settings.token_command.clone().filter(|_| runs);
    if others_login(request, repository).is_some() {
        sources.token = None;
        sources.token_command = None;
    }
    sources
}
