//! Handing an archive to podman or docker.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pixi_oci_platform::{find_program, stripped};

use crate::Error;

/// How much of an engine's complaint an error repeats, in characters.
const MAX_OUTPUT: usize = 2000;

/// Finds podman, else docker, in `search_path`, which has the form of `PATH`.
pub fn find_container_engine(search_path: &OsStr) -> Result<PathBuf, Error> {
    ["podman", "docker"].into_iter().find_map(|name| find_program(name, search_path)).ok_or(Error::NoEngine)
}

/// Runs `PROGRAM load --input ARCHIVE` for a `docker-archive:` or `oci-archive:` file and returns what it said, which
/// names the image.
///
/// # Errors
///
/// [`Error::Io`] when the program cannot be run; [`Error::Load`] with its own words when it failed.
pub fn load(program: &Path, archive: &Path) -> Result<String, Error> {
    let output = Command::new(program)
        .args(["load".as_ref(), "--input".as_ref(), archive.as_os_str()])
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("run {}", program.display())))?;
    if !output.status.success() {
        let said = stripped(&output.stderr);
        let said = said.trim();
        let tail = said.chars().count().saturating_sub(MAX_OUTPUT);
        return Err(Error::Load {
            program: program.to_owned(),
            archive: archive.to_owned(),
            status: output.status,
            output: said.chars().skip(tail).collect(),
        });
    }
    Ok(stripped(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn podman_is_preferred_and_none_is_an_error() {
        let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let path = std::env::join_paths([a.path(), b.path()]).unwrap();
        assert!(matches!(find_container_engine(&path), Err(Error::NoEngine)));
        let docker = script(a.path(), "docker", "");
        std::fs::write(a.path().join("podman"), "not executable").unwrap();
        assert_eq!(find_container_engine(&path).unwrap(), docker);
        let podman = script(b.path(), "podman", "");
        assert_eq!(find_container_engine(&path).unwrap(), podman);
    }

    #[test]
    fn output_is_returned_or_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("an image.tar");
        let good = script(dir.path(), "good", "echo \"Loaded image: $3\"");
        assert_eq!(load(&good, &archive).unwrap(), format!("Loaded image: {}", archive.display()));
        let bad = script(dir.path(), "bad", "printf 'no \\033[31mspace\\n' >&2; exit 125");
        let error = load(&bad, &archive).unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 125): no [31mspace"), "{error}");
        assert!(matches!(load(&dir.path().join("none"), &archive), Err(Error::Io { .. })));
    }
}
