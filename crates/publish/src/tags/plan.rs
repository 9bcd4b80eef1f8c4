//! From version, configuration and what the repository has to the tags in the order in which they are put.
//!
//! **Invariants.** Only a release has immutable tags; only a release, or a branch for which it is configured, moves
//! `latest`; a release older than one that is there moves nothing; `latest` is the last.

use std::fmt;

use pixi_oci_image::Architecture;
use pixi_oci_registry::{check_tag, push::TagRule};

use super::{
    template::{Kind, TagTemplate, tag_text},
    version::{Release, Version},
};

/// What tags are made of.
#[derive(Debug, Clone)]
pub struct TagPlanInput<'a> {
    /// What is published, if anybody knows.
    pub version: Option<&'a Version>,
    /// The commit, at least seven hexadecimal digits.
    pub sha: Option<&'a str>,
    /// The configured tags.
    pub templates: &'a [TagTemplate],
    /// What every configured tag ends with: tells the environments of a workspace apart in one repository.
    pub suffix: &'a str,
    /// Tags of the command line: they are put instead of the configured ones.
    pub explicit: &'a [String],
    /// The repository's tags.
    pub existing: &'a [String],
    /// The architectures of the images that get a tag of their own.
    pub architectures: &'a [Architecture],
}

/// What a tag is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagTarget {
    /// The image of one architecture.
    Image(Architecture),
    /// The image index.
    Index,
}

/// A tag that is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTag {
    /// Its name.
    pub tag: String,
    /// On what.
    pub target: TagTarget,
    /// What may happen to one that is there.
    pub rule: TagRule,
}

/// A tag that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub tag: String,
    /// Why.
    pub reason: KeptReason,
}

/// Why a tag stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptReason {
    /// This release is newer, and there already.
    Newer(Release),
    /// Only releases have such a tag: the version or branch just happens to be called so.
    OfReleases,
}

impl fmt::Display for KeptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(release) => write!(f, "release {release} is there and newer"),
            Self::OfReleases => f.write_str("only releases have such a tag"),
        }
    }
}

/// The tags of one publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlan {
    /// In the order in which they are put.
    pub tags: Vec<PlannedTag>,
    /// Tags that this version does not get.
    pub kept: Vec<Kept>,
}

/// Why there are no tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A release's tag was asked for, and this is no release, or another one.
    #[error("tag {tag:?} is for {what}, but what is published is {version}")]
    DevTag {
        /// As asked for.
        tag: String,
        /// What it is for.
        what: &'static str,
        /// What is published instead.
        version: String,
    },
    /// The text is no tag.
    #[error("{tag:?} cannot be a tag: letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`")]
    NotATag {
        /// As asked for.
        tag: String,
    },
    /// Neither version nor commit nor tag is known.
    #[error(
        "no tag results for {version}; say which version it is with VERSION=1.2.3 in the environment, or a tag with --tag"
    )]
    NoTag {
        /// What is published.
        version: String,
    },
}

/// The tags of a publication.
///
/// # Errors
///
/// See [`TagError`].
pub fn tag_plan(input: &TagPlanInput<'_>) -> Result<TagPlan, TagError> {
    let implied = implied_version(input);
    let input = &TagPlanInput { version: input.version.or(implied.as_ref()), ..input.clone() };
    let mut plan = TagPlan { tags: Vec::new(), kept: Vec::new() };
    let wanted = if input.explicit.is_empty() { configured(input) } else { explicit(input)? };
    for Wanted { tag, rule, of_release } in wanted {
        let reason = match of_release {
            OfRelease::Newest(numbers) => newer(input, numbers).map(KeptReason::Newer),
            OfRelease::Never if is_reserved(&tag, input.suffix) => Some(KeptReason::OfReleases),
            OfRelease::Own | OfRelease::Never => None,
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
    let rule = if first.rule == TagRule::Immutable { TagRule::Immutable } else { TagRule::Staging };
    let staged = input.architectures.iter().map(|&architecture| PlannedTag {
        tag: arch_tag(&first.tag, architecture),
        target: TagTarget::Image(architecture),
        rule,
    });
    plan.tags = staged.chain(plan.tags).collect();
    Ok(plan)
}

/// The tag of one architecture's image: `1.2.3-amd64`. It keeps the image from cleaners that remove what no tag names.
pub fn arch_tag(tag: &str, architecture: Architecture) -> String {
    let suffix = format!("-{architecture}");
    // Tags are ASCII and have 128 characters at most.
    format!("{}{suffix}", &tag[..tag.len().min(128 - suffix.len())])
}

struct Wanted {
    tag: String,
    rule: TagRule,
    of_release: OfRelease,
}

/// How a tag stands to releases.
#[derive(Clone, Copy)]
enum OfRelease {
    /// It is this release's, or was asked for as it is.
    Own,
    /// Only the newest release has it, of those with the same first so many numbers.
    Newest(usize),
    /// It is a name from outside, which must not be taken for a release's: a branch may be called `latest` or `1.2`.
    Never,
}

/// Where nobody else knows the version, a release's tag on the command line says it.
fn implied_version(input: &TagPlanInput<'_>) -> Option<Version> {
    let mut releases = input.explicit.iter().filter_map(|tag| tag.parse::<Release>().ok());
    let release = releases.next()?;
    releases.next().is_none().then_some(Version::Release(release))
}

fn configured(input: &TagPlanInput<'_>) -> Vec<Wanted> {
    let Some(version) = input.version else { return Vec::new() };
    let mut wanted: Vec<(usize, Wanted)> = Vec::new();
    for template in input.templates {
        let is_release = version.release().is_some();
        let (order, of_release) = match template.kind() {
            Kind::Version if is_release => (0, OfRelease::Own),
            Kind::Version => (0, OfRelease::Never),
            Kind::Sha => (1, OfRelease::Never),
            Kind::Newest if is_release => (4 - template.numbers(), OfRelease::Newest(template.numbers())),
            // `latest@main` says in so many words what it wants.
            Kind::Branch if template.branch().is_some() && on_branch(template, version) => (5, OfRelease::Own),
            Kind::Branch if on_branch(template, version) => (5, OfRelease::Never),
            Kind::Newest | Kind::Branch => continue,
        };
        let rule = if order == 0 && is_release { TagRule::Immutable } else { TagRule::Moving };
        let template = template.clone().with_suffix(input.suffix);
        if let Some(tag) = template.expand(version, input.sha) {
            wanted.push((order, Wanted { tag, rule, of_release }));
        }
    }
    wanted.sort_by_key(|(order, _)| *order);
    wanted.into_iter().map(|(_, wanted)| wanted).collect()
}

fn on_branch(template: &TagTemplate, version: &Version) -> bool {
    matches!(version, Version::Branch(name) if template.branch().is_none_or(|branch| branch == name))
}

fn explicit(input: &TagPlanInput<'_>) -> Result<Vec<Wanted>, TagError> {
    input.explicit.iter().map(|tag| explicit_one(input, tag)).collect()
}

fn explicit_one(input: &TagPlanInput<'_>, tag: &str) -> Result<Wanted, TagError> {
    if check_tag(tag).is_err() {
        return Err(TagError::NotATag { tag: tag.chars().take(200).collect() });
    }
    let release = input.version.and_then(Version::release);
    let refuse = |what| {
        let version = input.version.map_or("an unknown version".to_owned(), Version::to_string);
        Err(TagError::DevTag { tag: tag.to_owned(), what, version })
    };
    let moving = |of_release| Ok(Wanted { tag: tag.to_owned(), rule: TagRule::Moving, of_release });
    if is_latest(tag, input.suffix) {
        let configured = input.version.is_some_and(|version| {
            let branch = input.templates.iter().filter(|template| template.branch().is_some());
            let mut same = branch.filter(|template| template.expand(version, input.sha).as_deref() == Some(tag));
            same.any(|template| on_branch(template, version))
        });
        return match (release, configured) {
            (Some(_), _) => moving(OfRelease::Newest(0)),
            (None, true) => moving(OfRelease::Own),
            (None, false) => refuse("releases (and branches for which `tags` has \"latest@BRANCH\")"),
        };
    }
    let Some(numbers) = numbers(tag) else {
        let own = release.is_some_and(|_| {
            let mut version = input.templates.iter().filter(|template| template.kind() == Kind::Version).cloned();
            let expand = |template: TagTemplate| template.with_suffix(input.suffix).expand(input.version?, None);
            version.any(|template| expand(template).as_deref() == Some(tag))
        });
        let rule = if own { TagRule::Immutable } else { TagRule::Moving };
        return Ok(Wanted { tag: tag.to_owned(), rule, of_release: OfRelease::Own });
    };
    let same = release.is_some_and(|release| {
        let own = [release.major, release.minor, release.patch].map(|number| number.to_string());
        own[..numbers.len()].iter().zip(&numbers).all(|(own, asked)| own == asked)
    });
    match (same, numbers.len()) {
        (true, 3) => Ok(Wanted { tag: tag.to_owned(), rule: TagRule::Immutable, of_release: OfRelease::Own }),
        (true, count) => moving(OfRelease::Newest(count)),
        (false, 3) => refuse("the release of that number"),
        (false, _) => refuse("releases that begin with it"),
    }
}

/// The parts of `1`, `1.2` and `1.2.3`.
fn numbers(tag: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = tag.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (parts.len() <= 3 && parts.iter().all(is_number)).then_some(parts)
}

/// Whether a release could have the tag.
fn is_reserved(tag: &str, suffix: &str) -> bool {
    is_latest(tag, suffix) || numbers(tag.strip_suffix(suffix).unwrap_or(tag)).is_some()
}

fn is_latest(tag: &str, suffix: &str) -> bool {
    tag == "latest" || (!suffix.is_empty() && tag == tag_text(&format!("latest{suffix}")))
}

/// A release that is in the repository, newer than this one, and has the same first `numbers` numbers.
fn newer(input: &TagPlanInput<'_>, numbers: usize) -> Option<Release> {
    let release = input.version.and_then(Version::release)?;
    let first = |release: Release| [release.major, release.minor, release.patch].into_iter().take(numbers);
    let own: Vec<TagTemplate> = input
        .templates
        .iter()
        .filter(|template| template.kind() == Kind::Version)
        .map(|template| template.clone().with_suffix(input.suffix))
        .collect();
    let read = |tag: &String| match &own[..] {
        [] => tag.parse().ok(),
        templates => templates.iter().find_map(|template| template.release_in(tag)),
    };
    let known = input.existing.iter().filter_map(read);
    known.filter(|other| *other > release && first(*other).eq(first(release))).max()
}
