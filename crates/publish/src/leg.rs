//! What a job that publishes one architecture hands to the job that joins them: a small JSON file.

pub mod join;
pub mod write;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use pixi_oci_formats::leg::{MAX_SIZE, VERSION};
use pixi_oci_image::{Architecture, Descriptor, MediaType, Platform};
use pixi_oci_platform::{Links, open};
use pixi_oci_project::VersionFacts;
use pixi_oci_workspace::OciConfig;

use crate::{error::PublishError, tags::VersionScheme};

pub use pixi_oci_formats::{Leg, leg::Publication};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedLeg {
    pub leg: Leg,
    pub platform: Platform,
    pub manifest: Descriptor,
    architectures: Vec<Architecture>,
    path: PathBuf,
}

/// Legs that belong together, sorted by architecture; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legs(Vec<CheckedLeg>);

pub(super) fn new_leg(platform: &Platform, manifest: &Descriptor, publication: Publication) -> Leg {
    Leg {
        format: VERSION,
        arch: platform.architecture.to_string(),
        variant: platform.variant.clone(),
        digest: manifest.digest,
        size: manifest.size,
        media_type: manifest.media_type.to_string(),
        publication,
    }
}

impl Legs {
    /// Reads files. The same leg twice counts once.
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, PublishError> {
        let mut legs: Vec<CheckedLeg> = Vec::new();
        for path in paths {
            let checked = read(path.as_ref())?;
            if let Some(first) = legs.first()
                && let Some((what, here, there)) = checked.leg.publication.difference(&first.leg.publication)
            {
                return Err(checked.mismatch(format!("its {what}: {here}; in {}: {there}", first.path.display())));
            }
            match legs.iter().find(|other| other.platform.architecture == checked.platform.architecture) {
                Some(other) if other.leg == checked.leg => {}
                Some(other) => {
                    return Err(checked.mismatch(format!(
                        "its image for {}: {}; in {}: {}",
                        checked.leg.arch,
                        checked.leg.digest,
                        other.path.display(),
                        other.leg.digest
                    )));
                }
                None => legs.push(checked),
            }
        }
        legs.sort_by_key(|leg| leg.platform.architecture);
        if legs.is_empty() { Err(PublishError::NoLegs) } else { Ok(Self(legs)) }
    }

    pub(super) fn all(&self) -> &[CheckedLeg] {
        &self.0
    }

    fn first(&self) -> &CheckedLeg {
        // There is one.
        &self.0[0]
    }

    pub(super) fn publication(&self) -> &Publication {
        &self.first().leg.publication
    }

    /// What the workspace said when they were published: below the command line, over a configuration of now.
    pub fn configuration(&self) -> OciConfig {
        let publication = self.publication();
        OciConfig {
            repositories: Some(publication.repositories.clone()),
            tags: Some(publication.tags.clone()),
            version_scheme: Some(publication.scheme.clone()).filter(|scheme| !scheme.is_empty()),
            ..OciConfig::default()
        }
    }

    pub fn chosen_tags(&self) -> &[String] {
        &self.publication().chosen_tags
    }

    /// What the index must have.
    pub(super) fn architectures(&self) -> &[Architecture] {
        &self.first().architectures
    }

    /// What is known of the version, which must be that of `now` where that says one.
    pub fn facts(&self, now: &VersionFacts, scheme: VersionScheme) -> Result<VersionFacts, PublishError> {
        let publication = self.publication();
        let facts = VersionFacts {
            said: publication.version.clone(),
            branch: publication.branch.clone(),
            commit: publication.commit.clone(),
            // Nothing is published for a change that is not merged, whatever its legs say.
            ci: now.ci.clone().filter(|_| now.unmerged().is_some()),
            ..VersionFacts::default()
        };
        match (facts.version(scheme), now.version(scheme)) {
            (Some(built), Some(now)) if built != now => {
                Err(self.first().mismatch(format!("it is {built}, and what is published now is {now}")))
            }
            _ => Ok(facts),
        }
    }
}

impl CheckedLeg {
    fn mismatch(&self, reason: String) -> PublishError {
        PublishError::LegMismatch { path: self.path.clone(), reason }
    }
}

fn read(path: &Path) -> Result<CheckedLeg, PublishError> {
    let bad = |reason: String| PublishError::Leg { path: path.into(), reason };
    let mut bytes = Vec::new();
    let file = open(path, Links::Follow).map_err(|source| PublishError::NoLeg { path: path.into(), source })?;
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(bad(format!("it is larger than {MAX_SIZE} bytes")));
    }
    let leg = Leg::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    let architecture = |text: &String| {
        text.parse::<Architecture>()
            .map_err(|_| bad(format!("it is for {:?}", text.chars().take(100).collect::<String>())))
    };
    let media_type = MediaType::from(leg.media_type.as_str());
    if media_type != MediaType::ImageManifest {
        return Err(bad("it does not name an image manifest".into()));
    }
    let manifest = Descriptor { media_type, digest: leg.digest, size: leg.size, annotations: BTreeMap::new() };
    let platform = Platform { architecture: architecture(&leg.arch)?, variant: leg.variant.clone() };
    let architectures = leg.publication.architectures.iter().map(architecture).collect::<Result<_, _>>()?;
    Ok(CheckedLeg { leg, platform, manifest, architectures, path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::Version;

    fn publication() -> Publication {
        let annotations = BTreeMap::from([("org.opencontainers.image.revision".to_owned(), "abc".to_owned())]);
        let both = vec!["amd64".into(), "arm64".into()];
        Publication {
            version: Some("1.2.3".into()),
            commit: Some("abcdef0".into()),
            tags: vec!["{version}".into(), "latest".into()],
            architectures: both,
            repositories: vec!["r.io/app".into()],
            index_annotations: annotations,
            ..Publication::default()
        }
    }

    fn leg(arch: Architecture, content: &str) -> Leg {
        let manifest = Descriptor::of(MediaType::ImageManifest, content.as_bytes());
        super::new_leg(&Platform::new(arch), &manifest, publication())
    }

    fn read_all(legs: &[serde_json::Value]) -> Result<Legs, PublishError> {
        let dir = tempfile::tempdir().unwrap();
        let write = |(number, leg): (usize, &serde_json::Value)| {
            let path = dir.path().join(format!("{number}.json"));
            fs_err::write(&path, leg.to_string()).unwrap();
            path
        };
        Legs::read(&legs.iter().enumerate().map(write).collect::<Vec<_>>())
    }

    #[test]
    fn legs_are_sorted_and_count_once() {
        let [amd, arm] = [leg(Architecture::Amd64, "a"), leg(Architecture::Arm64, "b")];
        let [a, b] = [serde_json::json!(amd), serde_json::json!(arm)];
        let legs = read_all(&[b.clone(), a.clone(), b]).unwrap();
        assert_eq!(legs.all().iter().map(|checked| &checked.leg).collect::<Vec<_>>(), [&amd, &arm]);
        assert_eq!(legs.architectures(), [Architecture::Amd64, Architecture::Arm64]);
        assert_eq!(a["arch"], "amd64");
        assert_eq!(a["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    }

    #[test]
    fn legs_that_disagree_are_refused_with_what_differs() {
        type Edit = fn(&mut Publication);
        let amd = serde_json::json!(leg(Architecture::Amd64, "a"));
        let differences: [(Edit, &str); 8] = [
            (|p| p.version = Some("1.2.4".into()), "its version: 1.2.4; in"),
            (|p| (p.version, p.branch) = (None, Some("main".into())), "its branch: main; in"),
            (|p| p.commit = Some("1234567".into()), "its commit: 1234567; in"),
            (|p| p.chosen_tags = vec!["edge".into()], "its tags: edge; in"),
            (|p| p.tags.truncate(1), "its configured tags: {version}; in"),
            (|p| p.architectures.truncate(1), "its architectures: amd64; in"),
            (|p| p.repositories.push("r.io/b".into()), "its repositories: r.io/app, r.io/b; in"),
            (|p| p.index_annotations.clear(), "its annotation org.opencontainers.image.revision: not set; in"),
        ];
        for (edit, words) in differences {
            let mut other = leg(Architecture::Arm64, "b");
            edit(&mut other.publication);
            let error = read_all(&[amd.clone(), serde_json::json!(other)]).unwrap_err();
            assert_eq!(error.name(), Some("leg-mismatch"));
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = read_all(&[amd, serde_json::json!(leg(Architecture::Amd64, "b"))]).unwrap_err();
        assert!(error.to_string().contains("its image for amd64: sha256:"), "{error}");
    }

    #[test]
    fn what_is_no_leg_is_refused() {
        let amd = leg(Architecture::Amd64, "a");
        let mut odd = serde_json::json!(amd);
        odd["more"] = 1.into();
        for bad in [
            odd,
            serde_json::json!([]),
            serde_json::json!({"digest": "sha256:../../x"}),
            serde_json::json!(Leg { format: 1, ..amd.clone() }),
            serde_json::json!(Leg { arch: "riscv64".into(), ..amd.clone() }),
            serde_json::json!(Leg { media_type: MediaType::ImageIndex.to_string(), ..amd.clone() }),
        ] {
            assert!(matches!(read_all(&[bad]), Err(PublishError::Leg { .. })));
        }
        assert!(matches!(Legs::read(&["nowhere.json"]), Err(PublishError::NoLeg { .. })));
    }

    #[test]
    fn the_version_of_now_must_be_that_of_the_legs() {
        let legs = read_all(&[serde_json::json!(leg(Architecture::Amd64, "a"))]).unwrap();
        let now = |text: &str| VersionFacts { said: Some(text.into()), ..VersionFacts::default() };
        let scheme = VersionScheme::default();
        for same in [VersionFacts::default(), now("1.2.3"), now("v1.2.3")] {
            let facts = legs.facts(&same, scheme).unwrap();
            assert_eq!(facts.version(scheme), Some(Version::parse("1.2.3", scheme)));
            assert_eq!(facts.commit(), Some("abcdef0"));
        }
        assert_eq!(legs.facts(&now("1.2.4"), scheme).unwrap_err().name(), Some("leg-mismatch"));
    }
}
