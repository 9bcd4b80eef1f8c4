//! Where files are in an image whose content other files are accounted for by.

use oci_read::tar::file_name;
use pixi_oci_formats::{file_list, layer_table};

/// The environment's variables for Apptainer.
pub(crate) const APPTAINER: &str = ".singularity.d/env/91-pixi-oci.sh";
/// Activates the environment, where only a shell can.
pub(crate) const ENTRYPOINT: &str = "opt/pixi/entrypoint";
/// Where variables of packages are.
pub(crate) const ENV_VARS_D: &str = "/etc/conda/env_vars.d/";

/// Whether other files are accounted for by this one, so that its content is needed.
pub(crate) fn is_document(path: &[u8]) -> bool {
    path.ends_with(b".dist-info/RECORD")
        || is_conda_meta(path)
        || says_variables(path)
        || [layer_table::PLACE, file_list::PLACE, APPTAINER, ENTRYPOINT].iter().any(|place| place.as_bytes() == path)
}

/// Whether it is the record of a conda package.
pub(crate) fn is_conda_meta(path: &[u8]) -> bool {
    let directory = &path[..path.len() - file_name(path).len()];
    directory.ends_with(b"/conda-meta/") && path.ends_with(b".json")
}

/// Whether a file says variables that the entrypoint may set.
fn says_variables(path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    path.ends_with("/pixi.toml") || path.ends_with("/pyproject.toml") || path.contains(ENV_VARS_D)
}
