//! Hashes as `RECORD` writes them: `sha256=` and unpadded URL-safe base64.

use sha2::{Digest, Sha256, Sha384, Sha512, digest::DynDigest};

/// A hash that is being made.
pub(crate) struct Hash {
    algorithm: &'static str,
    state: Box<dyn DynDigest>,
}

impl Hash {
    /// For the algorithm of a hash of a `RECORD`: the ones that the specification allows. `None` for any other.
    pub fn like(recorded: &str) -> Option<Self> {
        let (algorithm, state): (_, Box<dyn DynDigest>) = match recorded.split_once('=')?.0 {
            "sha256" => ("sha256", Box::new(Sha256::new())),
            "sha384" => ("sha384", Box::new(Sha384::new())),
            "sha512" => ("sha512", Box::new(Sha512::new())),
            _ => return None,
        };
        Some(Self { algorithm, state })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// Whether the bytes have the hash `recorded`. Some builders pad it.
    pub fn is(self, recorded: &str) -> bool {
        recorded.trim_end_matches('=') == format!("{}={}", self.algorithm, base64(&self.state.finalize()))
    }
}

/// The hash that is written for new files.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256={}", base64(&Sha256::digest(bytes)))
}

/// RFC 4648 section 5, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..=chunk.len()).map(|at| DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        text.extend(digits.map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_in_records() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "-_8");
        assert_eq!(sha256(b""), "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        let empty = |recorded: &str| Hash::like(recorded).map(|hash| hash.is(recorded));
        assert_eq!(empty("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="), Some(true));
        assert_eq!(empty("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFA"), Some(false));
        assert_eq!(empty("sha384=OLBgp1GsljhM2TJ-sbHjaiH9txEUvgdDTAzHv2P24donTt6_529l-9Ua0vFImLlb"), Some(true));
        assert_eq!(empty("md5=1B2M2Y8AsgTpgAmY7PhCfg"), None);
        assert_eq!(empty(""), None);
    }
}
