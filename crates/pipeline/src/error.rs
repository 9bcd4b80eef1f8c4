//! Why a build fails.

use std::io;

use pixi_oci_platform::FileError;

/// Every error names the thing and the reason; most say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Project(pixi_oci_project::Error),
    #[error(transparent)]
    Package(#[from] pixi_oci_package::Error),
    #[error("cannot make a layer")]
    Layer(#[from] pixi_oci_layer::Error),
    #[error("cannot make a layer of {package}")]
    PackageLayer { package: String, source: pixi_oci_layer::Error },
    #[error(transparent)]
    Image(#[from] pixi_oci_image::Error),
    #[error(transparent)]
    Publish(#[from] pixi_oci_store::Error),
    #[error(transparent)]
    Destination(#[from] pixi_oci_store::ParseDestinationError),
    #[error(transparent)]
    TooFewLayers(#[from] crate::layers::grouping::TooFewLayers),
    #[error(transparent)]
    VirtualPackage(#[from] Box<pixi_oci_project::virtual_packages::TooOld>),
    #[error(transparent)]
    Activation(#[from] pixi_oci_contents::ActivationError),
    #[error(transparent)]
    Environment(#[from] pixi_oci_contents::EnvironmentError),
    #[error(transparent)]
    Application(#[from] pixi_oci_contents::ApplicationError),
    #[error(transparent)]
    Tags(#[from] pixi_oci_wheel::TagError),
    #[error(
        "environment for {platform}: these wheels need `python`, which is not among its conda packages: {wheels}; run `pixi add python`"
    )]
    NoPython { platform: String, wheels: String },
    #[error("{package}: {url:?} is no address of a package")]
    Url { package: String, url: String },
    #[error("{package}: cannot read the unpacked files back; is there room for temporary files?")]
    Unreadable { package: String, source: io::Error },
    #[error(
        "{package} needs {requirement}, but base image {base} has glibc {found}; choose a newer base with --base, or set `base-glibc` if the base has another libc than it seems"
    )]
    BaseTooOld { package: String, requirement: String, base: String, found: String },
    #[error(
        "base image {base} has {path}, which is not a directory; choose another `prefix` or `workdir`, or another base"
    )]
    BaseInTheWay { base: String, path: String },
    /// The prefix is in use: what is there would be mixed with our packages.
    #[error(
        "base image {base} has {path} already, and an environment cannot be put over another one; choose another `prefix`, or \
         a base without it"
    )]
    BasePrefixInUse { base: String, path: String },
    #[error(
        "{program} is run by {interpreter}, which no package and no base image has; use a base image with glibc, such as docker.io/library/ubuntu:24.04"
    )]
    NoInterpreter { program: String, interpreter: String },
    #[error(
        "`user`: {name:?} is not in the image's /etc/{file}, so that no container would start; use a number, which is always accepted, or include files for /etc"
    )]
    UnknownUser {
        name: String,
        /// `passwd` or `group`.
        file: &'static str,
    },
    #[error(
        "activation needs a shell for {needs}, but neither the environment's packages nor the base image have bash; add `bash` to the dependencies, or, for a variable, say its value in `env` of [tool.pixi-oci]"
    )]
    NoShell { needs: String },
    #[error(
        "`test` needs a shell, but neither the base image has /bin/sh nor the environment's packages have bash; add `bash` to the dependencies, or give a program of your own: test = {{ script = \"FILE\" }}"
    )]
    NoTestShell,
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] FileError),
    /// What was found of a package that goes over several layers contradicts the package.
    #[error(
        "{package} goes over {made} layers, but the layers that were found say {found}: they were changed after they were made; make all anew with --no-cache-from and another --cache-dir"
    )]
    Parts { package: String, made: usize, found: usize },
    /// What a server said of an archive that was not here yet contradicts the archive.
    #[error(
        "{package}: what {host} answered when it was asked for a part of the archive is not what is in the archive; it, or something before it, changes what it sends: take another mirror, or ask who runs it"
    )]
    Contradiction { package: String, host: String },
    /// A layer is to be made of a package that nobody got.
    #[error("the archive of {package} was not fetched; this is a mistake in pixi-oci, please report it")]
    NotFetched { package: String },
}

impl From<pixi_oci_project::Error> for Error {
    fn from(error: pixi_oci_project::Error) -> Self {
        match error {
            pixi_oci_project::Error::Interrupted => Self::Interrupted,
            pixi_oci_project::Error::Io(error) => Self::Io(error),
            error => Self::Project(error),
        }
    }
}

/// What a crate below says in its own words, in the words of the crates between.
#[macro_export]
macro_rules! from_below {
    ($own:ty, by $below:ty: $($error:ty),* $(,)?) => {$(
        impl From<$error> for $own {
            fn from(error: $error) -> Self {
                Self::from(<$below>::from(error))
            }
        }
    )*};
}

from_below!(
    Error, by pixi_oci_project::Error:
    pixi_oci_fetch::Error,
    pixi_oci_lock::Error,
    pixi_oci_package::PrefixError,
    pixi_oci_project::RequestError,
    pixi_oci_store::base::BaseError,
    pixi_oci_workspace::Error,
);

pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    pixi_oci_net::cause(error).split_whitespace().collect::<Vec<_>>().join(" ")
}
