//! Paths and digests as records write them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// 64 hex digits.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

/// 43 digits of base64 as in URLs, without padding (PEP 427).
pub(super) fn from_base64(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

/// `path` below `directory`, without `.` and `..`; `None` if it leaves the image's root or is absolute.
pub(super) fn join(directory: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn digests_in_both_spellings() {
        let digest: [u8; 32] = Sha256::digest(b"").into();
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(from_hex(hex), Some(digest));
        assert_eq!(from_base64("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), Some(digest));
        for bad in ["", "zz", &hex[1..], &format!("{hex}00"), "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
        for bad in ["", "47DE", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", &hex[..60]] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_do_not_leave_the_image() {
        assert_eq!(join("a/b", "../../c/./d").as_deref(), Some("c/d"));
        assert_eq!(join("a/b", "../../../c"), None);
        assert_eq!(join("a", "/c"), None);
    }
}
