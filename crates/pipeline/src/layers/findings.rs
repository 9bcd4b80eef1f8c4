//! What the files of packages say about the environment.

use std::collections::BTreeMap;

use pixi_oci_package::{Corrections, OutsideLink};

/// What the files of packages say about the environment as a whole.
#[derive(Debug, Default)]
pub struct Findings {
    /// The contents of `etc/conda/env_vars.d/*.json`, by file name.
    pub env_vars_d: BTreeMap<String, Vec<u8>>,
    /// Links that point out of the prefix, with their package.
    pub outside_links: Vec<(String, OutsideLink)>,
    /// Program interpreters that programs name, each with one program that does.
    pub interpreters: BTreeMap<String, String>,
    /// The packages whose own lists of files are wrong.
    pub corrections: Vec<(String, Corrections)>,
    /// In the first part of a package that goes over several layers: how many they are.
    pub parts: Option<usize>,
}

impl Findings {
    /// Adds what another layer showed.
    pub fn extend(&mut self, other: Self) {
        self.env_vars_d.extend(other.env_vars_d);
        self.outside_links.extend(other.outside_links);
        self.corrections.extend(other.corrections);
        for (interpreter, program) in other.interpreters {
            self.interpreters.entry(interpreter).or_insert(program);
        }
    }
}
