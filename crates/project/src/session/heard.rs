//! What servers said in this run of archives that are not here. Nothing vouches for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pixi_oci_package::{PackageFacts, WheelFacts};

/// What was said, by what identifies the archive and decides where its files go. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<BTreeMap<String, HeardArchive>>>);

/// What a host said of an archive.
#[derive(Debug, Clone)]
pub struct HeardArchive {
    /// The archive's length in bytes.
    pub size: u64,
    pub facts: HeardFacts,
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeardFacts {
    Conda(PackageFacts),
    Wheel(WheelFacts),
}

impl Heard {
    pub fn get(&self, key: &str) -> Option<HeardArchive> {
        self.all().get(key).cloned()
    }

    pub fn put(&self, key: String, archive: HeardArchive) {
        self.all().insert(key, archive);
    }

    /// An entry is whole or absent, also after a thread panicked.
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, HeardArchive>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
