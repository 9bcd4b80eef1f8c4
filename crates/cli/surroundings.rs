//! What the environment says about containers.

use std::{env, path::PathBuf};

use pixi_oci_project::Containers;

/// `TMPDIR` and `PATH`.
pub fn containers() -> Containers {
    let scratch = env::var_os("TMPDIR").filter(|directory| !directory.is_empty());
    Containers {
        // Not /tmp, which is in memory on many machines: images are large.
        scratch: scratch.map_or_else(|| "/var/tmp".into(), PathBuf::from),
        path: env::var_os("PATH").unwrap_or_default(),
    }
}
