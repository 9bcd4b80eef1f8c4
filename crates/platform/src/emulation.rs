//! Programs of other architectures.

/// Whether the kernel runs programs by the emulator that is registered as `name` (`qemu-aarch64`), also in containers.
pub fn emulates(name: &str) -> bool {
    registration(name).is_some_and(|text| serves_containers(&text))
}

/// A container finds the emulator only if the kernel holds it open (flag F; the kernel's binfmt-misc.rst).
fn serves_containers(registration: &str) -> bool {
    let mut flags = registration.lines().filter_map(|line| line.strip_prefix("flags: "));
    registration.starts_with("enabled") && flags.any(|flags| flags.contains('F'))
}

#[cfg(target_os = "linux")]
fn registration(name: &str) -> Option<String> {
    let path = std::path::Path::new("/proc/sys/fs/binfmt_misc").join(name);
    crate::read_text(&path, crate::Links::Refuse, 1 << 16).ok()
}

/// Containers run in a virtual machine there, which has its own registrations.
#[cfg(not(target_os = "linux"))]
fn registration(_name: &str) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_must_be_held_open() {
        assert!(serves_containers("enabled\ninterpreter /x\nflags: POF\noffset 0\n"));
        assert!(!serves_containers("enabled\ninterpreter /F\nflags: PO\noffset 0\n"));
        assert!(!serves_containers("disabled\ninterpreter /x\nflags: F\n"));
        assert!(!emulates("../../../etc/passwd"));
    }
}
