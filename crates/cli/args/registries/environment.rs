//! What the environment says about registries: logins, tokens of CI systems, proxies, certificates.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
};

use pixi_oci_registry::{CredentialSources, HostCredentials, RegistryAccess, RegistryOptions, Secret, variable_suffix};
use pixi_oci_workspace::RegistryLogin;

use crate::{
    channels::{path, proxies, variable},
    error::CliError,
};

/// How registries are reached, and who we are there, as far as the environment says it.
pub fn access() -> RegistryAccess {
    RegistryAccess {
        options: RegistryOptions {
            cert_dirs: cert_dirs(),
            proxies: proxies().unwrap_or_default(),
            ..RegistryOptions::default()
        },
        credentials: CredentialSources {
            logins: Vec::new(),
            token: variable("REGISTRY_TOKEN").map(Secret::new),
            user: variable("REGISTRY_USER"),
            token_command: None,
            auth_files: auth_files(),
            auth_config: variable("DOCKER_AUTH_CONFIG").map(Secret::new),
            path: env::var_os("PATH"),
            ci: ci(),
        },
    }
}

/// The logins of single registries: `REGISTRY_USER_<HOST>` and `REGISTRY_TOKEN_<HOST>`, over what
/// `[tool.pixi-oci.registries]` says. A variable that means two of them is an error.
pub fn logins(
    hosts: &BTreeSet<String>,
    configured: &BTreeMap<String, RegistryLogin>,
) -> Result<Vec<HostCredentials>, CliError> {
    let mut logins = Vec::new();
    for host in hosts {
        let own = configured.get(host);
        let name = variable_suffix(host);
        let token_name = format!("REGISTRY_TOKEN_{name}");
        let token = variable(&token_name);
        if token.is_some() && hosts.iter().any(|other| other != host && variable_suffix(other) == name) {
            return Err(CliError::Usage(format!(
                "{token_name} means two registries; give them in [tool.pixi-oci.registries]"
            )));
        }
        let token = token.or_else(|| variable(own?.token_variable()?));
        let user = variable(&format!("REGISTRY_USER_{name}")).or_else(|| own.and_then(|own| own.username.clone()));
        let Some(token) = token else { continue };
        let (user, password) = (user.unwrap_or_default(), Secret::new(token));
        logins.push(HostCredentials { host: host.clone(), user, password });
    }
    Ok(logins)
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
    let entry = |host: Option<String>, user: Option<String>, name: &str| {
        Some(HostCredentials { host: host?, user: user?, password: Secret::new(variable(name)?) })
    };
    let actor = variable("GITHUB_ACTOR").unwrap_or_else(|| "token".to_owned());
    [
        entry(Some("ghcr.io".to_owned()), Some(actor), "GITHUB_TOKEN"),
        entry(variable("CI_REGISTRY"), variable("CI_REGISTRY_USER"), "CI_REGISTRY_PASSWORD"),
        entry(Some("docker.io".to_owned()), variable("DOCKER_USERNAME"), "DOCKER_PASSWORD"),
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
