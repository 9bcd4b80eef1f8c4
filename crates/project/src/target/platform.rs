//! Conda's `linux-64` and OCI's `linux/amd64`: the one place where both are known.

use pixi_oci_image::Architecture;
use rattler_conda_types::Subdir;

/// The OCI architecture of a conda subdir, if images can be made for it.
pub fn architecture(subdir: Subdir) -> Option<Architecture> {
    match subdir {
        Subdir::Linux64 => Some(Architecture::Amd64),
        Subdir::LinuxAarch64 => Some(Architecture::Arm64),
        _ => None,
    }
}

/// The conda subdir of an OCI architecture.
pub fn subdir(architecture: Architecture) -> Subdir {
    match architecture {
        Architecture::Amd64 => Subdir::Linux64,
        Architecture::Arm64 => Subdir::LinuxAarch64,
    }
}
