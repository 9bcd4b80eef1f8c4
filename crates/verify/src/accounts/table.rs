//! `/opt/pixi/layers.json`: what the image says of its package layers and of conda packages' links.

use std::collections::{BTreeMap, HashSet};

use pixi_oci_formats::layer_table::{FileCorrections, LayerTable, LinkFacts, PLACE};
use serde::de::IgnoredAny;

use super::Purpose;
use crate::{
    layer::ReadLayer,
    report::{Findings, PackageKind, PackageRecord, Rule, Severity, printable},
};

/// What is used of it; the rest is for builds that reuse layers.
type Parsed = LayerTable<LinkFacts, IgnoredAny, IgnoredAny, FileCorrections>;

#[derive(Default)]
pub(super) struct Table {
    /// The links of conda packages, by the sha256 of the archive.
    conda: BTreeMap<String, LinkFacts>,
    /// For each package layer, bottom first, the wheels whose lists do not say everything.
    corrections: Vec<Vec<(String, FileCorrections)>>,
    /// For each package layer, over how many a package goes whose first part it has.
    parts: Vec<usize>,
    /// The layer that has it; empty if there is none.
    digest: String,
}

/// Reads the table of an image, and compares it with the package layers. That there is one, the environment layer's rules
/// say.
pub(super) fn read(layers: &[(Purpose, &ReadLayer)], findings: &mut Findings) -> Table {
    let documents = layers.iter().filter(|(purpose, _)| *purpose == Purpose::Environment);
    let found = documents.filter_map(|(_, layer)| Some((layer, layer.documents.get(PLACE.as_bytes())?))).next();
    let Some((layer, bytes)) = found else { return Table::default() };
    let digest = layer.report.digest.clone();
    let mut wrong = |text: &str| findings.entry(Severity::Error, Rule::Inventory, &digest, PLACE.as_bytes(), text);
    let table = match Parsed::parse(bytes) {
        Ok(table) => table,
        Err(error) => {
            wrong(&printable(error.to_string().as_bytes()));
            return Table::default();
        }
    };
    let packages = layers.iter().filter(|(purpose, _)| *purpose == Purpose::Packages);
    let sizes: Vec<u64> = packages.map(|(_, layer)| layer.report.tar_size).collect();
    if table.layers.iter().map(|layer| layer.tar_size).ne(sizes) {
        wrong("does not have the package layers of this image");
    }
    Table {
        digest,
        conda: table.conda.into_iter().map(|(sha256, known)| (sha256, known.facts)).collect(),
        parts: table.layers.iter().map(|layer| layer.parts.unwrap_or(1)).collect(),
        corrections: table.layers.into_iter().map(|layer| layer.corrections).collect(),
    }
}

impl Table {
    /// Where the link of a package leads.
    pub fn link(&self, sha256: &str, path: &str) -> Option<&str> {
        self.conda.get(sha256)?.links.get(path).map(String::as_str)
    }

    /// The wheels in the package layer of that number, from the bottom, whose lists do not say everything: their labels,
    /// and the digests of files by path below the prefix.
    pub fn corrections(&self, layer: usize) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        self.corrections
            .get(layer)
            .into_iter()
            .flatten()
            .map(|(label, corrections)| (label.as_str(), &corrections.files))
    }

    /// Over how many layers the packages go whose records are in the package layer of that number: over more than one, if it
    /// is one package.
    pub fn parts(&self, layer: usize) -> usize {
        self.parts.get(layer).copied().unwrap_or(1).max(1)
    }

    /// Whether it has the packages that have records, and no others.
    pub fn check(&self, packages: &[PackageRecord], findings: &mut Findings) {
        if self.digest.is_empty() {
            return;
        }
        let conda = packages.iter().filter(|package| package.kind == PackageKind::Conda);
        let recorded: HashSet<&str> = conda.filter_map(|package| package.sha256.as_deref()).collect();
        let known: HashSet<&str> = self.conda.keys().map(String::as_str).collect();
        if recorded != known {
            let text = "does not have the conda packages that have records in this image";
            findings.entry(Severity::Error, Rule::Inventory, &self.digest, PLACE.as_bytes(), text);
        }
    }
}
