//! Where packages come from: pixi's configuration files and the environment, read here and handed down as values.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;
use pixi_oci_net::{ClientSettings, Proxies, S3Environment};
use pixi_oci_platform::{Links, read_text};
use pixi_oci_workspace::{ConfigPlaces, PixiConfig, Workspace};
use url::Url;

use crate::error::CliError;

/// Which of pixi's configuration files count.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Read pixi's configuration from this file, not from those of the machine and the user. The workspace's
    /// `.pixi/config.toml` is read, too.
    #[arg(
        long,
        hide = true,
        alias = "config",
        value_name = "PATH",
        env = "PIXI_CONFIG_FILE",
        hide_env_values = true,
        conflicts_with = "no_config"
    )]
    config_file: Option<PathBuf>,
    /// Read no configuration of pixi but the workspace's.
    #[arg(long, hide = true, env = "PIXI_NO_CONFIG", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    no_config: bool,
}

#[derive(Debug, Clone)]
pub struct Channels {
    /// Pixi's configuration, all files in one.
    pub config: PixiConfig,
    /// The same, with logins, proxies and certificates of the environment.
    pub client: ClientSettings,
}

/// A configuration file that is bigger is none.
const MAX_CONFIG: u64 = 4 << 20;

impl Channels {
    /// Reads configuration and environment; `offline` is what the command line says. Without a workspace, as for a layout
    /// that is published as it is, there are only the files of the machine and the user.
    pub fn read(workspace: Option<&Workspace>, args: &ConfigArgs, offline: Option<bool>) -> Result<Self, CliError> {
        let mut config = PixiConfig::default();
        for (path, needed) in places(workspace, args).files() {
            if let Some(text) = read(&path, needed)? {
                config = PixiConfig::parse(&path, &text).map_err(pixi_oci_workspace::Error::from)?.over(config);
            }
        }
        config.s3.extend(workspace.into_iter().flat_map(|workspace| workspace.s3.clone()));
        config.offline = offline.or(config.offline);
        if let Some(text) = variable("PIXI_TLS_ROOT_CERTS") {
            let wrong =
                |()| CliError::Usage(format!("PIXI_TLS_ROOT_CERTS={text:?} is neither \"system\" nor \"webpki\""));
            config.tls_root_certs = Some(text.parse().map_err(wrong)?);
        }
        let mut client = config.client_settings();
        credentials(&mut client);
        if let Some(proxies) = proxies() {
            client.proxies = proxies;
        }
        client.tls.files = certificates();
        client.s3.environment = s3()?;
        client.now = SystemTime::now;
        Ok(Self { config, client })
    }
}

/// A variable that is set to something: CI systems set variables that they do not have to nothing.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn places(workspace: Option<&Workspace>, args: &ConfigArgs) -> ConfigPlaces {
    ConfigPlaces {
        no_config: args.no_config,
        config_file: args.config_file.clone(),
        system: "/etc/pixi/config.toml".into(),
        xdg_config_home: path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()),
        pixi_home: path("PIXI_HOME"),
        home: path("HOME"),
        workspace: workspace.map(|workspace| workspace.root.clone()),
    }
}

fn read(path: &Path, needed: bool) -> Result<Option<String>, CliError> {
    let failed = |source| CliError::Io { action: format!("read pixi's configuration {}", path.display()), source };
    match read_text(path, Links::Follow, MAX_CONFIG) {
        Ok(text) => Ok(Some(text)),
        Err(error) if !needed && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

/// In rattler's order: `RATTLER_AUTH_FILE`, `authentication-override-file`, what `pixi auth login` writes, netrc.
fn credentials(client: &mut ClientSettings) {
    let home = path("HOME");
    let files = &mut client.credentials;
    files.rattler.splice(0..0, path("RATTLER_AUTH_FILE"));
    files.rattler.extend(home.as_ref().map(|home| home.join(".rattler/credentials.json")));
    files.netrc = path("NETRC").or_else(|| home.map(|home| home.join(".netrc")));
}

/// The environment's proxies; they replace those of the configuration, as in pixi.
pub fn proxies() -> Option<Proxies> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
    // A program that a web server runs gets HTTP_PROXY from its clients (httpoxy.com, CVE-2016-5385).
    let cgi = env::var_os("REQUEST_METHOD").is_some();
    let http =
        if cgi { first(&["http_proxy"]) } else { first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]) };
    let https = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
    if http.is_none() && https.is_none() {
        return None;
    }
    let direct = Proxies::split_direct(&variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default());
    Some(Proxies { http, https, direct })
}

fn certificates() -> Vec<PathBuf> {
    let directories = path("SSL_CERT_DIR");
    let directories = directories.iter().flat_map(env::split_paths);
    path("SSL_CERT_FILE").into_iter().chain(directories).filter(|path| !path.as_os_str().is_empty()).collect()
}

fn s3() -> Result<S3Environment, CliError> {
    let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    let wrong = |_| CliError::Usage("AWS_ENDPOINT_URL is not a URL".into());
    Ok(S3Environment {
        access_key_id: variable("AWS_ACCESS_KEY_ID"),
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY"),
        session_token: variable("AWS_SESSION_TOKEN"),
        region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
        endpoint_url: endpoint.map(|text| Url::parse(&text)).transpose().map_err(wrong)?,
    })
}
