//! The configured tags: texts with placeholders, such as `{version}`, `{major}.{minor}` or `latest@main`.

use pixi_oci_registry::check_tag;

use pixi_oci_layer::Digest;

use pixi_oci_project::version::{Release, Version, VersionScheme};

/// A configured tag: `TEXT`, or `TEXT@BRANCH,…` for pushes of branches, and of releases where one of them is `{release}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    parts: Vec<Part>,
    /// The branches that it is for, of `TEXT@BRANCH,…`.
    pub(super) branches: Vec<String>,
    /// Whether releases have it, too, though it names branches.
    pub(super) of_releases: bool,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Version,
    Major,
    Minor,
    Patch,
    Sha,
    Branch,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`tags`: {text:?} {reason}")]
pub struct TemplateError {
    text: String,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TemplateKind {
    Version,
    /// It contains a part of the version, or is a plain text such as `latest`: it belongs to the newest release.
    Newest,
    Sha,
    /// It belongs to branches: it contains their name, or is `TEXT@BRANCH`.
    Branch,
}

impl TagTemplate {
    /// Reads a configured tag. It must become a tag (OCI distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let bad = |reason: String| TemplateError { text: text.chars().take(200).collect(), reason };
        let (body, events) = text.split_once('@').unzip();
        let body = body.unwrap_or(text);
        let mut branches: Vec<String> = events.iter().flat_map(|events| events.split(',')).map(str::to_owned).collect();
        let all = branches.len();
        branches.retain(|event| event != "{release}");
        let of_releases = branches.len() < all;
        if events.is_some() && (branches.is_empty() || branches.iter().any(String::is_empty)) {
            return Err(bad("names no branch after `@`".into()));
        }
        let mut parts = Vec::new();
        let mut rest = body;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| bad("has a `{` without a `}`".into()))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Placeholder(match name {
                "version" => Placeholder::Version,
                "major" => Placeholder::Major,
                "minor" => Placeholder::Minor,
                "patch" => Placeholder::Patch,
                "sha" => Placeholder::Sha,
                "branch" => Placeholder::Branch,
                _ => {
                    let known = "{version}, {major}, {minor}, {patch}, {sha} and {branch}";
                    return Err(bad(format!("has the unknown placeholder {{{name}}}; there are {known}")));
                }
            }));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        let template = Self { parts, branches, of_releases, text: text.to_owned() };
        // With every placeholder as the shortest thing that it may become.
        let probe: String = template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Placeholder(_) => "0",
            })
            .collect();
        if check_tag(&probe).is_err() {
            return Err(bad("cannot become a tag: letters, digits, `_`, `.` and `-`, at most 128, \
                 not beginning with `.` or `-`"
                .into()));
        }
        let fixed = body.split('.').all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if fixed {
            return Err(bad("is one release's tag; write {version}, {major}.{minor} or {major}".into()));
        }
        if !template.branches.is_empty() && template.has(Placeholder::Version) {
            return Err(bad("is for a branch, which has no version".into()));
        }
        if of_releases && template.has(Placeholder::Branch) {
            return Err(bad("is for releases, too, which have no branch".into()));
        }
        Ok(template)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn kind(&self) -> TemplateKind {
        if !self.branches.is_empty() || self.has(Placeholder::Branch) {
            TemplateKind::Branch
        } else if self.has(Placeholder::Sha) {
            TemplateKind::Sha
        } else if self.has(Placeholder::Version) {
            TemplateKind::Version
        } else {
            TemplateKind::Newest
        }
    }

    /// How much of a release it says: none (`latest`), or as many of its numbers. Two tags of different releases with the
    /// same so many numbers are the same tag.
    pub(super) fn numbers(&self) -> usize {
        let parts = [Placeholder::Patch, Placeholder::Minor, Placeholder::Major];
        parts.iter().position(|part| self.has(*part)).map_or(0, |place| parts.len() - place)
    }

    /// The number that a release does not have, as it is written here.
    pub(super) fn missing(&self, release: &Release) -> Option<&'static str> {
        let parts = [(Placeholder::Major, "{major}"), (Placeholder::Minor, "{minor}"), (Placeholder::Patch, "{patch}")];
        let mut missing = parts.into_iter().enumerate().filter(|(index, _)| release.part(*index).is_none());
        missing.find(|(_, (part, _))| self.has(*part)).map(|(_, (_, name))| name)
    }

    fn has(&self, wanted: Placeholder) -> bool {
        self.parts.contains(&Part::Placeholder(wanted))
    }

    /// The tag for a version and commit, or `None` if something that it needs is not there.
    pub(super) fn expand(&self, version: &Version, sha: Option<&str>) -> Option<String> {
        let mut tag = String::new();
        for part in &self.parts {
            match (part, version) {
                (Part::Text(text), _) => tag.push_str(text),
                (Part::Placeholder(Placeholder::Version), Version::Release(_) | Version::Dev(_)) => {
                    tag.push_str(&version.to_string().replace('+', "_"));
                }
                (Part::Placeholder(Placeholder::Major), Version::Release(release)) => tag.push_str(release.part(0)?),
                (Part::Placeholder(Placeholder::Minor), Version::Release(release)) => tag.push_str(release.part(1)?),
                (Part::Placeholder(Placeholder::Patch), Version::Release(release)) => tag.push_str(release.part(2)?),
                (Part::Placeholder(Placeholder::Sha), _) => tag.push_str(sha?.get(..7)?),
                // Gitea and Forgejo do not tell case; what is pushed under one name must be found under it.
                (Part::Placeholder(Placeholder::Branch), Version::Branch(name)) => {
                    tag.push_str(&branch_text(&name.to_lowercase()));
                }
                (Part::Placeholder(_), _) => return None,
            }
        }
        Some(tag_text(&tag))
    }

    /// The text of another release's tag made of this template, taken apart: the release in it.
    pub(super) fn release_in(&self, tag: &str, scheme: VersionScheme) -> Option<Release> {
        let at = self.parts.iter().position(|part| *part == Part::Placeholder(Placeholder::Version))?;
        let text = |parts: &[Part]| -> Option<String> {
            parts.iter().map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
        };
        let version = tag.strip_prefix(&text(&self.parts[..at])?)?.strip_suffix(&text(&self.parts[at + 1..])?)?;
        release_of_tag(version, scheme)
    }

    /// The same with something behind it.
    pub(super) fn with_suffix(mut self, suffix: &str) -> Self {
        self.parts.push(Part::Text(suffix.to_owned()));
        self
    }
}

pub(super) fn release_of_tag(tag: &str, scheme: VersionScheme) -> Option<Release> {
    let text = tag.replace('_', "+");
    // An epoch's `!`, where a post-release's `-` is not meant.
    let epoch = text.replacen('-', "!", 1);
    Release::parse(&text, scheme).or_else(|| Release::parse(&epoch, scheme))
}

/// `1.3.0-cuda` is the release 1.3.0 where tags end with `-cuda`.
pub(super) fn without_suffix<'a>(tag: &'a str, suffix: &str) -> &'a str {
    tag.strip_suffix(suffix).filter(|number| !number.is_empty()).unwrap_or(tag)
}

/// The tag of a version's text: what a tag cannot have is told apart where versions have it.
pub fn version_tag(text: &str) -> String {
    tag_text(&text.replace('+', "_"))
}

/// The nearest text that is a tag: what cannot be in one becomes `-`, at most 128 characters.
pub fn tag_text(text: &str) -> String {
    let mapped: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
    let trimmed = mapped.trim_start_matches(['.', '-']);
    // Only ASCII is left.
    let cut = &trimmed[..trimmed.len().min(128)];
    if cut.is_empty() { unnamed(text) } else { cut.to_owned() }
}

/// A branch's name; one without a letter or digit that a tag can have is told apart by its hash.
fn branch_text(name: &str) -> String {
    if name.contains(|c: char| c.is_ascii_alphanumeric()) { name.to_owned() } else { unnamed(name) }
}

fn unnamed(text: &str) -> String {
    let digest = Digest::of(text.as_bytes()).to_string();
    let hex = digest.trim_start_matches("sha256:");
    format!("unnamed-{}", &hex[..hex.len().min(8)])
}
