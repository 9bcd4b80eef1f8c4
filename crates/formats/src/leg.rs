//! A leg file: what a job that publishes one architecture hands to the job that joins them.

use std::collections::BTreeMap;

use pixi_oci_layer::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;

pub const VERSION: u32 = 2;
/// No leg is larger.
pub const MAX_SIZE: u64 = 1 << 20;

/// One architecture's image that is in repositories already, named by its digest: a tag may be from an older run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leg {
    /// [`VERSION`]
    pub format: u32,
    /// `amd64`
    pub arch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Of the image manifest.
    pub digest: Digest,
    /// Of the image manifest, in bytes.
    pub size: u64,
    /// Of the image manifest.
    pub media_type: String,
    /// What the index needs.
    pub publication: Publication,
}

/// What all legs of a publication say alike, so that they are joined without the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publication {
    pub version: Option<String>,
    /// The branch that was published, where there is no version.
    pub branch: Option<String>,
    pub commit: Option<String>,
    /// `version-scheme`; empty for the default one.
    pub scheme: String,
    /// `tags` as they are configured.
    pub tags: Vec<String>,
    /// `--tag`
    pub chosen_tags: Vec<String>,
    /// What every configured tag ends with.
    pub suffix: String,
    /// What the index must have.
    pub architectures: Vec<String>,
    /// Where the image is: `HOST/REPOSITORY`.
    pub repositories: Vec<String>,
    /// The annotations that the image index gets.
    pub index_annotations: BTreeMap<String, String>,
}

impl Leg {
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::parse(bytes, VERSION)
    }
}

impl Publication {
    /// The first thing that two of them say differently: its name, what this one says, what the other one says.
    pub fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let (mut ours, mut theirs) = (self.said(), other.said());
        let names: Vec<String> = ours.keys().chain(theirs.keys()).cloned().collect();
        let name = names.into_iter().find(|name| ours.get(name) != theirs.get(name))?;
        let text = |said: &mut BTreeMap<String, String>| {
            said.remove(&name).filter(|text| !text.is_empty()).unwrap_or_else(|| "not set".to_owned())
        };
        let (ours, theirs) = (text(&mut ours), text(&mut theirs));
        Some((name, ours, theirs))
    }

    fn said(&self) -> BTreeMap<String, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let own = [
            ("version", text(&self.version)),
            ("branch", text(&self.branch)),
            ("commit", text(&self.commit)),
            ("version-scheme", self.scheme.clone()),
            ("configured tags", self.tags.join(", ")),
            ("tags", self.chosen_tags.join(", ")),
            ("suffix of tags", self.suffix.clone()),
            ("architectures", self.architectures.join(", ")),
            ("repositories", self.repositories.join(", ")),
        ];
        let annotations =
            self.index_annotations.iter().map(|(name, value)| (format!("annotation {name}"), value.clone()));
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(annotations).collect()
    }
}
