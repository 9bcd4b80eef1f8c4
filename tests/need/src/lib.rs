//! What tests need of a machine. A test that lacks something passes nowhere unseen: it fails where it was promised, and is
//! counted by name elsewhere.
//!
//! `PIXI_OCI_TEST_REQUIRE=debian` promises what Debian's packages and `tests/run` provide, `all` everything but what a kernel
//! or a user may not have. `PIXI_OCI_TEST_SKIPS` names a file that gets a line for each skip.

#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "tests ask the environment, and skip aloud")]

use std::{
    env,
    ffi::OsString,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Who provides something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// Debian's packages, or what `tests/run` makes of them.
    Debian,
    /// Somebody who asks for everything.
    Elsewhere,
    /// The kernel, the user, the disks: no promise.
    Machine,
}

/// Whether something is here, which `found` says.
///
/// # Panics
///
/// It is not, and was promised.
pub fn need(what: &str, from: From, found: bool) -> bool {
    match verdict(from, found, env::var("PIXI_OCI_TEST_REQUIRE").ok().as_deref()) {
        Verdict::Here => return true,
        Verdict::Broken(promise) => panic!("{what} is missing, and PIXI_OCI_TEST_REQUIRE={promise} promises it"),
        Verdict::Skip => {}
    }
    eprintln!("SKIP: {what}");
    if let Some(path) = env::var_os("PIXI_OCI_TEST_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write, because tests run beside one another.
        file.and_then(|mut file| file.write_all(format!("SKIP: {what}\n").as_bytes())).expect("the file of skips");
    }
    false
}

/// Whether a program is on `PATH`, or where ordinary users' `PATH` does not reach.
pub fn program(name: &str, from: From) -> bool {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    need(name, from, env::split_paths(&path).any(|directory| is_program(&directory.join(name))))
}

/// What a variable names, which must be there.
pub fn variable(name: &str, from: From) -> Option<OsString> {
    let value = env::var_os(name).filter(|value| Path::new(value).exists());
    need(&format!("{name} is not set to something"), from, value.is_some()).then_some(value).flatten()
}

/// The same, as a path.
pub fn path(name: &str, from: From) -> Option<PathBuf> {
    variable(name, from).map(PathBuf::from)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    Here,
    Skip,
    Broken(&'a str),
}

fn verdict(from: From, found: bool, promise: Option<&str>) -> Verdict<'_> {
    match (found, promise) {
        (true, _) => Verdict::Here,
        (_, None | Some("")) => Verdict::Skip,
        (_, Some("debian")) if from > From::Debian => Verdict::Skip,
        (_, Some("all")) if from > From::Elsewhere => Verdict::Skip,
        (_, Some(promise @ ("debian" | "all"))) => Verdict::Broken(promise),
        (_, Some(other)) => panic!("PIXI_OCI_TEST_REQUIRE={other} is neither debian nor all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_is_here() {
        for (from, promise, expected) in [
            (From::Debian, None, Verdict::Skip),
            (From::Debian, Some("debian"), Verdict::Broken("debian")),
            (From::Elsewhere, Some("debian"), Verdict::Skip),
            (From::Elsewhere, Some("all"), Verdict::Broken("all")),
            (From::Debian, Some("all"), Verdict::Broken("all")),
            (From::Machine, Some("all"), Verdict::Skip),
        ] {
            assert_eq!(verdict(from, false, promise), expected, "{from:?} {promise:?}");
            assert_eq!(verdict(from, true, promise), Verdict::Here);
        }
    }

    #[test]
    fn programs_are_found() {
        assert!(program("sh", From::Debian));
        assert!(
            is_program(Path::new("/bin/sh")) && !is_program(Path::new("/etc/passwd")) && !is_program(Path::new("/bin"))
        );
    }
}
