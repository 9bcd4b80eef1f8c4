//! Limits of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxOf {
    Files,
    /// Processes of the user.
    Processes,
}

/// How far this process may raise a limit; `None` for "unlimited".
pub fn maximum(of: MaxOf) -> Option<u64> {
    let resource = match of {
        MaxOf::Files => Resource::Nofile,
        MaxOf::Processes => Resource::Nproc,
    };
    getrlimit(resource).maximum
}

/// More than this many files are never open here at once.
const OPEN_FILES: u64 = if cfg!(target_vendor = "apple") { 10_240 } else { 65_536 };

/// Raises the limit of open files as far as this process may, because shells of macOS allow 256. A system that refuses
/// leaves it as it is.
pub fn allow_more_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// Makes a file that grows over its limit (`ulimit -f`) an error of the write, as a full disk is, instead of the end of
/// this process. Programs that it starts are not affected: a handler, unlike "ignored", does not survive `exec`.
pub fn large_files_are_errors() {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn nothing(_signal: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, which is safe at every moment.
    #[allow(unsafe_code)]
    let _ = unsafe { sigaction(Signal::SIGXFSZ, &action) };
}
