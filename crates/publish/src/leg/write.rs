//! The leg of a publication of one architecture.

use std::collections::BTreeMap;

use crate::{
    content::Payload,
    leg::{Leg, Publication, new_leg},
    report::PublishReport,
    request::{PublishSource, Publishing},
    tags::Version,
};

/// For the job that joins: only of what is published wherever it should be.
pub fn leg(run: &Publishing<'_>, report: &PublishReport, content: &Payload<'_>) -> Option<Leg> {
    if run.request.source != PublishSource::Leg || run.request.dry_run || !report.is_complete() {
        return None;
    }
    let stored = content.stored.as_ref()?;
    let image = stored.images.first()?;
    let repositories = report.destinations.iter().map(|destination| destination.repository.clone()).collect();
    let manifest = &image.image.manifest.descriptor;
    Some(new_leg(image.platform.as_ref()?, manifest, publication(run, repositories, stored.annotations())))
}

/// What the job that joins needs to know of a publication to `repositories`.
fn publication(
    run: &Publishing<'_>,
    repositories: Vec<String>,
    index_annotations: BTreeMap<String, String>,
) -> Publication {
    let (request, settings) = (run.request, &run.request.settings);
    let (version, branch) = match &run.version {
        Some(Version::Branch(name)) => (None, Some(name.clone())),
        version => (version.as_ref().map(Version::to_string), None),
    };
    let required = settings.required.iter().flat_map(|(required, _)| required);
    Publication {
        version,
        branch,
        commit: request.facts.commit().map(str::to_owned),
        scheme: settings.scheme.as_str().to_owned(),
        tags: settings.templates.iter().map(|template| template.as_str().to_owned()).collect(),
        chosen_tags: request.tags.clone(),
        suffix: settings.suffix.clone(),
        architectures: required.map(ToString::to_string).collect(),
        repositories,
        index_annotations,
    }
}
