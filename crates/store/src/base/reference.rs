//! The text that names a base image, in the words of containers-transports(5).

use std::{fmt, path::PathBuf};

use oci_spec::distribution::Reference;
use pixi_oci_layer::Digest;

use super::BaseError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseRef {
    /// `scratch`: there is none.
    Scratch,
    /// `oci:DIR[:TAG]` or `oci:DIR@DIGEST`.
    OciLayout { dir: PathBuf, image: LayoutImage },
    /// `docker://REFERENCE`, or a reference alone, as in `docker.io/library/ubuntu:24.04`.
    Registry(Reference),
    /// `docker-archive:`, `oci-archive:`, `containers-storage:`, `docker-daemon:` or `dir:`, which skopeo reads.
    Proxied(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutImage {
    Only,
    Tag(String),
    /// The one of this digest: an image manifest or image index.
    Digest(Digest),
}

/// The transports that skopeo reads and we do not.
const PROXIED: [&str; 5] = ["docker-archive", "oci-archive", "containers-storage", "docker-daemon", "dir"];

impl BaseRef {
    /// Reads the name of a base image.
    ///
    /// # Errors
    ///
    /// [`BaseError::Reference`]: an unknown transport, no path, a digest that is none.
    pub fn parse(text: &str) -> Result<Self, BaseError> {
        let bad = |reason: &str| BaseError::Reference { text: without_credentials(text), reason: reason.to_owned() };
        if text.is_empty() || text.contains(char::is_control) || text.contains(char::is_whitespace) {
            return Err(bad("it is empty or contains white space"));
        }
        if text == "scratch" {
            return Ok(Self::Scratch);
        }
        if let Some(reference) = text.strip_prefix("docker://") {
            return registry(reference).map_err(|reason| bad(&reason));
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            return layout(rest).map_err(|reason| bad(&reason));
        }
        match text.split_once(':') {
            Some((transport, rest)) if PROXIED.contains(&transport) => {
                if rest.is_empty() {
                    return Err(bad("nothing follows the transport"));
                }
                Ok(Self::Proxied(text.to_owned()))
            }
            _ if text.contains("://") || text.starts_with(['/', '.']) => Err(bad(
                "write docker://REFERENCE or a reference such as docker.io/library/ubuntu:24.04, oci:DIR[:TAG], \
                 docker-archive:FILE, oci-archive:FILE, containers-storage:IMAGE, or scratch",
            )),
            _ => registry(text).map_err(|reason| bad(&reason)),
        }
    }

    /// Whether the reference can only ever mean one image, because it has the image's digest.
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Scratch => true,
            Self::OciLayout { image, .. } => matches!(image, LayoutImage::Digest(_)),
            Self::Registry(reference) => reference.digest().is_some(),
            Self::Proxied(text) => text.contains("@sha256:"),
        }
    }
}

impl fmt::Display for BaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scratch => f.write_str("scratch"),
            Self::OciLayout { dir, image } => {
                write!(f, "oci:{}", dir.display())?;
                match image {
                    LayoutImage::Only => Ok(()),
                    LayoutImage::Tag(tag) => write!(f, ":{tag}"),
                    LayoutImage::Digest(digest) => write!(f, "@{digest}"),
                }
            }
            Self::Registry(reference) => reference.fmt(f),
            Self::Proxied(text) => f.write_str(text),
        }
    }
}

fn registry(text: &str) -> Result<BaseRef, String> {
    let reference: Reference = text.parse().map_err(|error| format!("{error}"))?;
    if let Some(digest) = reference.digest() {
        // oci-spec also takes SHA-512, which our documents cannot express.
        digest.parse::<Digest>().map_err(|error| error.to_string())?;
    }
    Ok(BaseRef::Registry(reference))
}

fn layout(rest: &str) -> Result<BaseRef, String> {
    let (path, image) = match rest.rsplit_once('@') {
        Some((path, digest)) if digest.contains(':') => {
            (path, LayoutImage::Digest(digest.parse().map_err(|error| format!("{error}"))?))
        }
        _ => match rest.split_once(':') {
            Some((_, "")) => return Err("its tag is empty".into()),
            Some((path, tag)) => (path, LayoutImage::Tag(tag.to_owned())),
            None => (rest, LayoutImage::Only),
        },
    };
    if path.is_empty() {
        return Err("the path after oci: is empty".into());
    }
    if path.contains(':') {
        return Err("it has a tag and a digest; give one of them".into());
    }
    Ok(BaseRef::OciLayout { dir: path.into(), image })
}

/// `https://user:password@host/…` is a mistake that must not end in a log.
fn without_credentials(text: &str) -> String {
    let shown = match text.split_once('@') {
        Some((_, rest)) if !rest.starts_with("sha") => rest,
        _ => text,
    };
    shown.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let digest = Digest::of(b"");
        for (text, canonical) in [
            ("scratch", "scratch"),
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("docker://ghcr.io/a/b:1", "ghcr.io/a/b:1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("oci:base", "oci:base"),
            ("oci:/a/b:v1", "oci:/a/b:v1"),
            ("oci:a@b", "oci:a@b"),
            (&format!("oci:dir@{digest}"), &format!("oci:dir@{digest}")),
            (&format!("ubuntu:24.04@{digest}"), &format!("docker.io/library/ubuntu:24.04@{digest}")),
            ("docker-archive:x.tar:a:b", "docker-archive:x.tar:a:b"),
            ("containers-storage:localhost/a", "containers-storage:localhost/a"),
        ] {
            let base = BaseRef::parse(text).unwrap();
            assert_eq!(base.to_string(), canonical, "{text}");
            assert_eq!(BaseRef::parse(canonical).unwrap(), base, "{text}");
            assert_eq!(base.is_pinned(), text == "scratch" || text.contains("sha256"), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let digest = Digest::of(b"");
        for bad in [
            "",
            "oci:",
            "oci::tag",
            "oci:dir:",
            "oci:dir@sha256:../../x",
            &format!("oci:dir:tag@{digest}"),
            "https://example.org/x",
            "./dir",
            "/dir",
            "a b",
            "a\nb",
            "docker-archive:",
            "Ubuntu:24.04",
            &format!("ubuntu@sha512:{}", "0".repeat(128)),
        ] {
            assert!(matches!(BaseRef::parse(bad), Err(BaseError::Reference { .. })), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let error = BaseRef::parse("docker://user:secret@host/image").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
