//! Runs what was verified: in podman, with no network.
//!
//! [`run_image`] runs a command in each image of a layout, [`run_product`] bootstraps a product in a base image and runs a
//! command in its environment. Structure comes first: nothing is run of which a byte is wrong.

mod image;
mod product;
mod stage;

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use pixi_oci_podman::{Container, Ended, Log, Mount, Session};

pub use image::run_image;
pub use product::{BaseLayout, SoundProduct, run_product};

use crate::{Isolation, Outcome, Run, Runs, Tools};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Podman(#[from] pixi_oci_podman::Error),
    #[error("there is nothing for {wanted} in it; it has {available}")]
    NoArchitecture { wanted: String, available: String },
    #[error("cannot use the base image: {reason}")]
    Base { reason: String },
    #[error("{} cannot be run in a container: it does not begin with a line such as `#!/bin/sh`", path.display())]
    NoInterpreter { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl RunError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Check {
    /// The program and its arguments; those of the script, if there is one.
    pub command: Vec<String>,
    /// A file of this machine that is run instead.
    pub script: Option<PathBuf>,
    /// Variables over those of the image.
    pub environment: Vec<(String, String)>,
    /// In place of the image's working directory.
    pub workdir: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// Names of architectures; empty for all there are.
    pub architectures: &'a [String],
    /// For podman's storage.
    pub scratch: &'a Path,
    /// Where programs are found, as in `PATH`.
    pub path: &'a OsStr,
    /// Whom root becomes for it.
    pub user: Option<&'a str>,
    /// A directory for logs, if they are kept.
    pub out: Option<&'a Path>,
    pub version: &'a str,
    pub interrupted: &'a AtomicBool,
}

const SCRIPT: &str = "/run/pixi-oci-check";

/// podman with what the runs have in common.
struct Runner<'a> {
    session: Session,
    check: &'a Check,
    options: &'a RunOptions<'a>,
    mounts: Vec<Mount>,
    command: Vec<String>,
}

impl<'a> Runner<'a> {
    fn open(check: &'a Check, options: &'a RunOptions<'a>) -> Result<Self, RunError> {
        let script = check.script.as_deref().map(read_script).transpose()?;
        let session = Session::open(options.scratch, options.path, options.user)?;
        let mut runner = Self { session, check, options, mounts: Vec::new(), command: check.command.clone() };
        if let Some(bytes) = script {
            let source = runner.session.directory.join("script");
            stage::write_program(&source, &bytes)?;
            runner.mounts.push(Mount { source, target: SCRIPT.into(), writable: false });
            runner.command.insert(0, SCRIPT.into());
        }
        Ok(runner)
    }

    /// Runs a container for a platform, and judges it.
    fn run(&self, platform: &str, manifest: Option<String>, container: &Container<'_>) -> Result<Run, RunError> {
        let kept = self.options.out.is_some();
        let name = platform.replace('/', "-");
        let place = match self.options.out {
            Some(out) => out.join(&name),
            None => self.session.make_directory(&Path::new("logs").join(&name))?,
        };
        std::fs::create_dir_all(&place).map_err(RunError::io("make", &place))?;
        let stdout = Log::create(&place.join("stdout.log"))?;
        let stderr = Log::create(&place.join("stderr.log"))?;
        let ended = self.session.run(container, (&stdout, &stderr), self.options.interrupted)?;
        let mut run = self.not_run(platform, manifest, String::new());
        run.outcome = if ended.code == 0 { Outcome::Passed } else { Outcome::Failed };
        run.reason = reason(&ended);
        run.exit_code = Some(ended.code);
        run.seconds = Some(ended.elapsed.as_millis() as f64 / 1000.0);
        run.podman = ended.command;
        run.said = ended.said;
        run.stdout = kept.then(|| format!("{name}/stdout.log"));
        run.stderr = kept.then(|| format!("{name}/stderr.log"));
        Ok(run)
    }

    fn not_run(&self, platform: &str, manifest: Option<String>, reason: String) -> Run {
        Run {
            platform: platform.to_owned(),
            manifest,
            outcome: Outcome::NotRun,
            reason: Some(reason),
            emulated: pixi_oci_podman::runs(architecture_of(platform)) == pixi_oci_podman::Runs::Emulated,
            command: self.command.clone(),
            podman: Vec::new(),
            exit_code: None,
            seconds: None,
            said: String::new(),
            stdout: None,
            stderr: None,
        }
    }

    fn finish(self, runs: Vec<Run>, user: String) -> Runs {
        let info = &self.session.info;
        Runs {
            runs,
            tools: Some(Tools {
                pixi_oci: self.options.version.to_owned(),
                podman: info.version.clone(),
                runtime: self.session.runtime.clone(),
                kernel: info.kernel.clone(),
            }),
            isolation: Some(Isolation {
                rootless: info.rootless,
                network: "none",
                user,
                read_only_root: true,
                capabilities: Vec::new(),
                no_new_privileges: true,
            }),
        }
    }
}

fn reason(ended: &Ended) -> Option<String> {
    let text = match ended.code {
        0 => return None,
        126 => "the command cannot be executed".to_owned(),
        127 => "the command is not there".to_owned(),
        code @ 129..=192 => format!("a signal ended the command: {}", code - 128),
        code => format!("the command ended with exit status {code}"),
    };
    Some(text)
}

/// Why programs of a platform cannot be run, if they cannot.
fn cannot_run(platform: &str) -> Option<String> {
    let architecture = architecture_of(platform);
    (pixi_oci_podman::runs(architecture) == pixi_oci_podman::Runs::No).then(|| {
        format!(
            "this machine runs no programs of {architecture}; register QEMU (Debian: `apt install qemu-user-static`; \
             Fedora: `dnf install qemu-user-static`), or run it on such a machine"
        )
    })
}

/// `arm64` of `linux/arm64/v8`.
fn architecture_of(platform: &str) -> &str {
    platform.split('/').nth(1).unwrap_or_default()
}

/// The platforms that were asked for, in the order that they are there.
fn chosen<'a, T>(all: &'a [T], platform: impl Fn(&T) -> &str, wanted: &[String]) -> Result<Vec<&'a T>, RunError> {
    let has = |architecture: &String| all.iter().any(|one| architecture_of(platform(one)) == architecture);
    if let Some(missing) = wanted.iter().find(|architecture| !has(architecture)) {
        let mut available: Vec<&str> = all.iter().map(&platform).collect();
        available.dedup();
        return Err(RunError::NoArchitecture { wanted: missing.clone(), available: available.join(", ") });
    }
    let is_wanted = |one: &&T| wanted.is_empty() || wanted.iter().any(|name| name == architecture_of(platform(one)));
    Ok(all.iter().filter(is_wanted).collect())
}

/// Larger than any script.
const MAX_SCRIPT: u64 = 16 << 20;

fn read_script(path: &Path) -> Result<Vec<u8>, RunError> {
    let bytes = pixi_oci_platform::read(path, pixi_oci_platform::Links::Follow, MAX_SCRIPT)
        .map_err(RunError::io("read", path))?;
    if bytes.starts_with(b"#!") { Ok(bytes) } else { Err(RunError::NoInterpreter { path: path.to_owned() }) }
}
