//! The lock file as it is written: the newest format, by `rattler_lock`, as pixi writes it.

use pixi_oci_net::redact_text;

use rattler_lock::{
    FindLinksUrlOrPath, LockedPackage, PlatformData, PlatformName, PypiIndexes, PypiPrereleaseMode, SolveOptions,
    UrlOrPath,
};

use super::{error::LockError, problem::subdir};
use crate::Wanted;
use pixi_oci_workspace::{FindLinks, ManifestPlatform, PypiOptions, VirtualPackage, Workspace};

/// An environment on one of its platforms.
pub(super) struct LockedEnvironment {
    pub(super) wanted: Wanted,
    pub(super) packages: Vec<LockedPackage>,
}

/// A platform of the lock file: what it is, and what it is called there.
struct Row {
    platform: ManifestPlatform,
    virtual_packages: Vec<VirtualPackage>,
    name: String,
}

/// All environments on all their platforms as the text of a lock file.
pub(super) fn render(environments: &[LockedEnvironment], workspace: &Workspace) -> Result<String, LockError> {
    let rows = rows(environments, workspace);
    let platforms = rows.iter().map(platform_data).collect::<Result<Vec<_>, _>>()?;
    let mut builder = rattler_lock::LockFile::builder().with_platforms(platforms).map_err(impossible)?;
    for LockedEnvironment { wanted, packages } in environments {
        let environment = wanted.environment.as_str();
        let Some(row) = rows.iter().find(|row| row.is_for(wanted)) else { continue };
        builder.set_channels(environment, wanted.options.channels.iter().map(|channel| channel.url.as_str()));
        builder.set_options(
            environment,
            SolveOptions {
                strategy: wanted.options.solve_strategy,
                channel_priority: wanted.options.channel_priority,
                pypi_prerelease_mode: prerelease_mode(&wanted.options.pypi_options),
            },
        );
        builder.add_environment_platform(environment, &row.name).map_err(impossible)?;
        for package in packages {
            builder.add_package(environment, &row.name, as_written(package)).map_err(impossible)?;
        }
        if packages.iter().any(|package| package.as_pypi().is_some()) {
            builder.set_pypi_indexes(environment, indexes(&wanted.options.pypi_options));
        }
    }
    builder.finish().render_to_string().map_err(impossible)
}

/// A platform with the virtual packages that every platform of its subdir has is called as its subdir; others are
/// `p1`, `p2`, … in the manifest's order. Pixi finds them again by what they are.
fn rows(environments: &[LockedEnvironment], workspace: &Workspace) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for platform in &workspace.platforms {
        for LockedEnvironment { wanted, .. } in environments {
            if wanted.platform != *platform || rows.iter().any(|row| row.is_for(wanted)) {
                continue;
            }
            let virtual_packages = wanted.virtual_packages.clone();
            let defaults = VirtualPackage::defaults(&platform.subdir);
            let is_plain = platform.name == platform.subdir && virtual_packages == defaults;
            let aliases = rows.iter().filter(|row| row.name != row.platform.subdir).count();
            let name = if is_plain { platform.subdir.clone() } else { format!("p{}", aliases + 1) };
            rows.push(Row { platform: platform.clone(), virtual_packages, name });
        }
    }
    rows
}

/// A wheel that a requirement names, or a file, is from no index; who reads a lock file supposes the first one.
fn as_written(package: &LockedPackage) -> LockedPackage {
    let mut package = package.clone();
    if let LockedPackage::Pypi(data) = &mut package
        && let Some(wheel) = data.as_wheel_mut()
    {
        let is_of_index = match wheel.location.inner() {
            UrlOrPath::Path(_) => false,
            UrlOrPath::Url(url) => !url.scheme().contains('+'),
        };
        wheel.index_url = wheel.index_url.take().filter(|_| is_of_index);
    }
    package
}

impl Row {
    fn is_for(&self, wanted: &Wanted) -> bool {
        self.platform == wanted.platform && self.virtual_packages == wanted.virtual_packages
    }
}

/// What was declared comes before what every platform of the subdir has, as pixi writes it.
fn platform_data(row: &Row) -> Result<PlatformData, LockError> {
    let defaults = VirtualPackage::defaults(&row.platform.subdir);
    let (plain, declared): (Vec<_>, Vec<_>) =
        row.virtual_packages.iter().partition(|package| defaults.contains(package));
    Ok(PlatformData {
        name: PlatformName::try_from(row.name.as_str()).map_err(impossible)?,
        subdir: subdir(&row.platform)?,
        virtual_packages: declared.into_iter().chain(plain).map(ToString::to_string).collect(),
    })
}

fn prerelease_mode(options: &PypiOptions) -> PypiPrereleaseMode {
    match options.prerelease_mode.as_deref() {
        Some("disallow") => PypiPrereleaseMode::Disallow,
        Some("allow") => PypiPrereleaseMode::Allow,
        Some("if-necessary") => PypiPrereleaseMode::IfNecessary,
        Some("explicit") => PypiPrereleaseMode::Explicit,
        _ => PypiPrereleaseMode::default(),
    }
}

fn indexes(options: &PypiOptions) -> PypiIndexes {
    let link = |link: &FindLinks| match link {
        FindLinks::Path(path) => FindLinksUrlOrPath::Path(path.into()),
        FindLinks::Url(url) => FindLinksUrlOrPath::Url(url.clone()),
    };
    PypiIndexes {
        indexes: options.indexes().iter().filter_map(|index| index.parse().ok()).collect(),
        find_links: options.find_links.iter().map(link).collect(),
    }
}

fn impossible(error: impl std::fmt::Display) -> LockError {
    LockError::Document { message: redact_text(&error.to_string()) }
}
