//! What an image says of its making that its workspace may not say any more. A build that is given it makes the same bytes.

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use pixi_oci_publish::base::{BaseRef, with_digest};

/// The record of an earlier build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The image manifests of the base images. They count where the configured name is that of a registry and can mean
    /// another image today; what is pinned, or is in a file, is what it is.
    pub bases: BTreeMap<Architecture, Digest>,
    /// `org.opencontainers.image.source`, instead of what git says now.
    pub source: Option<String>,
    /// `org.opencontainers.image.revision`, likewise.
    pub revision: Option<String>,
    /// Where the image itself is on this machine: it was not there when it was made, and is no part of itself.
    pub place: Option<PathBuf>,
}

impl Recorded {
    /// The base image that a name meant for this architecture.
    pub fn base(&self, name: &BaseRef, architecture: Architecture) -> Option<String> {
        let may_move = matches!(name, BaseRef::Registry(_)) && !name.is_pinned();
        let digest = self.bases.get(&architecture).filter(|_| may_move)?;
        Some(with_digest(&name.to_string(), *digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_can_move_is_replaced() {
        let digest = Digest::of(b"base");
        let recorded = Recorded { bases: BTreeMap::from([(Architecture::Amd64, digest)]), ..Recorded::default() };
        let base = |name: &str, architecture| recorded.base(&BaseRef::parse(name).unwrap(), architecture);
        let pinned = format!("docker.io/library/ubuntu:24.04@{digest}");
        assert_eq!(base("ubuntu:24.04", Architecture::Amd64), Some(pinned));
        assert_eq!(base("ubuntu:24.04", Architecture::Arm64), None);
        for fixed in ["scratch", "oci:base", "oci:base:v1", &format!("ubuntu@{}", Digest::of(b"other"))] {
            assert_eq!(base(fixed, Architecture::Amd64), None, "{fixed}");
        }
    }
}
