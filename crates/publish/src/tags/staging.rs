//! Tags that are there only to keep single images from being cleaned away, and when they are no longer needed.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedTag {
    pub tag: String,
    pub digest: Digest,
    /// The images of an image index; empty for an image.
    pub children: Vec<Digest>,
    /// Another tool's, which may call its own things so.
    pub is_foreign: bool,
}

/// What pruning would do with a staging tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prune {
    /// No index needs it.
    Remove,
    /// The index with this tag names the image.
    NeededBy(String),
    /// Removing the image would remove this tag as well: most registries remove images and not tags.
    SharedWith(String),
    Foreign,
}

/// Whether the tag is `TAG-amd64` or `TAG-arm64`: as [`arch_tag`](super::arch_tag) makes them.
pub fn is_staging_tag(tag: &str) -> bool {
    [Architecture::Amd64, Architecture::Arm64]
        .iter()
        .any(|architecture| tag.strip_suffix(&format!("-{architecture}")).is_some_and(|base| !base.is_empty()))
}

/// Decides on every staging tag among `tags`, which are all tags of a repository. With `only`, those of other versions
/// are left alone.
pub fn prune_plan(tags: &[StagedTag], only: &[String]) -> BTreeMap<String, Prune> {
    let chosen = |tag: &str| {
        is_staging_tag(tag)
            && (only.is_empty() || tag.rsplit_once('-').is_some_and(|(base, _)| only.iter().any(|tag| tag == base)))
    };
    let mut plan: BTreeMap<String, Prune> = BTreeMap::new();
    for staged in tags.iter().filter(|staged| chosen(&staged.tag) && staged.children.is_empty()) {
        // Registries list tags in orders of their own.
        let parent = tags.iter().filter(|other| other.children.contains(&staged.digest)).map(|other| &other.tag).min();
        let decision = match parent {
            Some(parent) => Prune::NeededBy(parent.clone()),
            None if staged.is_foreign => Prune::Foreign,
            None => Prune::Remove,
        };
        plan.insert(staged.tag.clone(), decision);
    }
    let removed = |plan: &BTreeMap<String, Prune>, tag: &str| plan.get(tag) == Some(&Prune::Remove);
    let kept: BTreeSet<(Digest, &str)> =
        tags.iter().filter(|other| !removed(&plan, &other.tag)).map(|o| (o.digest, o.tag.as_str())).collect();
    for staged in tags {
        let shared = kept.iter().find(|(digest, tag)| *digest == staged.digest && *tag != staged.tag);
        if let (Some((_, other)), Some(decision @ Prune::Remove)) = (shared, plan.get_mut(&staged.tag)) {
            *decision = Prune::SharedWith((*other).to_owned());
        }
    }
    plan
}
