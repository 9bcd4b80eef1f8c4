//! Why a source was not built.

use std::io;

/// Each names the package and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No container engine.
    #[error(
        "podman is needed to build sources, and cannot be used: {reason}; or give wheels of them with `--wheel FILE`; or, if \
         you trust them with all that you can read, build them here with `--build-sdists=host`"
    )]
    Podman {
        /// What it said.
        reason: String,
    },
    /// Nothing to run Python on.
    #[error(
        "{package}: a build needs a base image with glibc, and the base is `scratch`; choose another with --base, or give a wheel with `--wheel FILE`"
    )]
    Scratch {
        /// The package.
        package: String,
    },
    /// A processor that this machine has not.
    #[error(
        "{package}: it must be built for {architecture}, because no wheel for every processor came of it so far, and this machine \
         runs no programs of {architecture}; register QEMU (on Debian: apt install qemu-user-static), build there, or give a \
         wheel with `--wheel FILE`"
    )]
    Architecture {
        /// The package.
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
        /// The package.
        package: String,
        /// `amd64` or `arm64`.
        architecture: String,
    },
    /// What the build needs is not locked.
    #[error(
        "{package}: its build needs {}, which the environment does not have; add it to the dependencies, or to those of \
         another environment that `build-environment` in [tool.pixi-oci] names, and run `pixi lock`; or give a wheel with `--wheel FILE`",
        missing.join(", ")
    )]
    Requires {
        /// The package.
        package: String,
        /// Each requirement, with what there is instead.
        missing: Vec<String>,
    },
    /// Build settings that are none.
    #[error("{package}: {reason}; give a wheel with `--wheel FILE`")]
    Project {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// git failed.
    #[error("{package}: git could not get commit {commit} of {url}: {said}")]
    Git {
        /// The package.
        package: String,
        /// The locked commit.
        commit: String,
        /// The repository, without credentials.
        url: String,
        /// What git said.
        said: String,
    },
    /// The build did not begin.
    #[error(
        "{package}: could not start the container of its build ({status}); `podman run` as this user says more, or give a wheel with \
         `--wheel FILE`. It said:\n{said}"
    )]
    Start {
        /// The package.
        package: String,
        /// How podman ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// The build itself failed.
    #[error("{package}: the build failed ({status}); give a wheel with `--wheel FILE`, or mend it. It said:\n{said}")]
    Failed {
        /// The package.
        package: String,
        /// How it ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// A wheel's name that is none.
    #[error("{package}: the build made {name:?}, which is no name of a wheel")]
    Name {
        /// The package.
        package: String,
        /// What it said.
        name: String,
    },
    /// A wheel for something else.
    #[error("{package}: the build made a wheel that the image cannot use: {reason}")]
    Unfit {
        /// The package.
        package: String,
        /// Why.
        reason: String,
    },
    /// Pipes and temporary files.
    #[error("{package}: cannot talk to its build")]
    Io {
        /// The package.
        package: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,
}

impl From<pixi_oci_podman::Error> for BuildError {
    fn from(error: pixi_oci_podman::Error) -> Self {
        Self::Podman { reason: error.to_string() }
    }
}
