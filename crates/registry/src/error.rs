//! Why a registry could not be used.

use std::{error, fmt, io, path::Path};

use pixi_oci_layer::Digest;

/// Why a registry could not be used. What the registry answered is in it without control characters and secrets, cut to a
/// readable length.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    /// The registry, or the host that a request went to. Empty where none was asked.
    host: String,
    what: String,
    /// What it answered, or what is wrong.
    response: String,
    hint: String,
    source: Option<io::Error>,
}

/// What kind of failure it is. Those with a [`name`](ErrorKind::name) are refusals that a pipeline can tell apart; the command
/// line prints them as `BLOCKER(name): text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    EmptyToken,
    /// There is no answer, or not within the time that we wait.
    RegistryDown,
    NotARegistry,
    /// The credentials are wrong, or do not suffice.
    AuthDenied,
    RateLimited,
    Quota,
    TooLarge,
    /// A tag that must not change names something else.
    TagExists,
    /// What the registry has, or a local file, is not what it should be.
    DigestMismatch,
    /// An image for an architecture is missing, so that the index would be incomplete.
    ArchMissing,
    /// The owner or project does not exist, or the repository has to be created first.
    NoRepository,
    DiskFull,
    Read,
    Write,
    /// Credentials are configured for the registry and cannot be used. Others are not tried in their place (CVE-2021-41092).
    Credentials,
    Setting,
    /// The registry sends us to a place where we do not go.
    Forbidden,
    NotFound,
    /// The registry refuses for a reason of its own.
    Refused,
    /// An answer is not what the distribution-spec says.
    Answer,
    NoSource,
    Plan,
}

impl ErrorKind {
    /// The name of the refusal. Names are part of the interface: docs/registries.md lists them.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::EmptyToken => "empty-token",
            Self::RegistryDown => "registry-down",
            Self::NotARegistry => "not-a-registry",
            Self::AuthDenied => "auth-denied",
            Self::RateLimited => "rate-limited",
            Self::Quota => "quota",
            Self::TooLarge => "too-large",
            Self::TagExists => "tag-exists",
            Self::DigestMismatch => "digest-mismatch",
            Self::ArchMissing => "arch-missing",
            Self::NoRepository => "no-repository",
            Self::DiskFull => "disk-full",
            _ => return None,
        })
    }

    /// What to do, where it is always the same.
    fn hint(self) -> &'static str {
        match self {
            Self::NotARegistry => "check the host name, and whether a web page wants a login first",
            Self::Quota => "delete what is not needed, or ask for more",
            Self::TooLarge => "raise the limit (nginx: client_max_body_size), or upload in pieces with `chunk-size`",
            Self::TagExists => "choose a new version, versions are never published twice",
            Self::NoSource => "build again",
            Self::NoRepository => "create the owner, project or repository at the registry, or correct its name",
            _ => "",
        }
    }
}

impl Error {
    /// `what` was tried at `host`, which answered `response`.
    pub fn new(kind: ErrorKind, host: impl Into<String>, what: impl Into<String>, response: impl Into<String>) -> Self {
        let (host, what, response) = (host.into(), what.into(), response.into());
        Self { kind, host, what, response, hint: kind.hint().to_owned(), source: None }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// `what` is `found` instead of `expected`.
    pub fn mismatch(what: impl Into<String>, expected: Digest, found: impl fmt::Display) -> Self {
        Self::new(ErrorKind::DigestMismatch, "", what, format!("should be {expected}, but {found}"))
    }

    /// `tag` is `present` and must not become `wanted`.
    pub fn tag_exists(tag: impl Into<String>, present: impl fmt::Display, wanted: impl fmt::Display) -> Self {
        Self::new(ErrorKind::TagExists, "", tag, format!("is {present} already and must not become {wanted}"))
    }

    pub(crate) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Setting, "", setting, reason)
    }

    pub(crate) fn plan(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Plan, "", "", reason)
    }

    pub fn read(path: &Path, source: io::Error) -> Self {
        Self { source: Some(source), ..Self::new(ErrorKind::Read, "", path.display().to_string(), "") }
    }

    /// Bytes could not be written; a full disk has a name of its own.
    pub(crate) fn write(what: &str, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let kind = match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => return Self::new(ErrorKind::DiskFull, "", what, ""),
            _ => ErrorKind::Write,
        };
        Self { source: Some(source), ..Self::new(kind, "", what, "") }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn name(&self) -> Option<&'static str> {
        self.kind.name()
    }

    pub fn response(&self) -> &str {
        &self.response
    }

    fn headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, what) = (&self.host, &self.what);
        match self.kind {
            ErrorKind::EmptyToken if what.is_empty() => write!(f, "{host} wants credentials, and there are none"),
            ErrorKind::EmptyToken => write!(f, "{what} gives no token for {host}"),
            ErrorKind::RegistryDown => write!(f, "{host} does not answer"),
            ErrorKind::NotARegistry => write!(f, "{host} is not a registry"),
            ErrorKind::AuthDenied | ErrorKind::Refused => write!(f, "{host} refuses {what}"),
            ErrorKind::RateLimited => write!(f, "{host} limits its requests"),
            ErrorKind::Quota => write!(f, "{host} has no more storage for {what}"),
            ErrorKind::TooLarge => write!(f, "{host} does not take {what} because of its size"),
            ErrorKind::TagExists | ErrorKind::DigestMismatch => write!(f, "{what}"),
            ErrorKind::ArchMissing => write!(f, "there is no image for {what}; the index is not published"),
            ErrorKind::NoRepository => write!(f, "{host} has no repository {what}"),
            ErrorKind::DiskFull => write!(f, "there is no space left on this machine to write {what}"),
            ErrorKind::Read => write!(f, "cannot read {what}"),
            ErrorKind::Write => write!(f, "cannot write {what}"),
            ErrorKind::Credentials => write!(f, "the credentials for {host} from {what} cannot be used"),
            ErrorKind::Setting => write!(f, "{what} cannot be used"),
            ErrorKind::Forbidden => write!(f, "{host} sends {what}, which is refused"),
            ErrorKind::NotFound => write!(f, "{host} does not have {what}"),
            ErrorKind::Answer => write!(f, "{host} answers {what} in a way that is not understood"),
            ErrorKind::NoSource => write!(f, "{host} does not have {what} any more, and there is no local file of it"),
            ErrorKind::Plan => write!(f, "this cannot be published"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        let colon = if matches!(self.kind, ErrorKind::TagExists | ErrorKind::DigestMismatch) { " " } else { ": " };
        if !self.response.is_empty() {
            write!(f, "{colon}{}", self.response)?;
        }
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_disk_has_a_name() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        assert_eq!(Error::write("a blob", full).name(), Some("disk-full"));
        let other = Error::write("a blob", io::Error::other("x"));
        assert_eq!((other.name(), other.to_string().as_str()), (None, "cannot write a blob"));
        assert_eq!(error::Error::source(&other).unwrap().to_string(), "x");
    }

    #[test]
    fn an_error_says_what_where_why_and_what_next() {
        let quota = Error::new(ErrorKind::Quota, "r.io", "blob a", "full");
        assert_eq!(
            quota.to_string(),
            "r.io has no more storage for blob a: full; delete what is not needed, or ask for more"
        );
        let expected = Digest::of(b"");
        let mismatch = Error::mismatch("blob a", expected, "it is longer").to_string();
        assert_eq!(mismatch, format!("blob a should be {expected}, but it is longer"));
        let empty = Error::new(ErrorKind::EmptyToken, "r.io", "", "").with_hint("log in");
        assert_eq!(empty.to_string(), "r.io wants credentials, and there are none; log in");
    }
}
