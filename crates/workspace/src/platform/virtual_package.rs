//! Virtual packages: what a target is assumed to have (`__glibc`, `__cuda`, …), never asked of the host.

use std::{collections::BTreeMap, fmt, str::FromStr};

use rattler_conda_types::{GenericVirtualPackage, PackageName, Version, package::BuildString};

use crate::Error;

/// A virtual package, written `NAME[=VERSION[=BUILD]]` as lock files and `--virtual-package` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualPackage {
    /// With its leading underscores, e.g. `__cuda`.
    pub name: String,
    /// `0` where it means nothing, as for `__unix` and `__archspec`.
    pub version: Version,
    /// For `__archspec` the microarchitecture; else mostly empty or `0`.
    pub build: String,
}

impl VirtualPackage {
    /// Takes the parts as they are in a manifest.
    pub(crate) fn new(name: &str, version: &str, build: &str) -> Result<Self, Error> {
        let error = |message: String| Error::VirtualPackage { text: format!("{name}={version}"), message };
        if !name.starts_with("__") {
            return Err(error(format!("names of virtual packages begin with two underscores, as in `__{name}=1`")));
        }
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        if name.len() < 3 || !name.chars().all(legal) {
            return Err(error("a name has lower-case letters, digits, `_`, `-` and `.` only".to_owned()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
        if !build.chars().all(legal) {
            return Err(error(format!("`{build}` is not a build string")));
        }
        let version = Version::from_str(version).map_err(|e| error(format!("`{version}` is not a version: {e}")))?;
        Ok(Self { name: name.to_owned(), version, build: build.to_owned() })
    }

    /// Whether a target that has `self` fulfils `needed`, as pixi decides it: the same name and a version at least
    /// as high. A microarchitecture must be the same one, since their order is not ours to know.
    pub fn provides(&self, needed: &Self) -> bool {
        self.name == needed.name
            && self.version >= needed.version
            && (needed.name != "__archspec" || self.build == needed.build)
    }

    /// What pixi assumes of a plain platform (pixi's `subdir_default_virtual_packages`, 0.71 to 0.77): a locked platform
    /// lists these beside what its author declared.
    pub fn defaults(subdir: &str) -> Vec<Self> {
        let family = subdir.split('-').next().unwrap_or_default();
        let system: &[&str] = match family {
            "linux" => &["__unix=0=0", "__linux=4.18", "__glibc=2.28"],
            "osx" => &["__unix=0=0", "__osx=13.0"],
            "emscripten" | "freebsd" => &["__unix=0=0"],
            "win" => &["__win=10.0"],
            _ => &[],
        };
        let machine: &[&str] = match subdir {
            "linux-64" | "osx-64" | "win-64" => &["__archspec=0=x86_64"],
            "linux-32" | "win-32" => &["__archspec=0=x86"],
            "linux-aarch64" | "linux-armv6l" | "linux-armv7l" | "win-arm64" => &["__archspec=0=aarch64"],
            "osx-arm64" => &["__archspec=0=m1"],
            "linux-ppc64" => &["__archspec=0=ppc64"],
            "linux-ppc64le" => &["__archspec=0=ppc64le"],
            "linux-riscv32" => &["__archspec=0=riscv32"],
            "linux-riscv64" => &["__archspec=0=riscv64"],
            "linux-s390x" => &["__archspec=0=s390x"],
            _ => &[],
        };
        system.iter().chain(machine).filter_map(|text| text.parse().ok()).collect()
    }

    /// The package as the solver has it: without a build it has the build `0`, and `__archspec`, which manifests and lock
    /// files write with the version 0, has the version 1 and the microarchitecture as its build.
    pub fn generic(&self) -> Option<GenericVirtualPackage> {
        let build = if self.build.is_empty() { "0" } else { &self.build };
        let version = if self.name == "__archspec" { Version::major(1) } else { self.version.clone() };
        let name = PackageName::try_from(self.name.as_str()).ok()?;
        Some(GenericVirtualPackage { name, version, build_string: build.parse::<BuildString>().ok()? })
    }

    /// Later ones win over earlier ones of the same name: of the locked platform, `[system-requirements]`, the configuration,
    /// the command line. One a name, sorted.
    pub fn over<'a>(packages: impl Iterator<Item = &'a Self>) -> Vec<Self> {
        let by_name: BTreeMap<&str, &Self> = packages.map(|package| (package.name.as_str(), package)).collect();
        by_name.into_values().cloned().collect()
    }

    /// The virtual packages of several features together: of each name the highest version, as pixi unites them.
    pub fn unite<'a>(packages: impl Iterator<Item = &'a Self>) -> Vec<Self> {
        let mut united: Vec<Self> = Vec::new();
        for package in packages {
            match united.iter_mut().find(|known| known.name == package.name) {
                None => united.push(package.clone()),
                Some(known) if package.version > known.version => *known = package.clone(),
                Some(_) => {}
            }
        }
        united
    }
}

impl FromStr for VirtualPackage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.trim().splitn(3, '=');
        let name = parts.next().unwrap_or_default();
        let version = parts.next().unwrap_or("0");
        Self::new(name, version, parts.next().unwrap_or_default())
    }
}

impl fmt::Display for VirtualPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.version)?;
        if self.build.is_empty() { Ok(()) } else { write!(f, "={}", self.build) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> VirtualPackage {
        text.parse().expect(text)
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["__cuda=12.6", "__archspec=0=x86_64_v3", "__unix=0=0"] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse("__unix"), parse("__unix=0"));
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["cuda=12", "", "__", "__cuda=", "__cuda=x y", "__CUDA=12", "__cuda=12=a b", "__cuda=>=12"] {
            assert!(text.parse::<VirtualPackage>().is_err(), "{text}");
        }
        let error = "cuda=12".parse::<VirtualPackage>().unwrap_err().to_string();
        assert!(error.contains("`__cuda=1`"), "{error}");
    }

    #[test]
    fn a_higher_version_provides_a_lower_one() {
        assert!(parse("__cuda=12.6").provides(&parse("__cuda=12")));
        assert!(parse("__cuda=12").provides(&parse("__cuda=12.0")));
        assert!(!parse("__cuda=11.8").provides(&parse("__cuda=12")));
        assert!(!parse("__glibc=2.35").provides(&parse("__cuda=2")));
        assert!(!parse("__archspec=0=x86_64_v4").provides(&parse("__archspec=0=x86_64_v3")));
    }
}
