//! Why a source was not built.

use std::io;

use super::{pins::FILE, requires::Missing};

/// Each names the package and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(
        "podman is needed to build sources, and cannot be used: {reason}; or give wheels of them with `--wheel FILE`; or, if \
         you trust them with all that you can read, build them here with `--build-sdists=host`"
    )]
    Podman { reason: String },
    #[error(
        "{package}: a build needs a base image with glibc, and the base is `scratch`; choose another with --base, or give a wheel with `--wheel FILE`"
    )]
    Scratch { package: String },
    #[error(
        "{package}: it must be built for {architecture}, because no wheel for every processor came of it so far, and this machine \
         runs no programs of {architecture}; register QEMU (on Debian: apt install qemu-user-static), build there, or give a \
         wheel with `--wheel FILE`"
    )]
    Architecture {
        package: String,
        /// `amd64` or `arm64`.
        architecture: String,
    },
    /// A processor that is not this machine's own.
    #[error(
        "{package}: it must be built for {architecture}, because no wheel for every processor came of it so far, and \
         --build-sdists=host builds only for this machine's own processor; use --build-sdists, build there, or give a \
         wheel with `--wheel FILE`"
    )]
    HostArchitecture {
        package: String,
        /// `amd64` or `arm64`.
        architecture: String,
    },
    #[error(
        "{package}: --build-sdists=host builds for the system of this machine, and images are for Linux; build on Linux, or \
         give a wheel with `--wheel FILE`"
    )]
    HostSystem { package: String },
    #[error(
        "{package}: its build needs {}, which the environment does not have; add it to the dependencies, or to those of \
         another environment that `build-environment` in [tool.pixi-oci] names, and run `pixi lock`; or have uv find it and pin \
         it in {FILE} with `--build-sdists=resolve`; or give a wheel with `--wheel FILE`",
        missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Requires { package: String, missing: Vec<Missing> },
    #[error(
        "{FILE}: uv could not resolve what builds need ({}): {said}; add it to the dependencies, or to those of another \
         environment that `build-environment` in [tool.pixi-oci] names, and run `pixi lock`",
        requirements.join(", ")
    )]
    Resolve { requirements: Vec<String>, said: String },
    #[error("{package}: {reason}; give a wheel with `--wheel FILE`")]
    Project { package: String, reason: String },
    #[error("{package}: git could not get commit {commit} of {url}: {said}")]
    Git {
        package: String,
        commit: String,
        /// The repository, without credentials.
        url: String,
        said: String,
    },
    #[error(
        "{package}: could not start the container of its build ({status}); `podman run` as this user says more, or give a wheel with \
         `--wheel FILE`. It said:\n{said}"
    )]
    Start { package: String, status: String, said: String },
    #[error("{package}: the build failed ({status}); give a wheel with `--wheel FILE`, or mend it. It said:\n{said}")]
    Failed { package: String, status: String, said: String },
    #[error("{package}: the build made {name:?}, which is no name of a wheel")]
    Name { package: String, name: String },
    #[error("{package}: the build made a wheel that the image cannot use: {reason}")]
    Unfit { package: String, reason: String },
    #[error("{package}: cannot talk to its build")]
    Io { package: String, source: io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl From<pixi_oci_podman::Error> for BuildError {
    fn from(error: pixi_oci_podman::Error) -> Self {
        Self::Podman { reason: error.to_string() }
    }
}
