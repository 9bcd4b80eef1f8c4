//! Which image of an index is the one for a machine.

use std::collections::BTreeSet;

use oci_read::{
    document::{Descriptor as Entry, Document, Index, Manifest},
    limits::DOCUMENT,
};
use pixi_oci_image::Architecture;
use pixi_oci_layer::Digest;
use pixi_oci_platform::escape;

use super::{
    Problem, Source,
    configuration::Configuration,
    document::{self, checked, is_for},
};

/// An image manifest and what it names.
#[derive(Debug)]
pub(crate) struct SelectedManifest {
    pub digest: Digest,
    /// Of the outermost index.
    pub index_digest: Option<Digest>,
    pub variant: Option<String>,
    pub configuration: Configuration,
    pub layers: Vec<Entry>,
}

/// As many documents are opened in the search of an image. Real indexes are one or two deep.
const MAX_OPENED: usize = 32;

struct Candidate {
    entry: Entry,
    index_digest: Option<Digest>,
}

/// Finds the image of an architecture, in indexes of indexes too.
pub(crate) async fn select(source: &Source, architecture: Architecture) -> Result<SelectedManifest, Problem> {
    let mut available = BTreeSet::new();
    let mut candidates = suitable(source.roots().await?, architecture, None, &mut available);
    for _ in 0..MAX_OPENED {
        let Some(Candidate { entry, index_digest }) = candidates.pop() else { break };
        let descriptor = checked(&entry)?;
        check_size(&entry)?;
        let bytes = source.manifest(&entry).await?;
        match document::parse(descriptor.digest, &entry.media_type, &bytes)? {
            Document::Index(Index { manifests, .. }) => {
                let index_digest = index_digest.or(Some(descriptor.digest));
                candidates.extend(suitable(manifests, architecture, index_digest, &mut available));
            }
            Document::Manifest(Manifest { config, layers, .. }) => {
                check_size(&config)?;
                let bytes = source.configuration(&config).await?;
                let configuration = Configuration::parse(checked(&config)?.digest, &bytes, layers.len())?;
                // An index may lie or say nothing; the configuration is what runtimes check.
                if !is_for(&configuration.platform, architecture) {
                    available.insert(configuration.platform.to_string());
                    continue;
                }
                let said = [Some(&configuration.platform), entry.platform.as_ref()];
                let variant = said.into_iter().flatten().find_map(|platform| platform.variant()).map(str::to_owned);
                return Ok(SelectedManifest {
                    digest: descriptor.digest,
                    index_digest,
                    variant,
                    configuration,
                    layers,
                });
            }
        }
    }
    let mut available: Vec<String> = available.into_iter().collect();
    if available.is_empty() {
        available.push("no machine".to_owned());
    }
    let available = escape(&available.join(", ")).chars().take(500).collect();
    Err(Problem::NoArchitecture { wanted: architecture, available })
}

/// The entries that may lead to the image, the best one last. Of equal ones the first is best, as for all runtimes.
fn suitable(
    entries: Vec<Entry>,
    architecture: Architecture,
    index_digest: Option<Digest>,
    available: &mut BTreeSet<String>,
) -> Vec<Candidate> {
    let mut suitable = Vec::new();
    for entry in entries.into_iter().filter(Entry::may_be_image) {
        match &entry.platform {
            Some(platform) if !is_for(platform, architecture) => {
                // Attestations say unknown/unknown.
                if !platform.is_unknown() {
                    available.insert(platform.to_string());
                }
            }
            _ => suitable.push(entry),
        }
    }
    // What does not say its platform, as nested indexes do not, comes after everything that does.
    suitable.sort_by(|a, b| rank(a).cmp(&rank(b)));
    suitable.into_iter().rev().map(|entry| Candidate { entry, index_digest }).collect()
}

fn rank(entry: &Entry) -> (bool, u8, &str) {
    entry.platform.as_ref().map_or((true, 0, ""), |platform| {
        let (rank, variant) = platform.rank();
        (false, rank, variant)
    })
}

fn check_size(entry: &Entry) -> Result<(), Problem> {
    if entry.size <= DOCUMENT {
        return Ok(());
    }
    let reason = format!("it is larger than {DOCUMENT} bytes");
    Err(Problem::document(checked(entry)?.digest, "a document of an image", reason))
}
