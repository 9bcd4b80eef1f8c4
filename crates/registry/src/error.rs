//! Why a registry could not be used.

use std::{path::PathBuf, time::Duration};

use pixi_oci_layer::Digest;

/// Why a registry could not be used. Those with a [`name`](Error::name) are refusals that a pipeline can tell apart; the
/// command line prints them as `BLOCKER(name): text`. What registries say is in them without control characters and
/// cut to a readable length; secrets are in none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry wants credentials, and there are none.
    #[error("{host} wants credentials, and there are none: {advice}")]
    EmptyToken {
        /// The registry.
        host: String,
        /// Where they are looked for.
        advice: String,
    },
    /// Nobody answers, or not as long as we ask.
    #[error("{host} does not answer: {reason}")]
    RegistryDown {
        /// The registry, or the host that a request went to.
        host: String,
        /// The last failure.
        reason: String,
    },
    /// Something answers that is no registry.
    #[error(
        "{host} is not a registry: {reason}; check the host name, and that nobody has to log in to a web page first"
    )]
    NotARegistry {
        /// The host.
        host: String,
        /// What it did.
        reason: String,
    },
    /// The credentials are wrong, or do not suffice.
    #[error("{host} refuses {what}: {said}; {advice}")]
    AuthDenied {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// What it, or its token service, said.
        said: String,
        /// What may be wrong.
        advice: String,
    },
    /// The registry wants less traffic, for longer than we wait.
    #[error("{host} limits its requests: {said}; try again in {} seconds", wait.as_secs())]
    RateLimited {
        /// The registry.
        host: String,
        /// What it said.
        said: String,
        /// How long it wants us to wait.
        wait: Duration,
    },
    /// The storage that the registry grants is used up.
    #[error("{host} has no more storage for {what}: {said}; delete what is not needed, or ask for more")]
    Quota {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// What it said.
        said: String,
    },
    /// The registry, or a proxy before it, does not take requests of this size.
    #[error(
        "{host} does not take {what} because of its size: {said}; raise the limit (nginx: client_max_body_size), or \
         upload in pieces with --chunk-size"
    )]
    TooLarge {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// What it, or the proxy, said.
        said: String,
    },
    /// A tag that must not change names something else.
    #[error(
        "{repository}:{tag} is {present} already and must not become {wanted}; choose a new version, versions are never \
         published twice"
    )]
    TagExists {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
        /// What it names, if the registry says so.
        present: String,
        /// What it should name.
        wanted: Digest,
    },
    /// What the registry has, or a local file, is not what it should be.
    #[error("{what} should be {expected}, but {found}")]
    DigestMismatch {
        /// The blob, manifest or tag.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: String,
    },
    /// An image for an architecture is missing, so that the index would be incomplete.
    #[error("there is no image for {missing}; the index is not published")]
    ArchMissing {
        /// The architectures.
        missing: String,
    },
    /// `latest` was asked for a version that is no release.
    #[error("{tag:?} is only for releases, and {version} is none")]
    DevTag {
        /// The tag.
        tag: String,
        /// The version.
        version: String,
    },
    /// The disk is full.
    #[error("there is no space left on this machine to write {what}")]
    DiskFull {
        /// What was being written.
        what: String,
    },
    /// A file of this machine cannot be used.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Bytes could not be written where they were wanted.
    #[error("cannot write {what}")]
    Write {
        /// What was being fetched.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// Credentials are configured for the registry and cannot be used. Others are not tried in their place (CVE-2021-41092).
    #[error("the credentials for {host} from {source_name} cannot be used: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// The file, helper or command.
        source_name: String,
        /// What is wrong with it, without what is in it.
        reason: String,
    },
    /// A setting cannot be used.
    #[error("{setting} cannot be used: {reason}")]
    Setting {
        /// Which.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry sends us to a place where we do not go.
    #[error("{host} sends {what} to {to}, which is refused: {reason}")]
    Forbidden {
        /// The registry.
        host: String,
        /// What would be sent: credentials, a blob.
        what: String,
        /// Where to, without query.
        to: String,
        /// Which rule forbids it.
        reason: String,
    },
    /// It is not there.
    #[error("{host} does not have {what}: {said}")]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry said.
        said: String,
    },
    /// The registry refuses for a reason of its own.
    #[error("{host} refuses {what} with status {status}: {said}")]
    Refused {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        said: String,
    },
    /// An answer is not what the distribution-spec says.
    #[error("{host} answers {what} in a way that is not understood: {reason}")]
    Answer {
        /// The registry.
        host: String,
        /// What was tried.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A blob has to be sent, and nobody says where its bytes are.
    #[error("{repository} does not have blob {digest} any more, and there is no local file of it; build again")]
    NoSource {
        /// The repository.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// The plan contradicts itself.
    #[error("this cannot be published: {reason}")]
    Plan {
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Bytes could not be written; a full disk has a name of its own.
    pub(crate) fn write(what: &str, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let what = what.to_owned();
        if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            Self::DiskFull { what }
        } else {
            Self::Write { what, source }
        }
    }

    /// The name of the refusal. Names are part of the interface: docs/registries.md lists them.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::EmptyToken { .. } => "empty-token",
            Self::RegistryDown { .. } => "registry-down",
            Self::NotARegistry { .. } => "not-a-registry",
            Self::AuthDenied { .. } => "auth-denied",
            Self::RateLimited { .. } => "rate-limited",
            Self::Quota { .. } => "quota",
            Self::TooLarge { .. } => "too-large",
            Self::TagExists { .. } => "tag-exists",
            Self::DigestMismatch { .. } => "digest-mismatch",
            Self::ArchMissing { .. } => "arch-missing",
            Self::DevTag { .. } => "dev-tag",
            Self::DiskFull { .. } => "disk-full",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::error::Error;

    #[test]
    fn a_full_disk_has_a_name() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        assert_eq!(Error::write("a blob", full).name(), Some("disk-full"));
        assert_eq!(Error::write("a blob", std::io::Error::other("x")).name(), None);
    }
}
