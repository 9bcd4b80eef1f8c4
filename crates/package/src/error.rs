//! What can be wrong with a package, always with the package's file name and the path inside.
//!
//! Names and messages that come from a package are escaped: an error can be printed on a terminal.

// The messages say what the fields are.
#![allow(missing_docs)]

use std::io;

use pixi_oci_layer::PathError;
use pixi_oci_platform::escape;

/// `PATH_MAX` of Linux: no longer path or link target can have been unpacked by anybody.
pub(crate) const MAX_PATH: usize = 4096;

/// Why a package cannot become a file tree. `package` is always the package's file name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{package}: cannot read {archive:?}")]
    Read {
        package: String,
        archive: String,
        #[source]
        source: io::Error,
    },
    #[error("{package}: not a valid package archive: {reason}")]
    Archive { package: String, reason: String },
    #[error("{package}: more than {limit} {what}; this is not a package but a decompression bomb")]
    TooBig { package: String, what: &'static str, limit: u64 },
    #[error("{package}: {file}: {reason}")]
    Info {
        package: String,
        /// The file in the archive, such as `info/paths.json`.
        file: &'static str,
        reason: String,
    },
    #[error(
        "{package}: info/index.json has {field} {found:?} where the lock file has {expected:?}; the archive is not the \
         locked package: lock again, or ask the channel's owner"
    )]
    Mismatch {
        package: String,
        /// `name`, `version` or `build`.
        field: &'static str,
        expected: String,
        found: String,
    },
    #[error("{package}: where its symbolic links lead is not known before its archive is here")]
    UnknownLinks { package: String },
    #[error("{package}: {path:?} {refusal}")]
    Path {
        package: String,
        /// The path in the archive or in one of its lists.
        path: String,
        refusal: Refusal,
    },
    #[error("{package}: cannot keep the contents of {path:?}; is there room for temporary files?")]
    Store {
        package: String,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "{package}: this noarch Python package needs `python` in the environment; add it to the workspace's dependencies"
    )]
    NoPython { package: String },
    #[error("{package}: {reason}")]
    Python { package: String, reason: String },
    #[error(
        "{package}: {path:?} is below {above:?}, which is a file of {other}; no installer can install both: change one of \
         the versions, and lock again"
    )]
    Nested { package: String, path: String, other: String, above: String },
    #[error("{package} is in the environment twice")]
    PackageTwice { package: String },
}

/// Why a path is refused. Reads on after the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("is an absolute path; a package may only have paths below the prefix")]
    Absolute,
    #[error("has a `..` component, which could leave the prefix")]
    Parent,
    #[error("is an empty path")]
    Empty,
    #[error("is not valid UTF-8")]
    NotUtf8,
    /// Longer than Linux allows, or very deep.
    #[error("is {0}")]
    TooLong(String),
    #[error("has a NUL character")]
    Control,
    #[error("has a component that begins with `.wh.`, which would delete files in an OCI layer")]
    Whiteout,
    #[error("is below `{0}`, which belongs to the installer")]
    Reserved(&'static str),
    #[error("is a {0}; packages may only have files, directories and links")]
    Special(&'static str),
    /// An entry whose headers contradict one another, so that programs would read different archives.
    #[error("has a header that programs read differently: {0}")]
    Ambiguous(&'static str),
    #[error("is there twice")]
    Duplicate,
    /// A path below something that is no directory: writing it would write through a link.
    #[error("is below {0:?}, which is a link or file of the same package")]
    Below(String),
    #[error("is below {0:?}, which is another package's link out of the prefix")]
    ThroughOutsideLink(String),
    #[error("is a symbolic link whose target is empty, not UTF-8, or has a NUL character")]
    LinkTarget,
    /// The target of a symbolic link is longer than Linux allows, or very deep.
    #[error("is a symbolic link to {0}")]
    LongTarget(String),
    #[error("is a hard link to {0:?}, which is not an earlier file of the same package")]
    HardLink(String),
    #[error("is a {listed} in info/paths.json and a {found} in the archive")]
    Type { listed: &'static str, found: &'static str },
    #[error("is listed in info/paths.json, but it is not in the archive")]
    Missing,
    #[error("is not a regular file and has a prefix placeholder")]
    PlaceholderOfLink,
    #[error("has a prefix placeholder shorter than 8 bytes")]
    ShortPlaceholder,
    #[error("makes the package's files in etc/conda/env_vars.d longer than 64 KiB")]
    EnvVars,
    #[error("cannot have its prefix placeholder replaced: {0}; a shorter prefix may help")]
    Placeholder(String),
    #[error("is to be copied (no_link), but its target {0:?} is not a file of the same package")]
    CopyTarget(String),
    #[error("ends at the same place as {0:?} of the same package")]
    SamePlace(String),
    #[error("goes through links that lead to one another, at {0:?}")]
    LinkLoop(String),
    #[error("comes after the package's contents, or changed while it was read; repackage it with `info/` first")]
    LateInfo,
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Empty(_) => Self::Empty,
            PathError::Dots(_) => Self::Parent,
            PathError::Control(_) => Self::Control,
            PathError::Whiteout(_) => Self::Whiteout,
        }
    }
}

impl Error {
    /// A refused path of `package`; no more than the beginning of one that is too long.
    pub fn path(package: &str, path: impl AsRef<str>, refusal: impl Into<Refusal>) -> Self {
        let mut path: String = path.as_ref().into();
        if path.len() > MAX_PATH {
            path = path.chars().take(100).chain(['…']).collect();
        }
        Self::Path { package: package.into(), path, refusal: refusal.into() }
    }

    /// An unusable file in `info/`; `reason` may quote it and is escaped.
    pub fn info(package: &str, file: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Info { package: package.into(), file, reason: escape(&reason.to_string()) }
    }

    /// An archive that is none; `reason` may quote it and is escaped.
    pub fn archive(package: &str, reason: impl std::fmt::Display) -> Self {
        Self::Archive { package: package.into(), reason: escape(&reason.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_no_terminal_escapes() {
        let error = Error::path("p.conda", "a\u{1b}\u{202e}\u{9b}", Refusal::HardLink("\u{2066}\n".into()));
        assert!(!error.to_string().chars().any(|c| c.is_control() || ('\u{2000}'..'\u{2070}').contains(&c)), "{error}");
    }
}
