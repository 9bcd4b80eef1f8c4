//! What packages need of the machine that they run on, and which of them asks for it.

use std::collections::BTreeMap;

use pixi_oci_lock::{VirtualRequirement, minimum};
use serde::Serialize;

/// A virtual package that a machine must have, and the package that asks most of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// The virtual package, e.g. `__glibc`.
    pub name: String,
    /// The lowest version that will do; none if any will.
    pub minimum: Option<String>,
    /// The build, e.g. the microarchitecture of `__archspec`; none if any will do.
    pub build: Option<String>,
    /// The package that asks for the minimum; of several the first by name.
    pub package: String,
    /// As that package says it, e.g. `__glibc >=2.28,<3.0.a0`.
    pub requirement: String,
}

/// One for each virtual package and build, sorted. What only `constrains` it needs nothing.
pub fn needs(requirements: &[VirtualRequirement]) -> Vec<Need> {
    let mut by_name: BTreeMap<(&str, Option<&str>), Vec<&VirtualRequirement>> = BTreeMap::new();
    for requirement in requirements.iter().filter(|requirement| !requirement.constraint) {
        by_name.entry((&requirement.name, requirement.build.as_deref())).or_default().push(requirement);
    }
    let need = |((name, build), mut all): ((&str, Option<&str>), Vec<&VirtualRequirement>)| {
        all.sort_by(|a, b| a.package.cmp(&b.package));
        let asks = minimum(all.iter().copied(), name).or(all.first().copied())?;
        Some(Need {
            name: name.to_owned(),
            minimum: asks.minimum.as_ref().map(ToString::to_string),
            build: build.map(str::to_owned),
            package: asks.package.clone(),
            requirement: asks.requirement.clone(),
        })
    };
    by_name.into_iter().filter_map(need).collect()
}

impl Need {
    /// In words, without the package: `__glibc >=2.28`.
    pub fn text(&self) -> String {
        match (&self.minimum, &self.build) {
            (minimum, Some(build)) => format!("{} {} {build}", self.name, minimum.as_deref().unwrap_or("*")),
            (Some(minimum), None) => format!("{} >={minimum}", self.name),
            (None, None) => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(package: &str, requirement: &str, minimum: Option<&str>, build: Option<&str>) -> VirtualRequirement {
        VirtualRequirement {
            package: package.into(),
            name: requirement.split(' ').next().unwrap().into(),
            requirement: requirement.into(),
            minimum: minimum.map(|version| version.parse().unwrap()),
            build: build.map(str::to_owned),
            constraint: false,
        }
    }

    #[test]
    fn the_highest_minimum_and_who_asks_for_it() {
        let mut all = vec![
            asks("numpy", "__glibc >=2.17", Some("2.17"), None),
            asks("z", "__glibc >=2.34,<3", Some("2.34"), None),
            asks("a", "__glibc >=2.34", Some("2.34"), None),
            asks("x", "__unix", None, None),
            asks("fast", "__archspec 1 x86_64_v3", Some("1"), Some("x86_64_v3")),
            VirtualRequirement { constraint: true, ..asks("ffmpeg", "__cuda >=12", Some("12"), None) },
        ];
        let text = |all: &[VirtualRequirement]| -> Vec<String> {
            needs(all).iter().map(|need| format!("{} ({})", need.text(), need.package)).collect()
        };
        let expected = ["__archspec 1 x86_64_v3 (fast)", "__glibc >=2.34 (a)", "__unix (x)"];
        assert_eq!(text(&all), expected);
        all.reverse();
        assert_eq!(text(&all), expected, "the order does not matter");
    }
}
