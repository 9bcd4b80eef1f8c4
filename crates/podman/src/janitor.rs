//! The process that cleans up, also after this one was killed.
//!
//! It waits for the end of its standard input, a pipe whose other end only this process has: it is there exactly as long
//! as this process. In a process group of its own, it does not hear Ctrl-C; podman's processes join that group, so that
//! it can end them.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{Error, Podman};

/// `$1`: the directory; `$2`: podman's run root, or nothing; the rest, if there is one: podman with its arguments. Files of containers belong to subordinate
/// users, so only podman's user namespace may remove them; where podman is root's there is none, but a mount that podman
/// leaves. What is being killed may still write, so it is tried again.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
directory=$1 runroot=$2
shift 2
cat >/dev/null
kill -TERM 0
tries=0
while [ "$tries" -lt 50 ]; do
  if [ $# -gt 0 ]; then
    "$@" rm --all --force --time 0
    "$@" unshare rm -rf "$directory/storage" "$runroot" "$directory/work"
    umount "$directory/storage/overlay"
  fi
  if [ -f "$directory/tmp/pause.pid" ]; then kill "$(cat "$directory/tmp/pause.pid")"; fi
  rm -rf "$directory" "$runroot"
  if [ ! -e "$directory" ] && [ ! -e "$runroot" ]; then exit 0; fi
  sleep 0.2
  tries=$((tries + 1))
done
"#;

/// Cleans up when it is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    pub(crate) fn start(directory: &Path, podman: Option<(&Podman, &Path)>) -> Result<Self, Error> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "janitor"]).arg(directory);
        command.arg(podman.map_or(Path::new(""), |(_, runroot)| runroot));
        if let Some((podman, _)) = podman {
            command.args(podman.words());
            podman.prepare(&mut command);
        }
        command.process_group(0).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(Error::io("start /bin/sh, which cleans up"))
    }

    pub(crate) fn group(&self) -> Option<i32> {
        self.0.id().try_into().ok()
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
