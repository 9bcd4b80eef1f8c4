//! The platforms of a lock file, and which of them is meant.

use pixi_oci_workspace::{ManifestPlatform, TargetPlatform, VirtualPackage};
use rattler_conda_types::Subdir;

use crate::Error;

/// A linux platform an environment is locked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPlatform {
    /// The name in the manifest, else the one in the lock file.
    pub name: String,
    /// The name in the lock file, which can be an invented one (`p1`).
    pub lock_name: String,
    pub subdir: Subdir,
    /// Every virtual package the lock file lists, as it is written there; empty before format 7.
    pub virtual_packages: Vec<String>,
    /// Those of them that set it apart from the plain platform of its subdir.
    pub extras: Vec<VirtualPackage>,
}

/// Which platform is wanted.
///
/// By **name**: the platform of that name in the manifest, else in the lock file. A name that neither has but that is a
/// conda platform is taken for the subdir.
///
/// By **subdir**, when several platforms share it (`linux-64` and `linux-64-cuda`):
/// 1. A platform that contradicts the assumptions (it needs `__cuda=13`, `__cuda=12` is assumed) is out.
/// 2. Of those whose extra virtual packages are all assumed, the one that needs most. So the plain platform is the
///    default, for it needs nothing that was not said, and `--virtual-package __cuda=12.6` turns to the CUDA one:
///    an image that suddenly needs a GPU, or lacks it though one was promised, would be the worse surprise.
/// 3. Else, the only one there is: a workspace that declares just `linux-64-cuda` means that one, with what it declares.
/// 4. Else it is an error that lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlatformWanted {
    /// Any platform of this architecture.
    Subdir(Subdir),
    Name(String),
}

impl LockedPlatform {
    /// Whether images can be made for it: linux-64 and linux-aarch64.
    pub fn is_supported(&self) -> bool {
        matches!(self.subdir, Subdir::Linux64 | Subdir::LinuxAarch64)
    }

    /// As `[target.SELECTOR]` is compared with it.
    pub fn target(&self) -> TargetPlatform<'_> {
        TargetPlatform { name: &self.name, subdir: self.subdir.as_str() }
    }

    /// A platform on which an environment has no package.
    pub(crate) fn without_packages(platform: &ManifestPlatform) -> Option<Self> {
        let defaults = VirtualPackage::defaults(&platform.subdir);
        let extras = platform.virtual_packages.iter().filter(|package| !defaults.contains(package));
        Some(Self {
            name: platform.name.clone(),
            lock_name: platform.name.clone(),
            subdir: platform.subdir.parse().ok()?,
            virtual_packages: Vec::new(),
            extras: extras.cloned().collect(),
        })
    }

    /// Whether its row in the lock file says nothing but the subdir: then pixi trusts that it is what the manifest has.
    pub(crate) fn is_bare(&self) -> bool {
        self.lock_name == self.subdir.as_str() && self.virtual_packages.is_empty()
    }

    fn describe(&self) -> String {
        let mut text = format!("`{}`", self.name);
        if !self.extras.is_empty() {
            let extras: Vec<_> = self.extras.iter().map(ToString::to_string).collect();
            text.push_str(&format!(" ({})", extras.join(", ")));
        }
        text
    }
}

/// Names a platform of the lock file. `all` are the lock file's platforms, `manifest` the workspace's.
pub(crate) fn locked_platform(
    platform: rattler_lock::Platform<'_>,
    all: &[rattler_lock::Platform<'_>],
    manifest: &[ManifestPlatform],
) -> LockedPlatform {
    let extras = extras(platform, all);
    let lock_name = platform.name().to_string();
    let subdir = platform.subdir();
    let taken = |name: &str| all.iter().any(|other| other.name().as_str() == name);
    let name = if manifest.iter().any(|m| m.name == lock_name) {
        lock_name.clone()
    } else {
        manifest_name(subdir.as_str(), &extras, manifest)
            .filter(|name| !taken(name))
            .unwrap_or_else(|| lock_name.clone())
    };
    let locked =
        LockedPlatform { name, lock_name, subdir, virtual_packages: platform.virtual_packages().to_vec(), extras };
    let mut same_subdir = manifest.iter().filter(|m| m.subdir == subdir.as_str());
    match (same_subdir.next(), same_subdir.next()) {
        (Some(only), None) if locked.is_bare() => match LockedPlatform::without_packages(only) {
            Some(LockedPlatform { name, extras, .. }) => LockedPlatform { name, extras, ..locked },
            None => locked,
        },
        _ => locked,
    }
}

/// The virtual packages that are not what pixi assumes of every platform of the subdir. Pixi lets nobody add to a
/// platform that is called like its subdir, so where the lock file has that one it says what the defaults were.
fn extras(platform: rattler_lock::Platform<'_>, all: &[rattler_lock::Platform<'_>]) -> Vec<VirtualPackage> {
    let subdir = platform.subdir();
    if platform.name().as_str() == subdir.as_str() {
        return Vec::new();
    }
    let parse = |platform: &rattler_lock::Platform<'_>| -> Vec<VirtualPackage> {
        platform.virtual_packages().iter().filter_map(|text| text.parse().ok()).collect()
    };
    let plain = all.iter().find(|other| other.name().as_str() == subdir.as_str());
    let defaults = plain.map_or_else(|| VirtualPackage::defaults(subdir.as_str()), parse);
    parse(&platform).into_iter().filter(|package| !defaults.contains(package)).collect()
}

/// The manifest's name for a platform of this identity, if exactly one has it (pixi's `align_platform_names`).
fn manifest_name(subdir: &str, extras: &[VirtualPackage], manifest: &[ManifestPlatform]) -> Option<String> {
    let defaults = VirtualPackage::defaults(subdir);
    let declared = |m: &ManifestPlatform| -> Vec<VirtualPackage> {
        m.virtual_packages.iter().filter(|p| !defaults.contains(p)).cloned().collect()
    };
    let same = |a: &[VirtualPackage], b: &[VirtualPackage]| a.len() == b.len() && a.iter().all(|p| b.contains(p));
    // The second try: another pixi, with other defaults, wrote the lock file.
    let without_defaults: Vec<_> =
        extras.iter().filter(|p| !defaults.iter().any(|d| d.name == p.name)).cloned().collect();
    [extras, &without_defaults].into_iter().find_map(|extras| {
        let mut matching = manifest.iter().filter(|m| m.subdir == subdir && same(&declared(m), extras));
        let first = matching.next()?;
        matching.next().is_none().then(|| first.name.clone())
    })
}

/// Chooses a platform; the rules are [`PlatformWanted`]'s.
pub(crate) fn select(
    environment: &str,
    platforms: &[LockedPlatform],
    wanted: &PlatformWanted,
    assumed: &[VirtualPackage],
) -> Result<LockedPlatform, Error> {
    let found = match wanted {
        PlatformWanted::Subdir(subdir) => by_subdir(environment, platforms, *subdir, assumed)?,
        PlatformWanted::Name(name) => {
            let named =
                platforms.iter().find(|p| p.name == *name).or_else(|| platforms.iter().find(|p| p.lock_name == *name));
            match (named, name.parse()) {
                (Some(platform), _) => Some(platform),
                (None, Ok(subdir)) => by_subdir(environment, platforms, subdir, assumed)?,
                (None, Err(_)) => None,
            }
        }
    };
    let Some(platform) = found else {
        return Err(Error::NoPlatform {
            environment: environment.to_owned(),
            wanted: match wanted {
                PlatformWanted::Subdir(subdir) => format!("{subdir}{}", although(subdir.as_str(), platforms, assumed)),
                PlatformWanted::Name(name) => format!("platform `{name}`{}", although(name, platforms, assumed)),
            },
            available: platforms.iter().map(|p| p.name.clone()).collect(),
        });
    };
    if !platform.is_supported() {
        return Err(Error::UnsupportedPlatform {
            platform: platform.name.clone(),
            subdir: platform.subdir.to_string(),
        });
    }
    Ok(platform.clone())
}

fn by_subdir<'p>(
    environment: &str,
    platforms: &'p [LockedPlatform],
    subdir: Subdir,
    assumed: &[VirtualPackage],
) -> Result<Option<&'p LockedPlatform>, Error> {
    let contradicts = |platform: &LockedPlatform| {
        let contradicted = |extra: &VirtualPackage| assumed.iter().any(|a| a.name == extra.name && !a.provides(extra));
        platform.extras.iter().any(contradicted)
    };
    let is_met =
        |platform: &LockedPlatform| platform.extras.iter().all(|extra| assumed.iter().any(|a| a.provides(extra)));
    let candidates: Vec<_> = platforms.iter().filter(|p| p.subdir == subdir && !contradicts(p)).collect();
    let met: Vec<_> = candidates.iter().copied().filter(|p| is_met(p)).collect();
    let most = met.iter().map(|p| p.extras.len()).max();
    let best: Vec<_> = match most {
        Some(most) => met.into_iter().filter(|p| p.extras.len() == most).collect(),
        None => candidates,
    };
    match best[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Error::AmbiguousPlatform {
            environment: environment.to_owned(),
            subdir: subdir.to_string(),
            candidates: best.iter().map(|p| p.describe()).collect(),
        }),
    }
}

/// What is assumed is only said where it is the reason: there are platforms of the subdir, and it contradicts them.
fn although(wanted: &str, platforms: &[LockedPlatform], assumed: &[VirtualPackage]) -> String {
    if assumed.is_empty() || platforms.iter().all(|platform| platform.subdir.as_str() != wanted) {
        return String::new();
    }
    let assumed: Vec<_> = assumed.iter().map(ToString::to_string).collect();
    format!(" with {}", assumed.join(", "))
}

#[cfg(test)]
mod tests;
