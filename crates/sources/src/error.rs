//! Why a source cannot become a wheel.

use std::path::PathBuf;

use super::BuildError;

/// Each names the package or file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "{} of the environment cannot be used as {}; making wheels of sources runs their code:\n{}\n\
         Choose for each: build it in a container without a network with `--build-sdists`; give a wheel of it with \
         `--wheel FILE`, or `wheels = [\"FILE\"]` in [tool.pixi-oci]; or depend on a wheel or a conda package instead \
         and run `pixi lock`",
        if undecided.len() == 1 { "a package".into() } else { format!("{} packages", undecided.len()) },
        if undecided.len() == 1 { "it is" } else { "they are" },
        undecided.iter().map(|source| format!("  {source}")).collect::<Vec<_>>().join("\n")
    )]
    Undecided { undecided: Vec<Undecided> },
    #[error(
        "{package}: it is installed as editable from {directory}, which is outside of the workspace, so the image would \
         not have it; remove `editable = true`, move it into the workspace, or give a wheel of it with `--wheel FILE`"
    )]
    EditableOutside { package: String, directory: String },
    #[error("{}: {message}; `--build-sdists=resolve` makes it anew where there is none", path.display())]
    Pins { path: PathBuf, message: String },
    #[error("{}: this is no wheel: its name is not of the form NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl", path.display())]
    NoWheel { path: PathBuf },
    #[error("`wheels` in [tool.pixi-oci]: nothing in {} matches {pattern:?}", workspace.display())]
    NoMatch { pattern: String, workspace: PathBuf },
    #[error("{}: no source of that name is locked for what is built, so the wheel would not be used; {}", path.display(), sources_there_are(sources))]
    Unused { path: PathBuf, sources: Vec<String> },
    #[error("{}: version {locked} of {package} is locked; give a wheel of that version, or run `pixi lock`", path.display())]
    Version { path: PathBuf, package: String, locked: String },
    #[error("{package}: no wheel that was given is for {platform}: {reasons}; give one with `--wheel FILE`")]
    NoneFits { package: String, platform: String, reasons: String },
    #[error("{}: the wheel is for none of the platforms that are built: {reason}", path.display())]
    FitsNone { path: PathBuf, reason: String },
    #[error("{package}: both {} and {} are for {platform}; give one of them", first.display(), second.display())]
    Ambiguous { package: String, platform: String, first: PathBuf, second: PathBuf },
    #[error(
        "{package}: the environment has no Python for {platform}; add `python` to the dependencies and run `pixi lock`"
    )]
    NoPython { package: String, platform: String },
    #[error("{} has more than {limit} files; leave what is no source out of the package's directory", directory.display())]
    TooManyFiles { directory: PathBuf, limit: usize },
    #[error("the package in {} has more than {limit} bytes; give a wheel of it with `--wheel FILE`", directory.display())]
    TooBig { directory: PathBuf, limit: u64 },
    #[error("{} is a link that leaves the workspace; only files of the workspace can be put into an image", path.display())]
    OutsideLink { path: PathBuf },
    #[error("{} holds a secret: {rule}; it would become part of the installed package", path.display())]
    Secret { path: PathBuf, rule: &'static str },
    #[error(transparent)]
    Build(#[from] Box<BuildError>),
    /// A package, a wheel, the manifest, or an archive that is not there.
    #[error(transparent)]
    Pipeline(Box<pixi_oci_pipeline::Error>),
    #[error("interrupted")]
    Interrupted,
}

/// All that is below the pipeline becomes its error.
impl<E: Into<pixi_oci_pipeline::Error>> From<E> for SourceError {
    fn from(error: E) -> Self {
        Self::Pipeline(Box::new(error.into()))
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

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undecided {
    /// `pypi:NAME`, or the conda name.
    pub name: String,
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
