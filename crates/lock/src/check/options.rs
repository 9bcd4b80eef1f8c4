//! What a lock file was made with, beside the requirements: channels, solver options, indexes, platforms.

use rattler_solve::{ChannelPriority, SolveStrategy};

use super::difference::Difference;
use crate::{LockFile, LockedPlatform, Wanted, wanted};
use pixi_oci_net::redact;
use pixi_oci_workspace::{Error, FindLinks, ManifestChannel, ManifestPlatform, VirtualPackage, Workspace};

/// Compares everything that is the same on all platforms.
pub(super) fn compare(
    wanted: &Wanted,
    lock: &LockFile,
    locked: rattler_lock::Environment<'_>,
    found: &mut Vec<Difference>,
) {
    let mut add = |text| Difference::add(found, text, None);
    let manifest: Vec<_> = wanted.options.channels.iter().map(|channel| channel.url.clone()).collect();
    let of_lock = |name: &str| ManifestChannel::base_url(name, lock.directory()).unwrap_or_else(|_| name.to_owned());
    let channels: Vec<_> = locked.channels().iter().map(|channel| of_lock(&channel.url)).collect();
    if manifest != channels {
        add(format!("the channels are {}, the lock was made with {}", shown(&manifest), shown(&channels)));
    }

    let options = locked.solve_options();
    let pairs = [
        ("solve-strategy", strategy(wanted.options.solve_strategy), strategy(options.strategy)),
        ("channel-priority", priority(wanted.options.channel_priority), priority(options.channel_priority)),
    ];
    let locked_mode = prerelease_mode(options.pypi_prerelease_mode);
    let mode = wanted.options.pypi_options.prerelease_mode.as_deref().unwrap_or("if-necessary-or-explicit");
    for (key, manifest, lock) in pairs.into_iter().chain([("prerelease-mode", mode, locked_mode)]) {
        if manifest != lock {
            add(format!("{key} is {manifest}, the lock was made with {lock}"));
        }
    }

    if !wanted.pypi.is_empty() {
        compare_indexes(wanted, lock, locked, &mut add);
    }
}

/// From format 5 on, a lock file with Python packages names the indexes.
fn compare_indexes(
    wanted: &Wanted,
    lock: &LockFile,
    locked: rattler_lock::Environment<'_>,
    add: &mut impl FnMut(String),
) {
    let links = wanted.options.pypi_options.find_links.iter().map(|link| match link {
        FindLinks::Path(path) => path.clone(),
        FindLinks::Url(url) => url.to_string(),
    });
    let manifest: Vec<_> = wanted.options.pypi_options.indexes().into_iter().chain(links).collect();
    let indexes = match locked.pypi_indexes() {
        Some(indexes) => {
            let links = indexes.find_links.iter().map(|link| match link {
                rattler_lock::FindLinksUrlOrPath::Path(path) => path.to_string_lossy().into_owned(),
                rattler_lock::FindLinksUrlOrPath::Url(url) => url.to_string(),
            });
            indexes.indexes.iter().map(ToString::to_string).chain(links).collect()
        }
        None if lock.version() < 5 || locked.pypi_packages_by_platform().all(|(_, mut all)| all.next().is_none()) => {
            return;
        }
        None => Vec::new(),
    };
    if manifest != indexes {
        let (manifest, indexes) = (shown(&manifest), shown(&indexes));
        add(format!("the Python package indexes are {manifest}, the lock was made with {indexes}"));
    }
}

/// Compares the platforms of an environment with those it is locked for. Which virtual packages a platform has, lock
/// files say from format 7 on.
pub(super) fn compare_platforms(
    workspace: &Workspace,
    lock: &LockFile,
    environment: &str,
    declared: &[ManifestPlatform],
    locked: &[LockedPlatform],
    found: &mut Vec<Difference>,
) -> Result<(), Error> {
    let mut matched: Vec<&str> = Vec::new();
    for platform in declared {
        let wanted = wanted(workspace, environment, platform)?;
        let expected = own_virtual_packages(&wanted.virtual_packages, platform);
        let is_it = |locked: &&LockedPlatform| {
            declared_platform(declared, locked).is_some_and(|of| of.name == platform.name)
                && (lock.version() < 7 || locked.is_bare() || has_virtual_packages(locked, &expected, platform))
        };
        match locked.iter().find(is_it) {
            Some(locked) => matched.push(&locked.lock_name),
            // Lock files do not mention a platform without packages.
            None if wanted.conda.is_empty() && wanted.pypi.is_empty() && wanted.dev.is_empty() => {}
            None => {
                let platform = described(&platform.name, &expected);
                Difference::add(found, format!("platform {platform} is in the manifest and not in the lock"), None);
            }
        }
    }
    for platform in locked.iter().filter(|platform| !matched.contains(&platform.lock_name.as_str())) {
        // Before format 7 two declared platforms of one subdir have one row.
        if lock.version() >= 7 || !declared.iter().any(|d| d.subdir == platform.subdir.as_str()) {
            // Of a platform that the manifest does not have, the lock file's name may be an invented one.
            let platform = described(platform.subdir.as_str(), &platform.extras);
            Difference::add(found, format!("platform {platform} is in the lock and not in the manifest"), None);
        }
    }
    Ok(())
}

/// What sets a platform apart from the plain one of its subdir.
fn own_virtual_packages(all: &[VirtualPackage], platform: &ManifestPlatform) -> Vec<VirtualPackage> {
    let defaults = VirtualPackage::defaults(&platform.subdir);
    all.iter().filter(|package| !defaults.contains(package)).cloned().collect()
}

fn has_virtual_packages(locked: &LockedPlatform, expected: &[VirtualPackage], platform: &ManifestPlatform) -> bool {
    let defaults = VirtualPackage::defaults(&platform.subdir);
    let all: Vec<VirtualPackage> = locked.virtual_packages.iter().filter_map(|text| text.parse().ok()).collect();
    let own: Vec<_> = all.iter().filter(|package| !defaults.contains(package)).collect();
    let same =
        |own: &[&VirtualPackage]| own.len() == expected.len() && own.iter().all(|package| expected.contains(package));
    // The second try: another pixi, with other defaults, wrote the lock file.
    let is_default = |package: &VirtualPackage| {
        defaults.iter().any(|d| d.name == package.name) && !expected.iter().any(|e| e.name == package.name)
    };
    let without_defaults: Vec<_> = own.iter().copied().filter(|package| !is_default(package)).collect();
    same(&own) || same(&without_defaults)
}

fn described(name: &str, own: &[VirtualPackage]) -> String {
    if own.is_empty() {
        return name.to_owned();
    }
    let own: Vec<_> = own.iter().map(ToString::to_string).collect();
    format!("{name} with {}", own.join(", "))
}

fn shown(urls: &[String]) -> String {
    let urls: Vec<_> = urls.iter().map(|url| redact(url.trim_end_matches('/'))).collect();
    if urls.is_empty() { "none".to_owned() } else { urls.join(", ") }
}

fn strategy(strategy: SolveStrategy) -> &'static str {
    match strategy {
        SolveStrategy::Highest => "highest",
        SolveStrategy::LowestVersion => "lowest",
        SolveStrategy::LowestVersionDirect => "lowest-direct",
    }
}

fn priority(priority: ChannelPriority) -> &'static str {
    match priority {
        ChannelPriority::Strict => "strict",
        ChannelPriority::Flexible => "flexible",
        ChannelPriority::Disabled => "disabled",
    }
}

fn prerelease_mode(mode: rattler_lock::PypiPrereleaseMode) -> &'static str {
    use rattler_lock::PypiPrereleaseMode as Mode;
    match mode {
        Mode::Disallow => "disallow",
        Mode::Allow => "allow",
        Mode::IfNecessary => "if-necessary",
        Mode::Explicit => "explicit",
        Mode::IfNecessaryOrExplicit => "if-necessary-or-explicit",
    }
}

/// The declared platform that a locked one is. With `[system-requirements]` the lock file's platform has another name
/// and virtual packages that the declared one, a plain subdir, does not.
pub(super) fn declared_platform<'m>(
    declared: &'m [ManifestPlatform],
    locked: &LockedPlatform,
) -> Option<&'m ManifestPlatform> {
    let subdir = locked.subdir.as_str();
    let named = |name: &str| declared.iter().find(|platform| platform.name == name && platform.subdir == subdir);
    let by_name = named(&locked.name).or_else(|| named(&locked.lock_name)).or_else(|| named(subdir));
    // What a bare row is nothing but the manifest says.
    let mut of_subdir = declared.iter().filter(|platform| platform.subdir == subdir);
    by_name.or_else(|| of_subdir.next().filter(|_| locked.is_bare() && of_subdir.next().is_none()))
}
