//! Workspaces made in code: a channel of packages, a manifest and a lock file of format 6.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use rattler_digest::{Md5, compute_bytes_digest};

use super::{
    packages::Package,
    pypi::Locked,
    sandbox::{hex, sha256},
};

/// What a workspace is made of.
#[derive(Clone)]
pub struct Workspace {
    environments: BTreeMap<String, Vec<Package>>,
    platforms: Vec<&'static str>,
    manifest: String,
    oci: String,
    pypi: Vec<Locked>,
    channel: String,
    bytes: BTreeMap<String, Vec<u8>>,
}

/// A workspace called `demo` with these packages in its default environment, for both architectures, and no base image.
pub fn workspace(packages: impl IntoIterator<Item = Package>) -> Workspace {
    Workspace {
        environments: BTreeMap::from([("default".into(), packages.into_iter().collect())]),
        platforms: vec!["linux-64", "linux-aarch64"],
        manifest: String::new(),
        oci: "base = \"scratch\"\n".into(),
        pypi: Vec::new(),
        channel: "./channel".into(),
        bytes: BTreeMap::new(),
    }
}

impl Workspace {
    pub fn environment(mut self, name: &str, packages: impl IntoIterator<Item = Package>) -> Self {
        self.environments.insert(name.into(), packages.into_iter().collect());
        self
    }
    pub fn platforms(self, platforms: &[&'static str]) -> Self {
        Self { platforms: platforms.into(), ..self }
    }
    /// More tables of the manifest.
    pub fn manifest(self, text: &str) -> Self {
        Self { manifest: self.manifest + text + "\n", ..self }
    }
    /// More of `[tool.pixi-oci]`.
    pub fn oci(self, text: &str) -> Self {
        Self { oci: self.oci + text + "\n", ..self }
    }
    /// `[tool.pixi-oci]` without the base `scratch`.
    pub fn oci_only(self, text: &str) -> Self {
        Self { oci: text.into(), ..self }
    }
    /// Python packages of every environment.
    pub fn pypi(self, packages: impl IntoIterator<Item = Locked>) -> Self {
        Self { pypi: packages.into_iter().collect(), ..self }
    }
    /// Where the lock file says that the packages are; they are written to `channel` beside it all the same.
    pub fn channel(self, channel: &str) -> Self {
        Self { channel: channel.into(), ..self }
    }

    /// The archive of a package, instead of the one that it says.
    pub fn archive(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.bytes.insert(name.into(), bytes);
        self
    }

    /// Writes everything to `root`.
    pub fn write(&self, root: &Path) {
        let mut environments = String::new();
        let mut entries: BTreeMap<String, String> = BTreeMap::new();
        for (name, packages) in &self.environments {
            writeln!(
                environments,
                "  {name}:\n    channels:\n    - url: {}\n    indexes:\n    - https://pypi.org/simple\n    packages:",
                self.channel
            )
            .unwrap();
            for platform in &self.platforms {
                let mut locked = BTreeSet::new();
                for package in packages {
                    let package = package.clone().subdir(platform);
                    let (url, entry) = self.lock_entry(root, &package);
                    locked.insert(format!("      - conda: {url}\n"));
                    entries.insert(url, entry);
                }
                let fits = |package: &&Locked| package.platform.is_none_or(|only| only == *platform);
                for package in self.pypi.iter().filter(fits) {
                    locked.insert(format!("      - pypi: {}\n", package.location));
                    entries.insert(package.location.clone(), package.entry());
                    if let Some((path, bytes)) = &package.file {
                        let path = root.join(path);
                        fs::create_dir_all(path.parent().unwrap()).unwrap();
                        fs::write(path, bytes).unwrap();
                    }
                }
                let empty = if locked.is_empty() { " []" } else { "" };
                writeln!(environments, "      {platform}:{empty}").unwrap();
                environments.extend(locked);
            }
        }
        let packages = if entries.is_empty() { " []" } else { "" };
        let entries: String = entries.into_values().collect();
        fs::create_dir_all(root).unwrap();
        fs::write(
            root.join("pixi.lock"),
            format!("version: 6\nenvironments:\n{environments}packages:{packages}\n{entries}"),
        )
        .unwrap();
        let platforms = self.platforms.iter().map(|p| format!("{p:?}")).collect::<Vec<_>>().join(", ");
        let named = self.environments.keys().filter(|name| *name != "default");
        let named: String = named.map(|name| format!("{name} = {{ features = [] }}\n")).collect();
        let named = if named.is_empty() { named } else { format!("[environments]\n{named}\n") };
        let manifest = format!(
            "[workspace]\nname = \"demo\"\nversion = \"1.2.3\"\nchannels = [\"./channel\"]\nplatforms = [{platforms}]\n\n{named}{}\n[tool.pixi-oci]\n{}",
            self.manifest, self.oci
        );
        fs::write(root.join("pixi.toml"), manifest).unwrap();
    }

    /// Writes the archive, and gives its place and its entry in the lock file.
    fn lock_entry(&self, root: &Path, package: &Package) -> (String, String) {
        let index = package.index_json();
        let below = format!("{}/{}", index["subdir"].as_str().unwrap(), package.file_name());
        let path = root.join("channel").join(&below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = self.bytes.get(&package.name).cloned().unwrap_or_else(|| package.bytes());
        fs::write(&path, &bytes).unwrap();
        let url = format!("{}/{below}", self.channel);
        let mut entry = format!("- conda: {url}\n");
        for key in [
            "name",
            "version",
            "build",
            "build_number",
            "subdir",
            "noarch",
            "depends",
            "license",
            "python_site_packages_path",
        ] {
            // JSON is YAML, too.
            if !index[key].is_null() {
                writeln!(entry, "  {key}: {}", index[key]).unwrap();
            }
        }
        let md5 = hex(compute_bytes_digest::<Md5>(&bytes).as_slice());
        let sha256 = sha256(&bytes);
        writeln!(entry, "  sha256: {sha256}\n  md5: {md5}\n  size: {}", bytes.len()).unwrap();
        (url, entry)
    }
}

/// Replaces text in the lock file, which must be there.
pub fn edit_lock(root: &Path, from: &str, to: &str) {
    let path = root.join("pixi.lock");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}
