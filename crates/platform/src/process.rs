//! Other processes.

use std::{
    ffi::OsStr,
    io::{self, PipeReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Resource, Rlimit, getpid, setrlimit};

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

/// Ends a process that a library has started for us and does not end itself, with all that it has started, when it is dropped.
#[derive(Debug)]
pub struct Leash(Option<PipeReader>);

impl Leash {
    /// Puts what `command` will start into a group of its own that has at most `memory` bytes of data in each process. The command has to be
    /// dropped before the leash is.
    pub fn on(command: &mut Command, memory: u64) -> io::Result<Self> {
        let (reader, mut writer) = io::pipe()?;
        let prepare = move || {
            writer.write_all(&getpid().as_raw_nonzero().get().to_ne_bytes())?;
            // Where there is no such limit, there is none.
            let _ = setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) });
            Ok(())
        };
        // SAFETY: between fork and exec it makes three system calls and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.process_group(0).pre_exec(prepare);
        }
        Ok(Self(Some(reader)))
    }

    /// The process has ended: its number may be another's.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let mut number = [0; 4];
        if let Some(Ok(())) = self.0.take().map(|mut started| started.read_exact(&mut number)) {
            kill_group(u32::from_ne_bytes(number));
        }
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
