//! Why a source cannot become a wheel.

use std::{io, path::PathBuf};

use super::BuildError;
use pixi_oci_pipeline::SourceWheelError;

/// Each names the package or file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Sources that nobody decided about.
    #[error(
        "{} of the environment cannot be used as {}; making wheels of sources runs their code:\n{}\n\
         Choose for each: build it in a container without a network with `--build-sdists`; give a wheel of it with \
         `--wheel FILE`, or `wheels = [\"FILE\"]` in [tool.pixi-oci]; or depend on a wheel or a conda package instead \
         and run `pixi lock`",
        if undecided.len() == 1 { "a package".into() } else { format!("{} packages", undecided.len()) },
        if undecided.len() == 1 { "it is" } else { "they are" },
        undecided.iter().map(|source| format!("  {source}")).collect::<Vec<_>>().join("\n")
    )]
    Undecided {
        /// All of them, by name.
        undecided: Vec<Undecided>,
    },
    /// An editable installation that the image cannot have.
    #[error(
        "{package}: it is installed as editable from {directory}, which is outside of the workspace, so the image would \
         not have it; remove `editable = true`, move it into the workspace, or give a wheel of it with `--wheel FILE`"
    )]
    EditableOutside {
        /// The package.
        package: String,
        /// Where it is.
        directory: String,
    },
    /// Not a wheel's file name.
    #[error("{}: this is no wheel: its name is not of the form NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl", path.display())]
    NoWheel {
        /// As it was given.
        path: PathBuf,
    },
    /// A pattern of `wheels` that nothing matches.
    #[error("`wheels` in [tool.pixi-oci]: nothing in {} matches {pattern:?}", workspace.display())]
    NoMatch {
        /// As configured.
        pattern: String,
        /// Where it was looked for.
        workspace: PathBuf,
    },
    /// A wheel that stands for nothing.
    #[error("{}: no source of that name is locked for what is built, so the wheel would not be used; {}", path.display(), sources_there_are(sources))]
    Unused {
        /// As it was given.
        path: PathBuf,
        /// The sources there are, by name.
        sources: Vec<String>,
    },
    /// A wheel of another version.
    #[error("{}: version {locked} of {package} is locked; give a wheel of that version, or run `pixi lock`", path.display())]
    Version {
        /// As it was given.
        path: PathBuf,
        /// The package.
        package: String,
        /// Its version in the lock file.
        locked: String,
    },
    /// No wheel of a package that was given is for a platform.
    #[error("{package}: no wheel that was given is for {platform}: {reasons}; give one with `--wheel FILE`")]
    NoneFits {
        /// The package.
        package: String,
        /// The platform.
        platform: String,
        /// Why each is not.
        reasons: String,
    },
    /// A wheel for no platform that is built.
    #[error("{}: the wheel is for none of the platforms that are built: {reason}", path.display())]
    FitsNone {
        /// As it was given.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Two wheels for one platform.
    #[error("{package}: both {} and {} are for {platform}; give one of them", first.display(), second.display())]
    Ambiguous {
        /// The package.
        package: String,
        /// The platform.
        platform: String,
        /// A wheel.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// Wheels need a Python.
    #[error(
        "{package}: the environment has no Python for {platform}; add `python` to the dependencies and run `pixi lock`"
    )]
    NoPython {
        /// The package.
        package: String,
        /// The platform.
        platform: String,
    },
    /// A directory that is no project.
    #[error("{} has more than {limit} files; leave what is no source out of the package's directory", directory.display())]
    TooManyFiles {
        /// The directory.
        directory: PathBuf,
        /// The most files there may be.
        limit: usize,
    },
    /// A package that is no source code.
    #[error("the package in {} has more than {limit} bytes; give a wheel of it with `--wheel FILE`", directory.display())]
    TooBig {
        /// The directory.
        directory: PathBuf,
        /// The most bytes there may be.
        limit: u64,
    },
    /// A link out of the workspace.
    #[error("{} is a link that leaves the workspace; only files of the workspace can be put into an image", path.display())]
    OutsideLink {
        /// The link.
        path: PathBuf,
    },
    /// A file of a package that holds a secret.
    #[error("{} holds a secret: {rule}; it would become part of the installed package", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The rule that found it.
        rule: &'static str,
    },
    /// A source that could not be built.
    #[error(transparent)]
    Build(#[from] Box<BuildError>),
    /// A package or a wheel.
    #[error(transparent)]
    Package(#[from] pixi_oci_package::Error),
    /// The files of a source as a tar.
    #[error("cannot make a layer")]
    Layer(#[from] pixi_oci_layer::Error),
    /// The manifest.
    #[error(transparent)]
    Workspace(#[from] pixi_oci_workspace::Error),
    /// An archive that is not there.
    #[error(transparent)]
    Fetch(#[from] pixi_oci_fetch::Error),
    /// Files of ours.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was to end.
    #[error("interrupted")]
    Interrupted,
}

impl From<SourceWheelError> for SourceError {
    fn from(error: SourceWheelError) -> Self {
        match error {
            SourceWheelError::Package(error) => Self::Package(error),
            SourceWheelError::Io { path, source } => Self::Io { action: "read", path, source },
        }
    }
}

impl From<BuildError> for SourceError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Interrupted => Self::Interrupted,
            error => Self::Build(Box::new(error)),
        }
    }
}

/// A source that nobody decided about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undecided {
    /// `pypi:NAME`, or the conda name.
    pub name: String,
    /// Its version, where it is locked.
    pub version: Option<String>,
    /// What it is, and where, without credentials.
    pub what: String,
    /// Why it cannot be installed without its build backend, where that was tried.
    pub reason: Option<String>,
}

impl std::fmt::Display for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        write!(f, " ({})", self.what)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

fn sources_there_are(sources: &[String]) -> String {
    if sources.is_empty() { "there are none".into() } else { format!("there are {}", sources.join(", ")) }
}
