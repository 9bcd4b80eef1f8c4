//! What a registry has: repositories, sessions, tokens, and the history of its tags.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{fault::Rule, log::Entry, profile::Profile};
use crate::checker::digest;

/// A value that a tag got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagValue {
    pub repository: String,
    pub tag: String,
    pub digest: String,
    /// The number of the request.
    pub request: usize,
    /// What was missing or wrong below it at that moment; empty if nothing was.
    pub missing: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    /// Digests of blobs that may be asked for here.
    pub blobs: BTreeSet<String>,
    /// Media types and bytes by digest.
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) struct Upload {
    pub repository: String,
    pub bytes: Vec<u8>,
    pub patches: usize,
}

/// A token's life.
#[derive(Debug)]
pub(super) struct Token {
    /// `NAME:ACTION` for all that it grants.
    pub grants: BTreeSet<String>,
    pub uses_left: Option<usize>,
}

pub(super) struct World {
    pub profile: Profile,
    /// `HOST:PORT` of the registry and of the place for what some keep elsewhere.
    pub address: String,
    pub elsewhere: String,
    pub repositories: BTreeMap<String, Repository>,
    /// The bytes, whoever may ask for them, by the digest that they are said to have.
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub uploads: BTreeMap<String, Upload>,
    pub tokens: BTreeMap<String, Token>,
    pub history: Vec<TagValue>,
    pub log: Vec<Entry>,
    pub rules: Vec<Rule>,
    pub random: u64,
    pub issued: usize,
}

impl World {
    pub fn new(profile: Profile, address: String, elsewhere: String) -> Self {
        Self {
            profile,
            address,
            elsewhere,
            repositories: BTreeMap::new(),
            blobs: BTreeMap::new(),
            uploads: BTreeMap::new(),
            tokens: BTreeMap::new(),
            history: Vec::new(),
            log: Vec::new(),
            rules: Vec::new(),
            random: 1,
            issued: 0,
        }
    }

    /// The next of a row of numbers that the seed determines (xorshift64*).
    pub fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A name that was not given before.
    pub fn fresh(&mut self) -> String {
        self.issued += 1;
        format!("00000000-0000-4000-8000-{:012}", self.issued)
    }

    pub fn store_blob(&mut self, repository: &str, digest: &str, bytes: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), bytes);
        self.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest.to_owned());
    }

    pub fn blob(&self, repository: &str, digest: &str) -> Option<&Vec<u8>> {
        self.repositories.get(repository)?.blobs.get(digest).and_then(|digest| self.blobs.get(digest))
    }

    /// Points `tag` at `digest` and notes in the history what is missing below it now.
    pub fn set_tag(&mut self, repository: &str, tag: &str, digest: &str, request: usize) {
        let tags = &mut self.repositories.entry(repository.to_owned()).or_default().tags;
        let old = tags.insert(tag.to_owned(), digest.to_owned());
        if let Some(old) = old.filter(|old| old != digest && self.profile.overwrite_forgets) {
            let repository = self.repositories.get_mut(repository).unwrap();
            if !repository.tags.values().any(|other| *other == old) {
                repository.manifests.remove(&old);
            }
        }
        self.history.push(TagValue {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: digest.to_owned(),
            request,
            missing: self.missing(repository, digest),
        });
    }

    /// What tags name that is not whole, now.
    pub fn broken_tags(&self) -> Vec<String> {
        let tags = self.repositories.iter().flat_map(|(name, repository)| {
            repository.tags.iter().flat_map(move |(tag, digest)| {
                self.missing(name, digest).into_iter().map(move |what| format!("{name}:{tag}: {what}"))
            })
        });
        tags.collect()
    }

    /// What is not there, or not what it is called, at and below a manifest.
    pub fn missing(&self, repository: &str, manifest: &str) -> Vec<String> {
        let Some(found) = self.repositories.get(repository).and_then(|r| r.manifests.get(manifest)) else {
            return vec![format!("manifest {manifest}")];
        };
        if digest(&found.1) != manifest {
            return vec![format!("the bytes of {manifest}")];
        }
        let document: Value = serde_json::from_slice(&found.1).unwrap_or_default();
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let named = |descriptor: &Value| descriptor["digest"].as_str().unwrap_or_default().to_owned();
        let mut missing = Vec::new();
        for child in list("manifests") {
            missing.extend(self.missing(repository, &named(&child)));
        }
        let config = document["config"].as_object().map(|_| document["config"].clone());
        for blob in list("layers").into_iter().chain(config) {
            let name = named(&blob);
            match self.blob(repository, &name) {
                None => missing.push(format!("blob {name}")),
                Some(bytes) if digest(bytes) != name => missing.push(format!("the bytes of blob {name}")),
                Some(_) => {}
            }
        }
        missing
    }
}
