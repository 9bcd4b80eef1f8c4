//! Which credentials are found, and that none is shown.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::repository::RepositoryRef;

fn repository(text: &str) -> Repository {
    text.parse::<RepositoryRef>().unwrap().repository
}

async fn find_in(contents: &[&str], reference: &str) -> Result<String, String> {
    find_with(None, contents, reference).await
}

async fn find_with(path: Option<OsString>, contents: &[&str], reference: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut auth_files = vec![dir.path().join("missing")];
    for (n, content) in contents.iter().enumerate() {
        let path = dir.path().join(n.to_string());
        fs::write(&path, content).unwrap();
        auth_files.push(path);
    }
    find(&CredentialSources { auth_files, path, ..Default::default() }, reference).await
}

async fn find(sources: &CredentialSources, reference: &str) -> Result<String, String> {
    match sources.find(&repository(reference)).await {
        Ok(Credentials::Anonymous) => Ok("nobody".into()),
        Ok(Credentials::Basic { user, password }) => Ok(format!("{user}/{}", password.expose())),
        Ok(Credentials::IdentityToken(token)) => Ok(format!("token {}", token.expose())),
        Err(error) => Err(error.to_string()),
    }
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[tokio::test]
async fn cve_2021_41092_the_most_specific_entry_of_the_first_file_counts_and_never_another_host() {
    // a:p:w, b:p:w, c:p:w
    let first =
        r#"{"auths":{"r.io":{"auth":"YTpwOnc="},"r.io/ns/x":{"auth":"YjpwOnc"},"other.io":{},"r.io/n":{"auth":"%"}}}"#;
    let second = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YzpwOnc="},"r.io/ns":{"auth":"YzpwOnc="},
        "i.io":{"identitytoken":"id"},"https://u.io":{"auth":"YzpwOnc="}}}"#;
    let files = [first, second];
    assert_eq!(find_in(&files, "r.io/ns/x:1").await, ok("b/p:w"));
    assert_eq!(find_in(&files, "r.io/ns/xy").await, ok("a/p:w"));
    assert_eq!(find_in(&files, "ubuntu").await, ok("c/p:w"));
    assert_eq!(find_in(&files, "i.io/x").await, ok("token id"));
    assert_eq!(find_in(&files, "u.io/x").await, ok("c/p:w"));
    for nobody in ["other.io/x", "r.io.evil.org/x", "r.io:5000/x", "evil.org/r.io/ns/x"] {
        assert_eq!(find_in(&files, nobody).await, ok("nobody"), "{nobody}");
    }
    assert_eq!(find_in(&[r#"{"auths":null}"#, "{}", ""], "r.io/x").await, ok("nobody"));
}

#[tokio::test]
async fn errors_do_not_show_what_is_in_the_file() {
    for secret in [
        r#"{"auths":{"r.io":{"auth":"secret!"}}}"#,
        r#"{"auths":{"r.io":{"auth":"c2VjcmV0"}}}"#,
        r#"{"auths":{"r.io":"secret"}}"#,
        r#"{"credHelpers":{"r.io":"../secret"}}"#,
        "secret",
    ] {
        let error = find_in(&[secret], "r.io/x").await.unwrap_err();
        assert!(
            error.contains("r.io") && !error.replace("docker-credential-../secret", "").contains("secret"),
            "{error}"
        );
    }
    let all = CredentialSources {
        token: Some(Secret::new("canary")),
        auth_config: Some(Secret::new("canary")),
        ci: vec![HostCredentials { host: "r.io".into(), user: "u".into(), password: Secret::new("canary") }],
        ..Default::default()
    };
    assert!(!format!("{all:?}").contains("canary"));
}

#[tokio::test]
async fn what_cannot_be_a_file_of_credentials_is_an_error() {
    let longest = " ".repeat(1 << 20);
    assert_eq!(find_in(&[&longest], "r.io/x").await, ok("nobody"));
    let error = find_in(&[&format!("{longest} ")], "r.io/x").await.unwrap_err();
    assert!(error.contains("larger than a file of credentials"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let sources = CredentialSources { auth_files: vec![directory.path().into()], ..Default::default() };
    assert!(find(&sources, "r.io/x").await.is_err());
}

#[tokio::test]
async fn a_token_comes_first_and_an_empty_one_is_none() {
    let ci = |host: &str, password: &str| HostCredentials {
        host: host.into(),
        user: "ci".into(),
        password: Secret::new(password),
    };
    let mut sources = CredentialSources {
        token: Some(Secret::new("t")),
        token_command: Some(vec!["echo".into(), "c".into()]),
        auth_config: Some(Secret::new(r#"{"auths":{"r.io":{"auth":"YTpi"}}}"#)),
        ci: vec![ci("r.io", "p"), ci("ghcr.io", "g"), ci("e.io", "")],
        ..Default::default()
    };
    assert_eq!(find(&sources, "r.io/owner/x").await, ok("owner/t"));
    assert_eq!(find(&sources, "1.dkr.ecr.eu-west-1.amazonaws.com/x").await, ok("AWS/t"));
    assert_eq!(find(&sources, "europe-docker.pkg.dev/p/r/x").await, ok("oauth2accesstoken/t"));
    sources.user = Some("robot$x".into());
    assert_eq!(find(&sources, "r.io/owner/x").await, ok("robot$x/t"));
    sources.logins = vec![ci("harbor.io", "h"), HostCredentials { user: String::new(), ..ci("r.io", "own") }];
    assert_eq!(find(&sources, "harbor.io/owner/x").await, ok("ci/h"));
    assert_eq!(find(&sources, "r.io/owner/x").await, ok("owner/own"));
    assert_eq!(find(&sources.for_reading(), "harbor.io/owner/x").await, ok("nobody"));
    sources.logins = Vec::new();
    sources.token = Some(Secret::new(""));
    assert_eq!(find(&sources, "r.io/owner/x").await, ok("robot$x/c"));
    sources.token_command = None;
    assert_eq!(find(&sources, "r.io/owner/x").await, ok("a/b"));
    assert_eq!(find(&sources, "ghcr.io/owner/x").await, ok("ci/g"));
    assert_eq!(find(&sources, "ghcr.io.evil.org/owner/x").await, ok("nobody"));
    assert_eq!(find(&sources, "e.io/owner/x").await, ok("nobody"));
}

#[tokio::test]
async fn helpers_are_asked_and_their_failure_is_an_error() {
    let script = r#"read server
        case $server in
            https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"me","Secret":"s3"}';;
            t.io) echo '{"ServerURL":"x","Username":"<token>","Secret":"idt"}';;
            bad.io) echo 'secret nonsense';;
            *) echo 'credentials not found in native keychain'; exit 1;;
        esac"#;
    let bin = tempfile::tempdir().unwrap();
    let (name, program) = ("test", bin.path().join("docker-credential-test"));
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = Some(bin.path().as_os_str().to_owned());
    let store = format!(r#"{{"credsStore":"{name}","auths":{{"a.io":{{"auth":"YTpi"}},"docker.io":{{}}}}}}"#);
    assert_eq!(find_with(path.clone(), &[&store], "docker.io/me/x").await, ok("me/s3"));
    assert_eq!(find_with(path.clone(), &[&store], "t.io/x").await, ok("token idt"));
    assert_eq!(find_with(path.clone(), &[&store], "a.io/x").await, ok("a/b"));
    assert_eq!(find_with(path.clone(), &[&store, r#"{"auths":{"n.io":{"auth":"YTpi"}}}"#], "n.io/x").await, ok("a/b"));
    let error = find_with(path.clone(), &[&store], "bad.io/x").await.unwrap_err();
    assert!(error.contains("does not print") && !error.contains("nonsense"), "{error}");
    // Configured for just this registry, and failing: another file does not count.
    let only = format!(r#"{{"credHelpers":{{"n.io":"{name}"}}}}"#);
    let missing = r#"{"credHelpers":{"n.io":"surely-not-there"}}"#;
    for first in [&*only, missing] {
        let error =
            find_with(path.clone(), &[first, r#"{"auths":{"n.io":{"auth":"YTpi"}}}"#], "n.io/x").await.unwrap_err();
        assert!(error.contains("n.io"), "{error}");
    }
}
