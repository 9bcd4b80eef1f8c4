//! An environment's own packages among those of its solve group.

use std::collections::{BTreeMap, BTreeSet};

use rattler_conda_types::{
    MatchSpec, PackageName, PackageNameMatcher, ParseMatchSpecOptions, RepoDataRecord, RepodataRevision,
};

/// The records that the specs need, directly or through others, in the order of `group`.
///
/// As pixi distills an environment from its group: by names, through `depends` and the extras that are asked for; what the
/// group lacks is not looked for elsewhere.
pub fn conda_subset(group: &[RepoDataRecord], specs: &[MatchSpec]) -> Vec<RepoDataRecord> {
    let by_name: BTreeMap<&PackageName, &RepoDataRecord> =
        group.iter().map(|record| (&record.package_record.name, record)).collect();
    let mut queue: Vec<Requested> = specs.iter().flat_map(wanted).collect();
    let mut seen: BTreeSet<Requested> = BTreeSet::new();
    while let Some(next) = queue.pop() {
        let Some(record) = by_name.get(&next.name) else { continue };
        if !seen.insert(next.clone()) {
            continue;
        }
        let record = &record.package_record;
        let extra = next.extra.as_ref().and_then(|extra| record.extra_depends.get(extra));
        for dependency in record.depends.iter().chain(extra.into_iter().flatten()) {
            queue.extend(dependency_names(dependency));
        }
    }
    let kept: BTreeSet<&PackageName> = seen.iter().map(|wanted| &wanted.name).collect();
    group.iter().filter(|record| kept.contains(&record.package_record.name)).cloned().collect()
}

/// A package, or one of its extras.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Requested {
    name: PackageName,
    extra: Option<String>,
}

fn wanted(spec: &MatchSpec) -> Vec<Requested> {
    let PackageNameMatcher::Exact(name) = &spec.name else { return Vec::new() };
    let extras = spec.extras.iter().flatten().cloned().map(Some);
    [None].into_iter().chain(extras).map(|extra| Requested { name: name.clone(), extra }).collect()
}

/// A dependency that cannot be parsed still has a name in front.
fn dependency_names(dependency: &str) -> Vec<Requested> {
    let options = ParseMatchSpecOptions::lenient().with_repodata_revision(RepodataRevision::V3);
    match MatchSpec::from_str(dependency, options) {
        Ok(spec) => wanted(&spec),
        Err(_) => vec![Requested { name: PackageName::from_matchspec_str_unchecked(dependency), extra: None }],
    }
}
