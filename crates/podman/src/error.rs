//! Why podman cannot be used, and how to mend it.

use std::{fmt, io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "podman cannot run containers as {user}: {requirement}{}",
        if said.is_empty() { String::new() } else { format!(". It said: {said}") }
    )]
    Unusable {
        user: String,
        requirement: Requirement,
        /// The end of what podman said, if it was asked.
        said: String,
    },
    #[error("`podman {what}` failed: {said}")]
    Failed { what: String, said: String },
    #[error("there is no user {name:?} on this machine; give the name of one with subordinate users (subuid(5))")]
    NoAccount { name: String },
    #[error("only root can run podman as {name}; run as {name} yourself, or leave it out")]
    NotRoot { name: String },
    #[error("cannot {action}")]
    Io { action: String, source: io::Error },
    #[error("neither podman nor docker is installed; install one of them (apt install podman), or write an archive")]
    NoEngine,
    #[error("`{} load --input {}` failed ({status}): {output}", program.display(), archive.display())]
    Load { program: PathBuf, archive: PathBuf, status: std::process::ExitStatus, output: String },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action: action.into(), source }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The kernel of this machine, instead of one in a virtual machine.
    Linux,
    Podman,
    /// A helper that gives containers their users: `newuidmap` or `newgidmap`.
    UidMap {
        program: &'static str,
    },
    /// Users for containers, in `/etc/subuid` and `/etc/subgid`.
    SubordinateIds {
        user: String,
    },
    UserNamespaces,
    /// A program that starts containers.
    Runtime,
    /// Control groups that the runtime understands.
    Cgroups,
    /// A file system of layers.
    Overlay,
    Unknown,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linux => f.write_str(
                "requirement Linux: here, containers run in the virtual machine of `podman machine`, which has no storage of \
                 its own for each check or build. Run this on Linux; `build --load` gives the image to podman or docker here, \
                 and `podman run` runs it",
            ),
            Self::Podman => f.write_str(
                "requirement podman: the program is not on PATH. \
                 Debian: `apt install podman uidmap`; Fedora: `dnf install podman`",
            ),
            Self::UidMap { program } => write!(
                f,
                "requirement uidmap: {program} is not installed, or not set-user-id. \
                 Debian: `apt install uidmap`; Fedora: `dnf reinstall shadow-utils`"
            ),
            Self::SubordinateIds { user } => write!(
                f,
                "requirement subuid/subgid: {user} has no range of 65536 subordinate users. Debian and Fedora, as root: \
                 `usermod --add-subuids 524288-589823 --add-subgids 524288-589823 {user}`, then `podman system migrate` as {user}"
            ),
            Self::UserNamespaces => f.write_str(
                "requirement user namespaces: the kernel does not give one to ordinary users. As root: \
                 `sysctl user.max_user_namespaces=15000`; Debian: `sysctl kernel.unprivileged_userns_clone=1`; \
                 Ubuntu: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container, it needs --privileged",
            ),
            Self::Runtime => f.write_str(
                "requirement runtime: neither crun nor runc can start a container. \
                 Debian: `apt install crun` (or runc); Fedora: `dnf install crun`",
            ),
            Self::Cgroups => f.write_str(
                "requirement cgroups: the runtime cannot use the control groups of this machine. \
                 Debian and Fedora: boot with cgroups v2 (systemd.unified_cgroup_hierarchy=1), or install the other runtime: \
                 `apt install runc`, `dnf install runc`",
            ),
            Self::Overlay => f.write_str(
                "requirement overlay: no overlay file system for ordinary users. It takes Linux 5.13 and a local disk (not NFS) \
                 below the temporary directory (TMPDIR chooses another), or fuse-overlayfs. \
                 Debian: `apt install fuse-overlayfs`; Fedora: `dnf install fuse-overlayfs`",
            ),
            Self::Unknown => f.write_str("it fails for a reason of its own; `podman info` and `podman run` as that user say more"),
        }
    }
}

impl Requirement {
    /// What is missing, by what podman said.
    pub(crate) fn of(said: &str, user: &str) -> Self {
        let said = said.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if says(&["subuid", "subgid", "insufficient uids", "no subordinate"]) {
            Self::SubordinateIds { user: user.to_owned() }
        } else if says(&["newuidmap"]) {
            Self::UidMap { program: "newuidmap" }
        } else if says(&["newgidmap"]) {
            Self::UidMap { program: "newgidmap" }
        } else if says(&["cannot clone", "clone_newuser", "user namespace", "userns", "max_user_namespaces"]) {
            Self::UserNamespaces
        } else if says(&["cgroup"]) {
            Self::Cgroups
        } else if says(&["overlay", "mount_program", "graph driver"]) {
            Self::Overlay
        } else if says(&["oci runtime", "crun", "runc", "conmon"]) {
            Self::Runtime
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podman_says_names_what_is_missing() {
        for (said, requirement) in [
            ("cannot find UID/GID for user u: no subuid ranges found for user \"u\" in /etc/subuid", "subuid/subgid"),
            ("potentially insufficient UIDs or GIDs available in user namespace", "subuid/subgid"),
            ("command required for rootless mode with multiple IDs: exec: \"newuidmap\": not found", "uidmap"),
            ("cannot clone: Operation not permitted\nuser namespaces are not enabled", "user namespaces"),
            ("OCI runtime error: crun: cgroups in hybrid mode not supported", "cgroups"),
            ("kernel does not support overlay fs: 'overlay' is not supported over nfs", "overlay"),
            ("default OCI runtime \"crun\" not found: invalid argument", "runtime"),
        ] {
            let shown = Requirement::of(said, "somebody").to_string();
            assert!(shown.starts_with(&format!("requirement {requirement}:")), "{said}: {shown}");
            assert!(shown.contains("Debian") || shown.contains("Fedora"), "{shown}");
        }
        assert_eq!(Requirement::of("no space left on device", "u"), Requirement::Unknown);
    }
}
