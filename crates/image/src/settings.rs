//! What a container of the image starts with, and which values of it are allowed.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;

/// The runtime settings of an image (OCI image-spec, config.md, `config`), and its manifest's annotations.
///
/// `None` and empty mean that the image does not say; a text that is there is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSettings {
    /// Names and values, in the order they are written. No name twice.
    pub env: Vec<(String, String)>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments after the entrypoint, or the program and its arguments.
    pub cmd: Option<Vec<String>>,
    /// `NAME` or `UID`, optionally `:GROUP` or `:GID`.
    pub user: Option<String>,
    /// An absolute path without `.`, `..` or doubled slashes, not in `/proc` (CVE-2024-21626).
    pub workdir: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `N`, `N/tcp`, `N/udp` or `N/sctp`; plain `N` is written as `N/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Absolute paths.
    pub volumes: BTreeSet<String>,
    /// A signal's name (`SIGTERM`, `SIGRTMIN+3`) or number.
    pub stop_signal: Option<String>,
    /// Annotations of the image manifest.
    pub manifest_annotations: BTreeMap<String, String>,
}

impl ImageSettings {
    /// Checks every field, so that a mistake is an error here and not of the runtime, weeks later.
    ///
    /// # Errors
    ///
    /// [`Error::Env`], [`Error::Metadata`] or [`Error::Setting`]: the first thing that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        check_env(&self.env)?;
        check_arguments("entrypoint", self.entrypoint.as_deref())?;
        check_arguments("cmd", self.cmd.as_deref())?;
        self.user.as_deref().map_or(Ok(()), check_user)?;
        self.workdir.as_deref().map_or(Ok(()), check_workdir)?;
        check_metadata("label", &self.labels)?;
        self.exposed_ports.iter().try_for_each(|port| parse_port(port).map(|_| ()))?;
        self.volumes.iter().try_for_each(|volume| check_volume(volume))?;
        self.stop_signal.as_deref().map_or(Ok(()), check_signal)?;
        check_metadata("annotation", &self.manifest_annotations)
    }

    /// The ports as `N/protocol`; `80` and `80/tcp` are one.
    pub(crate) fn ports_with_protocol(&self) -> BTreeSet<String> {
        let parsed = self.exposed_ports.iter().filter_map(|port| parse_port(port).ok());
        parsed.map(|(number, protocol)| format!("{number}/{protocol}")).collect()
    }
}

fn setting(setting: &'static str, value: &str, reason: &'static str) -> Error {
    Error::Setting { setting, value: value.chars().take(200).collect(), reason }
}

/// A newline in a value has broken the file formats that runtimes copy it to (env files, unit files).
fn breaks_a_line(text: &str) -> bool {
    text.contains(['\0', '\n', '\r'])
}

fn check_env(env: &[(String, String)]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (name, value) in env {
        let problem = if name.is_empty() {
            Some("the name is empty")
        } else if name.contains('=') || breaks_a_line(name) {
            Some("the name contains '=', a newline or NUL")
        } else if breaks_a_line(value) {
            Some("the value contains a newline or NUL, which runtimes do not pass on; set it in a script instead")
        } else if !seen.insert(name) {
            Some("it is set twice")
        } else {
            None
        };
        if let Some(reason) = problem {
            return Err(Error::Env { name: name.chars().take(200).collect(), reason });
        }
    }
    Ok(())
}

fn check_arguments(name: &'static str, arguments: Option<&[String]>) -> Result<(), Error> {
    let Some(arguments) = arguments else { return Ok(()) };
    if let Some(bad) = arguments.iter().find(|argument| argument.contains('\0')) {
        return Err(setting(name, bad, "an argument contains NUL"));
    }
    match arguments.first() {
        Some(program) if program.is_empty() => Err(setting(name, program, "the program's name is empty")),
        _ => Ok(()),
    }
}

/// Runtimes keep ids in signed 32 bits; above that containerd wrapped them round to root (CVE-2024-40635).
fn check_user(user: &str) -> Result<(), Error> {
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    for part in std::iter::once(name).chain(group) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            if part.parse::<u32>().is_ok_and(|id| id < 1 << 31) {
                continue;
            }
            return Err(setting("user", user, "an id must be below 2147483648"));
        }
        // useradd(8), with the dots and capitals that directory services have.
        let letters = part.strip_suffix('$').unwrap_or(part);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if letters.is_empty() || letters.starts_with('-') || !letters.bytes().all(allowed) {
            return Err(setting("user", user, "is not NAME or UID, optionally followed by :GROUP or :GID"));
        }
    }
    Ok(())
}

fn check_workdir(path: &str) -> Result<(), Error> {
    let normalised = path == "/"
        || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if !normalised || path.contains(char::is_control) {
        return Err(setting("workdir", path, "is not an absolute path without '.', '..', '//' and a final '/'"));
    }
    if path == "/proc" || path.starts_with("/proc/") {
        return Err(setting("workdir", path, "is in /proc"));
    }
    Ok(())
}

/// Less strict than a working directory, because base images bring theirs (`/data/`).
fn check_volume(path: &str) -> Result<(), Error> {
    if !path.starts_with('/') || path.contains(char::is_control) || path.split('/').any(|part| part == "..") {
        return Err(setting("volume", path, "is not an absolute path without '..'"));
    }
    Ok(())
}

fn parse_port(port: &str) -> Result<(u16, &'static str), Error> {
    let bad = || setting("port", port, "is not N, N/tcp, N/udp or N/sctp with N from 1 to 65535");
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = ["tcp", "udp", "sctp"].into_iter().find(|known| *known == protocol).ok_or_else(bad)?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match number.parse() {
        Ok(number) if number > 0 => Ok((number, protocol)),
        _ => Err(bad()),
    }
}

fn check_signal(signal: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'-';
    if signal.is_empty() || !signal.bytes().all(allowed) {
        return Err(setting("stop signal", signal, "is not a signal's name, such as SIGTERM, or number"));
    }
    Ok(())
}

/// Labels and annotations: tools print them one a line.
pub(crate) fn check_metadata(kind: &'static str, metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in metadata {
        let reason = if key.is_empty() || key.contains(char::is_control) {
            "the key is empty or contains control characters"
        } else if breaks_a_line(value) {
            "the value contains a newline or NUL"
        } else {
            continue;
        };
        return Err(Error::Metadata { kind, key: key.chars().take(200).collect(), reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
