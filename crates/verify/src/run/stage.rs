//! What podman reads: an image of its own in a directory that the one who runs podman can read.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use pixi_oci_podman::Session;
use serde_json::json;

use super::RunError;
use oci_read::document::OCI_MANIFEST;

use crate::{ImageReport, layout::blob};

/// The name of the directory; podman names the image after it.
pub(super) const NAME: &str = "image";

/// Makes an OCI layout `image` in the session's directory, of one image of the layout in `dir`, so that there is nothing to
/// choose. Another user may not be able to read `dir`: blobs are then linked or copied, else their directory is named.
pub(super) fn stage(dir: &Path, image: &ImageReport, session: &Session) -> Result<(), RunError> {
    let to = session.directory.join(NAME);
    let failed = || RunError::io("write", &to);
    if to.exists() {
        fs::remove_dir_all(&to).map_err(failed())?;
    }
    session.make_directory(Path::new(NAME))?;
    fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed())?;
    let path = |digest: &str| {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "a digest that is none");
        blob::path(dir, digest).ok_or_else(bad).map_err(RunError::io("read", dir))
    };
    let manifest = path(&image.manifest)?;
    let size = fs::metadata(&manifest).map_err(RunError::io("read", &manifest))?.len();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": OCI_MANIFEST, "digest": image.manifest, "size": size }],
    });
    fs::write(to.join("index.json"), index.to_string()).map_err(failed())?;
    if !session.is_other_user() {
        let from = fs::canonicalize(dir.join("blobs")).map_err(RunError::io("read", dir))?;
        return symlink(from, to.join("blobs")).map_err(failed());
    }
    let blobs = session.make_directory(&Path::new(NAME).join("blobs/sha256"))?;
    let layers = image.layers.iter().map(|layer| &layer.digest);
    for digest in [&image.manifest, &image.config].into_iter().chain(layers) {
        let from = path(digest)?;
        let to = blobs.join(from.file_name().unwrap_or_default());
        if !to.exists() {
            lend(&from, &to).map_err(RunError::io("copy", &from))?;
        }
    }
    for file in ["oci-layout", "index.json"] {
        fs::set_permissions(to.join(file), Permissions::from_mode(0o644)).map_err(failed())?;
    }
    Ok(())
}

/// Makes a file readable to everybody under another name.
fn lend(from: &Path, to: &Path) -> io::Result<()> {
    let readable = fs::metadata(from)?.permissions().mode() & 0o004 != 0;
    if readable && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::set_permissions(to, Permissions::from_mode(0o644))
}

/// Writes a program that everybody may run and nobody in a container may change.
pub(super) fn write_program(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    fs::write(path, bytes).map_err(RunError::io("write", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(RunError::io("write", path))
}
