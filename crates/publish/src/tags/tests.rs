use pixi_oci_image::Architecture::{Amd64, Arm64};
use pixi_oci_registry::{check_tag, push::TagRule};

use super::*;

mod baseline;
mod ci;
mod plan;
mod prune;

fn templates(texts: &[&str]) -> Vec<TagTemplate> {
    texts.iter().map(|text| TagTemplate::parse(text).unwrap()).collect()
}

const SCHEMES: [VersionScheme; 4] = VersionScheme::ALL;

/// Every text that somebody may take for a version, and for which schemes it is a release: dotted, semver, pep440, calver.
const VERSIONS: [(&str, [bool; 4]); 39] = [
    ("1.2.3", [true; 4]),
    ("v1.2.3", [true; 4]),
    ("0.0.0", [true; 4]),
    ("0.10.0", [true; 4]),
    ("10.20.30", [true; 4]),
    (" 1.2.3\n", [true; 4]),
    ("18446744073709551615.0.0", [true; 4]),
    ("18446744073709551616.0.0", [false; 4]),
    ("24.04", [true, false, true, true]),
    ("v0.29", [true, false, true, true]),
    ("2026.2.0.1", [true, false, true, true]),
    ("2024.01.05", [true, false, true, true]),
    ("1", [false, false, true, true]),
    ("20260201", [false, false, true, true]),
    ("01.2.3", [true, false, true, true]),
    ("1.2.3+build.5", [false, true, true, false]),
    ("1.2.3+", [false; 4]),
    ("1!2.0", [false, false, true, false]),
    ("1.2.post1", [false, false, true, false]),
    ("1.2.3-1", [false, false, true, false]),
    ("1.2rev2", [false, false, true, false]),
    ("1.0.post", [false, false, true, false]),
    ("vv1.2.3", [false; 4]),
    ("V1.2.3", [false; 4]),
    ("1.2.3-rc1", [false; 4]),
    ("1.2.3rc1", [false; 4]),
    ("1.2.3.dev4", [false; 4]),
    ("1.2.3a1", [false; 4]),
    ("1.2.3-4-gabc1234", [false; 4]),
    ("1.2.3-dirty", [false; 4]),
    ("1..3", [false; 4]),
    ("1.2.", [false; 4]),
    (".1.2.3", [false; 4]),
    ("+1.2.3", [false; 4]),
    ("1.2.-3", [false; 4]),
    ("1.2.3 4", [false; 4]),
    ("１.２.３", [false; 4]),
    ("latest", [false; 4]),
    ("v", [false; 4]),
];

#[test]
fn what_is_a_release_is_said_by_the_scheme() {
    for (text, expected) in VERSIONS {
        let found = SCHEMES.map(|scheme| Version::parse(text, scheme).release().is_some());
        assert_eq!(found, expected, "{text:?}");
    }
    let order =
        |scheme, a: &str, b: &str| Release::parse(a, scheme).unwrap().order(&Release::parse(b, scheme).unwrap());
    let [dotted, semver, pep440, calver] = SCHEMES;
    for (scheme, lower, higher) in [
        (dotted, "1.9.9", "1.10.0"),
        (dotted, "24.04", "24.10"),
        (dotted, "2026.2", "2026.2.0.1"),
        (semver, "1.2.3+b", "1.2.4"),
        (pep440, "2.0", "1!1.0"),
        (pep440, "1.0", "1.0.post1"),
        (pep440, "1.0-1", "1.0.post2"),
        (calver, "20260201", "20260301"),
    ] {
        assert!(order(scheme, lower, higher).is_lt() && order(scheme, higher, lower).is_gt(), "{lower} {higher}");
    }
    assert!(order(dotted, "24.4", "24.04.0").is_eq());
    assert_eq!(Version::parse("v1.2.3", dotted).to_string(), "1.2.3");
    assert_eq!(Version::parse("vnext", dotted).to_string(), "vnext");
}

#[test]
fn a_release_of_another_scheme_is_told() {
    for (scheme, text, words) in [
        (VersionScheme::Semver, "v24.04", "without `version-scheme` it would be one"),
        (VersionScheme::Dotted, "20260201", "\"pep440\""),
        (VersionScheme::Dotted, "1!2.0", "\"pep440\""),
        (VersionScheme::Calver, "1.2.3+build", "\"semver\""),
    ] {
        let hint = scheme.hint(text).unwrap();
        assert!(hint.contains(words) && hint.contains("looks like a release"), "{hint}");
    }
    for text in ["1.2.3", "1.2.3-rc1", "next", "1.2.3-4-gabc1234"] {
        assert_eq!(VersionScheme::Semver.hint(text), None, "{text}");
    }
    for (text, scheme) in [("semver", Some(VersionScheme::Semver)), ("calver", Some(VersionScheme::Calver)), ("", None)]
    {
        assert_eq!(text.parse::<VersionScheme>().ok(), scheme, "{text}");
    }
}

#[test]
fn templates_that_cannot_become_tags_are_refused() {
    for (text, words) in [
        ("", "cannot become a tag"),
        ("{versoin}", "unknown placeholder {versoin}"),
        ("{version", "without a `}`"),
        ("a b", "cannot become a tag"),
        ("-x", "cannot become a tag"),
        ("latest@", "names no branch"),
        ("latest@main,", "names no branch"),
        ("latest@{release}", "names no branch"),
        ("{branch}@{release},main", "have no branch"),
        ("{version}@main", "no version"),
        ("1.2", "one release's tag"),
        ("é", "cannot become a tag"),
    ] {
        let error = TagTemplate::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn every_text_becomes_a_tag() {
    for text in ["1.2.3+build.5", "feature/Ünï", "-x", "...", "", "a b", &"x".repeat(500)] {
        assert!(check_tag(&tag_text(text)).is_ok(), "{text:?}");
    }
    assert_eq!(version_tag("1.2.3+build.5"), "1.2.3_build.5");
    assert_eq!(version_tag("1!2.0"), "1-2.0");
    assert_ne!(tag_text("日本"), tag_text("中国"));
    assert_eq!(tag_text("日本"), tag_text("日本"));
    for architecture in [Amd64, Arm64] {
        let tag = arch_tag(&"x".repeat(128), architecture);
        assert!(check_tag(&tag).is_ok() && is_staging_tag(&tag), "{tag}");
    }
}
