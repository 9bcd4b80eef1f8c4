//! `[system-requirements]` (deprecated by rich platforms in pixi 0.71, still read) as virtual packages.

use crate::{
    ManifestError, VirtualPackage,
    toml::{Element, Section},
};

/// Reads the table of a feature. macOS' part and keys nobody knows yet do not concern a linux image.
pub(crate) fn read(feature: &Section<'_>) -> Result<Vec<VirtualPackage>, ManifestError> {
    let Some(table) = feature.section("system-requirements")? else { return Ok(Vec::new()) };
    let mut packages = Vec::new();
    let mut add = |section: &Section<'_>, key: &str, name: &str, version: &str, build: &str| {
        let package = VirtualPackage::new(name, version, build);
        packages.push(package.map_err(|e| section.error_at(key, e.to_string()))?);
        Ok::<_, ManifestError>(())
    };
    for (key, name) in [("linux", "__linux"), ("cuda", "__cuda")] {
        if let Some(version) = table.string(key)? {
            add(&table, key, name, &version, "")?;
        }
    }
    match table.entry("libc")? {
        // `libc = { family = "glibc", version = "2.28" }`
        Some(Element::Table(libc)) => {
            let family = libc.string("family")?.unwrap_or_else(|| "glibc".to_owned());
            let version = libc.string("version")?.ok_or_else(|| libc.error("`libc` needs a `version`"))?;
            add(&libc, "family", &format!("__{family}"), &version, "")?;
        }
        Some(Element::Value(leaf)) => add(&table, "libc", "__glibc", &leaf.string()?, "")?,
        None => {}
    }
    if let Some(architecture) = table.string("archspec")? {
        add(&table, "archspec", "__archspec", "0", &architecture)?;
    }
    Ok(packages)
}
