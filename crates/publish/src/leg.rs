//! What a job that publishes one architecture hands to the job that joins them: a small JSON file.

pub mod join;

use std::{collections::BTreeMap, io::Read, path::Path};

use pixi_oci_formats::leg::{MAX_SIZE, VERSION};
use pixi_oci_image::{Architecture, Descriptor, MediaType, Platform};
use pixi_oci_platform::{Links, open};

use crate::error::PublishError;

pub use pixi_oci_formats::Leg;

/// A leg as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedLeg {
    pub leg: Leg,
    pub platform: Platform,
    pub manifest: Descriptor,
}

/// Describes an image.
pub(super) fn new_leg(
    version: Option<String>,
    platform: &Platform,
    manifest: &Descriptor,
    repositories: Vec<String>,
    index_annotations: BTreeMap<String, String>,
) -> Leg {
    Leg {
        format: VERSION,
        version,
        arch: platform.architecture.to_string(),
        variant: platform.variant.clone(),
        digest: manifest.digest,
        size: manifest.size,
        media_type: manifest.media_type.to_string(),
        repositories,
        index_annotations,
    }
}

/// Reads a file and checks what is in it.
fn read(path: &Path) -> Result<CheckedLeg, PublishError> {
    let bad = |reason: String| PublishError::Leg { path: path.into(), reason };
    let mut bytes = Vec::new();
    let file = open(path, Links::Follow).map_err(|source| PublishError::NoLeg { path: path.into(), source })?;
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(bad(format!("it is larger than {MAX_SIZE} bytes")));
    }
    let leg = Leg::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    let architecture: Architecture =
        leg.arch.parse().map_err(|_| bad(format!("it is for {:?}", leg.arch.chars().take(100).collect::<String>())))?;
    let media_type = MediaType::from(leg.media_type.as_str());
    if media_type != MediaType::ImageManifest {
        return Err(bad("it does not name an image manifest".into()));
    }
    let manifest = Descriptor { media_type, digest: leg.digest, size: leg.size, annotations: BTreeMap::new() };
    let platform = Platform { architecture, variant: leg.variant.clone() };
    Ok(CheckedLeg { leg, platform, manifest })
}

/// Reads all files, sorted by architecture. The same leg twice counts once.
pub(super) fn read_legs<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<CheckedLeg>, PublishError> {
    let mut legs: Vec<CheckedLeg> = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let checked = read(path)?;
        let mismatch = |reason: String| PublishError::LegMismatch { path: path.into(), reason };
        if let Some(first) = legs.first() {
            if checked.leg.version != first.leg.version {
                let version = |leg: &Leg| leg.version.clone().unwrap_or("an unknown version".into());
                return Err(mismatch(format!("it is {}, not {}", version(&checked.leg), version(&first.leg))));
            }
            if checked.leg.index_annotations != first.leg.index_annotations {
                return Err(mismatch("its annotations differ; were both built from the same commit?".into()));
            }
        }
        match legs.iter().find(|other| other.platform.architecture == checked.platform.architecture) {
            Some(other) if *other == checked => {}
            Some(other) => {
                let reason = format!("{} is {} in another one", checked.leg.arch, other.leg.digest);
                return Err(mismatch(reason));
            }
            None => legs.push(checked),
        }
    }
    legs.sort_by_key(|leg| leg.platform.architecture);
    Ok(legs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(arch: Architecture, content: &str) -> Leg {
        let manifest = Descriptor::of(MediaType::ImageManifest, content.as_bytes());
        let annotations = BTreeMap::from([("org.opencontainers.image.revision".to_owned(), "abc".to_owned())]);
        super::new_leg(Some("1.2.3".into()), &Platform::new(arch), &manifest, vec!["r.io/app".into()], annotations)
    }

    fn read_all(legs: &[serde_json::Value]) -> Result<Vec<CheckedLeg>, PublishError> {
        let dir = tempfile::tempdir().unwrap();
        let write = |(number, leg): (usize, &serde_json::Value)| {
            let path = dir.path().join(format!("{number}.json"));
            fs_err::write(&path, leg.to_string()).unwrap();
            path
        };
        read_legs(&legs.iter().enumerate().map(write).collect::<Vec<_>>())
    }

    #[test]
    fn legs_are_sorted_and_count_once() {
        let [amd, arm] = [leg(Architecture::Amd64, "a"), leg(Architecture::Arm64, "b")];
        let [a, b] = [serde_json::json!(amd), serde_json::json!(arm)];
        let legs = read_all(&[b.clone(), a.clone(), b]).unwrap();
        assert_eq!(legs.iter().map(|checked| &checked.leg).collect::<Vec<_>>(), [&amd, &arm]);
        assert_eq!(a["arch"], "amd64");
        assert_eq!(a["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let amd = leg(Architecture::Amd64, "a");
        for (other, name) in [
            (Leg { version: Some("1.2.4".into()), ..leg(Architecture::Arm64, "b") }, Some("leg-mismatch")),
            (Leg { index_annotations: BTreeMap::new(), ..leg(Architecture::Arm64, "b") }, Some("leg-mismatch")),
            (leg(Architecture::Amd64, "b"), Some("leg-mismatch")),
            (Leg { format: 2, ..leg(Architecture::Arm64, "b") }, None),
            (Leg { arch: "riscv64".into(), ..leg(Architecture::Arm64, "b") }, None),
            (Leg { media_type: MediaType::ImageIndex.to_string(), ..leg(Architecture::Arm64, "b") }, None),
        ] {
            let error = read_all(&[serde_json::json!(amd), serde_json::json!(other)]).unwrap_err();
            assert_eq!(error.name(), name, "{error}");
        }
        let mut odd = serde_json::json!(amd);
        odd["more"] = 1.into();
        for bad in [odd, serde_json::json!([]), serde_json::json!({"digest": "sha256:../../x"})] {
            assert!(matches!(read_all(&[bad]), Err(PublishError::Leg { .. })));
        }
        assert!(matches!(read_legs(&["nowhere.json"]), Err(PublishError::NoLeg { .. })));
    }
}
