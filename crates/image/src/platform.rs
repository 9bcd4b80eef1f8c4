//! The machines that images are for. This is the OCI side's platform, `linux/amd64`, not conda's `linux-64`.

use std::{fmt, str::FromStr};

use serde_json::{Value, json};

use crate::Error;

/// A CPU architecture, in Go's words (OCI image-spec, config.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    /// All that images are made for.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// `amd64` or `arm64`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Architecture {
    /// As people and other tools write it: `x86_64`, `aarch64`, `linux/arm64/v8`, … Documents have OCI's names only.
    pub fn from_any_name(text: &str) -> Result<Self, Error> {
        let name = text.trim();
        match name.strip_prefix("linux/").unwrap_or(name) {
            "x86_64" | "x86-64" | "linux-64" => Ok(Self::Amd64),
            "aarch64" | "arm64/v8" | "linux-aarch64" => Ok(Self::Arm64),
            name => name.parse(),
        }
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "amd64" => Ok(Self::Amd64),
            "arm64" => Ok(Self::Arm64),
            _ => Err(Error::Setting {
                setting: "architecture",
                value: text.chars().take(100).collect(),
                reason: "is neither amd64 nor arm64",
            }),
        }
    }
}

/// What an image runs on. The operating system is always Linux, so it is not a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The CPU architecture.
    pub architecture: Architecture,
    /// The CPU variant, e.g. `v8`. `None` is what every runtime accepts; images set it only when their base does.
    pub variant: Option<String>,
}

impl Platform {
    /// The operating system of every image.
    pub const OS: &'static str = "linux";

    /// The platform of any machine of this architecture.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture, variant: None }
    }

    /// The `platform` object of a descriptor in an image index (OCI image-spec, image-index.md).
    pub(crate) fn to_json(&self) -> Value {
        let mut platform = json!({ "architecture": self.architecture.as_str(), "os": Self::OS });
        if let Some(variant) = &self.variant {
            platform["variant"] = variant.as_str().into();
        }
        platform
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Self::OS, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}
