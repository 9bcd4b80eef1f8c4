//! One publication, from the first question to the last tag.

use pixi_oci_image::Architecture;
use pixi_oci_publish::{
    push::{Ahead, PushPlan, PushReport, TagRule, push},
    registry::{Access, CredentialSources, Error, Registry, Repository},
    tags::{Release, TagPlan, TagPlanInput, Version, tag_plan},
};

use super::{
    DestinationReport, FailureReport, KeptTag, Leg, PublishError, PublishReport, PublishRequest, PublishSource,
    PublishedTag, Status,
    ahead::{Way, publish_started},
    content::{Content, content},
    join,
    leg::{CheckedLeg, read_legs},
    mount,
    settings::{Settings, settings},
};
use crate::{
    OnEvent,
    build::{reference, stage},
    cache::Pushed,
    network::Network,
    remote::{Published, RemoteMeans, RemoteRepository},
    reuse::{OnLayer, Remote},
};
use pixi_oci_net::Client;

/// A repository on the way.
pub struct Stop {
    pub(super) repository: Repository,
    /// `Err`: what blocks.
    pub(super) state: Result<Open, Error>,
}

/// A repository that answers.
pub struct Open {
    pub(super) registry: Registry,
    pub(super) existing: Vec<String>,
}

/// Builds or reads what `request` says, and publishes it to all repositories.
///
/// Every registry is asked first. If one blocks, nothing is published, and the report says which. Then they are served
/// one after another, and one that fails does not keep the others from being served.
///
/// # Errors
///
/// See [`PublishError`]: nothing was published then. What fails at one repository is in the report.
pub fn publish_images(
    request: &PublishRequest,
    client: &Client,
    on_event: OnEvent<'_>,
) -> Result<PublishReport, PublishError> {
    if let (false, Some((system, change))) = (request.dry_run, request.facts.unmerged()) {
        return Err(PublishError::PullRequest { system, change: change.to_owned() });
    }
    let settings = settings(request)?;
    let legs = match &request.source {
        PublishSource::Legs(paths) => read_legs(paths)?,
        _ => Vec::new(),
    };
    let version = version(request, &legs)?;
    // What can be known without asking anybody is said before anything is done.
    let first = tags(request, &settings, version.as_ref(), &[], &[])?;
    check_base(request, &settings, version.as_ref(), &first)?;

    let mut network = Network::new(&request.build.interrupted, on_event)?;
    let mut stops = open(request, &settings, &legs, &mut network)?;
    if stops.iter().any(|stop| stop.state.is_err()) {
        // Nobody has to wait for a build that cannot be published.
        return Err(PublishError::Blocked(blocked(stops)));
    }
    let remote = remote(request, &settings, version.as_ref(), &first, &stops, on_event)?;
    let layers = remote.as_ref().map(|remote| remote as &dyn Remote);
    let all_tags = tags(request, &settings, version.as_ref(), &[Architecture::Amd64, Architecture::Arm64], &[])?;
    let way = Way::find(request, &all_tags, &stops, remote.as_ref());
    let mut ahead = None;
    let content = content(request, &settings, &legs, || {
        let build = |on_layer: OnLayer<'_>| stage(&request.build, client, layers, on_layer, on_event);
        let Some(way) = way else { return build(&|_, _| ()) };
        let (staged, sent) = way.send_while(&mut network, on_event, build)?;
        ahead = Some(sent);
        Ok(staged)
    })?;
    let architectures: Vec<Architecture> =
        content.architectures.iter().map(|(architecture, _)| *architecture).collect();
    let mut plans = Vec::new();
    for stop in &mut stops {
        let Ok(open) = &stop.state else { continue };
        let tags = tags(request, &settings, version.as_ref(), &architectures, &open.existing)?;
        let plan = PushPlan {
            tags: content.tag_steps(&tags, request.source == PublishSource::Leg),
            dry_run: request.dry_run,
            ..content.plan.clone()
        };
        let guarded = network.run(guard(&plan, &open.registry, &stop.repository))?;
        if let Err(error) = guarded {
            stop.state = Err(error);
        }
        plans.push((plan, tags));
    }
    let mut report = PublishReport {
        dry_run: request.dry_run,
        version: version.as_ref().map(Version::to_string),
        digest: content.root.digest,
        media_type: content.root.media_type.to_string(),
        images: content.images.clone(),
        destinations: Vec::new(),
        leg: None,
        build: None,
    };
    if stops.iter().any(|stop| stop.state.is_err()) {
        report.destinations = blocked(stops);
        report.build = content.build;
        return Ok(report);
    }
    let mut served: Vec<Repository> = Vec::new();
    let sent = Pushed::open(&request.build.cache_dir);
    for (stop, (mut plan, tags)) in stops.iter().zip(plans) {
        let Ok(open) = &stop.state else { continue };
        let Ahead { arrived, failure } = match ahead.take() {
            Some(ahead) => ahead,
            None => {
                on_event(publish_started(&stop.repository, &plan));
                Ahead::default()
            }
        };
        plan.arrived = arrived;
        let same_host = served.iter().filter(|other| other.host() == stop.repository.host());
        plan.mount_from = same_host.map(|other| other.path().into()).collect();
        plan.mount_from.extend(remote.iter().flat_map(|remote| remote.mount_from(&stop.repository)));
        plan.mount_from.extend(mount::base(&content, &stop.repository));
        let asked = |path: &str| plan.mount_from.iter().any(|from| from.path == path && from.blobs.is_none());
        let mut from = sent.mount_from(&stop.repository, &content.blobs());
        from.retain(|from| !asked(&from.path));
        plan.mount_from.extend(from);
        let pushed = match failure {
            Some(error) => Err(error),
            None => network.run(push(&plan, &open.registry))?,
        };
        let linked = remote.as_ref().map(|remote| remote.linked(&stop.repository)).unwrap_or_default();
        let pushed = pushed.map(|pushed| mount::with_linked(pushed, &linked));
        if pushed.is_ok() {
            if !request.dry_run {
                sent.put(&stop.repository, &content.blobs());
            }
            served.push(stop.repository.clone());
        }
        report.destinations.push(destination(request, &stop.repository, &content, &tags, pushed));
    }
    report.leg = leg(request, &report, &content);
    report.build = content.build;
    Ok(report)
}

/// The images whose layers are taken: those that were named, else what is published in the first repository already. A
/// release is made anew unless images were named.
pub fn remote<'a>(
    request: &'a PublishRequest,
    settings: &Settings,
    version: Option<&Version>,
    tags: &TagPlan,
    stops: &[Stop],
    on_event: OnEvent<'a>,
) -> Result<Option<Published<'a>>, PublishError> {
    let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
    let is_release = version.and_then(Version::release).is_some();
    let named = &request.build.cache_from;
    // Without a layer cache all layers are to be made anew.
    let by_itself = request.takes_published && !is_release && request.build.layer_cache > 0;
    if !builds || (named.is_empty() && !by_itself) {
        return Ok(None);
    }
    let remote = |repository: &Repository, reference| RemoteRepository {
        repository: repository.clone(),
        reference,
        credentials: credentials(request, settings, repository),
    };
    let from: Vec<RemoteRepository> = if named.is_empty() {
        let first = stops.first().and_then(|stop| Some((&stop.repository, stop.state.as_ref().ok()?)));
        first
            .and_then(|(repository, open)| Some(remote(repository, Some(last_published(tags, &open.existing)?))))
            .into_iter()
            .collect()
    } else {
        named.iter().map(|from| remote(&from.repository, Some(reference(from)))).collect()
    };
    if from.is_empty() {
        return Ok(None);
    }
    let to = settings.repositories.iter().map(|repository| remote(repository, None)).collect();
    let means = RemoteMeans {
        options: &request.access.options,
        scratch: request.build.cache_dir.join("previous"),
        may_link: !request.dry_run,
        interrupted: &request.build.interrupted,
        on_event,
    };
    Ok(Some(Published::new(from, to, means)?))
}

/// The tag of what was published before: one that is put again, else `latest`, else that of the newest release.
fn last_published(tags: &TagPlan, existing: &[String]) -> Option<String> {
    let again = tags.tags.iter().map(|planned| &planned.tag).find(|tag| existing.contains(tag));
    let latest = existing.iter().find(|tag| *tag == "latest");
    let releases = existing.iter().filter_map(|tag| Some((tag.parse::<Release>().ok()?, tag)));
    again.or(latest).or_else(|| releases.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, tag)| tag)).cloned()
}

/// The version; that of legs has to be the one that is published now.
fn version(request: &PublishRequest, legs: &[CheckedLeg]) -> Result<Option<Version>, PublishError> {
    let known = request.facts.version();
    let (Some(leg), PublishSource::Legs(paths)) = (legs.first(), &request.source) else { return Ok(known) };
    let name = known.as_ref().map(Version::to_string);
    match (&leg.leg.version, name) {
        (Some(built), Some(now)) if *built != now => Err(PublishError::LegMismatch {
            path: paths[0].clone(),
            reason: format!("it is {built}, and what is published now is {now}"),
        }),
        _ => Ok(known),
    }
}

/// The tags that a repository gets that has some already. Images of these architectures get tags of their own.
pub fn tags(
    request: &PublishRequest,
    settings: &Settings,
    version: Option<&Version>,
    architectures: &[Architecture],
    existing: &[String],
) -> Result<TagPlan, PublishError> {
    Ok(tag_plan(&TagPlanInput {
        version,
        sha: request.facts.commit(),
        templates: &settings.templates,
        suffix: &settings.suffix,
        explicit: &request.tags,
        existing,
        architectures,
    })?)
}

/// A release is what it is for ever, and so must be what it is made of.
fn check_base(
    request: &PublishRequest,
    settings: &Settings,
    version: Option<&Version>,
    tags: &TagPlan,
) -> Result<(), PublishError> {
    let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
    let release = || {
        let asked = tags.tags.iter().find_map(|planned| planned.tag.parse::<Release>().ok());
        version.and_then(Version::release).or(asked)
    };
    match (&settings.unpinned_base, release()) {
        (Some(base), Some(release)) if builds => {
            Err(PublishError::UnpinnedBase { version: release.to_string(), base: base.clone() })
        }
        _ => Ok(()),
    }
}

/// Asks every registry whether it is there, and what tags it has.
pub fn open(
    request: &PublishRequest,
    settings: &Settings,
    legs: &[CheckedLeg],
    network: &mut Network<'_>,
) -> Result<Vec<Stop>, PublishError> {
    let mut stops = Vec::new();
    for repository in &settings.repositories {
        let sources = credentials(request, settings, repository);
        let events = network.events();
        let opened = network.run(async {
            let credentials = sources.find(repository).await?;
            let access = if request.dry_run { Access::Pull } else { Access::Push };
            let registry = Registry::connect(repository, access, &request.access.options, credentials, events)?;
            registry.ping().await?;
            join::check(legs, &registry, repository).await?;
            Ok(Open { existing: registry.tags().await?, registry })
        })?;
        stops.push(Stop { repository: repository.clone(), state: opened });
    }
    Ok(stops)
}

/// A token is for one registry: the first one. The others find theirs by their host.
pub(super) fn credentials(request: &PublishRequest, settings: &Settings, repository: &Repository) -> CredentialSources {
    let mut sources = request.access.credentials.clone();
    sources.token_command = sources.token_command.or_else(|| settings.token_command.clone());
    if settings.repositories.first().is_some_and(|first| first.host() != repository.host()) {
        sources.token = None;
        sources.token_command = None;
    }
    sources
}

/// Whether the immutable tags are free, or name the same already.
async fn guard(plan: &PushPlan, registry: &Registry, repository: &Repository) -> Result<(), Error> {
    for step in plan.tags.iter().filter(|step| step.rule == TagRule::Immutable) {
        match registry.head_manifest(&step.tag).await? {
            Some(present) if present.digest != step.target => {
                return Err(Error::TagExists {
                    repository: repository.to_string(),
                    tag: step.tag.clone(),
                    present: present.digest.to_string(),
                    wanted: step.target,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn blocked(stops: Vec<Stop>) -> Vec<DestinationReport> {
    let report = |stop: Stop| {
        let failure = stop.state.err().map(|error| FailureReport::new(&error));
        let status = if failure.is_some() { Status::Failed } else { Status::NotTried };
        DestinationReport { failure, ..empty(&stop.repository, status) }
    };
    stops.into_iter().map(report).collect()
}

fn empty(repository: &Repository, status: Status) -> DestinationReport {
    DestinationReport {
        repository: repository.to_string(),
        reference: None,
        status,
        tags: Vec::new(),
        kept: Vec::new(),
        uploaded: Vec::new(),
        mounted: Vec::new(),
        present: Vec::new(),
        manifests: Vec::new(),
        bytes: 0,
        requests: 0,
        failure: None,
    }
}

fn destination(
    request: &PublishRequest,
    repository: &Repository,
    content: &Content,
    tags: &TagPlan,
    pushed: Result<PushReport, Error>,
) -> DestinationReport {
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(error) => {
            let failure = Some(FailureReport::new(&error));
            return DestinationReport { failure, ..empty(repository, Status::Failed) };
        }
    };
    let status = if request.dry_run { Status::WouldPublish } else { Status::Published };
    let tag = |tag: &pixi_oci_publish::push::TagResult| PublishedTag {
        tag: tag.tag.clone(),
        digest: tag.new,
        previous: tag.old,
    };
    // A dry run sends nothing: what it would send is known all the same.
    let bytes = if request.dry_run { content.bytes_of(&pushed.uploaded) } else { pushed.bytes };
    DestinationReport {
        reference: Some(format!("{repository}@{}", content.root.digest)),
        tags: pushed.tags.iter().map(tag).collect(),
        kept: tags.kept.iter().map(|k| KeptTag { tag: k.tag.clone(), reason: k.reason.to_string() }).collect(),
        uploaded: pushed.uploaded,
        mounted: pushed.mounted,
        present: pushed.present,
        manifests: pushed.manifests,
        bytes,
        requests: pushed.requests,
        ..empty(repository, status)
    }
}

/// For the job that joins: only of what is published wherever it should be.
fn leg(request: &PublishRequest, report: &PublishReport, content: &Content) -> Option<Leg> {
    if request.source != PublishSource::Leg || request.dry_run || !report.is_complete() {
        return None;
    }
    let stored = content.stored.as_ref()?;
    let image = stored.images.first()?;
    let repositories = report.destinations.iter().map(|destination| destination.repository.clone()).collect();
    let manifest = &image.image.manifest.descriptor;
    Some(Leg::new(report.version.clone(), image.platform.as_ref()?, manifest, repositories, stored.annotations()))
}
