//! What packages demand of the machine they run on: their dependencies on virtual packages.

use rattler_conda_types::{
    MatchSpec, ParseStrictness, StringMatcher, Version, VersionSpec,
    version_spec::{EqualityOperator, LogicalOperator, RangeOperator, StrictRangeOperator},
};

use crate::LockedPackage;

/// One dependency of one package on a virtual package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualRequirement {
    pub package: String,
    /// The virtual package, e.g. `__glibc`.
    pub name: String,
    /// The whole dependency as the package has it, e.g. `__glibc >=2.28,<3.0.a0`.
    pub requirement: String,
    /// The lowest version that could fulfil it; `None` if any can, or none could be made out.
    pub minimum: Option<Version>,
    /// The build it wants, e.g. the microarchitecture of `__archspec`.
    pub build: Option<String>,
    /// Whether it only holds where the virtual package exists (`constrains`, not `depends`).
    pub constraint: bool,
}

/// The dependencies of conda packages on virtual packages, in the packages' order.
pub fn requirements(packages: &[LockedPackage]) -> Vec<VirtualRequirement> {
    let mut found = Vec::new();
    for package in packages {
        let LockedPackage::Conda(record) = package else { continue };
        let record = &record.package_record;
        let depends = record.depends.iter().map(|text| (text, false));
        for (text, constraint) in depends.chain(record.constrains.iter().map(|text| (text, true))) {
            if text.starts_with("__") {
                found.push(requirement(&package.name(), text, constraint));
            }
        }
    }
    found
}

/// The highest of the minimums that packages set for a virtual package: what a target must have at least, if it has it at
/// all. Ties go to the package first in order.
///
/// A target always has a `__glibc`, so all requirements count. It may do without `__cuda`: what only *constrains* it says
/// nothing then (conda-forge's ffmpeg constrains `__cuda >=12.8` in environments that never see a GPU), and a caller who
/// asks what must be there leaves [`constraint`](VirtualRequirement::constraint)s out.
pub fn minimum<'a>(
    requirements: impl IntoIterator<Item = &'a VirtualRequirement>,
    name: &str,
) -> Option<&'a VirtualRequirement> {
    let mut highest: Option<&VirtualRequirement> = None;
    for requirement in requirements.into_iter().filter(|r| r.name == name && r.minimum.is_some()) {
        if highest.is_none_or(|highest| requirement.minimum > highest.minimum) {
            highest = Some(requirement);
        }
    }
    highest
}

fn requirement(package: &str, text: &str, constraint: bool) -> VirtualRequirement {
    let name = text.split(|c: char| c.is_whitespace() || "<>=!~[".contains(c)).next().unwrap_or(text);
    let spec = MatchSpec::from_str(text, ParseStrictness::Lenient).ok();
    let build = spec.as_ref().and_then(|spec| spec.build.as_ref()).filter(|b| !matches!(b, StringMatcher::Any));
    VirtualRequirement {
        package: package.to_owned(),
        name: name.to_owned(),
        requirement: text.to_owned(),
        minimum: spec.as_ref().and_then(|spec| spec.version.as_ref()).and_then(lower_bound),
        build: build.map(ToString::to_string),
        constraint,
    }
}

/// The lowest version that a specification can accept; `None` if there is no such bound.
fn lower_bound(spec: &VersionSpec) -> Option<Version> {
    match spec {
        VersionSpec::Range(RangeOperator::Greater | RangeOperator::GreaterEquals, version)
        | VersionSpec::Exact(EqualityOperator::Equals, version) => Some(version.clone()),
        VersionSpec::StrictRange(StrictRangeOperator::StartsWith | StrictRangeOperator::Compatible, version) => {
            Some(version.clone().into_inner())
        }
        VersionSpec::Group(LogicalOperator::And, all) => all.iter().filter_map(lower_bound).max(),
        VersionSpec::Group(LogicalOperator::Or, any) => {
            any.iter().map(lower_bound).collect::<Option<Vec<_>>>()?.into_iter().min()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_bounds() {
        let cases = [
            ("__glibc >=2.28,<3.0.a0", Some("2.28")),
            ("__glibc >=2.17", Some("2.17")),
            ("__cuda 12.*", Some("12")),
            ("__cuda ==12.6", Some("12.6")),
            ("__cuda >=11|>=12", Some("11")),
            ("__cuda <13", None),
            ("__cuda >=12|<11", None),
            ("__cuda", None),
            ("__glibc >=2.28", Some("2.28")),
            ("__glibc>=2.28", Some("2.28")),
        ];
        for (text, expected) in cases {
            let requirement = requirement("p", text, false);
            assert_eq!(requirement.minimum, expected.map(|v| v.parse().unwrap()), "{text}");
            assert!(matches!(requirement.name.as_str(), "__glibc" | "__cuda"), "{text}: {}", requirement.name);
        }
        assert_eq!(requirement("p", "__archspec 1.* x86_64_v3", false).build.as_deref(), Some("x86_64_v3"));
    }

    #[test]
    fn the_highest_minimum_wins() {
        let all: Vec<_> =
            [("a", "__glibc >=2.17"), ("b", "__glibc >=2.34"), ("c", "__glibc >=2.34"), ("d", "__cuda >=12")]
                .into_iter()
                .map(|(package, text)| requirement(package, text, false))
                .collect();
        assert_eq!(minimum(&all, "__glibc").unwrap().package, "b");
        assert_eq!(minimum(&all, "__linux"), None);
    }
}
