//! What a verified image says of how it was made.

use std::{collections::BTreeMap, io, path::Path};

use crate::{ImageReport, peek};

/// What an image says of its making. It is the image's own word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The time in its configuration, RFC 3339.
    pub created: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Origin {
    /// The value of `org.opencontainers.image.NAME`.
    pub fn standard(&self, name: &str) -> Option<&str> {
        self.annotations.get(&format!("org.opencontainers.image.{name}")).map(String::as_str)
    }
}

/// Reads what an image says that [`verify_layout`](crate::verify_layout) found sound.
pub fn read_origin(dir: &Path, image: &ImageReport) -> io::Result<Origin> {
    let annotations = peek::manifest(dir, &image.manifest)?.common.annotations;
    Ok(Origin { created: peek::config(dir, &image.config)?.created, annotations })
}
