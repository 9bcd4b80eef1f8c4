//! Takes a directory out of a container that podman or docker has, running or not.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use pixi_oci_platform::stripped;

/// Why a directory could not be had from a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("{container:?} is no name or identifier of a container")]
    Name { container: String },
    #[error("{engine} cannot copy {directory} of container {container}: {said}")]
    Copy { engine: String, container: String, directory: String, said: String },
}

/// Copies what is below the absolute path `directory` of a container into the empty directory `to`, with `engine cp`.
/// Nothing is run in the container.
pub fn take_from_container(engine: &OsStr, container: &str, directory: &str, to: &Path) -> Result<(), ContainerError> {
    // The engine would take `-x` for an option, and `a:b` for a path in container `a`.
    let first = container.chars().next();
    let sound = container.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if !sound || !first.is_some_and(|c| c.is_ascii_alphanumeric()) {
        return Err(ContainerError::Name { container: container.to_owned() });
    }
    let failed = |said: String| ContainerError::Copy {
        engine: engine.to_string_lossy().into_owned(),
        container: container.to_owned(),
        directory: directory.to_owned(),
        said,
    };
    // What is in it, and not it: hence the dot.
    let source = format!("{container}:/{}/.", directory.trim_matches('/'));
    let output = Command::new(engine).arg("cp").arg(source).arg(to).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(stripped(&output.stderr).trim().chars().take(1000).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        for name in ["", "-x", "a:b", "a/b", "--help", "a b"] {
            let error = take_from_container(OsStr::new("false"), name, "/app", Path::new("/")).unwrap_err();
            assert!(matches!(error, ContainerError::Name { .. }), "{name}");
        }
        let error = take_from_container(OsStr::new("/nonexistent/podman"), "web", "/app", Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("/app of container web"), "{error}");
    }
}
