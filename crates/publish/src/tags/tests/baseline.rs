//! Which published image is taken for the one that is most like the new one.

use std::collections::BTreeMap;

use super::*;

/// The tags that are looked at, for a version, the configured tags and a suffix, of a repository that has these.
#[track_caller]
fn looked_at(version: &str, configured: &[&str], suffix: &str, existing: &[&str]) -> String {
    let version = match version.strip_prefix("branch ") {
        Some(name) => Version::Branch(name.into()),
        None => Version::parse(version, VersionScheme::Dotted),
    };
    let existing: Vec<String> = existing.iter().map(|tag| (*tag).to_owned()).collect();
    let input = TagPlanInput {
        version: Some(&version),
        scheme: VersionScheme::Dotted,
        sha: Some("abc1234def"),
        templates: &templates(configured),
        suffix,
        explicit: &[],
        existing: &existing,
        versions: &BTreeMap::new(),
        architectures: &[Amd64, Arm64],
    };
    let plan = tag_plan(&input).ok();
    baseline_tags(&input, plan.as_ref()).join(" ")
}

#[test]
fn a_new_tag_takes_the_image_of_the_default_branch_else_latest_else_the_newest() {
    let configured = ["{version}", "sha-{sha}", "latest", "{branch}", "edge@develop"];
    for (version, suffix, existing, expected) in [
        // One that is put again.
        ("branch main", "", &["latest", "main", "main-amd64", "sha-abc1234"][..], "sha-abc1234"),
        ("branch Fix_1", "", &["latest", "fix_1", "main"], "fix_1"),
        // One architecture's image is there.
        ("branch x", "", &["sha-abc1234-amd64", "main"], "sha-abc1234-amd64"),
        // New ones.
        ("branch x", "", &["latest", "main", "edge", "1.0.0"], "edge"),
        ("branch x", "", &["latest", "main", "1.0.0"], "main"),
        ("branch x", "", &["latest", "master", "1.0.0"], "master"),
        ("1.0.1", "", &["latest", "1.0.0", "main-amd64"], "latest"),
        ("branch x", "-cuda", &["latest", "latest-cuda", "main"], "latest-cuda"),
        ("branch x", "-cuda", &["latest", "main"], "latest"),
        ("branch x", "", &["1.9.0", "1.10.0", "sha-fffffff", "1.10.0-amd64"], "1.10.0"),
        // Nothing tells: their images do.
        ("branch x", "", &["pr-1", "pr-2", "pr-3", "pr-4", "pr-4-amd64"], "pr-4 pr-3 pr-2"),
        ("branch x", "", &[], ""),
    ] {
        assert_eq!(looked_at(version, &configured, suffix, existing), expected, "{version}{suffix} {existing:?}");
    }
    // A branch without a configured tag is one of many.
    assert_eq!(looked_at("branch x", &["sha-{sha}"], "", &["main", "sha-1234567"]), "sha-1234567 main");
}
