//! Hashes as `RECORD` writes them: `sha256=` and unpadded URL-safe base64.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use pixi_oci_layer::Digest;
use sha2::{Digest as _, Sha256, Sha384, Sha512, digest::DynDigest};

/// The hashes of a file that is read: its sha256, and the one to compare with what is recorded.
pub(crate) struct Hashes<'a> {
    sha256: Sha256,
    /// If it is not sha256.
    other: Option<Box<dyn DynDigest>>,
    recorded: Option<&'a str>,
}

/// How a hash is in `RECORD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    Right,
    Hexadecimal,
    Wrong,
    /// Not, or by an algorithm that the specification does not allow.
    Not,
}

pub(crate) fn is_known(recorded: &str) -> bool {
    matches!(recorded.split_once('='), Some(("sha256" | "sha384" | "sha512", _)))
}

impl<'a> Hashes<'a> {
    pub fn new(recorded: Option<&'a str>) -> Self {
        let other: Option<Box<dyn DynDigest>> = match recorded.and_then(|hash| hash.split_once('=')) {
            Some(("sha384", _)) => Some(Box::new(Sha384::new())),
            Some(("sha512", _)) => Some(Box::new(Sha512::new())),
            _ => None,
        };
        Self { sha256: Sha256::new(), other, recorded: recorded.filter(|hash| is_known(hash)) }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.sha256, bytes);
        if let Some(other) = &mut self.other {
            other.update(bytes);
        }
    }

    /// The sha256, and how the hash is recorded.
    pub fn finish(self) -> (Digest, Recorded) {
        let sha256: [u8; 32] = sha2::Digest::finalize(self.sha256).into();
        let found = match (self.recorded, self.other) {
            (None, _) => Recorded::Not,
            (Some(recorded), None) => compare(recorded, &sha256),
            (Some(recorded), Some(other)) => compare(recorded, &other.finalize()),
        };
        (Digest::from_bytes(sha256), found)
    }
}

/// Some builders pad hashes; uv_build before 0.8.13 wrote them in hexadecimal.
fn compare(recorded: &str, hash: &[u8]) -> Recorded {
    let recorded = recorded.split_once('=').map_or("", |(_, hash)| hash);
    if recorded.trim_end_matches('=') == URL_SAFE_NO_PAD.encode(hash) {
        return Recorded::Right;
    }
    if recorded.eq_ignore_ascii_case(&hex::encode(hash)) { Recorded::Hexadecimal } else { Recorded::Wrong }
}

/// The hash that is written for new files.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256={}", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_in_records() {
        assert_eq!(sha256(b""), "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        let empty = |recorded: &str| Hashes::new(Some(recorded)).finish().1;
        for (recorded, found) in [
            ("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", Recorded::Right),
            ("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFA", Recorded::Wrong),
            ("sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Recorded::Hexadecimal),
            ("sha384=OLBgp1GsljhM2TJ-sbHjaiH9txEUvgdDTAzHv2P24donTt6_529l-9Ua0vFImLlb", Recorded::Right),
            ("md5=1B2M2Y8AsgTpgAmY7PhCfg", Recorded::Not),
            ("", Recorded::Not),
        ] {
            assert_eq!(empty(recorded), found, "{recorded}");
        }
    }
}
