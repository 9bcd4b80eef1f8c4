//! Whose programs this machine runs.

use std::path::Path;

/// How programs of an architecture run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// By the processor.
    Natively,
    /// By QEMU.
    Emulated,
    /// Not at all.
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
    let registration = std::fs::read_to_string(Path::new("/proc/sys/fs/binfmt_misc").join(qemu));
    if registration.is_ok_and(|text| serves_containers(&text)) { Runs::Emulated } else { Runs::No }
}

/// A container finds the emulator only if the kernel holds it open (flag F; the kernel's binfmt-misc.rst).
fn serves_containers(registration: &str) -> bool {
    let mut flags = registration.lines().filter_map(|line| line.strip_prefix("flags: "));
    registration.starts_with("enabled") && flags.any(|flags| flags.contains('F'))
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

    #[test]
    fn an_emulator_must_be_held_open() {
        assert!(serves_containers("enabled\ninterpreter /x\nflags: POF\noffset 0\n"));
        assert!(!serves_containers("enabled\ninterpreter /F\nflags: PO\noffset 0\n"));
        assert!(!serves_containers("disabled\ninterpreter /x\nflags: F\n"));
    }
}
