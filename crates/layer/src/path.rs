//! A path inside an image, which cannot leave it.

use std::{fmt, sync::Arc};

/// A relative, normalised, `/`-separated UTF-8 path. `TreePath`s order by their bytes, so a directory always comes
/// before what is in it. Cheap to clone: an environment has a hundred thousand of them, in several lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Arc<str>);

/// Why a text is not a [`TreePath`]. The path is shown with control characters escaped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathError {
    /// An empty path, or an empty component as in `a//b`, `/a` or `a/`.
    #[error("path {0:?} is empty, absolute or has an empty component")]
    Empty(String),
    /// A `.` or `..` component.
    #[error("path {0:?} has a component `.` or `..`")]
    Dots(String),
    /// NUL, which no path has; or, for [`TreePath::printable`], any control character, or one that reorders text on a
    /// terminal.
    #[error("path {0:?} has a control character")]
    Control(String),
    /// OCI layers give a meaning to names that begin with `.wh.`: they delete files of the layers below.
    #[error("path {0:?} has a component that begins with `.wh.`, which deletes files in an OCI layer")]
    Whiteout(String),
}

impl TreePath {
    /// Checks `path` and makes it a `TreePath`. It may have line breaks and other control characters in it, as paths on Linux
    /// may: texts have to escape it.
    pub fn new(path: &str) -> Result<Self, PathError> {
        let (mut start, mut has_nul) = (0, false);
        let bytes = path.as_bytes();
        for end in 0..=bytes.len() {
            match bytes.get(end) {
                None | Some(b'/') => match &bytes[start..end] {
                    b"" => return Err(PathError::Empty(path.into())),
                    b"." | b".." => return Err(PathError::Dots(path.into())),
                    c if c.starts_with(b".wh.") => return Err(PathError::Whiteout(path.into())),
                    _ => start = end + 1,
                },
                Some(byte) => has_nul |= *byte == 0,
            }
        }
        if has_nul {
            return Err(PathError::Control(path.into()));
        }
        Ok(Self(path.into()))
    }

    /// The path, if it can stand in a list of lines or on a terminal as it is.
    pub fn printable(self) -> Result<Self, PathError> {
        if self.0.chars().any(pixi_oci_platform::is_harmful) {
            Err(PathError::Control(self.to_string()))
        } else {
            Ok(self)
        }
    }

    /// The path as text, without a leading or trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `self/rest`, where `rest` may have several components.
    pub fn join(&self, rest: &str) -> Result<Self, PathError> {
        Self::new(&format!("{self}/{rest}"))
    }

    /// The directory that holds this path; `None` for a path of one component.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Every directory above this path, from the root down, without the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

/// `PATH_MAX` and `NAME_MAX` of Linux.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// Deeper than anything real; every check of a path takes time by its depth.
const MAX_DEPTH: usize = 256;

/// Why a path or link target is too long for any reader of images: what is built is measured as what is read, and with the same
/// words.
pub fn too_long(path: &str) -> Option<String> {
    // Most are so short that nothing of them can be too long, nor are there too many parts.
    if path.len() <= MAX_NAME {
        return None;
    }
    if path.len() > MAX_PATH {
        return Some(format!("a path of {} bytes; at most {MAX_PATH} are accepted", path.len()));
    }
    let (depth, name) = path.split('/').fold((0, 0), |(depth, name), part| (depth + 1, part.len().max(name)));
    match () {
        () if depth > MAX_DEPTH => Some(format!("a path of {depth} components; at most {MAX_DEPTH} are accepted")),
        () if name > MAX_NAME => Some(format!("a path with a name of {name} bytes; at most {MAX_NAME} are accepted")),
        () => None,
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl serde::Serialize for TreePath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TreePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl serde::de::Visitor<'_> for Text {
    type Value = TreePath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path inside an image")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TreePath, E> {
        TreePath::new(text).map_err(E::custom)
    }
}

impl std::borrow::Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_paths_that_stay_inside() {
        for good in ["a", "a/b", ".hidden", "a..b/c", "ü/日本", "a b", "...", "x.wh.y", "a\nb", "\t", "a\u{9b}b"] {
            assert_eq!(TreePath::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0", ".wh.a", "a/.wh..wh..opq"] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn control_characters_are_not_printable() {
        for bad in ["a\nb", "a\u{9b}b", "a/\u{202e}b"] {
            assert_eq!(TreePath::new(bad).unwrap().printable(), Err(PathError::Control(bad.into())));
        }
        assert_eq!(TreePath::new("ü b").unwrap().printable().unwrap().as_str(), "ü b");
    }

    #[test]
    fn knows_its_parts() {
        let path = TreePath::new("a/b/c").unwrap();
        assert_eq!(path.parent().unwrap().as_str(), "a/b");
        assert_eq!(path.file_name(), "c");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(TreePath::new("a").unwrap().parent(), None);
    }
}
