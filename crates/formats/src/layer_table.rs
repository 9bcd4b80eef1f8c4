//! `/opt/pixi/layers.json` in the environment layer: what an image says of its package layers, so that a machine that has
//! none of their packages can decide about them.
//!
//! It is a function of the packages: the same whether a layer was made now, is from the cache or from a registry. The
//! facts about a package are its own crate's; a reader names the types that it needs of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Error;

/// Where it is, from the image's root.
pub const PLACE: &str = "opt/pixi/layers.json";
pub const VERSION: u32 = 1;

/// `C` and `W` are facts about a conda package and a wheel, `L` is a link that leads out of the prefix, `F` what a wheel's own
/// list of files does not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerTable<C, W, L, F> {
    version: u32,
    /// Bottom first.
    pub layers: Vec<TableLayer<L, F>>,
    /// By the sha256 of the archive.
    pub conda: BTreeMap<String, KnownArchive<C>>,
    /// By what decides about a wheel's paths.
    pub wheels: BTreeMap<String, KnownArchive<W>>,
}

/// What an image has to know of a package layer, and its manifest and configuration do not say. Nothing of it depends on
/// the compressor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(deserialize = "L: Deserialize<'de>, F: Deserialize<'de>"))]
pub struct TableLayer<L, F> {
    /// 0 before it is written.
    pub tar_size: u64,
    /// The environment variables that its packages set, by file of `etc/conda/env_vars.d`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars_d: BTreeMap<String, Vec<u8>>,
    /// Links that point out of the prefix, with their package.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub outside_links: Vec<(String, L)>,
    /// Program interpreters, each with one program that names it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interpreters: BTreeMap<String, String>,
    /// The packages whose own lists of files are wrong, with the digests that they do not have.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<(String, F)>,
    /// Of the first part of a package that goes over several layers: how many they are. The others lie on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
}

/// What is known of an archive that need not be here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownArchive<T> {
    /// The archive's length in bytes.
    pub size: u64,
    pub facts: T,
}

/// The part of a conda package's facts that a verification needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct LinkFacts {
    /// The targets of symbolic links, by where they are in the package.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// The part of the corrections to a wheel's list that a verification needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct FileCorrections {
    /// The digests of files, by path below the prefix.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl<L, F> Default for TableLayer<L, F> {
    fn default() -> Self {
        Self {
            tar_size: 0,
            env_vars_d: BTreeMap::new(),
            outside_links: Vec::new(),
            interpreters: BTreeMap::new(),
            corrections: Vec::new(),
            parts: None,
        }
    }
}

impl<L, F> TableLayer<L, F> {
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

impl<C, W, L, F> LayerTable<C, W, L, F> {
    pub fn new(
        layers: Vec<TableLayer<L, F>>,
        conda: BTreeMap<String, KnownArchive<C>>,
        wheels: BTreeMap<String, KnownArchive<W>>,
    ) -> Self {
        Self { version: VERSION, layers, conda, wheels }
    }
}

impl<C: Serialize, W: Serialize, L: Serialize, F: Serialize> LayerTable<C, W, L, F> {
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::to_json(self)
    }
}

impl<C, W, L, F> LayerTable<C, W, L, F>
where
    C: DeserializeOwned,
    W: DeserializeOwned,
    L: DeserializeOwned,
    F: DeserializeOwned,
{
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::parse(bytes, VERSION)
    }
}
