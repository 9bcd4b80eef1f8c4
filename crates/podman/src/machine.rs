//! Whose programs this machine runs.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// By the processor.
    Natively,
    /// By QEMU.
    Emulated,
    No,
}

/// The architectures' names in OCI images, in Rust, and in QEMU's registrations with the kernel.
const NAMES: [(&str, &str, &str); 7] = [
    ("amd64", "x86_64", "qemu-x86_64"),
    ("arm64", "aarch64", "qemu-aarch64"),
    ("386", "x86", "qemu-i386"),
    ("arm", "arm", "qemu-arm"),
    ("ppc64le", "powerpc64", "qemu-ppc64le"),
    ("riscv64", "riscv64", "qemu-riscv64"),
    ("s390x", "s390x", "qemu-s390x"),
];

/// How programs of an OCI architecture (`amd64`, `arm64`, …) run here.
pub fn runs(architecture: &str) -> Runs {
    let Some((_, rust, qemu)) = NAMES.iter().find(|(oci, _, _)| *oci == architecture) else { return Runs::No };
    if std::env::consts::ARCH == *rust {
        return Runs::Natively;
    }
    if pixi_oci_platform::emulates(qemu) { Runs::Emulated } else { Runs::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_programs_run_and_unknown_ones_do_not() {
        let own = NAMES.iter().find(|(_, rust, _)| *rust == std::env::consts::ARCH).unwrap();
        assert_eq!(runs(own.0), Runs::Natively);
        assert_eq!(runs("../../etc"), Runs::No);
    }
}
