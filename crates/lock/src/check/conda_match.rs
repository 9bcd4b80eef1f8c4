//! Whether one locked conda package is what is required, and what it is instead.

use rattler_conda_types::{MatchSpec, Matches, NamelessMatchSpec, PackageRecord};
use rattler_lock::{CondaBinaryData, CondaPackageData, UrlOrPath};

use crate::{LockFile, file::package::normalize};
use pixi_oci_net::redact;
use pixi_oci_workspace::SourceLocation;

/// What a package has instead of what is required; `None` if it is what is required.
pub(super) fn unlike(spec: &MatchSpec, package: &CondaPackageData, lock: &LockFile) -> Option<String> {
    // Of a source that was not evaluated, lock files know the name only.
    let Some(record) = package.record() else {
        return (!spec.name.matches(package.name())).then(|| described(package));
    };
    if !spec.matches(record) {
        return Some(version_and_build(spec, record));
    }
    let binary = package.as_binary()?;
    if let Some(url) = &spec.url
        && location(binary, lock) != url.as_str()
    {
        return Some(redact(&location(binary, lock)));
    }
    // Not pixi's check: it takes a package from another channel than the one that is asked for.
    if let Some(channel) = &spec.channel
        && !redact(&location(binary, lock)).starts_with(&redact(channel.base_url.as_str()))
    {
        return Some(format!("it from {}", redact(&location(binary, lock))));
    }
    let other_subdir = spec.subdir.as_ref().is_some_and(|subdir| *subdir != record.subdir);
    other_subdir.then(|| format!("it for {}", record.subdir))
}

/// The version, and the build where the requirement says something of it.
pub(super) fn version_and_build(spec: &MatchSpec, record: &PackageRecord) -> String {
    let version_only = NamelessMatchSpec { version: spec.version.clone(), ..Default::default() };
    if version_only.matches(record) {
        format!("{} {}", record.version, record.build)
    } else {
        record.version.to_string()
    }
}

pub(super) fn location(package: &CondaBinaryData, lock: &LockFile) -> String {
    match &package.location {
        UrlOrPath::Url(url) => url.to_string(),
        UrlOrPath::Path(path) => {
            let absolute = lock.directory().join(path.as_str());
            url::Url::from_file_path(&absolute).map_or_else(|()| path.to_string(), |url| url.to_string())
        }
    }
}

pub(super) fn described(package: &CondaPackageData) -> String {
    let name = package.name().as_normalized();
    match package.record() {
        Some(record) => format!("{name} {}", record.version),
        None => name.to_owned(),
    }
}

pub(super) fn describe(source: &SourceLocation) -> String {
    match source {
        SourceLocation::Path(path) => path.clone(),
        SourceLocation::Url(url) => redact(url.as_str()),
        SourceLocation::Git { url, .. } => redact(url),
    }
}

pub(super) fn other_source(source: &SourceLocation, package: &CondaPackageData, lock: &LockFile) -> Option<String> {
    let Some(data) = package.as_source() else { return Some("an archive instead of its source".to_owned()) };
    let has = data.location.as_str();
    let same = match (source, &data.location) {
        (SourceLocation::Path(path), UrlOrPath::Path(locked)) => {
            let absolute = |path: &str| normalize(&lock.directory().join(path));
            // A source can be named by its manifest as well as by its directory.
            let plain = |path: &str| absolute(path.trim_end_matches("/pixi.toml").trim_end_matches("/pyproject.toml"));
            plain(path) == plain(locked.as_str())
        }
        (SourceLocation::Url(url), UrlOrPath::Url(locked)) => {
            let plain = |url: &str| redact(url.split('#').next().unwrap_or(url));
            plain(url.as_str()) == plain(locked.as_str())
        }
        (SourceLocation::Git { url, .. }, UrlOrPath::Url(locked)) => {
            let plain = |url: &str| {
                let url = url.split(['#', '?']).next().unwrap_or(url);
                let url = url.trim_start_matches("git+").trim_end_matches('/').trim_end_matches(".git");
                redact(url).to_lowercase()
            };
            plain(url) == plain(locked.as_str())
        }
        _ => false,
    };
    (!same).then(|| redact(has))
}
