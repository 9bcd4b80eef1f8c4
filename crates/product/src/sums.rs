//! `FILES`, `SHA256SUMS` and `DIGEST`: what a plain shell can check a product by.
//!
//! `FILES` lists every file (`f PATH`) and link (`l PATH -> TARGET`), sorted by bytes; so that a file
//! too much is found, and a link that leads elsewhere. (Permissions are not in it: a shell cannot tell a file that is no
//! program from a file system that has none.) `SHA256SUMS` is what `sha256sum --check` reads. `DIGEST` is the sha256 of
//! `SHA256SUMS`, to be compared letter by letter: `sha256sum` overlooks some changes of its own list.

use pixi_oci_layer::Digest;

use crate::{
    Error, MANIFEST, Product, ProductManifest,
    manifest::{MAX_SIZE, unusable},
    scripts::write_scripts,
    writer::{Listed, path},
};

/// Every path of the product but the last two.
pub const FILES: &str = "FILES";
/// The digests of all files but itself and [`DIGEST`].
pub const SHA256SUMS: &str = "SHA256SUMS";
/// The digest of the product: of [`SHA256SUMS`].
pub const DIGEST: &str = "DIGEST";

/// Lists of a million files have some 100 MB.
pub(crate) const MAX_LIST: u64 = 512 << 20;

impl Product {
    /// Writes scripts, manifest and lists, and gives the product's digest. Nothing can be added after it.
    ///
    /// # Errors
    /// It would be refused when it is checked; the disk fails.
    pub fn finish(self, manifest: &ProductManifest) -> Result<Digest, Error> {
        write_scripts(&self, manifest)?;
        let bytes = manifest.to_bytes();
        if let Some(reason) = unusable(manifest) {
            return Err(Error::Refused { path: MANIFEST.into(), reason: reason.into() });
        }
        at_most(MAX_SIZE, MANIFEST, &bytes)?;
        self.bytes(&path(MANIFEST)?, false, &bytes)?;
        let names = [FILES, SHA256SUMS, DIGEST];
        let listed = self.listed();
        let mut lines: Vec<String> = listed.iter().map(|(path, listed)| files_line(path.as_str(), listed)).collect();
        lines.extend(names.iter().map(|name| format!("f {name}\n")));
        let lines = sorted(lines);
        at_most(MAX_LIST, FILES, lines.as_bytes())?;
        self.bytes(&path(FILES)?, false, lines.as_bytes())?;

        let lines = self.listed().into_iter().filter_map(|(path, listed)| match listed {
            Listed::File { digest, .. } => Some(sums_line(path.as_str(), &digest)),
            Listed::Symlink { .. } => None,
        });
        let sums = lines.collect::<String>();
        at_most(MAX_LIST, SHA256SUMS, sums.as_bytes())?;
        let digest = self.bytes(&path(SHA256SUMS)?, false, sums.as_bytes())?;
        self.bytes(&path(DIGEST)?, false, format!("{digest}\n").as_bytes())?;
        self.finish_directories()?;
        Ok(digest)
    }
}

/// A file that is read up to a limit is not written beyond it.
fn at_most(limit: u64, name: &str, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() as u64 <= limit {
        return Ok(());
    }
    Err(Error::Refused { path: name.into(), reason: format!("it would have more than {limit} bytes") })
}

/// As `LC_ALL=C sort` has them.
pub(crate) fn sorted(mut lines: Vec<String>) -> String {
    lines.sort();
    lines.concat()
}

pub(crate) fn files_line(path: &str, listed: &Listed) -> String {
    match listed {
        Listed::File { .. } => format!("f {path}\n"),
        Listed::Symlink { target } => format!("l {path} -> {target}\n"),
    }
}

/// As GNU's sha256sum writes and reads it: a backslash in a name is escaped, and announced by one before the line.
pub(crate) fn sums_line(path: &str, digest: &Digest) -> String {
    let escaped = path.replace('\\', "\\\\");
    let mark = if escaped.len() == path.len() { "" } else { "\\" };
    format!("{mark}{}  {escaped}\n", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_up_to_a_limit_is_written_up_to_it() {
        assert!(at_most(3, "FILES", b"abc").is_ok());
        let error = at_most(3, "FILES", b"abcd").unwrap_err().to_string();
        assert!(error.contains("FILES: it would have more than 3 bytes"), "{error}");
    }
}
