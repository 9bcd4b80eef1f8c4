//! What the environment says about registries: logins, tokens of CI systems, proxies, certificates.

use std::{env, path::PathBuf};

use pixi_oci_registry::{CredentialSources, HostCredentials, RegistryAccess, RegistryOptions, Secret};

use crate::channels;

/// How registries are reached, and who we are there, as far as the environment says it.
pub fn access() -> RegistryAccess {
    RegistryAccess {
        options: RegistryOptions {
            cert_dirs: cert_dirs(),
            proxies: channels::proxies().unwrap_or_default(),
            ..RegistryOptions::default()
        },
        credentials: CredentialSources {
            token: text("REGISTRY_TOKEN").map(Secret::new),
            // An argument, with the variable behind it.
            user: None,
            token_command: None,
            auth_files: auth_files(),
            auth_config: text("DOCKER_AUTH_CONFIG").map(Secret::new),
            path: env::var_os("PATH"),
            ci: ci(),
        },
    }
}

/// Where podman, skopeo and docker keep logins, in the order in which podman looks.
fn auth_files() -> Vec<PathBuf> {
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let docker = path("DOCKER_CONFIG").or_else(|| in_home(".docker"));
    [
        path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        config_home().map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where podman and docker keep certificates of registries (containers-certs.d(5)).
fn cert_dirs() -> Vec<PathBuf> {
    let own = config_home().map(|dir| dir.join("containers/certs.d"));
    own.into_iter().chain(["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()]).collect()
}

/// What GitHub, GitLab and Docker's examples put into the environment: each for its own host only.
fn ci() -> Vec<HostCredentials> {
    let entry = |host: Option<String>, user: Option<String>, variable: &str| {
        Some(HostCredentials {
            host: host?,
            user: user?,
            password: Secret::new(text(variable)?),
            source_name: variable.to_owned(),
        })
    };
    let actor = text("GITHUB_ACTOR").unwrap_or_else(|| "token".to_owned());
    [
        entry(Some("ghcr.io".to_owned()), Some(actor), "GITHUB_TOKEN"),
        entry(text("CI_REGISTRY"), text("CI_REGISTRY_USER"), "CI_REGISTRY_PASSWORD"),
        entry(Some("docker.io".to_owned()), text("DOCKER_USERNAME"), "DOCKER_PASSWORD"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn config_home() -> Option<PathBuf> {
    path("XDG_CONFIG_HOME").or_else(|| in_home(".config"))
}

fn in_home(rest: &str) -> Option<PathBuf> {
    path("HOME").map(|home| home.join(rest))
}

/// A variable that is set to something: CI systems set variables that they do not have to nothing.
fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|text| !text.is_empty())
}

fn path(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}
