//! Which tags there are, on what, and in which order.

use std::collections::BTreeMap;

use super::*;

const ALL: [&str; 7] = ["latest", "{major}", "{version}", "{major}.{minor}", "sha-{sha}", "{branch}", "latest@main"];
const SHA: &str = "abc1234def";

fn plan(version: &str, configured: &[&str], explicit: &[&str], existing: &[&str]) -> Result<TagPlan, TagError> {
    plan_of(VersionScheme::Dotted, version, configured, explicit, existing, &[])
}

fn plan_of(
    scheme: VersionScheme,
    version: &str,
    configured: &[&str],
    explicit: &[&str],
    existing: &[&str],
    versions: &[(&str, &str)],
) -> Result<TagPlan, TagError> {
    let version = match version.strip_prefix("branch ") {
        Some(name) => Some(Version::Branch(name.into())),
        None if version.is_empty() => None,
        None => Some(Version::parse(version, scheme)),
    };
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    tag_plan(&TagPlanInput {
        version: version.as_ref(),
        scheme,
        sha: Some(SHA),
        templates: &templates(configured),
        suffix: "",
        explicit: &own(explicit),
        existing: &own(existing),
        versions: &versions.iter().map(|(tag, version)| ((*tag).into(), (*version).into())).collect(),
        architectures: &[Amd64, Arm64],
    })
}

/// `TAG` of the index, `!` before immutable ones, `~` before staging ones.
fn shown(plan: &TagPlan) -> Vec<String> {
    let mark = |rule| match rule {
        TagRule::Immutable => "!",
        TagRule::Moving => "",
        TagRule::Staging => "~",
    };
    plan.tags.iter().map(|planned| format!("{}{}", mark(planned.rule), planned.tag)).collect()
}

#[track_caller]
fn tags(version: &str, configured: &[&str], explicit: &[&str], existing: &[&str]) -> String {
    shown(&plan(version, configured, explicit, existing).unwrap()).join(" ")
}

#[test]
fn a_release_has_all_its_tags_and_latest_is_the_last() {
    assert_eq!(tags("v1.2.3", &ALL, &[], &[]), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3 sha-abc1234 1.2 1 latest");
    let plan = plan("1.2.3", &ALL, &[], &[]).unwrap();
    assert_eq!(plan.tags[0].target, TagTarget::Image(Amd64));
    assert_eq!(plan.tags[1].target, TagTarget::Image(Arm64));
    assert!(plan.tags[2..].iter().all(|planned| planned.target == TagTarget::Index));
}

#[test]
fn a_branch_moves_latest_only_if_configured() {
    assert_eq!(tags("branch main", &ALL, &[], &[]), "~sha-abc1234-amd64 ~sha-abc1234-arm64 sha-abc1234 main latest");
    assert_eq!(tags("branch Feature/X", &ALL, &[], &[]), "~sha-abc1234-amd64 ~sha-abc1234-arm64 sha-abc1234 feature-x");
    assert_eq!(tags("branch main", &["edge@main", "latest"], &[], &[]), "~edge-amd64 ~edge-arm64 edge");
    assert!(matches!(plan("branch x", &["edge@main", "latest"], &[], &[]), Err(TagError::NoTag { .. })));
}

#[test]
fn a_branch_does_not_get_the_tag_of_a_release() {
    for (scheme, branch) in [
        (VersionScheme::Dotted, "latest"),
        (VersionScheme::Dotted, "1"),
        (VersionScheme::Dotted, "1.2.3"),
        (VersionScheme::Pep440, "1.0.post1"),
    ] {
        let plan =
            plan_of(scheme, &format!("branch {branch}"), &["edge@x", "sha-{sha}", "{branch}"], &[], &[], &[]).unwrap();
        assert_eq!(shown(&plan).join(" "), "~sha-abc1234-amd64 ~sha-abc1234-arm64 sha-abc1234", "{branch}");
        assert_eq!(plan.kept, [Kept { tag: branch.into(), reason: KeptReason::OfReleases }]);
    }
}

#[test]
fn one_entry_is_for_releases_and_branches() {
    let configured = ["{version}", "latest@{release},main,stable"];
    assert_eq!(tags("1.2.3", &configured, &[], &[]), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3 latest");
    for branch in ["branch main", "branch stable"] {
        assert_eq!(tags(branch, &configured, &[], &[]), "~latest-amd64 ~latest-arm64 latest");
        assert_eq!(tags(branch, &configured, &["latest"], &[]), "~latest-amd64 ~latest-arm64 latest");
    }
    assert_eq!(tags("1.3.0-rc1", &configured, &[], &[]), "~1.3.0-rc1-amd64 ~1.3.0-rc1-arm64 1.3.0-rc1");
    assert!(matches!(plan("branch x", &configured, &[], &[]), Err(TagError::NoTag { .. })));
    // An older release does not get it, as it does not get `latest`.
    assert_eq!(tags("1.2.3", &configured, &[], &["2.0.0", "latest"]), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3");
    let numbers = ["{major}@{release},main", "{major}.{minor}@{release},main"];
    assert_eq!(tags("1.2.3", &numbers, &[], &[]), "~1.2-amd64 ~1.2-arm64 1.2 1");
}

#[test]
fn an_older_release_moves_nothing() {
    let existing = ["2.0.0", "1.3.0", "1.2.9", "9.9.9-rc1", "10.0.0-amd64", "v11.0.0", "latest"];
    let plan = plan("1.2.3", &ALL, &[], &existing).unwrap();
    assert_eq!(shown(&plan).join(" "), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3 sha-abc1234");
    let kept: Vec<String> = plan.kept.iter().map(|kept| format!("{}: {}", kept.tag, kept.reason)).collect();
    assert_eq!(
        kept,
        [
            "1.2: release 1.2.9 is there and newer",
            "1: release 1.3.0 is there and newer",
            "latest: release 2.0.0 is there and newer"
        ]
    );
    // The newest of its line moves the line's tags only.
    assert_eq!(tags("1.2.10", &ALL, &[], &existing), "!1.2.10-amd64 !1.2.10-arm64 !1.2.10 sha-abc1234 1.2");
    assert_eq!(tags("1.4.0", &ALL, &[], &existing), "!1.4.0-amd64 !1.4.0-arm64 !1.4.0 sha-abc1234 1.4 1");
    // Publishing the newest again moves all.
    assert!(tags("2.0.0", &ALL, &[], &existing).ends_with(" 2.0 2 latest"));
    assert_eq!(tags("1.2.3", &ALL, &["1.2.3", "latest"], &existing), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3");
}

#[test]
fn environments_in_one_repository_have_their_own_series() {
    let tags_of = |configured: &[&str], version: &str, explicit: &[&str]| {
        let version = (!version.is_empty()).then(|| Version::parse(version, VersionScheme::Dotted));
        let plan = tag_plan(&TagPlanInput {
            version: version.as_ref(),
            scheme: VersionScheme::Dotted,
            sha: None,
            templates: &templates(configured),
            suffix: "-cuda",
            explicit: &explicit.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>(),
            existing: &["2.0.0".to_owned(), "1.2.2-cuda".to_owned()],
            versions: &BTreeMap::new(),
            architectures: &[Amd64],
        });
        plan.map_or_else(|error| error.to_string(), |plan| shown(&plan).join(" "))
    };
    let tags = |version: &str, explicit: &[&str]| tags_of(&ALL, version, explicit);
    assert_eq!(tags("1.2.3", &[]), "!1.2.3-cuda-amd64 !1.2.3-cuda 1.2-cuda 1-cuda latest-cuda");
    let all = "!1.2.3-cuda-amd64 !1.2.3-cuda 1.2-cuda latest-cuda";
    for version in ["1.2.3", ""] {
        assert_eq!(tags(version, &["latest-cuda", "1.2.3-cuda", "1.2-cuda"]), all, "{version}");
    }
    // 2.0.0 is of another series, 1.2.2-cuda of this one.
    assert_eq!(tags("1.2.1", &["1.2.1-cuda", "1.2-cuda"]), "!1.2.1-cuda-amd64 !1.2.1-cuda");
    // Also where tags of versions are not configured.
    assert_eq!(tags_of(&["sha-{sha}", "latest"], "1.2.3", &["x", "latest-cuda"]), "~x-amd64 x latest-cuda");
    assert_eq!(tags_of(&["sha-{sha}", "latest"], "1.2.1", &["x", "latest-cuda"]), "~x-amd64 x");
    let number = "the release of that number";
    for (version, tag, what) in
        [("1.3.0-rc1", "1.3.0-cuda", number), ("1.2.3", "1.2.4-cuda", number), ("1.3.0-rc1", "1-cuda", "releases that")]
    {
        assert!(tags(version, &[tag]).contains(&format!("tag {tag:?} is for {what}")), "{version} {tag}");
    }
}

#[test]
fn explicit_tags_replace_the_configured_ones_and_are_guarded() {
    assert_eq!(tags("1.3.0-rc1", &ALL, &["testing"], &[]), "~testing-amd64 ~testing-arm64 testing");
    assert_eq!(tags("1.2.3", &ALL, &["latest", "1.2.3", "x"], &[]), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3 x latest");
    assert_eq!(tags("branch main", &ALL, &["latest"], &[]), "~latest-amd64 ~latest-arm64 latest");
    // Nobody else knows the version.
    assert_eq!(tags("", &ALL, &["1.2.3", "latest"], &[]), "!1.2.3-amd64 !1.2.3-arm64 !1.2.3 latest");
    let (number, line) = ("the release of that number", "releases that begin with it");
    for (version, tag, what) in [
        ("1.3.0-rc1", "latest", "releases (and branches"),
        ("branch x", "latest", "releases (and branches"),
        ("", "latest", "releases (and branches"),
        ("1.3.0-rc1", "1.3.0", number),
        ("1.2.3", "1.2.4", number),
        ("24.04", "24.4", number),
        ("1.2.3", "1.3", number),
        ("1.3.0-rc1", "1", line),
        ("branch main", "1.2.3", number),
    ] {
        let error = plan(version, &ALL, &[tag], &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("tag {tag:?} is for {what}")), "{version} {tag}: {error}");
    }
    // Another release's, although the published one begins with all of its numbers.
    for (scheme, version, tag) in
        [(VersionScheme::Pep440, "1.0.post1", "1.0"), (VersionScheme::Semver, "1.2.3+b", "1.2.3")]
    {
        let error = plan_of(scheme, version, &ALL, &[tag], &[], &[]).unwrap_err();
        assert!(matches!(error, TagError::DevTag { .. }), "{version}: {error}");
    }
    assert!(matches!(plan("1.2.3", &ALL, &["a b"], &[]), Err(TagError::NotATag { .. })));
    assert!(matches!(plan("", &ALL, &[], &[]), Err(TagError::NoTag { .. })));
}

/// The contract's guard, over every version text, configuration and explicit tag together.
#[test]
fn only_releases_and_configured_branches_move_latest() {
    let versions = VERSIONS.map(|(text, _)| text).into_iter().chain([
        "branch main",
        "branch latest",
        "branch -latest",
        "branch 1.2.3",
        "branch 1",
    ]);
    let explicit: [&[&str]; 6] = [&[], &["latest"], &["1.2.3"], &["x", "latest"], &["1"], &["latest-amd64"]];
    let configured: [&[&str]; 5] =
        [&ALL, &["latest"], &["{branch}"], &["latest@main", "{version}"], &["{version}", "sha-{sha}", "latest"]];
    let mut seen = 0;
    for version in versions {
        for explicit in explicit {
            for configured in configured {
                let Ok(plan) = plan(version, configured, explicit, &[]) else { continue };
                seen += 1;
                let known = version.strip_prefix("branch ").is_none();
                let release = known && Version::parse(version, VersionScheme::Dotted).release().is_some();
                let allowed = release || (version == "branch main" && configured.contains(&"latest@main"));
                let latest = plan.tags.iter().position(|planned| planned.tag == "latest");
                assert!(latest.is_none() || allowed, "{version} {configured:?} {explicit:?}");
                if let Some(at) = latest {
                    assert_eq!(at, plan.tags.len() - 1, "nothing comes after it");
                }
                for planned in &plan.tags {
                    assert!(check_tag(&planned.tag).is_ok(), "{planned:?}");
                    assert!(planned.rule != TagRule::Immutable || release, "{version}: {planned:?}");
                    assert!(
                        Release::parse(&planned.tag, VersionScheme::Dotted).is_none()
                            || matches!(planned.rule, TagRule::Immutable | TagRule::Moving) && release,
                        "{planned:?}"
                    );
                }
                let mut names: Vec<&String> = plan.tags.iter().map(|planned| &planned.tag).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), plan.tags.len(), "no tag twice");
            }
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn versions_as_people_have_them() {
    let parts = ["{version}", "{major}.{minor}.{patch}", "{major}.{minor}", "{major}", "latest"];
    let staged = |version: &str, rest: &str| format!("!{version}-amd64 !{version}-arm64 !{version} {rest}");
    for (version, tags_) in [
        ("24.04", staged("24.04", "24 latest")),
        ("v0.29", staged("0.29", "0 latest")),
        ("2026.2.0.1", staged("2026.2.0.1", "2026.2.0 2026.2 2026 latest")),
        ("2024.01.05", staged("2024.01.05", "2024.01 2024 latest")),
        ("1.2.3-rc1", "~1.2.3-rc1-amd64 ~1.2.3-rc1-arm64 1.2.3-rc1".to_owned()),
    ] {
        assert_eq!(tags(version, &parts, &[], &[]), tags_, "{version}");
    }
    let kept = plan("24.04", &parts, &[], &[]).unwrap().kept;
    let kept: Vec<String> = kept.iter().map(|kept| format!("{}: {}", kept.tag, kept.reason)).collect();
    assert_eq!(kept, ["{major}.{minor}.{patch}: the release has no {patch}"]);
    assert_eq!(tags("24.04", &["{version}", "latest"], &[], &["24.10"]), "!24.04-amd64 !24.04-arm64 !24.04");
    let pep440 = |version: &str, existing: &[&str]| {
        shown(&plan_of(VersionScheme::Pep440, version, &["{version}", "latest"], &[], existing, &[]).unwrap()).join(" ")
    };
    assert_eq!(pep440("1!2.0", &["9.0"]), staged("1-2.0", "latest"));
    assert_eq!(pep440("9.0", &["1-2.0"]), "!9.0-amd64 !9.0-arm64 !9.0");
    assert_eq!(pep440("1.0.post1+cu12", &["1.0"]), staged("1.0.post1_cu12", "latest"));
    assert_eq!(pep440("1.0", &["1.0.post1_cu12"]), "!1.0-amd64 !1.0-arm64 !1.0");
    // Where nobody else knows the version.
    assert_eq!(tags("", &parts, &["24.04.1", "24.04", "latest"], &[]), staged("24.04.1", "24.04 latest"));
    assert_eq!(tags("branch 日本", &["{branch}"], &[], &[]).matches("unnamed-").count(), 3);
}

/// Whether a tag is a release or an alias is what its index says.
#[test]
fn a_release_takes_the_name_of_an_alias_once() {
    let parts = ["{version}", "{major}.{minor}", "latest"];
    let plan = |version: &str, versions: &[(&str, &str)]| {
        let existing: Vec<&str> = versions.iter().map(|(tag, _)| *tag).collect();
        plan_of(VersionScheme::Dotted, version, &parts, &[], &existing, versions)
    };
    assert_eq!(
        shown(&plan("2026.2", &[("2026.2", "2026.2.0"), ("2026.2.0", "2026.2.0")]).unwrap()).join(" "),
        "!2026.2-amd64 !2026.2-arm64 2026.2 latest"
    );
    let mine = [("2026.2", "2026.2"), ("2026.2.0", "2026.2.0")];
    assert_eq!(shown(&plan("2026.2", &mine).unwrap()).join(" "), "!2026.2-amd64 !2026.2-arm64 !2026.2 latest");
    let next = plan("2026.2.1", &mine).unwrap();
    assert_eq!(shown(&next).join(" "), "!2026.2.1-amd64 !2026.2.1-arm64 !2026.2.1 latest");
    assert_eq!(next.kept, [Kept { tag: "2026.2".into(), reason: KeptReason::IsRelease }]);
    // An alias moves from release to release.
    let alias = plan("2026.2.1", &[("2026.2", "2026.2.0")]).unwrap();
    assert!(shown(&alias).contains(&"2026.2".to_owned()), "{alias:?}");
    // Whatever the image that has `latest` says that it is.
    assert!(shown(&plan("2026.2", &[("latest", "latest")]).unwrap()).contains(&"latest".to_owned()));
    let same = plan_of(VersionScheme::Semver, "1.2.3+a", &parts, &[], &["1.2.3_a"], &[("1.2.3_a", "1.2.3_a")]);
    assert!(matches!(same, Err(TagError::SameTag { .. })), "{same:?}");
    let existing = ["2026.2".to_owned(), "2026.2.1".to_owned(), "latest".to_owned()];
    assert_eq!(to_look_up(&next, &existing), ["2026.2.1"]);
    assert_eq!(to_look_up(&alias, &existing), ["2026.2.1", "2026.2"]);
    // What keeps `latest` where it is may be of another form.
    let old = plan("2026.1", &[("2026.2", "2026.2"), ("latest", "2026.2")]).unwrap();
    assert_eq!(to_look_up(&old, &existing), ["2026.2"]);
    let prefixed = old.with_prefix("sif-");
    let there = TagsThere {
        tags: vec!["2026.2".into(), "sif-2026.1".into()],
        versions: BTreeMap::from([("sif-2026.1".into(), "2026.1".into()), ("latest".into(), "2026.2".into())]),
    };
    let below = there.below("sif-");
    assert_eq!(
        (below.tags, below.versions),
        (vec!["2026.1".into()], BTreeMap::from([("2026.1".into(), "2026.1".into())]))
    );
    assert_eq!(shown(&prefixed).join(" "), "!sif-2026.1-amd64 !sif-2026.1-arm64 !sif-2026.1");
    assert_eq!(prefixed.kept[0].tag, "sif-latest");
    assert!(matches!(&prefixed.kept[0].reason, KeptReason::Newer(_, tag) if tag == "sif-2026.2"));
}
