//! Bootstraps a product in a base image, and runs a command in its environment.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use pixi_oci_podman::{ARBITRARY_USER, Container, Mount, Session};

use super::{Check, RunError, RunOptions, Runner, architecture_of, cannot_run, chosen, stage};
use crate::{Error, Runs, verify_layout};

/// What runs in the container first.
const DRIVER: &str = include_str!("product.sh");
const DRIVER_PLACE: &str = "/run/pixi-oci-product";
/// The conda platforms that products have, and what OCI calls them.
const PLATFORMS: [(&str, &str); 2] = [("linux-64", "linux/amd64"), ("linux-aarch64", "linux/arm64")];

/// A product whose every byte was checked, and how it is to be bootstrapped.
#[derive(Debug, Clone, Copy)]
pub struct SoundProduct<'a> {
    pub dir: &'a Path,
    /// The directory of the project in it.
    pub name: &'a str,
    /// The file name of the workspace manifest.
    pub workspace_manifest: &'a str,
    pub platforms: &'a [String],
    /// The environment that the command runs in.
    pub environment: &'a str,
}

/// Gives the base image of an architecture as an OCI layout of one image.
pub type BaseLayout<'a> = &'a dyn Fn(&str) -> Result<PathBuf, String>;

/// Bootstraps the product on each of its platforms, from a read-only mount, and runs the command in the environment.
///
/// It is installed by the product's own pixi-oci; where there is none, by the product's pixi.
pub fn run_product(
    product: &SoundProduct<'_>,
    base: BaseLayout<'_>,
    check: &Check,
    options: &RunOptions<'_>,
) -> Result<Runs, RunError> {
    let platforms: Vec<(&str, &str)> =
        PLATFORMS.into_iter().filter(|(subdir, _)| product.platforms.iter().any(|own| own == subdir)).collect();
    let platforms = chosen(&platforms, |(_, platform)| platform, options.architectures)?;
    let mut runner = Runner::open(check, options)?;
    let driver = runner.session.directory.join("product.sh");
    stage::write_program(&driver, DRIVER.as_bytes())?;
    let source = readable(product.dir, &runner.session)?;
    runner.mounts.push(Mount { source: driver, target: DRIVER_PLACE.into(), writable: false });
    runner.mounts.push(Mount { source, target: "/product".into(), writable: false });
    let mut runs = Vec::new();
    for (subdir, platform) in platforms {
        if let Some(reason) = cannot_run(platform) {
            runs.push(runner.not_run(platform, None, reason));
            continue;
        }
        let has = |program: &str| product.dir.join("bin").join(subdir).join(program).is_file();
        let pixi = match (has("pixi-oci"), has("pixi")) {
            (true, _) => String::new(),
            (false, true) => format!("bin/{subdir}/pixi"),
            (false, false) => {
                let reason = format!(
                    "the product has no program in bin/{subdir} that installs it; `product --installer {subdir}=FILE` puts it there"
                );
                runs.push(runner.not_run(platform, None, reason));
                continue;
            }
        };
        let session = &runner.session;
        let layout = base(architecture_of(platform)).map_err(|reason| RunError::Base { reason })?;
        let report =
            verify_layout(&layout, None).map_err(|error: Error| RunError::Base { reason: error.to_string() })?;
        let none = || RunError::Base { reason: format!("it has nothing for {platform}") };
        let image = report.images.first().ok_or_else(none)?;
        stage::stage(&layout, image, session)?;
        let id = session.podman.pull(&session.directory, stage::NAME, None, architecture_of(platform))?;
        // Each platform has an empty place to work.
        let work = session.make_work(subdir)?;
        let mut command: Vec<String> =
            [product.environment, product.name, product.workspace_manifest, &pixi].map(str::to_owned).into();
        command.extend(if runner.command.is_empty() { vec!["true".to_owned()] } else { runner.command.clone() });
        let mut mounts = runner.mounts.clone();
        mounts.push(Mount { source: work, target: "/work".into(), writable: true });
        let container = Container {
            image: &id,
            entrypoint: Some(DRIVER_PLACE),
            command: &command,
            user: ARBITRARY_USER,
            environment: &runner.check.environment,
            workdir: Some("/"),
            mounts: &mounts,
        };
        runs.push(runner.run(platform, Some(image.manifest.clone()), &container)?);
    }
    Ok(runner.finish(runs, ARBITRARY_USER.to_owned()))
}

/// The product where the one who runs podman can read it.
fn readable(dir: &Path, session: &Session) -> Result<PathBuf, RunError> {
    if !session.is_other_user() {
        return fs::canonicalize(dir).map_err(RunError::io("find", dir));
    }
    lend_tree(dir, Path::new("product"), session)
}

fn lend_tree(from: &Path, below: &Path, session: &Session) -> Result<PathBuf, RunError> {
    let to = session.make_directory(below)?;
    for entry in fs::read_dir(from).map_err(RunError::io("read", from))? {
        let entry = entry.map_err(RunError::io("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(RunError::io("read", &source))?;
        if kind.is_dir() {
            lend_tree(&source, &below.join(entry.file_name()), session)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(RunError::io("read", &source))?;
            symlink(link, &target).map_err(RunError::io("write", &target))?;
        } else if !kind.is_file() {
            return Err(RunError::io("read", &source)(std::io::Error::other("not a regular file")));
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(RunError::io("copy", &source))?;
        }
    }
    Ok(to)
}
