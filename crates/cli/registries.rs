//! Registries as the command line and the environment say them: which, how they are reached, and with which credentials.

mod environment;

use std::{env, path::PathBuf};

use clap::Args;
use pixi_oci_registry::RegistryAccess;

use crate::{arguments::Argv, error::CliError};

/// How registries are reached: those of base images and those that are published to.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArgs {
    /// A PEM file with certificates to trust at registries, besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A registry that speaks HTTP without TLS: HOST or HOST:PORT. Those of this machine may without it. Repeatable.
    #[arg(long, value_name = "HOST")]
    insecure_http: Vec<String>,
}

impl RegistryArgs {
    /// What the environment says, and the arguments over it.
    pub fn access(&self) -> RegistryAccess {
        let mut access = environment::access();
        access.options.ca_file = self.ca_file.clone();
        access.options.insecure_hosts = self.insecure_http.iter().map(|host| host.to_ascii_lowercase()).collect();
        access
    }
}

/// Where to publish, and who we are there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub struct PublishingArgs {
    /// A repository: docker://HOST/REPOSITORY. Repeatable; replaces `repositories`.
    #[arg(long, value_name = "REPOSITORY")]
    pub to: Vec<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The user that goes with REGISTRY_TOKEN or the token command [default: the first word of the repository].
    #[arg(long, value_name = "NAME", env = "REGISTRY_USER", hide_env_values = true)]
    username: Option<String>,
    /// A program that prints a token: a line without shell syntax, or a JSON list. Replaces `token-command`.
    #[arg(long, value_name = "ARGV", value_parser = crate::arguments::argv)]
    token_command: Option<Argv>,
    /// Upload in pieces of so many MB, where a proxy before the registry limits the size of requests.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    chunk_size: Option<u64>,
}

impl PublishingArgs {
    /// What the environment says, and the arguments over it.
    pub fn access(&self) -> RegistryAccess {
        let mut access = self.registry.access();
        access.options.chunk_size = self.chunk_size.map(|megabytes| megabytes * 1_000_000);
        access.credentials.user = self.username.clone();
        access.credentials.token_command = self.token_command.clone().map(|argv| argv.0);
        access
    }
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
