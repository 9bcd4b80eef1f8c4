//! Registries as the command line and the environment say: which, how they are reached, and with which credentials.

use std::{env, path::PathBuf, time::Duration};

use clap::Args;
use pixi_oci_build::RegistryAccess;
use pixi_oci_publish::registry::{CredentialSources, HostCredentials, Proxies, RegistryOptions, Secret};

use crate::{arguments::Argv, commands::build::auth_files, error::CliError};

/// Where to, and how it is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArgs {
    /// A repository: docker://HOST/REPOSITORY. Repeatable; replaces `repositories`.
    #[arg(long, value_name = "REPOSITORY")]
    pub to: Vec<String>,
    /// A PEM file with certificates to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A registry that speaks HTTP without TLS: HOST or HOST:PORT. Those of this machine may without it. Repeatable.
    #[arg(long, value_name = "HOST")]
    insecure_http: Vec<String>,
    /// The user that goes with REGISTRY_TOKEN or the token command [default: the first word of the repository].
    #[arg(long, value_name = "NAME", env = "REGISTRY_USER")]
    username: Option<String>,
    /// A program that prints a token, as a JSON list with its arguments; no shell is involved. Replaces `token-command`.
    #[arg(long, value_name = "ARGV", value_parser = crate::arguments::argv)]
    token_command: Option<Argv>,
    /// Upload in pieces of so many MB, where a proxy before the registry limits the size of requests.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    chunk_size: Option<u64>,
}

impl RegistryArgs {
    /// What the arguments and the environment say together.
    pub fn access(&self) -> RegistryAccess {
        RegistryAccess { options: self.options(), credentials: self.credentials() }
    }

    fn options(&self) -> RegistryOptions {
        let home = variable("HOME").map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".config")));
        RegistryOptions {
            ca_file: self.ca_file.clone(),
            cert_dirs: config
                .map(|config| config.join("containers/certs.d"))
                .into_iter()
                .chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from))
                .collect(),
            insecure_hosts: self.insecure_http.iter().map(|host| host.to_ascii_lowercase()).collect(),
            // curl reads the upper-case HTTP_PROXY not at all: CGI programs get it from a request's header (httpoxy).
            proxies: Proxies {
                http: variable("http_proxy"),
                https: variable("https_proxy").or_else(|| variable("HTTPS_PROXY")),
                no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default(),
            },
            chunk_size: self.chunk_size.map(|megabytes| megabytes * 1_000_000),
            retry_budget: Duration::from_secs(300),
            ..RegistryOptions::default()
        }
    }

    fn credentials(&self) -> CredentialSources {
        let secret = |name: &str| variable(name).map(Secret::new);
        CredentialSources {
            token: secret("REGISTRY_TOKEN"),
            user: self.username.clone(),
            token_command: self.token_command.clone().map(|argv| argv.0),
            auth_files: auth_files(),
            auth_config: secret("DOCKER_AUTH_CONFIG"),
            path: env::var_os("PATH"),
            ci: [
                ci(Some("ghcr.io".into()), "GITHUB_ACTOR", "GITHUB_TOKEN"),
                ci(variable("CI_REGISTRY"), "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"),
                ci(Some("docker.io".into()), "DOCKER_USERNAME", "DOCKER_PASSWORD"),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }
}

/// What a CI system provides for one host, and for no other.
fn ci(host: Option<String>, user: &str, password: &str) -> Option<HostCredentials> {
    let host = host?;
    // ghcr.io does not look at the name.
    let user = variable(user).or_else(|| (host == "ghcr.io").then(|| "github".to_owned()))?;
    Some(HostCredentials { host, user, password: Secret::new(variable(password)?), source_name: password.to_owned() })
}

/// A variable; set to nothing is not set.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether to publish: the flag, or the variable `PUBLISH`. What is neither yes nor no is a mistake that must not
/// publish, and must not look like a dry run either.
pub fn publishes(flag: bool) -> Result<bool, CliError> {
    let said = env::var("PUBLISH").unwrap_or_default();
    match said.as_str() {
        _ if flag => Ok(true),
        "1" | "true" => Ok(true),
        "" | "0" | "false" => Ok(false),
        other => Err(CliError::Usage(format!("PUBLISH={other:?} is neither 1 nor 0"))),
    }
}
