//! The repositories of a publication, asked before anything is built: what they have already.

pub mod planned;
pub mod refusal;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
};

use crate::tags::{TagPlan, TagTarget, TagsThere};
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use pixi_oci_image::{Architecture, Descriptor};
use pixi_oci_layer::Digest;
use pixi_oci_registry::{Arrival, Error, Registry, Repository};

use crate::{
    baseline::remote,
    destination::{Connection, Destination, look_up, open},
    error::PublishError,
    preflight::refusal::MissingBase,
    request::{PublishRequest, Publishing, target::TargetForm},
};
use pixi_oci_pipeline::{Published, in_one_line};
use pixi_oci_project::{Project, Session};

/// So many questions at a time; no registry minds three.
const PARALLEL: usize = 3;

/// Repositories that were asked whether they are there.
pub struct Preflight<'a> {
    run: Publishing<'a>,
    destinations: Vec<Destination>,
}

/// What would be published, as far as it is known.
pub struct Wanted<'a> {
    pub blobs: &'a [Descriptor],
    /// The images of its index and, if they are known, the digests of their manifests.
    pub images: &'a [(Architecture, Option<Digest>)],
    /// The digest of the image index, or of the image where there is no index.
    pub index: Option<Digest>,
}

pub struct RepositoryState {
    pub repository: Repository,
    /// Or why it is not known.
    pub has: Result<Holdings, String>,
    /// Why it would not take what is published.
    pub refusal: Option<String>,
}

pub struct Holdings {
    pub blobs: BTreeSet<Digest>,
    /// How many manifests, the index among them, are there.
    pub manifests: usize,
    /// The tags that do not name yet what they would name, in the order of publication; `None` where nobody knows which tags there
    /// would be.
    pub tags: Option<Vec<String>>,
}

/// Asks the repositories of `request`, a dry run. The second is what layers are taken from, by the rules of a publication.
/// One that does not answer is not an error.
pub fn preflight<'a>(
    request: &'a PublishRequest,
    project: &Project,
    session: &'a Session,
) -> Result<(Preflight<'a>, Option<Published>), PublishError> {
    let run = Publishing::new(request, session);
    let mut destinations = open(&run, &[])?;
    // What SIFs take is known when they are made.
    destinations.retain(|destination| !destination.target.is_sif());
    // Without a version it is not known which tags are put.
    let tags = run.tags(&TargetForm::Image, &Architecture::ALL, &TagsThere::default()).ok();
    let remote = remote(&run, Some(project), tags.as_ref(), &destinations);
    Ok((Preflight { run, destinations }, remote))
}

impl Preflight<'_> {
    /// Asks every repository what it has, but for what `published` saw there already.
    pub fn stock(
        &mut self,
        project: &Project,
        wanted: &Wanted<'_>,
        published: Option<&Published>,
    ) -> Result<Vec<RepositoryState>, PublishError> {
        let (run, mut asked) = (&self.run, Vec::new());
        for destination in &self.destinations {
            let (mut refusal, repository) = (None, destination.target.repository.clone());
            let answers = match &destination.state {
                Err(_) if destination.needs_login => Err("no login (BLOCKER(empty-token) with --publish)".to_owned()),
                Err(error) => Err(in_one_line(error)),
                Ok(open) => {
                    let architectures: Vec<_> = wanted.images.iter().map(|(architecture, _)| *architecture).collect();
                    // Without a version nobody knows the tags.
                    let form = &destination.target.form;
                    let plan = |known: &TagsThere| run.tags(form, &architectures, known);
                    let known = run.session.run(look_up(&open.registry, form, open.known.clone(), plan))?;
                    let tags = plan(&known.unwrap_or_default()).ok();
                    if let Some(tags) = &tags {
                        let refused = refusal::refusal(run, project, tags, &repository, open, MissingBase::Leave)?;
                        refusal = refused.as_ref().map(blocker);
                    }
                    let seen = published.map(|published| published.arrived(&repository)).unwrap_or_default();
                    Ok((open, tags, seen))
                }
            };
            asked.push(async move {
                let has = match answers {
                    Ok((open, tags, seen)) => {
                        has(open, wanted, tags.as_ref(), &seen).await.map_err(|error| in_one_line(&error))
                    }
                    Err(error) => Err(error),
                };
                RepositoryState { repository, has, refusal }
            });
        }
        // A question for each blob: not one repository after the other.
        Ok(run.session.run(join_all(asked))?)
    }
}

fn blocker(error: &Error) -> String {
    let name = error.name().map(|name| format!("BLOCKER({name}): ")).unwrap_or_default();
    format!("{name}{}", in_one_line(error))
}

async fn has(
    open: &Connection,
    wanted: &Wanted<'_>,
    tags: Option<&TagPlan>,
    seen: &BTreeMap<Digest, Arrival>,
) -> Result<Holdings, Error> {
    let registry = &open.registry;
    let documents: Vec<&Option<Digest>> =
        wanted.images.iter().map(|(_, digest)| digest).chain([&wanted.index]).collect();
    let mut manifests = 0;
    for digest in documents.iter().copied().flatten() {
        manifests += usize::from(registry.head_manifest(&digest.to_string()).await?.is_some());
    }
    // As a push does: what is named by what is there is believed to be there.
    let blobs = if manifests == documents.len() {
        wanted.blobs.iter().map(|blob| blob.digest).collect()
    } else {
        let there = async |blob: &Descriptor| {
            let is_there = match seen.get(&blob.digest) {
                Some(how) => *how == Arrival::Present,
                None => registry.has_blob(blob).await?,
            };
            Ok::<_, Error>(is_there.then_some(blob.digest))
        };
        let ask = stream::iter(wanted.blobs.iter().map(there)).buffered(PARALLEL);
        ask.try_filter_map(|digest| ready(Ok(digest))).try_collect().await?
    };
    let Some(plan) = tags else { return Ok(Holdings { blobs, manifests, tags: None }) };
    let mut new = Vec::new();
    for planned in &plan.tags {
        let target = match planned.target {
            TagTarget::Index => wanted.index,
            TagTarget::Image(architecture) => {
                wanted.images.iter().find(|(other, _)| *other == architecture).and_then(|(_, digest)| *digest)
            }
        };
        if !names(registry, &open.known.tags, &planned.tag, target).await? {
            new.push(planned.tag.clone());
        }
    }
    Ok(Holdings { blobs, manifests, tags: Some(new) })
}

async fn names(registry: &Registry, existing: &[String], tag: &str, target: Option<Digest>) -> Result<bool, Error> {
    let Some(target) = target.filter(|_| existing.iter().any(|other| other == tag)) else { return Ok(false) };
    Ok(registry.head_manifest(tag).await?.is_some_and(|found| found.digest == target))
}
