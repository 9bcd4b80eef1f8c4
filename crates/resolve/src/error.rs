//! Everything that can go wrong in this crate. URLs in it are always redacted.

use std::{io, path::PathBuf};

use crate::{ManifestError, Sha256, config_reader::suggestion};

/// Why a workspace, its lock file or its package archives could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace manifest is not valid TOML, or says something that cannot be meant.
    #[error(transparent)]
    Manifest(Box<ManifestError>),

    /// There is no workspace where one was expected.
    #[error("no Pixi workspace at {}: {message}", path.display())]
    NoWorkspace {
        /// The directory or file that was given.
        path: PathBuf,
        /// What was looked for, and what to do.
        message: String,
    },

    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A document is bigger than any honest one.
    #[error("{} is bigger than {limit} bytes, too big for a workspace manifest or lock file", path.display())]
    TooBig {
        /// The document.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },

    /// An environment that neither manifest nor lock file has.
    #[error("{} has no environment `{name}`; {}{}", path.display(), meant(name, known), list("it has", known))]
    UnknownEnvironment {
        /// The manifest or lock file.
        path: PathBuf,
        /// The environment that was asked for.
        name: String,
        /// The environments there are, sorted.
        known: Vec<String>,
    },

    /// The features of an environment do not go together.
    #[error("{}: environment `{environment}`: {message}", path.display())]
    Environment {
        /// The manifest.
        path: PathBuf,
        /// The environment or solve group.
        environment: String,
        /// What contradicts what.
        message: String,
    },

    /// The workspace has no lock file.
    #[error("there is no lock file {}; run `pixi lock` or `pixi-oci lock` to make one", path.display())]
    NoLockFile {
        /// Where it was expected.
        path: PathBuf,
    },

    /// A lock file of before multiple environments (format 1 to 3).
    #[error("{}: lock file version {version} is too old, pixi-oci reads versions 4 to 7; run `pixi lock` to renew it", path.display())]
    LockFileTooOld {
        /// The lock file.
        path: PathBuf,
        /// Its format version.
        version: u64,
    },

    /// A lock file of a format that did not exist when this program was made.
    #[error("{}: lock file version {version} is newer than this pixi-oci reads (7); update pixi-oci, or lock with an older pixi", path.display())]
    LockFileTooNew {
        /// The lock file.
        path: PathBuf,
        /// Its format version.
        version: u64,
    },

    /// The lock file cannot be parsed, or contradicts itself.
    #[error("{}: {message}; run `pixi lock` to renew it", path.display())]
    LockFile {
        /// The lock file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },

    /// One package of the lock file cannot be used.
    #[error("{}: package {package}: {message}", path.display())]
    LockedPackage {
        /// The lock file.
        path: PathBuf,
        /// The package, by name, or by location where it has no name.
        package: String,
        /// What is wrong, and what to do.
        message: String,
    },

    /// The environment is not locked for the platform that was asked for.
    #[error(
        "environment `{environment}` is not locked for {wanted}; {}{}",
        meant(wanted.split('`').nth(1).unwrap_or_default(), available),
        list("it is locked for", available)
    )]
    NoPlatform {
        /// The environment.
        environment: String,
        /// What was asked for, e.g. "platform `linux-aarch64`".
        wanted: String,
        /// The linux platforms there are.
        available: Vec<String>,
    },

    /// Several platforms of one architecture could be meant.
    #[error(
        "environment `{environment}` is locked for several platforms of {subdir}: {}; choose one with `--platform NAME`",
        candidates.join(", ")
    )]
    AmbiguousPlatform {
        /// The environment.
        environment: String,
        /// The architecture they share, e.g. `linux-64`.
        subdir: String,
        /// The platforms, each with what sets it apart, e.g. "`gpu` (__cuda=12)".
        candidates: Vec<String>,
    },

    /// A platform for which no image can be made.
    #[error("platform `{platform}` ({subdir}) is not supported: images can be made for linux-64 and linux-aarch64")]
    UnsupportedPlatform {
        /// The platform's name.
        platform: String,
        /// Its conda subdir.
        subdir: String,
    },

    /// A task that cannot become an image's command.
    #[error(
        "task `{task}` of environment `{environment}` {message}; write the command as `cmd = [\"program\", \"argument\"]` in [tool.pixi-oci] instead"
    )]
    Task {
        /// The task.
        task: String,
        /// The environment it was looked up in.
        environment: String,
        /// Why it cannot be used.
        message: String,
    },

    /// Text that is not a virtual package.
    #[error("`{text}` is not a virtual package: {message}")]
    VirtualPackage {
        /// The text.
        text: String,
        /// What is wrong, with an example.
        message: String,
    },

    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {message}")]
    Client {
        /// Why not.
        message: String,
    },

    /// Packages that are not in the cache while the network may not be used.
    #[error("offline, and not in the cache: {}; run once without `--offline`", missing.join(", "))]
    Offline {
        /// All of them, by name and redacted URL.
        missing: Vec<String>,
    },

    /// A package whose location cannot be fetched from.
    #[error(
        "package {package}: cannot fetch from {url}: only https, http, oci, s3 and file URLs and paths are supported"
    )]
    UnsupportedScheme {
        /// The package.
        package: String,
        /// Its redacted URL.
        url: String,
    },

    /// The server answered, but not with the archive.
    #[error("package {package}: {url} answered {status}{hint}")]
    Status {
        /// The package.
        package: String,
        /// Its redacted URL.
        url: String,
        /// Status code and reason.
        status: String,
        /// What to do, beginning with `; `, or nothing.
        hint: String,
    },

    /// The server could not be reached, or broke off, more often than we retry.
    #[error("package {package}: {url}: {message}")]
    Network {
        /// The package.
        package: String,
        /// Its redacted URL.
        url: String,
        /// What happened, without URLs.
        message: String,
    },

    /// The server sent something else than the file's bytes.
    #[error(
        "package {package}: {url} answered with `content-encoding: {encoding}`, which was not asked for, and it is not what the lock file says; a server or proxy in between changes package archives"
    )]
    Encoded {
        /// The package.
        package: String,
        /// Its redacted URL.
        url: String,
        /// The encoding.
        encoding: String,
    },

    /// An archive is not the one the lock file names.
    #[error(
        "package {package}: sha256 of {location} is {actual}, the lock file says {expected}; the file was replaced, or the lock file is wrong"
    )]
    Sha256Mismatch {
        /// The package.
        package: String,
        /// Redacted URL or path.
        location: String,
        /// What was found.
        actual: Sha256,
        /// What the lock file says.
        expected: Sha256,
    },

    /// An archive has the sha256 that the lock file says, and another md5.
    #[error(
        "package {package}: md5 of {location} is {actual}, the lock file says {expected}; run `pixi lock` to renew the lock file"
    )]
    Md5Mismatch {
        /// The package.
        package: String,
        /// Redacted URL or path.
        location: String,
        /// What was found.
        actual: String,
        /// What the lock file says.
        expected: String,
    },

    /// An archive has another length than the lock file says.
    #[error(
        "package {package}: {location} has {actual} bytes, the lock file says {expected}; the file was replaced, or the lock file is wrong"
    )]
    SizeMismatch {
        /// The package.
        package: String,
        /// Redacted URL or path.
        location: String,
        /// What was found, e.g. `3` or `more than 3`.
        actual: String,
        /// What the lock file says.
        expected: u64,
    },

    /// A local archive could not be copied into the cache.
    #[error("package {package}: cannot {action} {}: {source}", path.display())]
    Archive {
        /// The package.
        package: String,
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(Box::new(error))
    }
}

/// "it has `a`, `b`", or "… none".
/// "did you mean `x`? ", if a name is near enough to be meant.
fn meant(name: &str, known: &[String]) -> String {
    let suggestion = suggestion(name, known.iter().map(String::as_str));
    suggestion.map(|suggestion| format!("{suggestion} ")).unwrap_or_default()
}

fn list(verb: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("{verb} none");
    }
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    format!("{verb} {}", quoted.join(", "))
}
