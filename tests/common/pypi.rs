//! Python packages of a lock file.

use super::{sandbox::sha256, wheels::Wheel};

/// A wheel or source, and its entry in the lock file.
#[derive(Clone)]
pub struct Locked {
    pub name: String,
    pub version: String,
    /// As the lock file has it.
    pub location: String,
    pub sha256: Option<String>,
    /// For this platform alone.
    pub platform: Option<&'static str>,
    /// The file, and its path in the workspace.
    pub file: Option<(String, Vec<u8>)>,
}

/// A wheel that is locked by its path.
pub fn locked(wheel: &Wheel) -> Locked {
    named(wheel, &wheel.expected().file_name)
}

/// The same, under another file name.
pub fn named(wheel: &Wheel, file_name: &str) -> Locked {
    let expected = wheel.expected();
    let bytes = wheel.bytes();
    Locked {
        name: expected.name,
        version: expected.version,
        location: format!("./wheels/{file_name}"),
        sha256: Some(sha256(&bytes)),
        platform: None,
        file: Some((format!("wheels/{file_name}"), bytes)),
    }
}

/// Something that is not a wheel.
pub fn source(name: &str, location: &str) -> Locked {
    let (name, version) = (name.into(), "1.0".into());
    Locked { name, version, location: location.into(), sha256: None, platform: None, file: None }
}

impl Locked {
    /// Locked with this URL or path in front of its file name.
    pub fn at(mut self, base: &str) -> Self {
        let file_name = self.location.rsplit('/').next().unwrap();
        self.location = format!("{base}/{file_name}");
        self
    }
    pub fn only(self, platform: &'static str) -> Self {
        Self { platform: Some(platform), ..self }
    }
    pub fn without_hash(self) -> Self {
        Self { sha256: None, ..self }
    }
    /// Its entry in a lock file of format 6.
    pub fn entry(&self) -> String {
        let Self { name, version, location, .. } = self;
        let hash = self.sha256.iter().map(|sha256| format!("  sha256: {sha256}\n")).collect::<String>();
        format!("- pypi: {location}\n  name: {name}\n  version: '{version}'\n{hash}")
    }
}
