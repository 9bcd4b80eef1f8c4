//! One publication, from the first question to the last tag.

use std::collections::BTreeSet;

use crate::tags::{Release, TagPlan, TagPlanInput, Version, VersionScheme, tag_plan};
use pixi_oci_image::Architecture;
use pixi_oci_lock::LockedPackage;
use pixi_oci_registry::{
    Error, Registry, Repository,
    push::{Ahead, PushPlan, TagRule, push},
};

use crate::{
    content::{Payload, content},
    destination::{Destination, TagsThere, credentials, look_up, open},
    early::{EarlyUpload, publish_started},
    error::PublishError,
    leg::{CheckedLeg, Leg, new_leg, read_legs},
    mount,
    report::PublishReport,
    report::outcome::{blocked, destination_report, unchecked},
    request::PublishRequest,
    request::PublishSource,
};
use pixi_oci_pipeline::{OnLayer, Published, Pushed, Remote, RemoteOptions, RemoteRepository, is_unpinned};
use pixi_oci_plan::{reference, stage};
use pixi_oci_project::{Project, Session};

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
    project: Option<&Project>,
    session: &Session,
) -> Result<PublishReport, PublishError> {
    if let (false, Some((system, change))) = (request.dry_run, request.facts.unmerged()) {
        return Err(PublishError::PullRequest { system, change: change.to_owned() });
    }
    let legs = match &request.source {
        PublishSource::Legs(paths) => read_legs(paths)?,
        _ => Vec::new(),
    };
    let version = version(request, &legs)?;
    // What can be known without asking anybody is said before anything is done.
    let first = tags(request, version.as_ref(), &[], &TagsThere::default())?;
    request.facts.hint(request.settings.scheme).iter().for_each(|hint| session.warn(hint.as_str()));
    check_release(request, project, &first)?;
    match check_tree(request, &first) {
        Err(error) if request.dry_run => session.warn(format!("BLOCKER(dirty) with --publish: {error}")),
        checked => checked?,
    }

    let mut destinations = open(request, &legs, session)?;
    if destinations.iter().any(Destination::blocks) {
        // Nobody has to wait for a build that cannot be published.
        return Err(PublishError::Blocked(blocked(destinations)));
    }
    let remote = remote(request, project, version.as_ref(), &first, &destinations, session);
    let layers = remote.as_ref().map(|remote| remote as &dyn Remote);
    let all_tags = tags(request, version.as_ref(), &[Architecture::Amd64, Architecture::Arm64], &TagsThere::default())?;
    let early = EarlyUpload::find(request, &all_tags, &destinations, remote.as_ref(), session);
    let mut ahead = None;
    let content = content(request, &legs, || {
        let project = project.ok_or(PublishError::NoProject)?;
        let build = |on_layer: OnLayer<'_>| stage(project, None, layers, on_layer, session);
        let Some(early) = early else { return Ok(build(&|_, _| ())?) };
        let (staged, sent) = early.upload_while(session, build)?;
        ahead = Some(sent);
        Ok(staged)
    })?;
    let architectures: Vec<Architecture> =
        content.architectures.iter().map(|(architecture, _)| *architecture).collect();
    for destination in &mut destinations {
        let known = match &destination.state {
            Ok(open) => session.run(look_up(open, |known| tags(request, version.as_ref(), &architectures, known)))?,
            Err(_) => Ok(TagsThere::default()),
        };
        let known = match known {
            Ok(known) => known,
            Err(error) => {
                destination.state = Err(error);
                continue;
            }
        };
        let tags = tags(request, version.as_ref(), &architectures, &known)?;
        let plan = PushPlan {
            tags: content.tag_steps(&tags, request.source == PublishSource::Leg),
            dry_run: request.dry_run,
            ..content.plan.clone()
        };
        if let Ok(open) = &destination.state {
            let guarded = session.run(guard(&plan, &open.registry, &destination.repository))?;
            if let Err(error) = guarded {
                destination.state = Err(error);
            }
        }
        destination.plan = Some((plan, tags));
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
    if destinations.iter().any(Destination::blocks) {
        report.destinations = blocked(destinations);
        report.build = content.build;
        return Ok(report);
    }
    let mut served: Vec<Repository> = Vec::new();
    let sent = Pushed::open(&session.caches.dir);
    for destination in &mut destinations {
        let Some((mut plan, tags)) = destination.plan.take() else { continue };
        let Ok(open) = &destination.state else {
            report.destinations.push(unchecked(&destination.repository, &content, &plan, &tags));
            continue;
        };
        let Ahead { arrived, failure } = match ahead.take() {
            Some(ahead) => ahead,
            None => {
                session.emit(publish_started(&destination.repository, &plan));
                Ahead::default()
            }
        };
        plan.arrived = arrived;
        let same_host = served.iter().filter(|other| other.host() == destination.repository.host());
        plan.mount_from = same_host.map(|other| other.path().into()).collect();
        plan.mount_from.extend(remote.iter().flat_map(|remote| remote.mount_from(&destination.repository)));
        plan.mount_from.extend(mount::base(&content, &destination.repository));
        let asked = |path: &str| plan.mount_from.iter().any(|from| from.path == path && from.blobs.is_none());
        let mut from = sent.mount_from(&destination.repository, &content.blobs());
        from.retain(|from| !asked(&from.path));
        plan.mount_from.extend(from);
        let pushed = match failure {
            Some(error) => Err(error),
            None => session.run(push(&plan, &open.registry))?,
        };
        let linked = remote.as_ref().map(|remote| remote.linked(&destination.repository)).unwrap_or_default();
        let pushed = pushed.map(|pushed| mount::with_linked(pushed, &linked));
        if pushed.is_ok() {
            if !request.dry_run {
                sent.put(&destination.repository, &content.blobs());
            }
            served.push(destination.repository.clone());
        }
        report.destinations.push(destination_report(request, &destination.repository, &content, &tags, pushed));
    }
    report.leg = leg(request, &report, &content);
    report.build = content.build;
    Ok(report)
}

/// The images whose layers are taken: those that were named, else what is published in the first repository already. A
/// release is made anew unless images were named.
pub fn remote(
    request: &PublishRequest,
    project: Option<&Project>,
    version: Option<&Version>,
    tags: &TagPlan,
    destinations: &[Destination],
    session: &Session,
) -> Option<Published> {
    let project = project?;
    let is_release = version.and_then(Version::release).is_some();
    let named = &project.inputs.cache_from;
    let remote = |repository: &Repository, reference| RemoteRepository {
        repository: repository.clone(),
        reference,
        credentials: credentials(request, repository, session),
    };
    let from: Vec<RemoteRepository> = if named.is_empty() {
        // Without a layer cache all layers are to be made anew.
        let by_default = request.takes_published && !is_release && session.caches.layers > 0;
        let first = destinations.first().filter(|_| by_default)?;
        let connection = first.state.as_ref().ok()?;
        vec![remote(&first.repository, Some(last_published(tags, &connection.existing, request.settings.scheme)?))]
    } else {
        named.iter().map(|from| remote(&from.repository, Some(reference(from)))).collect()
    };
    let to = request.settings.repositories.iter().map(|repository| remote(repository, None)).collect();
    Some(Published::new(RemoteOptions { from, to, may_mount: !request.dry_run }, session.clone()))
}

/// The tag of what was published before: one that is put again, else `latest`, else that of the newest release.
fn last_published(tags: &TagPlan, existing: &[String], scheme: VersionScheme) -> Option<String> {
    let again = tags.tags.iter().map(|planned| &planned.tag).find(|tag| existing.contains(tag));
    let latest = existing.iter().find(|tag| *tag == "latest");
    let releases = existing.iter().filter_map(|tag| Some((Release::parse(tag, scheme)?, tag)));
    again.or(latest).or_else(|| releases.max_by(|a, b| a.0.order(&b.0)).map(|(_, tag)| tag)).cloned()
}

/// The version; that of legs has to be the one that is published now.
fn version(request: &PublishRequest, legs: &[CheckedLeg]) -> Result<Option<Version>, PublishError> {
    let known = request.facts.version(request.settings.scheme);
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
    version: Option<&Version>,
    architectures: &[Architecture],
    known: &TagsThere,
) -> Result<TagPlan, PublishError> {
    Ok(tag_plan(&TagPlanInput {
        version,
        scheme: request.settings.scheme,
        sha: request.facts.commit(),
        templates: &request.settings.templates,
        suffix: &request.settings.suffix,
        explicit: &request.tags,
        existing: &known.tags,
        versions: &known.versions,
        architectures,
    })?)
}

/// Files that were changed never take the name of a release or of a commit.
fn check_tree(request: &PublishRequest, tags: &TagPlan) -> Result<(), PublishError> {
    let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
    let Some(reason) = request.facts.unclean.clone().filter(|_| builds) else { return Ok(()) };
    let release = tags.release.as_ref().map(|release| format!("version {release} is a release"));
    let tag = tags.tags.iter().map(|planned| &planned.tag).find(|tag| tag.starts_with("sha-"));
    match release.or_else(|| tag.map(|tag| format!("tag {tag} is that of a commit or a release"))) {
        Some(what) => Err(PublishError::Dirty { what, reason }),
        None => Ok(()),
    }
}

/// A release is what it is for ever, and so must be what it is made of.
fn check_release(request: &PublishRequest, project: Option<&Project>, tags: &TagPlan) -> Result<(), PublishError> {
    let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
    let release = tags.release.as_ref().filter(|_| builds);
    let Some(version) = release.map(ToString::to_string) else { return Ok(()) };
    if let Some(base) = &request.settings.unpinned_base {
        return Err(PublishError::UnpinnedBase { version, base: base.clone() });
    }
    if project.is_some_and(|project| project.inputs.sources.resolve) {
        return Err(PublishError::ResolvedBuilds { version });
    }
    let packages = project.into_iter().flat_map(|project| &project.targets).flat_map(|target| &target.packages);
    let packages: BTreeSet<String> = packages.filter(|package| is_unpinned(package)).map(LockedPackage::name).collect();
    if packages.is_empty() {
        return Ok(());
    }
    Err(PublishError::UnpinnedPackages { version, packages: packages.into_iter().collect() })
}

/// Whether the immutable tags are free, or name the same already.
async fn guard(plan: &PushPlan, registry: &Registry, repository: &Repository) -> Result<(), Error> {
    for step in plan.tags.iter().filter(|step| step.rule == TagRule::Immutable) {
        match registry.head_manifest(&step.tag).await? {
            Some(present) if present.digest != step.target => {
                return Err(Error::tag_exists(format!("{repository}:{}", step.tag), present.digest, step.target));
            }
            _ => {}
        }
    }
    Ok(())
}

/// For the job that joins: only of what is published wherever it should be.
fn leg(request: &PublishRequest, report: &PublishReport, content: &Payload<'_>) -> Option<Leg> {
    if request.source != PublishSource::Leg || request.dry_run || !report.is_complete() {
        return None;
    }
    let stored = content.stored.as_ref()?;
    let image = stored.images.first()?;
    let repositories = report.destinations.iter().map(|destination| destination.repository.clone()).collect();
    let manifest = &image.image.manifest.descriptor;
    Some(new_leg(report.version.clone(), image.platform.as_ref()?, manifest, repositories, stored.annotations()))
}
