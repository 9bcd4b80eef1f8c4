//! Reads `[tool.pixi-oci]` strictly: a typing error there would silently make another image.

use std::collections::BTreeMap;

use crate::{
    CompressionSetting, Include, ManifestError, OciConfig, Port, Protocol,
    task::split_plain,
    toml::{Entry, Leaf, Section, suggestion},
};

const TABLE: &str = "pixi-oci";

/// Every key of `[tool.pixi-oci]`.
const KEYS: [&str; 28] = [
    "repositories",
    "tags",
    "version-scheme",
    "source",
    "url",
    "base",
    "arch",
    "environment",
    "prefix",
    "workdir",
    "user",
    "entrypoint",
    "cmd",
    "task",
    "env",
    "labels",
    "ports",
    "include",
    "exclude",
    "directories",
    "wheels",
    "hashes",
    "build-environment",
    "compression",
    "max-layers",
    "virtual-packages",
    "token-command",
    "environments",
];

/// The keys that make no sense in one environment's part.
const GENERAL_ONLY: [&str; 3] = ["environment", "environments", "hashes"];

/// Reads the table under `[tool]`, if it is there.
pub(crate) fn read(tool: &Section<'_>, environments: &[&str]) -> Result<OciConfig, ManifestError> {
    let Some(section) = tool.section(TABLE)? else { return Ok(OciConfig::default()) };
    let mut config = read_table(&section, &KEYS)?;
    if let Some(name) = &config.environment
        && !environments.contains(&name.as_str())
    {
        return Err(unknown_environment(section.error_at("environment", ""), name, environments));
    }
    let keys: Vec<&str> = KEYS.into_iter().filter(|key| !GENERAL_ONLY.contains(key)).collect();
    if let Some(parts) = section.section("environments")? {
        for (name, part) in parts.sections()? {
            if !environments.contains(&name) {
                return Err(unknown_environment(parts.error_at_key(name, ""), name, environments));
            }
            config.environments.insert(name.to_owned(), read_table(&part, &keys)?);
        }
    }
    Ok(config)
}

fn unknown_environment(mut error: ManifestError, name: &str, environments: &[&str]) -> ManifestError {
    error.message = format!("the workspace has no environment `{name}`");
    error.hint = suggestion(name, environments.iter().copied());
    error
}

fn read_table(section: &Section<'_>, keys: &[&str]) -> Result<OciConfig, ManifestError> {
    check_keys(section, keys)?;
    if section.contains("cmd") && section.contains("task") {
        return Err(section.error_at_key("task", "`cmd` and `task` both say what runs; keep one of them"));
    }
    Ok(OciConfig {
        repositories: section.strings("repositories")?,
        tags: section.strings("tags")?,
        version_scheme: version_scheme(section)?,
        source: section.string("source")?,
        url: section.string("url")?,
        base: section.string("base")?,
        arch: section.strings("arch")?,
        environment: section.string("environment")?,
        prefix: absolute(section, "prefix")?,
        workdir: absolute(section, "workdir")?,
        user: user(section)?,
        entrypoint: command(section, "entrypoint")?,
        cmd: command(section, "cmd")?,
        task: section.string("task")?,
        env: env(section)?,
        labels: section.string_map("labels")?.unwrap_or_default().into_iter().collect(),
        ports: list(section, "ports", |entry| port(leaf(entry)?))?,
        include: list(section, "include", include)?,
        exclude: section.strings("exclude")?,
        directories: list(section, "directories", |entry| absolute_path(entry, entry.string()?))?,
        wheels: section.strings("wheels")?,
        hashes: hashes(section)?,
        build_environment: section.string("build-environment")?,
        compression: match section.string("compression")? {
            Some(text) => Some(text.parse::<CompressionSetting>().map_err(|e| section.error_at("compression", e))?),
            None => None,
        },
        max_layers: max_layers(section)?,
        virtual_packages: list(section, "virtual-packages", |entry| {
            entry.string()?.parse().map_err(|e: crate::Error| entry.error(e.to_string()))
        })?,
        token_command: command(section, "token-command")?,
        environments: BTreeMap::new(),
    })
}

fn hashes(section: &Section<'_>) -> Result<BTreeMap<String, String>, ManifestError> {
    let hashes: BTreeMap<String, String> = section.string_map("hashes")?.unwrap_or_default().into_iter().collect();
    let is_sha256 =
        |hash: &str| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match hashes.iter().find(|(_, hash)| !is_sha256(hash)) {
        Some((name, _)) => {
            Err(section.error_at("hashes", format!("the hash of `{name}` is not a sha256 of 64 lower-case hex digits")))
        }
        None => Ok(hashes),
    }
}

fn check_keys(section: &Section<'_>, known: &[&str]) -> Result<(), ManifestError> {
    for key in section.keys() {
        if known.contains(&key) {
            continue;
        }
        if GENERAL_ONLY.contains(&key) && KEYS.contains(&key) && section.name().contains(".environments.") {
            let message = format!("`{key}` belongs into [tool.{TABLE}], not into one environment's part");
            return Err(section.error_at_key(key, message));
        }
        let mut message = format!("unknown key `{key}` in [{}]", section.name());
        let suggestion = suggestion(key, known.iter().copied());
        if let Some(suggestion) = &suggestion {
            message.push_str(&format!(", {suggestion}"));
        }
        let mut error = section.error_at_key(key, message);
        if suggestion.is_none() {
            error.hint = Some(format!("known keys: {}", known.join(", ")));
        }
        return Err(error);
    }
    Ok(())
}

fn list<'a, T>(
    section: &Section<'a>,
    key: &str,
    read: impl Fn(&Entry<'a>) -> Result<T, ManifestError>,
) -> Result<Option<Vec<T>>, ManifestError> {
    section.list(key)?.map(|entries| entries.iter().map(read).collect()).transpose()
}

fn leaf<'e, 'a>(entry: &'e Entry<'a>) -> Result<&'e Leaf<'a>, ManifestError> {
    match entry {
        Entry::Value(leaf) => Ok(leaf),
        Entry::Table(table) => Err(table.error("a table is not allowed here")),
    }
}

/// A command as a list, or as a line that needs no shell.
fn command(section: &Section<'_>, key: &str) -> Result<Option<Vec<String>>, ManifestError> {
    let Some(Entry::Value(leaf)) = section.entry(key)? else { return section.strings(key) };
    match leaf.value().as_str() {
        None => section.strings(key),
        Some(line) => split_plain(line).map(Some).map_err(|reason| {
            let mut error = leaf.error(format!("the command `{key}` {reason}"));
            error.hint = Some(format!("write it as a list, e.g. {key} = [\"sh\", \"-c\", \"…\"]"));
            error
        }),
    }
}

fn absolute(section: &Section<'_>, key: &str) -> Result<Option<String>, ManifestError> {
    let Some(entry) = section.entry(key)? else { return Ok(None) };
    absolute_path(&entry, section.string(key)?.unwrap_or_default()).map(Some)
}

fn absolute_path(entry: &Entry<'_>, path: String) -> Result<String, ManifestError> {
    let clean = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
    if !clean || path.chars().any(char::is_control) {
        return Err(entry.error(format!("`{}` is not an absolute path without `.` and `..`", path.escape_debug())));
    }
    Ok(path)
}

fn user(section: &Section<'_>) -> Result<Option<String>, ManifestError> {
    match section.entry("user")? {
        Some(Entry::Value(leaf)) if leaf.value().is_integer() => match leaf.value().as_integer().map(u32::try_from) {
            Some(Ok(id)) => Ok(Some(id.to_string())),
            _ => Err(leaf.error("`user` is not a user id")),
        },
        _ => section.string("user"),
    }
}

fn env(section: &Section<'_>) -> Result<Vec<(String, String)>, ManifestError> {
    let Some(table) = section.section("env")? else { return Ok(Vec::new()) };
    for name in table.keys() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(table.error_at_key(name, format!("`{}` cannot be the name of a variable", name.escape_debug())));
        }
    }
    Ok(section.string_map("env")?.unwrap_or_default())
}

fn version_scheme(section: &Section<'_>) -> Result<Option<String>, ManifestError> {
    let scheme = section.string("version-scheme")?;
    match scheme.as_deref() {
        None | Some("semver" | "pep440" | "calver") => Ok(scheme),
        Some(other) => {
            let message = format!("unknown version scheme `{other}`; expected semver, pep440 or calver");
            Err(section.error_at("version-scheme", message))
        }
    }
}

fn max_layers(section: &Section<'_>) -> Result<Option<u32>, ManifestError> {
    let Some(entry) = section.entry("max-layers")? else { return Ok(None) };
    let leaf = leaf(&entry)?;
    let number = leaf.value().as_integer().ok_or_else(|| leaf.wanted("a number"))?;
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(leaf.error("`max-layers` must be at least 1")),
    }
}

fn port(leaf: &Leaf<'_>) -> Result<Port, ManifestError> {
    let error = || leaf.error("a port is a number from 1 to 65535, or text such as \"53/udp\"");
    let text = match (leaf.value().as_integer(), leaf.value().as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => return Err(error()),
    };
    let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(error()),
    };
    match number.parse() {
        Ok(number) if number > 0 => Ok(Port { number, protocol }),
        _ => Err(error()),
    }
}

fn include(entry: &Entry<'_>) -> Result<Include, ManifestError> {
    let include = match entry {
        Entry::Value(_) => {
            let text = entry.string()?;
            let (source, destination) = match text.split_once(" -> ") {
                Some((source, destination)) => (source.trim().to_owned(), Some(destination.trim().to_owned())),
                None => (text, None),
            };
            Include { source, destination, mode: None }
        }
        Entry::Table(table) => {
            check_keys(table, &["src", "dest", "mode"])?;
            let source = table.string("src")?.ok_or_else(|| table.error("an included file needs `src`"))?;
            Include { source, destination: table.string("dest")?, mode: mode(table)? }
        }
    };
    if include.source.is_empty() || include.destination.as_deref() == Some("") {
        return Err(entry.error("a path is empty; write \"SRC\" or \"SRC -> DEST\""));
    }
    Ok(include)
}

/// `"0755"`, `"755"` or `0o755`. A plain 755 is refused: it would be the number 0o1363.
fn mode(table: &Section<'_>) -> Result<Option<u32>, ManifestError> {
    let Some(entry) = table.entry("mode")? else { return Ok(None) };
    let leaf = leaf(&entry)?;
    let mode = match leaf.value().as_str() {
        Some(text) => u32::from_str_radix(text, 8).ok(),
        None if leaf.written().starts_with("0o") => leaf.value().as_integer().and_then(|n| u32::try_from(n).ok()),
        None => None,
    };
    match mode {
        Some(mode) if mode <= 0o777 => Ok(Some(mode)),
        _ => Err(leaf.error("a mode is written \"0644\" or 0o644, at most 0777")),
    }
}

#[cfg(test)]
mod tests;
