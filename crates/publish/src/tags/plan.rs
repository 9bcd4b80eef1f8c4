//! From version, configuration and what the repository has to the tags in the order in which they are put.
//!
//! **Invariants.** Only a release has immutable tags; only a release, or a branch for which it is configured, moves
//! `latest`; a release older than one that is there moves nothing; `latest` is the last.

use std::fmt;

use pixi_oci_image::Architecture;
use pixi_oci_registry::push::TagRule;

use pixi_oci_project::version::{Release, Version, is_numbers};

use super::{
    template::{TagTemplate, TemplateKind, release_of_tag, version_tag, without_suffix},
    wanted::{OfRelease, TagError, TagPlanInput, WantedTag, implied_version, is_latest, wanted},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagTarget {
    Image(Architecture),
    Index,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTag {
    pub tag: String,
    pub target: TagTarget,
    pub rule: TagRule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub tag: String,
    pub reason: KeptReason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptReason {
    /// This release is newer, and there already, under this tag.
    Newer(Release, String),
    /// Only releases have such a tag: the version or branch just happens to be called so.
    OfReleases,
    /// A release is called so, and a release never changes.
    IsRelease,
    /// The release has no such number.
    Missing(&'static str),
}

impl fmt::Display for KeptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(release, _) => write!(f, "release {release} is there and newer"),
            Self::OfReleases => f.write_str("only releases have such a tag"),
            Self::IsRelease => f.write_str("a release has this name, and releases never change"),
            Self::Missing(part) => write!(f, "the release has no {part}"),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagPlan {
    /// In the order in which they are put.
    pub tags: Vec<PlannedTag>,
    pub kept: Vec<Kept>,
    pub release: Option<Release>,
}

pub fn tag_plan(input: &TagPlanInput<'_>) -> Result<TagPlan, TagError> {
    let implied = implied_version(input);
    let input = &TagPlanInput { version: input.version.or(implied.as_ref()), ..input.clone() };
    let mut plan = TagPlan { tags: Vec::new(), kept: Vec::new(), release: None };
    plan.release = input.version.and_then(Version::release).cloned();
    let (wanted, left_out) = wanted(input)?;
    plan.kept.extend(left_out.into_iter().map(|(tag, part)| Kept { tag, reason: KeptReason::Missing(part) }));
    // What tags are for, whatever has them now.
    let releases: Vec<String> =
        wanted.iter().filter(|wanted| wanted.rule == TagRule::Immutable).map(|wanted| wanted.tag.clone()).collect();
    for WantedTag { tag, mut rule, of_release } in wanted {
        let present = input.versions.get(&tag);
        if let (Some(other), OfRelease::Own | OfRelease::Version) = (present, of_release) {
            let own = input.version.map(Version::to_string).unwrap_or_default();
            match version_tag(&format!("{other}{}", input.suffix)) == tag {
                true if *other != own => return Err(TagError::SameTag { tag, other: other.clone(), version: own }),
                true => {}
                // An alias of another release, which this release takes once.
                false => rule = TagRule::Moving,
            }
        }
        let reason = match of_release {
            OfRelease::Newest(numbers) if numbers > 0 && is_of_release(input, &tag) => Some(KeptReason::IsRelease),
            OfRelease::Newest(numbers) => newer(input, numbers).map(|(release, tag)| KeptReason::Newer(release, tag)),
            OfRelease::Never | OfRelease::Version if is_reserved(input, &tag) => Some(KeptReason::OfReleases),
            OfRelease::Own | OfRelease::Never | OfRelease::Version => None,
        };
        match reason {
            Some(reason) => plan.kept.push(Kept { tag, reason }),
            None if plan.tags.iter().any(|planned| planned.tag == tag) => {}
            None => plan.tags.push(PlannedTag { tag, target: TagTarget::Index, rule }),
        }
    }
    // Runtimes and people take `latest` without being asked: whatever can fail fails before.
    plan.tags.sort_by_key(|planned| is_latest(&planned.tag, input.suffix));
    let version = || input.version.map_or("an unknown version".to_owned(), Version::to_string);
    let Some(first) = plan.tags.first().cloned() else { return Err(TagError::NoTag { version: version() }) };
    let rule = if releases.contains(&first.tag) { TagRule::Immutable } else { TagRule::Staging };
    let staged = input.architectures.iter().map(|&architecture| PlannedTag {
        tag: arch_tag(&first.tag, architecture),
        target: TagTarget::Image(architecture),
        rule,
    });
    plan.tags = staged.chain(plan.tags).collect();
    Ok(plan)
}

/// The repository's tags that have to be looked at: those of the plan that a release and an alias may both have, and those
/// that keep others where they are.
pub fn to_look_up(plan: &TagPlan, existing: &[String]) -> Vec<String> {
    let index = plan.tags.iter().filter(|planned| planned.target == TagTarget::Index);
    let matters = index.filter(|planned| planned.rule == TagRule::Immutable || is_numbers(&planned.tag));
    let newer = plan.kept.iter().filter_map(|kept| match &kept.reason {
        KeptReason::Newer(_, tag) => Some(tag),
        _ => None,
    });
    matters.map(|planned| &planned.tag).chain(newer).filter(|tag| existing.contains(tag)).cloned().collect()
}

impl TagPlan {
    /// Those that are there and must not change: they may name something else than what is going to be built.
    pub fn fixed(&self, existing: &[String]) -> impl Iterator<Item = &PlannedTag> {
        let is_fixed = |planned: &&PlannedTag| planned.rule == TagRule::Immutable && existing.contains(&planned.tag);
        self.tags.iter().filter(is_fixed)
    }

    /// The same tags, each with something before it.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        let put = |tag: &mut String| tag.insert_str(0, prefix);
        self.tags.iter_mut().for_each(|planned| put(&mut planned.tag));
        for kept in &mut self.kept {
            put(&mut kept.tag);
            if let KeptReason::Newer(_, tag) = &mut kept.reason {
                put(tag);
            }
        }
        self
    }
}

/// The tag of one architecture's image: `1.2.3-amd64`. It keeps the image from cleaners that remove what no tag names.
pub fn arch_tag(tag: &str, architecture: Architecture) -> String {
    let suffix = format!("-{architecture}");
    // Tags are ASCII and have 128 characters at most.
    format!("{}{suffix}", &tag[..tag.len().min(128 - suffix.len())])
}

/// Whether the tag is there and that of a release of this name.
fn is_of_release(input: &TagPlanInput<'_>, tag: &str) -> bool {
    let own = |version: &String| version_tag(&format!("{version}{}", input.suffix)) == tag;
    input.versions.get(tag).is_some_and(own)
}

/// Whether a release could have the tag.
fn is_reserved(input: &TagPlanInput<'_>, tag: &str) -> bool {
    let bare = without_suffix(tag, input.suffix);
    is_latest(tag, input.suffix) || is_numbers(bare) || release_of_tag(bare, input.scheme).is_some()
}

/// A release that is in the repository, newer than this one, and has the same first `numbers` numbers; with its tag.
fn newer(input: &TagPlanInput<'_>, numbers: usize) -> Option<(Release, String)> {
    let release = input.version.and_then(Version::release)?;
    let own: Vec<TagTemplate> = input
        .templates
        .iter()
        .filter(|template| template.kind() == TemplateKind::Version)
        .map(|template| template.clone().with_suffix(input.suffix))
        .collect();
    let read = |tag: &String| match &own[..] {
        [] => release_of_tag(tag.strip_suffix(input.suffix)?, input.scheme),
        templates => templates.iter().find_map(|template| template.release_in(tag, input.scheme)),
    };
    let known = input.existing.iter().filter_map(|tag| Some((read(tag)?, tag.clone())));
    let newer = known.filter(|(other, _)| other.order(release).is_gt() && other.is_of_line(release, numbers));
    // An alias counts as what it begins with, so that of equal ones the whole release is named.
    newer.max_by(|(a, _), (b, _)| a.order(b).then(a.numbers().cmp(&b.numbers())))
}
