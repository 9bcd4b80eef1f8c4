//! Registries as the command line and the environment say them: which, how they are reached, and with which credentials.

mod environment;

pub use environment::logins;

use std::{env, path::PathBuf};

use clap::Args;
use pixi_oci_registry::RegistryAccess;

use crate::error::CliError;

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

/// Where to publish.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub struct PublishingArgs {
    /// A repository: docker://HOST/REPOSITORY, or oras://HOST/REPOSITORY[:TAG] for SIFs. Repeatable; replaces `repositories`.
    #[arg(long, value_name = "REPOSITORY")]
    pub to: Vec<String>,
    /// Run the `token-command` of the workspace in a dry run, too.
    #[arg(long)]
    pub login: bool,
    #[command(flatten)]
    pub registry: RegistryArgs,
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
