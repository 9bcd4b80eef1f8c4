//! Conda requirements of a manifest: `name = "spec"` or `name = { version = "…", … }`.

use std::{path::Path, str::FromStr, sync::Arc};

use rattler_conda_types::{
    BuildNumberSpec, MatchSpec, MatchSpecCondition, NamedChannelOrUrl, NamelessMatchSpec, PackageName,
    PackageNameMatcher, ParseStrictness, StringMatcher, VersionSpec,
};
use url::Url;

use crate::{
    ManifestError,
    pypi::url,
    toml::{Element, Section},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    pub name: PackageName,
    /// What of it will do. The URL of an archive is in `spec.url`; a path to one has become a `file:` URL.
    pub spec: NamelessMatchSpec,
    /// Where its source is, if it is to be built.
    pub source: Option<SourceLocation>,
    /// The feature that declares it, `default` for the top-level tables.
    pub feature: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// A directory or file; relative to the workspace's root.
    Path(String),
    Url(Url),
    Git {
        url: String,
        /// What is checked out; `None` for the default branch.
        reference: Option<GitReference>,
        subdirectory: Option<String>,
    },
}

/// What of a git repository is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitReference {
    Branch(String),
    Tag(String),
    /// A commit, or anything else that git can resolve.
    Rev(String),
}

#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) feature: &'a str,
    pub(crate) root: &'a Path,
    /// `[workspace.dependencies]`, which `{ workspace = true }` refers to.
    pub(crate) pool: Option<&'a Section<'a>>,
}

impl Requirement {
    /// Reads the table under `key`; nothing if there is none.
    pub(crate) fn read_table(
        section: &Section<'_>,
        key: &str,
        context: Context<'_>,
    ) -> Result<Vec<Self>, ManifestError> {
        let Some(table) = section.section(key)? else { return Ok(Vec::new()) };
        table.keys().map(|name| Self::read(&table, name, context)).collect()
    }

    fn read(table: &Section<'_>, key: &str, context: Context<'_>) -> Result<Self, ManifestError> {
        let name = PackageName::try_from(key)
            .map_err(|e| table.error_at_key(key, format!("`{key}` is not a package name: {e}")))?;
        let requirement = |spec, source| Self { name: name.clone(), spec, source, feature: context.feature.to_owned() };
        match table.entry(key)? {
            Some(Element::Value(leaf)) => {
                let text = leaf.value().as_str().ok_or_else(|| leaf.wanted("a version or a table"))?;
                let version = version(text).map_err(|message| leaf.error(message))?;
                Ok(requirement(NamelessMatchSpec { version: Some(version), ..Default::default() }, None))
            }
            Some(Element::Table(own)) => {
                let base = if own.boolean("workspace")? == Some(true) { pooled(&own, key, context)? } else { None };
                let fields = Fields { own, base };
                let spec = fields.spec(context)?;
                let source = fields.source(context)?;
                Ok(match source {
                    Some(Source::Archive(url)) => requirement(NamelessMatchSpec { url: Some(url), ..spec }, None),
                    Some(Source::Location(source)) => requirement(spec, Some(source)),
                    None => requirement(spec, None),
                })
            }
            None => Ok(requirement(NamelessMatchSpec::default(), None)),
        }
    }

    /// As one text, e.g. `numpy >=2`.
    pub fn match_spec(&self) -> MatchSpec {
        MatchSpec::from_nameless(self.spec.clone(), PackageNameMatcher::Exact(self.name.clone()))
    }
}

/// The entry of `[workspace.dependencies]` that `{ workspace = true }` means.
fn pooled<'a>(own: &Section<'_>, key: &str, context: Context<'a>) -> Result<Option<Element<'a>>, ManifestError> {
    let entry = context.pool.map(|pool| pool.entry(key)).transpose()?.flatten();
    entry
        .map(Some)
        .ok_or_else(|| own.error_at("workspace", format!("`[workspace.dependencies]` has no `{key}` to inherit from")))
}

/// A requirement's table, over the one that it inherits from.
struct Fields<'a> {
    own: Section<'a>,
    base: Option<Element<'a>>,
}

enum Source {
    Archive(Url),
    Location(SourceLocation),
}

impl Fields<'_> {
    /// The table that has `key`: the requirement's own before the inherited one.
    fn with(&self, key: &str) -> Option<&Section<'_>> {
        if self.own.contains(key) {
            return Some(&self.own);
        }
        match &self.base {
            Some(Element::Table(base)) if base.contains(key) => Some(base),
            _ => None,
        }
    }

    fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ManifestError> {
        self.with(key).map_or(Ok(None), |section| section.parsed(key, parse))
    }

    fn text(&self, key: &str) -> Result<Option<String>, ManifestError> {
        self.parsed(key, |text| Ok(text.to_owned()))
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, ManifestError> {
        self.with(key).map(|section| section.strings(key)).transpose().map(Option::flatten)
    }

    fn spec(&self, context: Context<'_>) -> Result<NamelessMatchSpec, ManifestError> {
        let own_version = match &self.base {
            Some(Element::Value(leaf)) => Some(version(&leaf.string()?).map_err(|message| leaf.error(message))?),
            _ => self.parsed("version", version)?,
        };
        let flags = self.texts("flags")?.map(|flags| flags.iter().map(|flag| matcher(flag)).collect::<Result<_, _>>());
        let when = self.with("when").map(|section| section.entry("when")).transpose()?.flatten();
        let root = context.root;
        Ok(NamelessMatchSpec {
            version: own_version,
            build: self.parsed("build", matcher)?,
            build_number: self.parsed("build-number", |text| {
                BuildNumberSpec::from_str(text).map_err(|e| format!("`{text}` is not a build number: {e}"))
            })?,
            file_name: self.text("file-name")?,
            extras: self.texts("extras")?,
            flags: flags.transpose().map_err(|message: String| self.own.error_at("flags", message))?,
            channel: self
                .parsed("channel", |text| {
                    let config = rattler_conda_types::ChannelConfig::default_with_root_dir(root.to_owned());
                    let named = NamedChannelOrUrl::from_str(text).map_err(|e| e.to_string())?;
                    named.into_channel(&config).map_err(|e| format!("`{text}` is not a channel: {e}"))
                })?
                .map(Arc::new),
            subdir: self.text("subdir")?,
            md5: self.parsed("md5", |text| digest::<rattler_digest::Md5>(text, "an md5"))?,
            sha256: self.parsed("sha256", |text| digest::<rattler_digest::Sha256>(text, "a sha256"))?,
            license: self.text("license")?,
            license_family: self.text("license-family")?,
            condition: when.map(|entry| condition(&entry, 0)).transpose()?,
            track_features: self.texts("track-features")?,
            ..Default::default()
        })
    }

    fn source(&self, context: Context<'_>) -> Result<Option<Source>, ManifestError> {
        let url = self.parsed("url", url)?;
        let (path, git) = (self.text("path")?, self.text("git")?);
        let is_archive = |name: &str| name.ends_with(".conda") || name.ends_with(".tar.bz2");
        match (url, path, git) {
            (None, None, None) => Ok(None),
            (Some(url), None, None) if is_archive(url.path()) => Ok(Some(Source::Archive(url))),
            (Some(url), None, None) => Ok(Some(Source::Location(SourceLocation::Url(url)))),
            (None, Some(path), None) if is_archive(&path) => {
                let absolute = context.root.join(&path);
                let url = Url::from_file_path(&absolute)
                    .map_err(|()| self.own.error_at("path", format!("`{path}` is not a path")))?;
                Ok(Some(Source::Archive(url)))
            }
            (None, Some(path), None) => Ok(Some(Source::Location(SourceLocation::Path(path)))),
            (None, None, Some(url)) => {
                let reference = git_reference(|key| self.text(key), &self.own)?;
                let subdirectory = self.text("subdirectory")?;
                Ok(Some(Source::Location(SourceLocation::Git { url, reference, subdirectory })))
            }
            _ => Err(self.own.error("only one of `url`, `path` and `git` can be given")),
        }
    }
}

/// The one of `branch`, `tag` and `rev` that is given.
pub(crate) fn git_reference(
    text: impl Fn(&str) -> Result<Option<String>, ManifestError>,
    table: &Section<'_>,
) -> Result<Option<GitReference>, ManifestError> {
    match (text("branch")?, text("tag")?, text("rev")?) {
        (None, None, None) => Ok(None),
        (Some(branch), None, None) => Ok(Some(GitReference::Branch(branch))),
        (None, Some(tag), None) => Ok(Some(GitReference::Tag(tag))),
        (None, None, Some(rev)) => Ok(Some(GitReference::Rev(rev))),
        _ => Err(table.error("only one of `branch`, `tag` and `rev` can be given")),
    }
}

/// Strictly as pixi first tries it, else leniently: a bare `1.2` is an exact version then.
fn version(text: &str) -> Result<VersionSpec, String> {
    VersionSpec::from_str(text, ParseStrictness::Strict)
        .or_else(|_| VersionSpec::from_str(text, ParseStrictness::Lenient))
        .map_err(|e| match text {
            _ if text.contains("://") => format!("`{text}` is not a version; write `{{ url = \"{text}\" }}`"),
            _ if text.starts_with(['.', '/', '~']) => {
                format!("`{text}` is not a version; write `{{ path = \"{text}\" }}`")
            }
            _ => format!("`{text}` is not a version specification: {e}"),
        })
}

fn matcher(text: &str) -> Result<StringMatcher, String> {
    StringMatcher::from_str(text).map_err(|e| format!("`{text}` is not a pattern: {e}"))
}

fn digest<D: rattler_digest::digest::Digest>(
    text: &str,
    what: &str,
) -> Result<rattler_digest::digest::Output<D>, String> {
    rattler_digest::parse_digest_from_hex::<D>(text).ok_or_else(|| format!("`{text}` is not {what}"))
}

/// `when = "python >=3.12"`, `{ all = […] }`, `{ any = […] }` or `{ package = "…", version = "…", build = "…" }`.
fn condition(entry: &Element<'_>, depth: usize) -> Result<MatchSpecCondition, ManifestError> {
    if depth > 16 {
        return Err(entry.error("conditions are nested too deeply"));
    }
    let table = match entry {
        Element::Value(leaf) => {
            let text = leaf.string()?;
            let spec = MatchSpec::from_str(&text, ParseStrictness::Lenient);
            let spec = spec.map_err(|e| leaf.error(format!("`{text}` is not a match spec: {e}")))?;
            return Ok(MatchSpecCondition::MatchSpec(Box::new(spec)));
        }
        Element::Table(table) => table,
    };
    for (key, join) in
        [("all", MatchSpecCondition::And as fn(_, _) -> MatchSpecCondition), ("any", MatchSpecCondition::Or)]
    {
        if let Some(parts) = table.list(key)? {
            let mut parts = parts.iter().map(|part| condition(part, depth + 1));
            let first = parts.next().ok_or_else(|| table.error_at(key, format!("`{key}` is empty")))??;
            return parts.try_fold(first, |all, part| Ok(join(Box::new(all), Box::new(part?))));
        }
    }
    let name = table.string("package")?.ok_or_else(|| table.error("`when` needs `all`, `any` or `package`"))?;
    let name = PackageName::try_from(name.as_str()).map_err(|e| table.error_at("package", e.to_string()))?;
    let spec = NamelessMatchSpec {
        version: table.parsed("version", version)?,
        build: table.parsed("build", matcher)?,
        ..Default::default()
    };
    Ok(MatchSpecCondition::MatchSpec(Box::new(MatchSpec::from_nameless(spec, PackageNameMatcher::Exact(name)))))
}
