//! One publication, from the first question to the last tag.

mod serve;

use std::collections::{BTreeMap, BTreeSet};

use crate::tags::{TagPlan, TagsThere, Version};
use futures_util::future::join_all;
use pixi_oci_image::Architecture;
use pixi_oci_lock::LockedPackage;

use crate::{
    baseline::{remote, say_what_is_there},
    content::{content, mount, prepare::prepare, pushed::Pushed, sif::Sifs},
    destination::{Destination, look_up, open},
    early::EarlyUploads,
    error::PublishError,
    leg::write::leg,
    preflight::refusal::{MissingBase, refusal},
    publish::serve::Serving,
    report::PublishReport,
    report::outcome::blocked,
    request::{PublishRequest, PublishSource, Publishing, fleet::check_forms_apart, target::PublishTarget},
};
use pixi_oci_pipeline::{OnLayer, Remote, is_unpinned};
use pixi_oci_plan::stage;
use pixi_oci_project::{Project, Session};

/// Builds or reads what `request` says, and publishes it to all repositories.
///
/// Every registry is asked first. If one blocks, nothing is published, and the report says which. Then they are served, and
/// one that fails does not keep the others from being served. An error is before all that.
pub fn publish_images(
    request: &PublishRequest,
    project: Option<&Project>,
    session: &Session,
) -> Result<PublishReport, PublishError> {
    request.check_merged()?;
    let legs = match &request.source {
        PublishSource::Legs(legs) => legs.all(),
        _ => &[],
    };
    let run = &Publishing::new(request, session);
    // What can be known without asking anybody is said before anything is done.
    let mut first = Vec::new();
    for target in &request.settings.targets {
        let tags = run.tags(&target.form, &Architecture::ALL, &TagsThere::default())?;
        first.push((target, tags));
    }
    check_forms_apart(&first)?;
    request.facts.hint(request.settings.scheme).iter().for_each(|hint| session.warn(hint.as_str()));
    first.iter().try_for_each(|(_, tags)| check_release(request, project, tags))?;
    match first.iter().try_for_each(|(target, tags)| check_tree(request, target, tags)) {
        Err(error) if request.dry_run => session.warn(format!("BLOCKER(dirty) with --publish: {error}")),
        checked => checked?,
    }
    let joins = matches!(request.source, PublishSource::Leg | PublishSource::Legs(_));
    if joins && request.has(true) {
        return Err(PublishError::SifLeg);
    }

    let built = project.map(|project| project.targets.iter().map(|target| target.architecture).collect::<Vec<_>>());
    if built.is_some() || !legs.is_empty() {
        request.check_index(built.as_deref().unwrap_or_default())?;
    }
    let expected: Vec<Architecture> = built.unwrap_or_else(|| Architecture::ALL.to_vec());
    let mut destinations = open(run, legs)?;
    look_up_all(run, &expected, project, &mut destinations)?;
    if destinations.iter().any(Destination::blocks) {
        // Nobody has to wait for a build that cannot be published.
        return Err(PublishError::Blocked(blocked(destinations)));
    }
    // Of the first destination; only images have layers that can be taken or sent ahead.
    let all_tags = first.into_iter().next().map(|(_, tags)| tags).unwrap_or_default();
    if let Some(project) = project {
        say_what_is_there(run, project, &all_tags, &destinations)?;
    }
    let remote = remote(run, project, Some(&all_tags), &destinations);
    let layers = remote.as_ref().map(|remote| remote as &dyn Remote);
    let early = EarlyUploads::find(run, project, &all_tags, &destinations, remote.as_ref());
    let mut ahead = BTreeMap::new();
    let content = content(request, legs, || {
        let project = project.ok_or(PublishError::NoProject)?;
        let build = |on_layer: OnLayer<'_>| stage(project, None, layers, on_layer, session);
        let (staged, sent) = early.upload_while(session, build)?;
        ahead = sent;
        Ok(staged)
    })?;
    let sifs = request.has(true).then(|| Sifs::make(&content, session)).transpose()?;
    prepare(run, &content, sifs.as_ref(), &mut destinations)?;
    let mut report = PublishReport {
        dry_run: request.dry_run,
        version: run.version.as_ref().map(Version::to_string),
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
    let serving = Serving {
        run,
        remote: remote.as_ref(),
        bases: &mount::bases(content.build.as_ref()),
        sent: &Pushed::open(&session.caches.dir),
    };
    report.destinations = serving.serve(destinations, ahead)?;
    report.leg = leg(run, &report, &content);
    report.build = content.build;
    Ok(report)
}

/// Files that were changed never take the name of a release or of a commit.
fn check_tree(request: &PublishRequest, target: &PublishTarget, tags: &TagPlan) -> Result<(), PublishError> {
    let Some(reason) = request.facts.unclean.clone().filter(|_| request.builds()) else { return Ok(()) };
    let release = tags.release.as_ref().map(|release| format!("version {release} is a release"));
    let commit = format!("{}sha-", target.form.prefix());
    let tag = tags.tags.iter().map(|planned| &planned.tag).find(|tag| tag.starts_with(&commit));
    match release.or_else(|| tag.map(|tag| format!("tag {tag} is that of a commit or a release"))) {
        Some(what) => Err(PublishError::Dirty { what, reason }),
        None => Ok(()),
    }
}

/// Finds out what the repositories say to the tags, before anything is built: which stay where they are, and which refuse.
fn look_up_all(
    run: &Publishing<'_>,
    architectures: &[Architecture],
    project: Option<&Project>,
    destinations: &mut [Destination],
) -> Result<(), PublishError> {
    let asked = destinations.iter_mut().map(|Destination { target, state, .. }| async move {
        let Ok(open) = state else { return };
        let tags = |known: &TagsThere| run.tags(&target.form, architectures, known);
        match look_up(&open.registry, &target.form, open.known.clone(), tags).await {
            Ok(known) => open.known = known,
            Err(error) => *state = Err(error),
        }
    });
    run.session.run(join_all(asked))?;
    for Destination { target, state, .. } in destinations {
        let Ok(open) = state else { continue };
        let (repository, form) = (&target.repository, &target.form);
        let plan = run.tags(form, architectures, &open.known)?;
        for kept in &plan.kept {
            run.session.warn(format!("{repository}:{} stays where it is: {}", kept.tag, kept.reason));
        }
        let Some(project) = project.filter(|_| !target.is_sif()) else { continue };
        if let Some(error) = refusal(run, project, &plan, repository, open, MissingBase::Fetch)? {
            *state = Err(error);
        }
    }
    Ok(())
}

/// A release is what it is for ever, and so must be what it is made of.
fn check_release(request: &PublishRequest, project: Option<&Project>, tags: &TagPlan) -> Result<(), PublishError> {
    let release = tags.release.as_ref().filter(|_| request.builds());
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
