//! The directory an environment is installed to in the image.

use std::fmt;

use pixi_oci_layer::TreePath;

/// An absolute, normalised path such as `/opt/pixi/env`, fit for shebangs, `PATH` and binaries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetPrefix {
    text: String,
    tree_path: TreePath,
}

/// Why a text is not a [`TargetPrefix`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrefixError {
    /// Not a normalised absolute path below `/`.
    #[error(
        "prefix {0:?} must be an absolute path such as /opt/pixi/env, without `.`, `..`, `//` or a slash at its end"
    )]
    NotNormalised(String),
    /// A character that a shebang, `PATH` or a shell would read differently.
    #[error("prefix {0:?} may only have the characters A-Z a-z 0-9 . _ - + @ and /")]
    Character(String),
    /// Too long for the placeholders of packages, which are 255 bytes long.
    #[error("prefix {0:?} is longer than {max} bytes, and packages reserve 255 for it", max = TargetPrefix::MAX_LEN)]
    TooLong(String),
}

impl TargetPrefix {
    /// The longest prefix. Placeholders are 255 bytes long; what is left keeps paths below the prefix short.
    pub const MAX_LEN: usize = 200;

    /// Checks `text` and makes it a prefix.
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        if text.len() > Self::MAX_LEN {
            return Err(PrefixError::TooLong(text.into()));
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@/".contains(c)) {
            return Err(PrefixError::Character(text.into()));
        }
        let tree_path = text
            .strip_prefix('/')
            .and_then(|relative| TreePath::new(relative).ok())
            .ok_or_else(|| PrefixError::NotNormalised(text.into()))?;
        Ok(Self { text: text.into(), tree_path })
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as it is in a layer, without the leading slash.
    pub fn tree_path(&self) -> &TreePath {
        &self.tree_path
    }
}

impl fmt::Display for TargetPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_absolute_normalised_and_plain() {
        assert_eq!(TargetPrefix::new("/opt/pixi/env").unwrap().tree_path().as_str(), "opt/pixi/env");
        for bad in ["", "/", "opt", "/opt/", "//opt", "/opt/../x", "/opt/./x", "/a b", "/a:b", "/ä", "/a\n", "/$x"] {
            assert!(TargetPrefix::new(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(TargetPrefix::new(&format!("/{}", "x".repeat(200))), Err(PrefixError::TooLong(_))));
    }
}
