//! The platforms a workspace declares, plain (`"linux-64"`) or rich (pixi 0.71: a table with virtual packages).

pub(crate) mod system_requirements;
mod virtual_package;

pub use virtual_package::VirtualPackage;

use rattler_conda_types::Subdir;

use crate::toml::{Element, ManifestError, Section, suggestion};

/// An entry of `[workspace] platforms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPlatform {
    /// What `--platform` and `[target.NAME]` call it; the subdir for a plain platform.
    pub name: String,
    /// The conda subdir, e.g. `linux-64`; may be one this program has never heard of.
    pub subdir: String,
    /// What the entry declares beyond pixi's defaults for the subdir.
    pub virtual_packages: Vec<VirtualPackage>,
}

/// A platform as `[target.SELECTOR]` is compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetPlatform<'a> {
    /// What the manifest calls it.
    pub name: &'a str,
    pub subdir: &'a str,
}

impl ManifestPlatform {
    /// As `[target.SELECTOR]` is compared with it.
    pub fn target(&self) -> TargetPlatform<'_> {
        TargetPlatform { name: &self.name, subdir: &self.subdir }
    }
}

/// The keys that stand for a virtual package, in the order in which pixi puts them into derived names.
const FRIENDLY: [(&str, &str); 7] = [
    ("cuda", "__cuda"),
    ("archspec", "__archspec"),
    ("glibc", "__glibc"),
    ("linux", "__linux"),
    ("macos", "__osx"),
    ("osx", "__osx"),
    ("windows", "__win"),
];

/// Reads `platforms`. Keys this program does not know are left alone: they are pixi's to judge.
pub(crate) fn read(section: &Section<'_>) -> Result<Option<Vec<ManifestPlatform>>, ManifestError> {
    section.list("platforms")?.map(|entries| entries.iter().map(read_entry).collect()).transpose()
}

/// Whether `platforms` of a table names only platforms of conda, or declared ones. Only the comparison and the solver need
/// that: a lock file may be for a platform that this program has never heard of.
pub(crate) fn check(section: &Section<'_>, declared: &[ManifestPlatform]) -> Result<(), ManifestError> {
    for entry in section.list("platforms")?.unwrap_or_default() {
        let named = match &entry {
            Element::Value(leaf) => Some(leaf.string()?),
            Element::Table(table) => table.string("platform")?.or(table.string("name")?),
        };
        let Some(name) = named.filter(|name| name.parse::<Subdir>().is_err()) else { continue };
        let names = || declared.iter().map(|platform| platform.name.as_str());
        if !names().any(|known| known == name) {
            let mut error =
                entry.error(format!("`{name}` is not a conda platform, nor is one declared under this name"));
            error.hint = suggestion(&name, names().chain(COMMON));
            return Err(error);
        }
    }
    Ok(())
}

/// Those that people write.
const COMMON: [&str; 6] = ["linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64", "win-arm64"];

fn read_entry(entry: &Element<'_>) -> Result<ManifestPlatform, ManifestError> {
    let table = match entry {
        Element::Value(leaf) => {
            let subdir = leaf.value().as_str().ok_or_else(|| leaf.wanted("strings or tables"))?.to_owned();
            return Ok(ManifestPlatform { name: subdir.clone(), subdir, virtual_packages: Vec::new() });
        }
        Element::Table(table) => table,
    };
    let name = table.string("name")?;
    let Some(subdir) = table.string("platform")?.or_else(|| name.clone()) else {
        return Err(table.error("a platform needs `platform`, the conda platform it builds on, e.g. \"linux-64\""));
    };
    let virtual_packages = read_virtual_packages(table)?;
    let name = name.unwrap_or_else(|| derived_name(&subdir, &virtual_packages));
    Ok(ManifestPlatform { name, subdir, virtual_packages })
}

fn read_virtual_packages(table: &Section<'_>) -> Result<Vec<VirtualPackage>, ManifestError> {
    let mut packages = Vec::new();
    let mut add = |section: &Section<'_>, key: &str, name: &str| -> Result<(), ManifestError> {
        let Some(text) = section.string(key)? else { return Ok(()) };
        let package = if name == "__archspec" && key == "archspec" {
            VirtualPackage::new(name, "0", &text)
        } else {
            let (version, build) = text.split_once('=').unwrap_or((&text, ""));
            VirtualPackage::new(name, version, build)
        };
        packages.push(package.map_err(|e| section.error_at(key, e.to_string()))?);
        Ok(())
    };
    // `cuda = { driver = "12.0", arch = "8.6" }` declares two packages.
    if let Some(Element::Table(cuda)) = table.entry("cuda")? {
        add(&cuda, "driver", "__cuda")?;
        add(&cuda, "arch", "__cuda_arch")?;
    } else {
        add(table, "cuda", "__cuda")?;
    }
    for (key, name) in &FRIENDLY[1..] {
        add(table, key, name)?;
    }
    for key in table.keys().filter(|key| key.starts_with("__")) {
        add(table, key, key)?;
    }
    Ok(packages)
}

impl ManifestPlatform {
    /// The name that pixi gives a platform of a subdir with these virtual packages, unless its author named it.
    pub fn derived_name(subdir: &str, virtual_packages: &[VirtualPackage]) -> String {
        derived_name(subdir, virtual_packages)
    }
}

/// The name pixi gives a rich platform that has none: the subdir, then each package that is not the subdir's default
/// (pixi's `synthesize_name_string`).
fn derived_name(subdir: &str, packages: &[VirtualPackage]) -> String {
    let defaults = VirtualPackage::defaults(subdir);
    let mut name = subdir.to_owned();
    for package in packages.iter().filter(|p| !defaults.contains(p)) {
        let key = FRIENDLY.iter().find(|(_, conda)| *conda == package.name).map(|(key, _)| *key);
        let value = if package.name == "__archspec" { package.build.clone() } else { package.version.to_string() };
        for segment in [key.unwrap_or(&package.name), &value] {
            name.push('-');
            name.push_str(&dashed(segment));
        }
    }
    name
}

/// The name of a plain platform with `[system-requirements]`, of which those that are for another system do not count.
pub(crate) fn name_with(subdir: &str, requirements: &[VirtualPackage]) -> String {
    let fits = |package: &&VirtualPackage| match package.name.as_str() {
        "__cuda" | "__archspec" => true,
        _ => subdir.starts_with("linux-"),
    };
    let mut packages: Vec<VirtualPackage> = requirements.iter().filter(fits).cloned().collect();
    let place = |name: &str| FRIENDLY.iter().position(|(_, conda)| *conda == name).unwrap_or(FRIENDLY.len());
    packages.sort_by(|a, b| place(&a.name).cmp(&place(&b.name)).then_with(|| a.name.cmp(&b.name)));
    derived_name(subdir, &packages)
}

/// Every run of other characters than letters and digits becomes one dash.
fn dashed(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|s| !s.is_empty()).collect::<Vec<_>>().join("-")
}
