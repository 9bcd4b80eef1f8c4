//! The packages that an image has, compared with the lock file in it.

use std::{collections::BTreeMap, path::Path};

use pep508_rs::pep440_rs::Version;
use pixi_oci_image::Architecture;
use pixi_oci_lock::{LockFile, LockedPackage};

use crate::{Error, target::platform};

/// A package whose record is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePackage {
    /// The conda name, or `pypi:NAME`.
    pub name: String,
    pub version: String,
    /// The sha256 of a conda package's archive, 64 hex digits; nothing in an image has that of a wheel.
    pub sha256: Option<String>,
}

/// What a lock file says of one package.
enum Locked {
    /// The archive.
    Conda(String),
    /// The version.
    Wheel(String),
    /// Whatever was built of a source, or injected in its place, or nothing.
    Source,
}

/// Says how `found` differs from what the lock file in the directory `workspace` has for an environment on an
/// architecture; nothing if it does not. With several platforms of one architecture, the most similar one counts.
pub fn lock_differences(
    workspace: &Path,
    environment: &str,
    architecture: Architecture,
    found: &[ImagePackage],
) -> Result<Vec<String>, Error> {
    let lock = LockFile::read_foreign(&workspace.join("pixi.lock"))?;
    let subdir = platform::subdir(architecture);
    let platforms = lock.platforms(environment)?;
    if !lock.has_packages(environment) {
        return Ok(compare(BTreeMap::new(), found));
    }
    let mut best: Option<Vec<String>> = None;
    for platform in platforms.iter().filter(|platform| platform.subdir == subdir) {
        let packages = lock.packages(environment, platform)?;
        let locked = packages.iter().map(|package| (package.name(), locked(package))).collect();
        let differences = compare(locked, found);
        if best.as_ref().is_none_or(|best| differences.len() < best.len()) {
            best = Some(differences);
        }
    }
    Ok(best.unwrap_or_else(|| vec![format!("the lock file has no environment {environment:?} for {subdir}")]))
}

fn locked(package: &LockedPackage) -> Locked {
    match package {
        LockedPackage::Conda(_) => match package.sha256() {
            Some(sha256) => Locked::Conda(sha256.to_string()),
            None => Locked::Source,
        },
        LockedPackage::Wheel(wheel) => Locked::Wheel(wheel.version.clone()),
        LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => Locked::Source,
    }
}

fn compare(mut locked: BTreeMap<String, Locked>, found: &[ImagePackage]) -> Vec<String> {
    let mut differences = Vec::new();
    for ImagePackage { name, version, sha256 } in found {
        match locked.remove(name) {
            None => differences.push(format!("{name} {version} is not in the lock file, or twice in the image")),
            Some(Locked::Conda(wanted)) if sha256.as_ref() != Some(&wanted) => differences.push(format!(
                "{name} {version} is of the archive sha256:{}; the lock file has sha256:{wanted}",
                sha256.as_deref().unwrap_or("(none)")
            )),
            Some(Locked::Wheel(wanted)) if !same_version(version, &wanted) => {
                differences.push(format!("{name} is {version}; the lock file has {wanted}"));
            }
            Some(_) => {}
        }
    }
    let missing = locked.into_iter().filter(|(_, locked)| !matches!(locked, Locked::Source));
    differences.extend(missing.map(|(name, _)| format!("{name} is in the lock file, and has no record in the image")));
    differences
}

/// `1.0.post1` is `1.0-1`: a wheel's directory may spell a version otherwise than the lock file.
fn same_version(found: &str, wanted: &str) -> bool {
    let parse = |text: &str| text.replace('_', "-").parse::<Version>().ok();
    found == wanted || parse(found).is_some_and(|found| parse(wanted) == Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, version: &str, sha256: Option<&str>) -> ImagePackage {
        ImagePackage { name: name.into(), version: version.into(), sha256: sha256.map(str::to_owned) }
    }

    fn locked() -> BTreeMap<String, Locked> {
        [("a", Locked::Conda("1".into())), ("pypi:w", Locked::Wheel("1.0.post1".into())), ("pypi:s", Locked::Source)]
            .map(|(name, locked)| (name.to_owned(), locked))
            .into()
    }

    #[test]
    fn every_difference_is_said() {
        let a = found("a", "1", Some("1"));
        let wheel = found("pypi:w", "1.0_1", None);
        assert_eq!(compare(locked(), &[a.clone(), wheel.clone()]), Vec::<String>::new());
        for (packages, said) in [
            (vec![a.clone()], "pypi:w is in the lock file, and has no record"),
            (vec![found("a", "1", Some("2")), wheel.clone()], "a 1 is of the archive sha256:2"),
            (vec![a.clone(), found("pypi:w", "2.0", None)], "pypi:w is 2.0; the lock file has 1.0.post1"),
            (vec![a.clone(), wheel.clone(), found("evil", "1", None)], "evil 1 is not in the lock file"),
            (vec![a.clone(), a, wheel], "a 1 is not in the lock file, or twice"),
        ] {
            let differences = compare(locked(), &packages);
            assert!(matches!(&differences[..], [only] if only.starts_with(said)), "{said}: {differences:?}");
        }
    }
}
