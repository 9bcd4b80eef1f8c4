//! Where to publish, and in which form.

use std::fmt;

use pixi_oci_registry::{Repository, RepositoryRef};

use crate::error::PublishError;

const IMAGE: &str = "docker://";
const SIF: &str = "oras://";

/// A repository, and what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishTarget {
    pub repository: Repository,
    pub form: TargetForm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetForm {
    /// `docker://HOST/REPOSITORY`: as they are.
    Image,
    /// `oras://HOST/REPOSITORY[:TAG]`: as SIFs.
    Sif {
        /// What configured tags, and those of `--tag`, begin with.
        prefix: String,
        /// The only tag that is put.
        tag: Option<String>,
    },
}

impl PublishTarget {
    /// Reads `[docker://]HOST/REPOSITORY` or `oras://HOST/REPOSITORY[:TAG]`.
    pub fn parse(text: &str, sif_tag_prefix: &str) -> Result<Self, PublishError> {
        let is_sif = text.starts_with(SIF);
        let parsed = RepositoryRef::destination(text, if is_sif { SIF } else { IMAGE })?;
        let form = match is_sif {
            true => TargetForm::Sif { prefix: sif_tag_prefix.to_owned(), tag: parsed.tag.clone() },
            false => TargetForm::Image,
        };
        if parsed.digest.is_some() || (parsed.tag.is_some() && !is_sif) {
            return Err(PublishError::TaggedRepository { text: text.chars().take(300).collect() });
        }
        Ok(Self { repository: parsed.repository, form })
    }

    pub fn is_sif(&self) -> bool {
        self.form.is_sif()
    }
}

impl fmt::Display for PublishTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_sif() { SIF } else { "" };
        write!(f, "{scheme}{}", self.repository)
    }
}

impl TargetForm {
    pub fn is_sif(&self) -> bool {
        *self != Self::Image
    }

    /// What is configured or chosen, as it is called there.
    pub fn named(&self, tag: &str) -> String {
        match self {
            Self::Image => tag.to_owned(),
            Self::Sif { tag: Some(own), .. } => own.clone(),
            Self::Sif { prefix, tag: None } => format!("{prefix}{tag}"),
        }
    }

    /// What is before a configured tag.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Sif { prefix, tag: None } => prefix,
            _ => "",
        }
    }
}
