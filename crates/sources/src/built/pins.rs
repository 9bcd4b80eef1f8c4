//! `pixi-oci-build.lock`: what builds require and the environment does not have, with hashes. uv writes it, in the form of
//! a `pylock.toml` (<https://packaging.python.org/en/latest/specifications/pylock-toml/>).

use std::{io::ErrorKind, path::Path};

use pep508_rs::MarkerTree;
use pixi_oci_lock::{ArchiveLocation, LockedPackage, LockedWheel, Sha256, WheelOrigin};
use pixi_oci_project::Target;
use pixi_oci_wheel::check_tags;
use pixi_oci_workspace::{Error, read_text};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use super::requires::markers_of;
use crate::SourceError;

/// The file's name; it is beside the lock file.
pub const FILE: &str = "pixi-oci-build.lock";
/// A package with wheels for everything has some 50 of them, of 300 bytes each.
pub const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// As it stands in the file; empty where there is none.
    pub text: String,
    packages: Vec<Pin>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PinFile {
    lock_version: String,
    #[serde(default)]
    packages: Vec<Pin>,
}

#[derive(Debug, Clone, Deserialize)]
struct Pin {
    name: String,
    version: String,
    marker: Option<MarkerTree>,
    index: Option<Url>,
    #[serde(default)]
    wheels: Vec<PinnedWheel>,
}

#[derive(Debug, Clone, Deserialize)]
struct PinnedWheel {
    url: Url,
    hashes: PinnedHashes,
}

/// Of which only one is looked at.
#[derive(Debug, Clone, Deserialize)]
struct PinnedHashes {
    #[serde(deserialize_with = "sha256")]
    sha256: Sha256,
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl Pins {
    /// Reads the file of a directory; where there is none, nothing is pinned.
    pub fn read(directory: &Path) -> Result<Self, SourceError> {
        let path = directory.join(FILE);
        let failed = |message: String| SourceError::Pins { path: path.clone(), message };
        match read_text(&path, MAX_BYTES) {
            Ok(text) => Self::parse(text).map_err(failed),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Reads the text of the file. An error is words that follow its name.
    pub fn parse(text: String) -> Result<Self, String> {
        let document: PinFile = toml_edit::de::from_str(&text).map_err(|error| error.to_string())?;
        if document.lock_version.split('.').next() != Some("1") {
            return Err(format!("its lock-version is {:?}; expected 1.0", document.lock_version));
        }
        Ok(Self { text, packages: document.packages })
    }

    /// The wheels for a target, the best one of each package; a package without one that fits is left out.
    pub fn wheels(&self, target: &Target) -> Result<Vec<LockedPackage>, SourceError> {
        let (Some(python), Some(markers)) = (target.python()?, markers_of(target)) else { return Ok(Vec::new()) };
        let (subdir, glibc) = (target.platform.subdir, target.glibc());
        let wanted =
            self.packages.iter().filter(|pin| pin.marker.as_ref().is_none_or(|marker| marker.evaluate(&markers, &[])));
        let best = wanted.filter_map(|pin| {
            let fits = |wheel: &&PinnedWheel| check_tags(&wheel.file_name(), &python, subdir, glibc).is_ok();
            pin.wheels.iter().filter(fits).max_by_key(|wheel| wheel.rank()).map(|wheel| wheel.locked(pin))
        });
        Ok(best.map(|wheel| LockedPackage::Wheel(Box::new(wheel))).collect())
    }

    /// What uv is to keep: the packages by name, each where its marker says.
    pub fn requirements(&self) -> impl Iterator<Item = String> {
        self.packages.iter().map(|pin| match pin.marker.as_ref().and_then(MarkerTree::contents) {
            Some(marker) => format!("{} ; {marker}", pin.name),
            None => pin.name.clone(),
        })
    }
}

impl PinnedWheel {
    fn file_name(&self) -> String {
        let last = self.url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned()
    }

    /// Of several wheels that fit, one for this Python's own interface and for this platform is before one for any.
    fn rank(&self) -> (bool, bool, String) {
        let name = self.file_name();
        (!name.ends_with("-any.whl"), name.contains("-cp") && !name.contains("-abi3-"), name)
    }

    fn locked(&self, pin: &Pin) -> LockedWheel {
        LockedWheel {
            name: pin.name.clone(),
            version: pin.version.clone(),
            location: ArchiveLocation::Url(self.url.clone()),
            origin: WheelOrigin::Index,
            file_name: self.file_name(),
            sha256: Some(self.hashes.sha256),
            md5: None,
            requires_python: None,
            index_url: pin.index.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn pylock(version: &str, wheels: &[&str], sha256: &str) -> String {
        let wheels: Vec<String> = wheels
            .iter()
            .map(|name| format!("{{ url = \"https://files.example/{name}\", hashes = {{ {sha256} }} }}"))
            .collect();
        format!(
            "lock-version = \"{version}\"\n[[packages]]\nname = \"c\"\nversion = \"3.0\"\nmarker = \"python_version >= '3.8'\"\nwheels = [{}]\n",
            wheels.join(", ")
        )
    }

    #[test]
    fn a_wheel_for_this_python_and_platform_is_best() {
        let of_this = "c-3.0-cp311-cp311-manylinux_2_17_x86_64.whl";
        let stable = "c-3.0-cp39-abi3-manylinux_2_17_x86_64.whl";
        let any = "c-3.0-py3-none-any.whl";
        let text = pylock("1.0", &[any, of_this, stable], &format!("sha256 = \"{SHA256}\""));
        let pins = Pins::parse(text).unwrap();
        let mut wheels: Vec<&PinnedWheel> = pins.packages[0].wheels.iter().collect();
        wheels.sort_by_key(|wheel| std::cmp::Reverse(wheel.rank()));
        let names: Vec<String> = wheels.iter().map(|wheel| wheel.file_name()).collect();
        assert_eq!(names, [of_this, stable, any]);
        assert_eq!(pins.requirements().collect::<Vec<_>>(), ["c ; python_full_version >= '3.8'"]);
    }

    #[test]
    fn what_is_not_pinned_is_refused() {
        let sound = format!("sha256 = \"{SHA256}\"");
        for (text, words) in [
            (pylock("2.0", &[], &sound), "lock-version"),
            (pylock("1.0", &["c-3.0-py3-none-any.whl"], "md5 = \"0\""), "sha256"),
            (pylock("1.0", &["c-3.0-py3-none-any.whl"], "sha256 = \"0\""), "64 hex"),
            ("packages = 1".to_owned(), "packages"),
        ] {
            let error = Pins::parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
