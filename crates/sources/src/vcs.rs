//! Versions that projects take from git, computed here, so that builds need neither the repository nor a `git`.

use std::{collections::BTreeMap, path::Path};

use pep508_rs::{
    Requirement,
    pep440_rs::{Prerelease, Version},
};
use pixi_oci_git::Git;

use super::pyproject::PyProject;

/// How a version is written that is not exactly a tag's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// setuptools-scm: `1.2.1.dev3+g0123abcde`, on the way to the next version.
    Next,
    /// dunamai: `1.2.0.post3.dev0+0123abc`.
    Dunamai,
    /// versioningit: `1.2.0.post3+g0123abc`.
    Post,
}

/// What computes versions, by its name among `build-system.requires`.
const PLUGINS: [(&str, Scheme); 6] = [
    ("setuptools-scm", Scheme::Next),
    ("hatch-vcs", Scheme::Next),
    ("vcs-versioning", Scheme::Next),
    ("uv-dynamic-versioning", Scheme::Dunamai),
    ("poetry-dynamic-versioning", Scheme::Dunamai),
    ("versioningit", Scheme::Post),
];
/// Their settings, which may say to compute it otherwise, or to write it to a file.
const SETTINGS: [&str; 5] =
    ["setuptools_scm", "vcs-versioning", "uv-dynamic-versioning", "poetry-dynamic-versioning", "versioningit"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VcsVersion {
    pub version: String,
    /// The tag with which a repository of one commit has this version.
    pub tag: String,
}

pub fn plugins() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name)
}

/// Whether a plugin with its defaults says the version.
pub fn by_default(pyproject: &PyProject) -> bool {
    let (hatch, pdm) = (&pyproject.tool("hatch")["version"], &pyproject.tool("pdm")["version"]);
    let configured = SETTINGS.iter().any(|tool| pyproject.tool(tool).as_object().is_some_and(|keys| !keys.is_empty()));
    let only_source = |settings: &serde_json::Value, known: &[&str]| {
        settings.as_object().is_some_and(|keys| keys.len() == 1)
            && settings["source"].as_str().is_some_and(|source| known.contains(&source))
    };
    let hatch_source = only_source(hatch, &["vcs", "versioningit", "uv-dynamic-versioning"]);
    // With setuptools these two do something only where their table is, be it empty.
    let asked = match scheme(pyproject) {
        Some(Scheme::Post) => !pyproject.tool("versioningit").is_null(),
        Some(Scheme::Next) => !pyproject.tool("setuptools_scm").is_null(),
        Some(Scheme::Dunamai) => true,
        None => false,
    };
    let of_requires = if hatch.is_null() { asked } else { hatch_source && scheme(pyproject).is_some() };
    !configured && (of_requires || only_source(pdm, &["scm"]))
}

/// Whether git may say the version, for all that is known: a plugin is there, or nothing else says it.
pub fn may_say(pyproject: &PyProject) -> bool {
    let dynamic = pyproject.project.as_ref().is_some_and(|project| project.dynamic.iter().any(|key| key == "version"));
    let said = [
        &pyproject.tool("setuptools")["dynamic"]["version"],
        &pyproject.tool("hatch")["version"]["path"],
        &pyproject.tool("pdm")["version"]["path"],
    ];
    let backend = pyproject.build_system.as_ref().and_then(|system| system.build_backend.as_deref());
    let elsewhere = said.iter().any(|value| !value.is_null()) || backend == Some("flit_core.buildapi");
    scheme(pyproject).is_some() || (dynamic && !elsewhere)
}

/// The version that the project in `directory` has by its repository; `None` where there is none, or too little of it.
pub fn version(directory: &Path, pyproject: &PyProject) -> Option<VcsVersion> {
    let git = Git::at(directory);
    let commit = git.commit()?;
    let clean = git.tree().is_ok_and(|tree| tree.is_clean());
    let scheme = scheme(pyproject).unwrap_or(Scheme::Next);
    let no_local = ["setuptools_scm", "vcs-versioning"]
        .iter()
        .any(|tool| pyproject.tool(tool)["local_scheme"].as_str() == Some("no-local-version"));
    let mut version = match git.describe(&["*[0-9]*"]) {
        Some(described) => {
            let base = of_tag(&described.tag)?;
            if described.distance == 0 && clean {
                return Some(VcsVersion { version: base.to_string(), tag: described.tag });
            }
            written(scheme, &base, described.distance, &commit, clean)
        }
        // Without a tag all commits count, and a shallow clone does not have them.
        None => match (scheme, git.commits()?) {
            (Scheme::Next, count) => written(scheme, &"0.0".parse().ok()?, count, &commit, clean),
            (Scheme::Dunamai, count) => written(scheme, &"0.0.0".parse().ok()?, count, &commit, clean),
            (Scheme::Post, _) => return None,
        },
    };
    if no_local {
        version.truncate(version.find('+').unwrap_or(version.len()));
    }
    Some(VcsVersion { tag: format!("v{version}"), version })
}

/// The variables by which builds are told a version, for a project with this PEP 503 name.
pub fn variables(name: &str, version: &str) -> BTreeMap<String, String> {
    let upper = name.to_uppercase().replace(['-', '.'], "_");
    let names = [
        "SETUPTOOLS_SCM_PRETEND_VERSION",
        "VCS_VERSIONING_PRETEND_VERSION",
        "PDM_BUILD_SCM_VERSION",
        "PBR_VERSION",
        "POETRY_DYNAMIC_VERSIONING_BYPASS",
        "UV_DYNAMIC_VERSIONING_BYPASS",
    ];
    let own = ["SETUPTOOLS_SCM", "VCS_VERSIONING"].map(|tool| format!("{tool}_PRETEND_VERSION_FOR_{upper}"));
    names.map(str::to_owned).into_iter().chain(own).map(|name| (name, version.to_owned())).collect()
}

fn scheme(pyproject: &PyProject) -> Option<Scheme> {
    let requires = pyproject.build_system.iter().flat_map(|system| &system.requires);
    let names: Vec<String> =
        requires.filter_map(|text| Some(text.parse::<Requirement>().ok()?.name.to_string())).collect();
    PLUGINS.iter().find(|(plugin, _)| names.iter().any(|name| name == plugin)).map(|(_, scheme)| *scheme)
}

/// `v1.2`, `release-1.2`, `my-app/v1.2`: the first part of a tag that is a version to its end.
fn of_tag(tag: &str) -> Option<Version> {
    let starts = tag.char_indices().filter(|(at, _)| *at == 0 || tag[..*at].ends_with(['-', '/', '_']));
    starts.map(|(at, _)| tag[at..].trim_start_matches(['v', 'V'])).find_map(|text| text.parse().ok())
}

fn written(scheme: Scheme, base: &Version, distance: u64, commit: &str, clean: bool) -> String {
    let hash = |digits: usize| commit.get(..digits).unwrap_or(commit).to_owned();
    let dirty = if clean { "" } else { ".dirty" };
    match scheme {
        Scheme::Next => format!("{}.dev{distance}+g{}{dirty}", next(base), hash(9)),
        Scheme::Dunamai if distance == 0 => format!("{base}+{}{dirty}", hash(7)),
        Scheme::Dunamai => format!("{base}.post{distance}.dev0+{}{dirty}", hash(7)),
        Scheme::Post if distance == 0 => format!("{base}+g{}{dirty}", hash(7)),
        Scheme::Post => format!("{base}.post{distance}+g{}{dirty}", hash(7)),
    }
}

/// The version after this one: the next of its pre-releases, or its last number raised.
fn next(version: &Version) -> Version {
    if let Some(Prerelease { kind, number }) = version.pre() {
        return version
            .clone()
            .with_pre(Some(Prerelease { kind, number: number + 1 }))
            .with_post(None)
            .with_local(vec![]);
    }
    let mut numbers = version.release().to_vec();
    if let Some(last) = numbers.last_mut() {
        *last += 1;
    }
    Version::new(numbers).with_epoch(version.epoch())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "eb5eccab5b2b4ad8d17223dcf422b36706fcf3c3";

    #[test]
    fn tags_are_versions_with_and_without_a_prefix() {
        for (tag, version) in [("v1.2.0", "1.2.0"), ("1.2", "1.2"), ("release-1.2.0rc1", "1.2.0rc1"), ("a-b/v3", "3")] {
            assert_eq!(of_tag(tag).unwrap().to_string(), version, "{tag}");
        }
        assert_eq!(of_tag("nightly"), None);
    }

    /// As setuptools-scm 10.3.4, dunamai 1.26.5 and versioningit 3.3.0 write them, but for the date of a changed tree.
    #[test]
    fn versions_between_tags_are_written_as_each_plugin_does() {
        let write =
            |scheme, base: &str, distance, clean| written(scheme, &base.parse().unwrap(), distance, COMMIT, clean);
        for (scheme, base, distance, clean, expected) in [
            (Scheme::Next, "1.2.0", 1, true, "1.2.1.dev1+geb5eccab5"),
            (Scheme::Next, "1.2.0", 0, false, "1.2.1.dev0+geb5eccab5.dirty"),
            (Scheme::Next, "2.0.0rc1", 1, true, "2.0.0rc2.dev1+geb5eccab5"),
            (Scheme::Next, "0.0", 1, true, "0.1.dev1+geb5eccab5"),
            (Scheme::Dunamai, "1.2.0", 1, true, "1.2.0.post1.dev0+eb5ecca"),
            (Scheme::Dunamai, "2.0.0rc1", 1, true, "2.0.0rc1.post1.dev0+eb5ecca"),
            (Scheme::Post, "1.2.0", 1, true, "1.2.0.post1+geb5ecca"),
            (Scheme::Post, "1.2.0", 1, false, "1.2.0.post1+geb5ecca.dirty"),
        ] {
            let version = write(scheme, base, distance, clean);
            assert_eq!(version, expected);
            version.parse::<Version>().unwrap();
        }
    }
}
