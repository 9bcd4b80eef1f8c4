use pixi_oci_image::Architecture::{Amd64, Arm64};
use pixi_oci_registry::{check_tag, push::TagRule};

use super::*;

mod ci;
mod plan;
mod prune;

fn templates(texts: &[&str]) -> Vec<TagTemplate> {
    texts.iter().map(|text| TagTemplate::parse(text).unwrap()).collect()
}

/// Every text that somebody may take for a version, and whether it is a release.
const VERSIONS: [(&str, bool); 28] = [
    ("1.2.3", true),
    ("v1.2.3", true),
    ("0.0.0", true),
    ("0.10.0", true),
    ("10.20.30", true),
    (" 1.2.3\n", true),
    ("18446744073709551615.0.0", true),
    ("18446744073709551616.0.0", false),
    ("vv1.2.3", false),
    ("V1.2.3", false),
    ("1.2", false),
    ("1", false),
    ("1.2.3.4", false),
    ("01.2.3", false),
    ("1.02.3", false),
    ("1.2.3-rc1", false),
    ("1.2.3rc1", false),
    ("1.2.3+build", false),
    ("1.2.3-4-gabc1234", false),
    ("1.2.3-dirty", false),
    ("1..3", false),
    ("1.2.", false),
    (".1.2.3", false),
    ("+1.2.3", false),
    ("1.2.-3", false),
    ("1.2.3 4", false),
    ("１.２.３", false),
    ("latest", false),
];

#[test]
fn a_release_is_exactly_three_numbers() {
    for (text, release) in VERSIONS {
        assert_eq!(Version::parse(text).release().is_some(), release, "{text:?}");
    }
    assert!("1.10.0".parse::<Release>() > "1.9.9".parse());
    assert_eq!(Version::parse("v1.2.3").to_string(), "1.2.3");
    assert_eq!(Version::parse("vnext").to_string(), "vnext");
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
    assert_eq!(tag_text("1.2.3+build.5"), "1.2.3-build.5");
    for architecture in [Amd64, Arm64] {
        let tag = arch_tag(&"x".repeat(128), architecture);
        assert!(check_tag(&tag).is_ok() && is_staging_tag(&tag), "{tag}");
    }
}
