//! An environment's own Python packages among those of its solve group.

use std::collections::{BTreeSet, HashMap, HashSet};

use pep508_rs::{ExtraName, MarkerEnvironment};
use rattler_lock::PypiPackageData;

use crate::PypiRequirement;

/// What an environment has of the choice.
#[derive(Debug, Default)]
pub(in super::super) struct Part {
    /// Python packages, as in the group.
    pub(in super::super) python: Vec<PypiPackageData>,
    /// Conda packages that these and the requirements need: first by the Python name.
    pub(in super::super) conda: BTreeSet<String>,
}

/// The packages that the requirements need, directly or through others, in the order of `group`.
pub(super) fn subset(
    group: &[PypiPackageData],
    requirements: &[PypiRequirement],
    environment: &MarkerEnvironment,
) -> Part {
    let by_name: HashMap<String, usize> =
        group.iter().enumerate().map(|(index, package)| (package.name().to_string(), index)).collect();
    let mut queue: Vec<(String, Vec<ExtraName>)> = requirements
        .iter()
        .filter(|requirement| requirement.marker.evaluate(environment, &[]))
        .map(|requirement| {
            let extras = requirement.extras.iter().filter_map(|extra| extra.parse().ok());
            (requirement.name.clone(), extras.collect())
        })
        .collect();
    let (mut seen, mut part) = (HashSet::new(), Part::default());
    while let Some(next) = queue.pop() {
        let Some(&index) = by_name.get(&next.0) else {
            part.conda.insert(next.0);
            continue;
        };
        if !seen.insert(next.clone()) {
            continue;
        }
        for dependency in group[index].requires_dist() {
            if dependency.marker.evaluate(environment, &next.1) {
                queue.push((dependency.name.to_string(), dependency.extras.clone()));
            }
        }
    }
    let kept: HashSet<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    part.python = group.iter().filter(|package| kept.contains(package.name().as_ref())).cloned().collect();
    part
}
