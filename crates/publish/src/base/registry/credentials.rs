//! Credentials from the files of podman and docker (containers-auth.json(5)).

use std::{collections::BTreeMap, path::PathBuf};

use oci_client::{Reference, secrets::RegistryAuth};
use serde::Deserialize;

use crate::{Error, base::Problem};

const MAX_FILE: u64 = 1 << 20;

#[derive(Deserialize)]
struct AuthFile {
    auths: Option<BTreeMap<String, Login>>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// What the first file that knows the repository has for it; nobody's name if none does.
pub(crate) fn find(files: &[PathBuf], reference: &Reference) -> Result<RegistryAuth, Problem> {
    let registry = reference.registry();
    for file in files {
        let bytes = match std::fs::metadata(file) {
            Ok(metadata) if metadata.len() <= MAX_FILE => std::fs::read(file).map_err(Error::io("read", file))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", file)(error).into()),
            Ok(_) => return Err(bad(file, registry, "it is larger than a file of credentials")),
        };
        // serde's own message could repeat a part of the file.
        let parsed: AuthFile =
            serde_json::from_slice(&bytes).map_err(|_| bad(file, registry, "it is not JSON of the right form"))?;
        let Some(login) = best(parsed.auths.unwrap_or_default(), reference) else { continue };
        if login.auth.is_empty() {
            let reason = if login.identitytoken.is_empty() {
                continue;
            } else {
                "it has an identity token, which cannot be used; log in with a password or access token"
            };
            return Err(bad(file, registry, reason));
        }
        let text = base64(&login.auth).and_then(|bytes| String::from_utf8(bytes).ok());
        return match text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':')) {
            Some((user, password)) => Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned())),
            None => Err(bad(file, registry, "its `auth` is not the base64 of USER:PASSWORD")),
        };
    }
    Ok(RegistryAuth::Anonymous)
}

/// The entry of the longest part of the repository's name. Entries of other registries never count (CVE-2021-41092).
fn best(mut logins: BTreeMap<String, Login>, reference: &Reference) -> Option<Login> {
    let full = format!("{}/{}", reference.registry(), reference.repository());
    let mut name = full.as_str();
    loop {
        if let Some(login) = logins.remove(name) {
            return Some(login);
        }
        match name.rsplit_once('/') {
            Some((shorter, _)) => name = shorter,
            None => break,
        }
    }
    // docker writes URLs, and Docker Hub's is that of its first API.
    let registry = match name {
        "docker.io" => "index.docker.io",
        registry => registry,
    };
    logins.into_iter().find_map(|(key, login)| {
        let host = key.trim_start_matches("https://").trim_start_matches("http://");
        let host = host.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
        (host == registry).then_some(login)
    })
}

fn bad(file: &std::path::Path, registry: &str, reason: &str) -> Problem {
    Problem::Credentials { path: file.display().to_string(), registry: registry.to_owned(), reason: reason.to_owned() }
}

/// RFC 4648 §4, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(contents: &[&str], reference: &str) -> Result<Option<(String, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut files = vec![dir.path().join("missing")];
        for (n, content) in contents.iter().enumerate() {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, content).unwrap();
            files.push(path);
        }
        match find(&files, &reference.parse().unwrap()) {
            Ok(RegistryAuth::Basic(user, password)) => Ok(Some((user, password))),
            Ok(_) => Ok(None),
            Err(problem) => Err(problem.to_string()),
        }
    }

    fn user(name: &str) -> Result<Option<(String, String)>, String> {
        Ok(Some((name.into(), "p:w".into())))
    }

    #[test]
    fn the_most_specific_entry_of_the_first_file_counts() {
        // a:p:w, b:p:w, c:p:w
        let first = r#"{"auths":{"r.io":{"auth":"YTpwOnc="},"r.io/ns/x":{"auth":"YjpwOnc"},"other.io":{},"r.io/n":{"auth":"%"}}}"#;
        let second = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YzpwOnc="},"r.io/ns":{"auth":"YzpwOnc="}},"credsStore":"x"}"#;
        let files = [first, second];
        assert_eq!(find_in(&files, "r.io/ns/x:1"), user("b"));
        assert_eq!(find_in(&files, "r.io/ns/xy"), user("a"));
        assert_eq!(find_in(&files, "ubuntu"), user("c"));
        assert_eq!(find_in(&files, "other.io/x"), Ok(None));
        assert_eq!(find_in(&files, "r.io.evil.org/x"), Ok(None));
        assert_eq!(find_in(&[r#"{"auths":null}"#, "{}"], "r.io/x"), Ok(None));
    }

    #[test]
    fn errors_do_not_show_what_is_in_the_file() {
        for secret in [
            r#"{"auths":{"r.io":{"auth":"secret!"}}}"#,
            r#"{"auths":{"r.io":{"auth":"c2VjcmV0"}}}"#,
            r#"{"auths":{"r.io":{"identitytoken":"secret"}}}"#,
            r#"{"auths":{"r.io":"secret"}}"#,
            "secret",
        ] {
            let error = find_in(&[secret], "r.io/x").unwrap_err();
            assert!(error.contains("r.io") && !error.contains("secret"), "{error}");
        }
    }
}
