//! `FILES`, `SHA256SUMS` and `DIGEST`: what a plain shell can check a product by.
//!
//! `FILES` lists every file (`f PATH`) and link (`l PATH -> TARGET`), sorted by bytes; so that a file
//! too much is found, and a link that leads elsewhere. (Permissions are not in it: a shell cannot tell a file that is no
//! program from a file system that has none.) `SHA256SUMS` is what `sha256sum --check` reads. `DIGEST` is the sha256 of
//! `SHA256SUMS`, to be compared letter by letter: `sha256sum` overlooks some changes of its own list.

use pixi_oci_layer::Digest;

use crate::{
    Error, Product,
    writer::{Listed, path},
};

/// Every path of the product but the last two.
pub const FILES: &str = "FILES";
/// The digests of all files but itself and [`DIGEST`].
pub const SHA256SUMS: &str = "SHA256SUMS";
/// The digest of the product: of [`SHA256SUMS`].
pub const DIGEST: &str = "DIGEST";

impl Product {
    /// Writes the lists, and gives the product's digest. Nothing can be added after it.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(self) -> Result<Digest, Error> {
        let names = [FILES, SHA256SUMS, DIGEST];
        let listed = self.listed();
        let mut lines: Vec<String> = listed.iter().map(|(path, listed)| files_line(path.as_str(), listed)).collect();
        lines.extend(names.iter().map(|name| format!("f {name}\n")));
        self.bytes(&path(FILES)?, false, sorted(lines).as_bytes())?;

        let lines = self.listed().into_iter().filter_map(|(path, listed)| match listed {
            Listed::File { digest, .. } => Some(sums_line(path.as_str(), &digest)),
            Listed::Symlink { .. } => None,
        });
        let sums = lines.collect::<String>();
        let digest = self.bytes(&path(SHA256SUMS)?, false, sums.as_bytes())?;
        self.bytes(&path(DIGEST)?, false, format!("{digest}\n").as_bytes())?;
        self.set_directory_times()?;
        Ok(digest)
    }
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
