//! Blobs of a layout: found by a checked digest, read within bounds, hashed.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_read::{
    HashReader,
    document::{Descriptor, sha256},
    limits::DOCUMENT,
};
use pixi_oci_platform::Links;
use sha2::{Digest as _, Sha256};

use crate::report::{Findings, Rule};

/// Reads a document whole if its length and digest are those of `descriptor`; otherwise says what is wrong.
pub(crate) fn read_document(dir: &Path, descriptor: &Descriptor, findings: &mut Findings) -> Option<Vec<u8>> {
    if descriptor.size > DOCUMENT {
        let text = format!("a document of {} bytes; none may have more than {DOCUMENT}", descriptor.size);
        findings.error(Rule::Document, &descriptor.digest, text);
        return None;
    }
    let file = open(dir, descriptor, findings)?;
    let mut bytes = Vec::new();
    let read = file.take(DOCUMENT + 1).read_to_end(&mut bytes);
    if let Err(error) = read {
        findings.error(Rule::MissingBlob, &descriptor.digest, error.to_string());
        return None;
    }
    same_digest(descriptor, hex::encode(Sha256::digest(&bytes)), findings).then_some(bytes)
}

/// Whether the blob is there with the length and digest of `descriptor`; says so if it is not.
pub(crate) fn check(dir: &Path, descriptor: &Descriptor, findings: &mut Findings) -> bool {
    let Some(mut file) = open(dir, descriptor, findings) else { return false };
    let mut hash = HashReader::new(&mut file);
    match io::copy(&mut hash, &mut io::sink()) {
        Ok(_) => same_digest(descriptor, hex::encode(hash.finish().0), findings),
        Err(error) => {
            findings.error(Rule::MissingBlob, &descriptor.digest, error.to_string());
            false
        }
    }
}

/// Opens a blob that has the right length.
pub(crate) fn open(dir: &Path, descriptor: &Descriptor, findings: &mut Findings) -> Option<File> {
    let Some(path) = path(dir, &descriptor.digest) else {
        findings.error(Rule::DigestGrammar, &descriptor.digest, "is not sha256: and 64 lower-case hex digits");
        return None;
    };
    // A link could lead to a pipe, or to a file that changes.
    let metadata = match fs_err::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => {
            findings.error(Rule::MissingBlob, &descriptor.digest, "is not a regular file");
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.error(Rule::MissingBlob, &descriptor.digest, "is not in the layout");
            return None;
        }
        Err(error) => {
            findings.error(Rule::MissingBlob, &descriptor.digest, error.to_string());
            return None;
        }
    };
    if metadata.len() != descriptor.size {
        let text = format!("has {} bytes; its descriptor says {}", metadata.len(), descriptor.size);
        findings.error(Rule::Size, &descriptor.digest, text);
        return None;
    }
    pixi_oci_platform::open(&path, Links::Follow)
        .map_err(|error| findings.error(Rule::MissingBlob, &descriptor.digest, error.to_string()))
        .ok()
}

fn same_digest(descriptor: &Descriptor, hex: String, findings: &mut Findings) -> bool {
    let same = descriptor.digest.strip_prefix("sha256:") == Some(&*hex);
    if !same {
        findings.error(Rule::Digest, &descriptor.digest, format!("its content has the digest sha256:{hex}"));
    }
    same
}

/// Where the blob is, if the digest is one that may become a file name.
pub(crate) fn path(dir: &Path, digest: &str) -> Option<PathBuf> {
    sha256(digest).map(|hex| dir.join("blobs/sha256").join(hex))
}
