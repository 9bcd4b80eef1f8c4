//! Paths and patterns of the workspace.

use std::path::{Component, Path};

use globset::{Glob, GlobSet, GlobSetBuilder};
use pixi_oci_layer::TreePath;

use super::error::ApplicationError;

pub(super) fn place(path: &str) -> Result<TreePath, ApplicationError> {
    TreePath::new(path).map_err(|source| ApplicationError::Destination { destination: path.into(), source })
}

pub(super) fn text(path: &Path) -> Result<String, ApplicationError> {
    let text = path.to_str().ok_or_else(|| std::io::Error::other(format!("{} is not UTF-8", path.display())))?;
    Ok(text.to_string())
}

/// The path without `./`; an error if it is absolute or has `..`.
pub(super) fn inside(path: &str) -> Result<String, ApplicationError> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            _ => return Err(ApplicationError::Outside { path: path.into() }),
        }
    }
    Ok(parts.join("/"))
}

pub(super) fn patterns(patterns: &[String]) -> Result<GlobSet, ApplicationError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let bad = |source| ApplicationError::Pattern { pattern: pattern.clone(), source };
        let trimmed = pattern.trim_start_matches("./").trim_end_matches('/');
        let mut builder = globset::GlobBuilder::new(trimmed);
        set.add(builder.literal_separator(true).build().map_err(bad)?);
        // A pattern without a slash means a name anywhere, as in ignore files.
        if !trimmed.contains('/') {
            set.add(Glob::new(&format!("**/{trimmed}")).map_err(bad)?);
        }
    }
    set.build().map_err(|source| ApplicationError::Pattern { pattern: patterns.join(", "), source })
}
