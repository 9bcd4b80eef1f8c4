//! Containers that are talked to: builds of sources.

use std::process::Command;

use crate::{HARDENING, Session};

/// What runs a container whose program could not be started ends with: podman(1), "Exit Codes".
pub const NOT_STARTED: [i32; 3] = [125, 126, 127];

impl Session {
    /// The command of a container of an image that is spoken to through its standard input and output: without a network
    /// or a file of this machine. It goes away when it ends, and its program is to end with its input.
    pub fn conversation(&self, image: &str, variables: &[(&str, String)], program: &[&str]) -> Command {
        let mut command = self.podman.command();
        // A container may not raise limits above ours, and podman's defaults would.
        command.args(["run", "--rm", "--interactive"]).args(HARDENING).args(["--ulimit", "host", "--workdir", "/"]);
        for (name, value) in variables {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.arg(image).args(program);
        command
    }
}
