//! The text that names a repository of a registry, `docker://HOST/PATH[:TAG][@DIGEST]` (containers-transports(5)).

use std::{fmt, str::FromStr};

use pixi_oci_layer::Digest;

/// A repository of a registry: where it is, and what it is called there. Both are lower-case, because registries that
/// ignore case (Gitea) and registries that refuse capitals would otherwise see different names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
}

/// A repository, and perhaps what is meant in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRef {
    pub repository: Repository,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no repository: {reason}")]
pub struct ParseRepositoryError {
    text: String,
    reason: String,
}

/// The length of a repository's name at most; Docker's limit, which includes the host.
const MAX_NAME: usize = 255;

impl Repository {
    /// Of a host and a path that come from elsewhere than one text.
    pub fn new(host: &str, path: &str) -> Result<Self, ParseRepositoryError> {
        let bad = |reason: &str| error(&format!("{host}/{path}"), reason);
        let (host, mut path) = (host.to_ascii_lowercase(), path.to_ascii_lowercase());
        if !is_host(&host) {
            return Err(bad("the host is not NAME[:PORT]"));
        }
        let host = match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            _ => host,
        };
        if host == "docker.io" && !path.contains('/') {
            path = format!("library/{path}");
        }
        if path.is_empty() {
            return Err(bad("no repository follows the host"));
        }
        if !path.split('/').all(is_component) {
            return Err(bad("a repository is words of letters and digits, joined by one . or _ or by - or __ or /"));
        }
        if host.len() + 1 + path.len() > MAX_NAME {
            return Err(bad("it is longer than 255 characters"));
        }
        Ok(Self { host, path })
    }

    /// `HOST` or `HOST:PORT`, as the user names the registry. Credentials are looked up under it.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the registry answers. Docker Hub has its own host for it.
    pub fn api_host(&self) -> &str {
        match self.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl FromStr for RepositoryRef {
    type Err = ParseRepositoryError;

    /// Reads `[docker://]HOST/PATH[:TAG][@DIGEST]`. As in Docker, a first word without a dot, colon or `localhost` is no
    /// host but belongs to a repository of docker.io.
    fn from_str(text: &str) -> Result<Self, ParseRepositoryError> {
        let shown =
            text.rsplit_once('@').filter(|(_, rest)| !rest.starts_with("sha256:")).map_or(text, |(_, rest)| rest);
        let bad = |reason: &str| error(shown, reason);
        let rest = text.strip_prefix("docker://").unwrap_or(text);
        if rest.contains("://") {
            return Err(bad("write docker://HOST/REPOSITORY, without another scheme"));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => {
                (rest, Some(digest.parse().map_err(|error: pixi_oci_layer::ParseDigestError| bad(&error.to_string()))?))
            }
            // Perhaps `user:password@host`: it is not shown.
            Some(_) => return Err(bad("credentials do not belong there; see docs/registries.md for where they do")),
            None => (rest, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(bad)?;
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':', '[']) || host.eq_ignore_ascii_case("localhost") => {
                (host, path)
            }
            _ => ("docker.io", name),
        };
        let repository = Repository::new(host, path).map_err(|error| bad(&error.reason))?;
        Ok(Self { repository, tag: tag.map(str::to_owned), digest })
    }
}

impl RepositoryRef {
    /// Reads the name of a repository that is published to, with or without `scheme` before it: with its registry, and exactly as
    /// it is called there. A short name is not completed as Docker does it; that would be noticed only after publishing.
    ///
    /// # Errors
    ///
    /// As [`RepositoryRef::from_str`]; the registry or the repository is missing; the name has capitals.
    pub fn destination(text: &str, scheme: &str) -> Result<Self, ParseRepositoryError> {
        let name = text.strip_prefix(scheme).unwrap_or(text);
        let parsed: Self = format!("docker://{name}").parse()?;
        let bad = |reason: String| Err(error(text, &reason));
        let (first, rest) = name.split_once('/').unwrap_or((name, ""));
        let is_host = first.contains(['.', ':', '[']) || first.eq_ignore_ascii_case("localhost");
        if is_host && rest.is_empty() {
            return bad(format!("it is a registry without a repository; write {scheme}{first}/OWNER/NAME"));
        }
        let repository = &parsed.repository;
        if !is_host {
            let path = repository.path();
            return bad(format!("it has no registry; write {scheme}HOST/{path}, for Docker Hub {scheme}{repository}"));
        }
        if rest.split([':', '@']).next().is_some_and(|path| path.contains(|c: char| c.is_ascii_uppercase())) {
            return bad(format!("a repository has no capital letters; write {scheme}{repository}"));
        }
        Ok(parsed)
    }

    /// The digest or tag by which a registry is asked (OCI distribution-spec, "Pulling manifests").
    pub fn reference(&self) -> String {
        let digest = self.digest.map(|digest| digest.to_string());
        digest.or_else(|| self.tag.clone()).unwrap_or_else(|| "latest".into())
    }
}

impl fmt::Display for RepositoryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}", self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Whether this can be a tag (OCI distribution-spec, "Pulling manifests").
///
/// # Errors
///
/// Whether this can be a tag (OCI distribution-spec, "Pulling manifests"); else the rule that it breaks.
pub fn check_tag(tag: &str) -> Result<(), &'static str> {
    let ok = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    match tag.as_bytes() {
        [first, rest @ ..] if ok(*first) && rest.len() < 128 && rest.iter().all(|c| ok(*c) || b".-".contains(c)) => {
            Ok(())
        }
        _ => Err("a tag is at most 128 letters, digits, _ . - and does not begin with . or -"),
    }
}

fn error(text: &str, reason: &str) -> ParseRepositoryError {
    ParseRepositoryError { text: text.chars().take(300).collect(), reason: reason.to_owned() }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let name_is_right = if host.starts_with('[') {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    name_is_right && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

/// The grammar of the OCI distribution-spec: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = text.split(is_word).filter(|joint| !joint.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && joints.into_iter().all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        text.parse::<RepositoryRef>().map(|parsed| parsed.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = Digest::of(b"x");
        for (text, read) in [
            ("docker://git.example.org/group/app", "docker://git.example.org/group/app"),
            ("Git.Example.org/Group/App:V1.0", "docker://git.example.org/group/app:V1.0"),
            ("localhost:5000/app:1", "docker://localhost:5000/app:1"),
            ("127.0.0.1:5000/a/b_c/d__e/f--g", "docker://127.0.0.1:5000/a/b_c/d__e/f--g"),
            ("[::1]:5000/app", "docker://[::1]:5000/app"),
            ("ubuntu", "docker://docker.io/library/ubuntu"),
            ("me/app:1", "docker://docker.io/me/app:1"),
            ("index.docker.io/app", "docker://docker.io/library/app"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(read));
        }
        let text = format!("docker://r.io/app:1@{digest}");
        let parsed: RepositoryRef = text.parse().unwrap();
        assert_eq!((parsed.tag.as_deref(), parsed.digest, parsed.to_string()), (Some("1"), Some(digest), text));
        assert_eq!("docker.io/a/b".parse::<RepositoryRef>().unwrap().repository.api_host(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_repository_and_why() {
        for (text, reason) in [
            ("", "words of letters"),
            ("r.io/", "no repository"),
            ("https://r.io/app", "another scheme"),
            ("docker://docker://r.io/app", "another scheme"),
            ("r.io/a..b", "words of letters"),
            ("r.io/a//b", "words of letters"),
            ("r.io/-a", "words of letters"),
            ("r.io/a/../b", "words of letters"),
            ("r.io/a?b", "words of letters"),
            ("r.io/a\nb", "words of letters"),
            ("r_x.io:80/a", "NAME[:PORT]"),
            ("r.io:0/a", "NAME[:PORT]"),
            ("r.io:x/a", "NAME[:PORT]"),
            ("[::1/a", "NAME[:PORT]"),
            ("r.io/a:-b", "a tag is"),
            ("r.io/a:", "a tag is"),
            ("r.io/a@sha256:12", "64 lower-case"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert!(parse(&format!("r.io/{}", "a".repeat(300))).unwrap_err().contains("255"));
        let error = parse("docker://user:secret@r.io/a").unwrap_err();
        assert!(error.contains("credentials") && !error.contains("secret"), "{error}");
    }
}
