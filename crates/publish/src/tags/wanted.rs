//! Which tags a version is to have, configured or asked for, whatever the repository has.

use std::collections::BTreeMap;

use pixi_oci_image::Architecture;
use pixi_oci_registry::{check_tag, push::TagRule};

use pixi_oci_project::version::{Release, Version, VersionScheme, is_numbers};

use super::template::{TagTemplate, TemplateKind, release_of_tag, tag_text, version_tag, without_suffix};

/// What a repository is known to have.
#[derive(Debug, Clone, Default)]
pub struct TagsThere {
    pub tags: Vec<String>,
    /// Of which versions some of them are.
    pub versions: BTreeMap<String, String>,
}

impl TagsThere {
    /// What of it begins with a prefix, without it.
    pub fn below(&self, prefix: &str) -> Self {
        let bare = |tag: &String| tag.strip_prefix(prefix).map(str::to_owned);
        Self {
            tags: self.tags.iter().filter_map(bare).collect(),
            versions: self.versions.iter().filter_map(|(tag, version)| Some((bare(tag)?, version.clone()))).collect(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct TagPlanInput<'a> {
    /// What is published, if anybody knows.
    pub version: Option<&'a Version>,
    pub scheme: VersionScheme,
    /// The commit, at least seven hexadecimal digits.
    pub sha: Option<&'a str>,
    pub templates: &'a [TagTemplate],
    /// What every configured tag ends with: tells the environments of a workspace apart in one repository.
    pub suffix: &'a str,
    /// Tags of the command line: they are put instead of the configured ones.
    pub explicit: &'a [String],
    pub existing: &'a [String],
    /// The versions of which some of these tags are, as their indexes say.
    pub versions: &'a BTreeMap<String, String>,
    /// The architectures of the images that get a tag of their own.
    pub architectures: &'a [Architecture],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("tag {tag:?} is for {what}, but what is published is {version}")]
    DevTag { tag: String, what: &'static str, version: String },
    #[error("{tag:?} cannot be a tag: letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`")]
    NotATag { tag: String },
    #[error("tag {tag:?} is that of version {other}, and {version} would have the same; choose another version")]
    SameTag { tag: String, other: String, version: String },
    #[error(
        "no tag results for {version}; say which version it is with VERSION=1.2.3 in the environment, or a tag with --tag"
    )]
    NoTag { version: String },
}

pub(super) struct WantedTag {
    pub tag: String,
    pub rule: TagRule,
    pub of_release: OfRelease,
}

/// How a tag stands to releases.
#[derive(Clone, Copy)]
pub(super) enum OfRelease {
    /// It is this release's, or was asked for as it is.
    Own,
    /// Only the newest release has it, of those with the same first so many numbers.
    Newest(usize),
    /// It is a development version's, which must not be taken for a release's.
    Version,
    /// It is a name from outside, likewise: a branch may be called `latest` or `1.2`.
    Never,
}

/// The tags of the command line, else the configured ones; and those that need a number which the release does not have.
pub(super) fn wanted(input: &TagPlanInput<'_>) -> Result<(Vec<WantedTag>, Vec<(String, &'static str)>), TagError> {
    let mut left_out = Vec::new();
    let wanted = if input.explicit.is_empty() {
        configured(input, &mut left_out)
    } else {
        input.explicit.iter().map(|tag| explicit_one(input, tag)).collect::<Result<_, _>>()?
    };
    Ok((wanted, left_out))
}

fn configured(input: &TagPlanInput<'_>, left_out: &mut Vec<(String, &'static str)>) -> Vec<WantedTag> {
    let Some(version) = input.version else { return Vec::new() };
    let mut wanted: Vec<(usize, WantedTag)> = Vec::new();
    for template in input.templates {
        let is_release = version.release().is_some();
        let (order, of_release) = match template.kind() {
            TemplateKind::Version if is_release => (0, OfRelease::Own),
            TemplateKind::Version => (0, OfRelease::Version),
            TemplateKind::Sha => (1, OfRelease::Never),
            TemplateKind::Newest if is_release => (5 - template.numbers(), OfRelease::Newest(template.numbers())),
            TemplateKind::Branch if is_release && template.of_releases => {
                (5 - template.numbers(), OfRelease::Newest(template.numbers()))
            }
            // `latest@main` says in so many words what it wants.
            TemplateKind::Branch if !template.branches.is_empty() && on_branch(template, version) => {
                (6, OfRelease::Own)
            }
            TemplateKind::Branch if on_branch(template, version) => (6, OfRelease::Never),
            TemplateKind::Newest | TemplateKind::Branch => continue,
        };
        if let Some(part) = version.release().and_then(|release| template.missing(release)) {
            left_out.push((template.as_str().to_owned(), part));
            continue;
        }
        let rule = if order == 0 && is_release { TagRule::Immutable } else { TagRule::Moving };
        let template = template.clone().with_suffix(input.suffix);
        if let Some(tag) = template.expand(version, input.sha) {
            wanted.push((order, WantedTag { tag, rule, of_release }));
        }
    }
    wanted.sort_by_key(|(order, _)| *order);
    wanted.into_iter().map(|(_, wanted)| wanted).collect()
}

fn on_branch(template: &TagTemplate, version: &Version) -> bool {
    let branches = &template.branches;
    matches!(version, Version::Branch(name) if branches.is_empty() || branches.contains(name))
}

/// Where nobody else knows the version, a release's tag on the command line says it; beside it, aliases of it.
pub(super) fn implied_version(input: &TagPlanInput<'_>) -> Option<Version> {
    let releases =
        input.explicit.iter().filter_map(|tag| release_of_tag(without_suffix(tag, input.suffix), input.scheme));
    let releases: Vec<Release> = releases.collect();
    let longest = releases.iter().max_by_key(|release| release.numbers())?;
    let fits = |other: &Release| {
        other == longest || (other.numbers() < longest.numbers() && longest.is_of_line(other, other.numbers()))
    };
    releases.iter().all(fits).then(|| Version::Release(longest.clone()))
}

fn explicit_one(input: &TagPlanInput<'_>, tag: &str) -> Result<WantedTag, TagError> {
    if check_tag(tag).is_err() {
        return Err(TagError::NotATag { tag: tag.chars().take(200).collect() });
    }
    let release = input.version.and_then(Version::release);
    let refuse = |what| {
        let version = input.version.map_or("an unknown version".to_owned(), Version::to_string);
        Err(TagError::DevTag { tag: tag.to_owned(), what, version })
    };
    let wanted = |rule, of_release| Ok(WantedTag { tag: tag.to_owned(), rule, of_release });
    if is_latest(tag, input.suffix) {
        let configured = input.version.is_some_and(|version| {
            let branch = input.templates.iter().filter(|template| !template.branches.is_empty());
            let mut same = branch.filter(|template| template.expand(version, input.sha).as_deref() == Some(tag));
            same.any(|template| on_branch(template, version))
        });
        return match (release, configured) {
            (Some(_), _) => wanted(TagRule::Moving, OfRelease::Newest(0)),
            (None, true) => wanted(TagRule::Moving, OfRelease::Own),
            (None, false) => refuse("releases (and branches for which `tags` has \"latest@BRANCH\")"),
        };
    }
    let number = without_suffix(tag, input.suffix);
    if release.is_some_and(|release| version_tag(&release.to_string()) == number) {
        return wanted(TagRule::Immutable, OfRelease::Own);
    }
    if is_numbers(number) || release_of_tag(number, input.scheme).is_some() {
        let parts: Vec<&str> = number.split('.').collect();
        let begins = |release: &&Release| {
            parts.len() < release.numbers()
                && parts.iter().enumerate().all(|(index, part)| release.part(index) == Some(*part))
        };
        return match release.filter(begins) {
            Some(_) => wanted(TagRule::Moving, OfRelease::Newest(parts.len())),
            None if release_of_tag(number, input.scheme).is_some() => refuse("the release of that number"),
            None => refuse("releases that begin with it"),
        };
    }
    let own = release.is_some_and(|_| {
        let mut version = input.templates.iter().filter(|template| template.kind() == TemplateKind::Version).cloned();
        let expand = |template: TagTemplate| template.with_suffix(input.suffix).expand(input.version?, None);
        version.any(|template| expand(template).as_deref() == Some(tag))
    });
    wanted(if own { TagRule::Immutable } else { TagRule::Moving }, OfRelease::Own)
}

pub(super) fn is_latest(tag: &str, suffix: &str) -> bool {
    tag == "latest" || (!suffix.is_empty() && tag == tag_text(&format!("latest{suffix}")))
}
