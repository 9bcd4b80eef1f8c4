//! Other processes.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Whether this is the system that images are for. Elsewhere, containers run in a virtual machine with a storage of its own,
/// and a program that is built here runs in none.
pub const IS_LINUX: bool = cfg!(target_os = "linux");

/// Words that go before a command so that it gets a user, network and process table of its own, which end with its first
/// process. None where the system has no such thing; where it has, it may still refuse.
pub const ISOLATED: &[&str] = if cfg!(target_os = "linux") {
    &["unshare", "--user", "--map-current-user", "--net", "--pid", "--fork", "--kill-child"]
} else {
    &[]
};

/// Ends all processes of a group at once. A group that is gone is none of our business.
pub fn kill_group(leader: u32) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    // Group 0 would be our own.
    if let Some(leader) = i32::try_from(leader).ok().filter(|leader| *leader > 0) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

/// Where a program is, as a shell finds it. Ordinary users' PATH often has no `sbin`, where some runtimes are.
pub fn find_program(program: &str, path: &OsStr) -> Option<PathBuf> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(|path| executable(path))
}
