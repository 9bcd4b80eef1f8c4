//! What an image says of its making that its workspace may not say any more. A build that is given it makes the same bytes.

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use pixi_oci_store::base::{BaseRef, with_digest};

use crate::Error;

/// The record of an earlier build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The base images. They count where the configured name is that of a registry and can mean another image today; what
    /// is pinned, or is in a file, is what it is.
    pub bases: BTreeMap<Architecture, RecordedBase>,
    /// `org.opencontainers.image.version`, instead of what git and CI say now.
    pub version: Option<String>,
    /// `dev.pixi-oci.version`, likewise.
    pub release: Option<String>,
    /// `org.opencontainers.image.revision`, likewise.
    pub revision: Option<String>,
    /// Where the image itself is on this machine: it was not there when it was made, and is no part of itself.
    pub place: Option<PathBuf>,
}

/// A base image, as the image on it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBase {
    /// Its name in a registry; absent if it was of a directory or archive of some machine.
    pub name: Option<String>,
    /// Its image manifest.
    pub digest: Digest,
}

impl Recorded {
    /// The base image that the configured name meant for this architecture, if that can be another one today. An image that
    /// was made on a base image of another name is an error.
    pub fn base(&self, configured: &BaseRef, architecture: Architecture) -> Result<Option<String>, Error> {
        let may_move = matches!(configured, BaseRef::Registry(_)) && !configured.is_pinned();
        let Some(base) = self.bases.get(&architecture).filter(|_| may_move) else { return Ok(None) };
        let configured = configured.to_string();
        // Its digest would be looked for in the wrong place.
        if base.name.as_ref() != Some(&configured) {
            let made_on = base.name.clone().unwrap_or_else(|| format!("one of a file or directory, {}", base.digest));
            return Err(Error::OtherBase { made_on, configured });
        }
        Ok(Some(with_digest(&configured, base.digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_can_move_is_replaced() {
        let digest = Digest::of(b"base");
        let of = |name: Option<&str>| {
            let base = RecordedBase { name: name.map(str::to_owned), digest };
            Recorded { bases: BTreeMap::from([(Architecture::Amd64, base)]), ..Recorded::default() }
        };
        let recorded = of(Some("docker.io/library/ubuntu:24.04"));
        let base = |name: &str, architecture| recorded.base(&BaseRef::parse(name).unwrap(), architecture).unwrap();
        let pinned = format!("docker.io/library/ubuntu:24.04@{digest}");
        assert_eq!(base("ubuntu:24.04", Architecture::Amd64), Some(pinned));
        assert_eq!(base("ubuntu:24.04", Architecture::Arm64), None);
        for fixed in ["scratch", "oci:base", "oci:base:v1", &format!("ubuntu@{}", Digest::of(b"other"))] {
            assert_eq!(base(fixed, Architecture::Amd64), None, "{fixed}");
        }
        for (made_on, says) in [(None, "file or directory"), (Some("docker.io/library/debian:12"), "debian:12")] {
            let error = of(made_on).base(&BaseRef::parse("ubuntu:24.04").unwrap(), Architecture::Amd64).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
