//! Python packages: uv chooses them for the conda packages that were chosen before, as in pixi.
//!
//! ```text
//! requirements, conda packages ─▶ Inputs ─▶ uv ─▶ Chosen… ─▶ METADATA of each ─▶ PypiPackageData… ─▶ Part of each environment
//! ```
//!
//! A conda package that is a Python package is there already: uv sees that version of it and no other, and it is not
//! installed again. No code of a package is run. So only wheels are chosen, and projects of which the metadata is written
//! down; what else a requirement may name only pixi can lock, and the error says so.

mod inputs;
mod metadata;
mod project;
mod purls;
mod pylock;
mod subset;
mod uv;
mod wheel_rank;

pub(super) use purls::with_purls;
pub(super) use subset::Part;
pub use uv::Uv;

use std::{collections::BTreeMap, ffi::OsString, path::Path, str::FromStr};

use futures_util::{StreamExt, TryStreamExt, stream};
use pep508_rs::pep440_rs::Version;
use rattler_conda_types::RepoDataRecord;
use rattler_lock::{CondaPackageData, PackageHashes, PypiDistributionData, PypiPackageData, UrlOrPath, Verbatim};
use url::Url;

use super::{LockError, Work, problem::Problem};
use crate::{
    FindLinks, PypiSource, Wanted, locate,
    python_project::PythonProject,
    redact::without_credentials,
    satisfies::{
        conda::{Provided, provided},
        markers,
    },
};
use inputs::{CHOSEN, Inputs};
use metadata::Source;
use pylock::{Chosen, Wheel};
use uv::UvError;

/// uv's answer for a thousand packages has a few megabytes.
const MAX_ANSWER: u64 = 256 << 20;

/// What each member of a problem has of the Python packages.
pub(super) async fn choose(
    work: &Work<'_>,
    problem: &Problem,
    records: &[RepoDataRecord],
) -> Result<Vec<Part>, LockError> {
    let wanted = &problem.together;
    let (environment, platform) = (problem.name(), wanted.platform.name.clone());
    let Some(uv) = work.options.uv else { return Err(problem.needs_uv()) };
    let python = records.iter().map(|record| &record.package_record).find(|r| r.name.as_normalized() == "python");
    let Some((python, markers)) = python.and_then(|p| Some((p, markers::environment(&wanted.platform.subdir, p)?)))
    else {
        return Err(LockError::NoPython { environment, platform });
    };
    let conda: Vec<CondaPackageData> = records.iter().map(|record| record.clone().into()).collect();
    let provided: Vec<Provided> = provided(&conda.iter().collect::<Vec<_>>());
    let projects = project::read_all(&wanted.pypi, &work.workspace.root, &environment, &markers)?;
    let directory = tempfile::tempdir()
        .map_err(|source| LockError::Write { path: std::path::PathBuf::from("a temporary directory"), source })?;
    let preferred = work.previous.as_ref().map(|previous| previous.wheels(problem)).unwrap_or_default();
    let inputs = Inputs {
        wanted,
        root: &work.workspace.root,
        provided: &provided,
        projects: &projects,
        preferred: &preferred,
        now: work.options.now,
    };
    inputs.write(directory.path())?;
    let run = Run {
        uv,
        directory: directory.path(),
        python: python.version.version().to_string(),
        target: uv_platform(problem)?,
        work,
        environment: environment.clone(),
        platform: platform.clone(),
    };
    let chosen = run.chosen().await?;
    let many = wanted.pypi_options.indexes().len() + wanted.pypi_options.find_links.len() > 1
        || wanted.pypi.iter().any(|r| matches!(r.source, PypiSource::Registry { index: Some(_), .. }));
    let indexes = if many { run.indexes(&chosen).await? } else { BTreeMap::new() };

    let is_there = |name: &str| provided.iter().any(|package| package.name == name) && !projects.contains_key(name);
    let mine: Vec<Chosen> = chosen.into_iter().filter(|chosen| !is_there(&chosen.name)).collect();
    let lookup = Lookup { work, wanted, projects: &projects, indexes: &indexes };
    let mut packages: Vec<PypiPackageData> = stream::iter(&mine)
        .map(|chosen| lookup.locked(chosen, &environment))
        .buffered(work.options.downloads.get())
        .try_collect()
        .await?;
    packages.sort_by(|a, b| a.name().cmp(b.name()));
    let conda_name = |name: &String| {
        let found = provided.iter().find(|package| package.name == *name)?;
        Some(records[found.package].package_record.name.as_normalized().to_owned())
    };
    let part = |member: &Wanted| {
        let part = subset::subset(&packages, &member.pypi, &markers);
        Part { conda: part.conda.iter().filter_map(conda_name).collect(), ..part }
    };
    Ok(problem.members.iter().map(part).collect())
}

/// uv, ready to be asked.
struct Run<'a> {
    uv: &'a Uv,
    directory: &'a Path,
    python: String,
    target: &'static str,
    work: &'a Work<'a>,
    environment: String,
    platform: String,
}

impl Run<'_> {
    async fn chosen(&self) -> Result<Vec<Chosen>, LockError> {
        self.compile(&["--format", "pylock.toml", "--output-file", CHOSEN]).await?;
        let text = locate::read_text(&self.directory.join(CHOSEN), MAX_ANSWER)?;
        pylock::read(&text).map_err(|message| self.failed(format!("its answer cannot be understood: {message}")))
    }

    /// The same again, for what the first answer does not say.
    async fn indexes(&self, chosen: &[Chosen]) -> Result<BTreeMap<String, Url>, LockError> {
        const NAME: &str = "chosen.txt";
        let pins = chosen.iter().filter_map(|c| Some(format!("{}=={}\n", c.name, c.version.as_ref()?)));
        let path = self.directory.join(NAME);
        std::fs::write(&path, pins.collect::<String>())
            .map_err(|source| LockError::Write { path: path.clone(), source })?;
        self.compile(&["--emit-index-annotation", "--output-file", NAME]).await?;
        Ok(pylock::indexes(&locate::read_text(&path, MAX_ANSWER)?))
    }

    async fn compile(&self, more: &[&str]) -> Result<(), LockError> {
        let options = self.work.options;
        let mut arguments: Vec<OsString> = ["pip", "compile", "--quiet", "--color", "never"].map(Into::into).into();
        arguments.extend(["--config-file", "uv.toml", "--cache-dir"].map(Into::into));
        arguments.push(options.cache_dir.join("uv").into());
        arguments.extend(["--python-version", &self.python, "--python-platform", self.target].map(Into::into));
        arguments.extend(["--constraints", "constraints.txt", "--excludes", "excluded.txt"].map(Into::into));
        arguments.extend(options.offline.then_some("--offline").map(Into::into));
        arguments.extend(more.iter().map(Into::into));
        arguments.push("pyproject.toml".into());
        match self.uv.run(self.directory, &arguments, options.interrupted).await {
            Ok(()) => Ok(()),
            Err(UvError::Interrupted) => Err(LockError::Interrupted),
            Err(UvError::Failed(message)) => Err(self.failed(message)),
        }
    }

    fn failed(&self, message: String) -> LockError {
        LockError::Uv { environment: self.environment.clone(), platform: self.platform.clone(), message }
    }
}

/// From what uv has chosen to what a lock file says of it.
struct Lookup<'a> {
    work: &'a Work<'a>,
    wanted: &'a Wanted,
    projects: &'a BTreeMap<String, PythonProject>,
    indexes: &'a BTreeMap<String, Url>,
}

impl Lookup<'_> {
    async fn locked(&self, chosen: &Chosen, environment: &str) -> Result<PypiPackageData, LockError> {
        let name = pep508_rs::PackageName::from_str(&chosen.name)
            .map_err(|error| LockError::Document { message: error.to_string() })?;
        if let Some(project) = self.projects.get(&chosen.name) {
            return project::locked(name, project, &self.wanted.pypi);
        }
        let only_pixi = |what: &str| LockError::PypiSource {
            environment: environment.to_owned(),
            package: chosen.name.clone(),
            what: what.to_owned(),
        };
        let Some(wheel) = &chosen.wheel else { return Err(only_pixi("from source")) };
        if !wheel_rank::file_name(&wheel.url).ends_with(".whl") {
            return Err(only_pixi("from source"));
        }
        let options = &self.work.options;
        let source = Source { client: self.work.client, cache_dir: options.cache_dir, offline: options.offline };
        let metadata = source.read(&chosen.name, wheel).await?;
        let version = Version::from_str(chosen.version.as_deref().unwrap_or(&metadata.version))
            .map_err(|error| LockError::Document { message: format!("{}: {error}", chosen.name) })?;
        let location = self.location(chosen, wheel)?;
        let index_url = match (chosen.is_direct, &location) {
            (false, UrlOrPath::Url(_)) => self.index(&chosen.name),
            _ => None,
        };
        Ok(PypiDistributionData {
            name,
            version,
            location: Verbatim::new(location),
            index_url,
            hash: wheel.sha256.map(|sha256| PackageHashes::Sha256((*sha256.as_bytes()).into())),
            requires_dist: metadata.requires_dist,
            requires_python: metadata.requires_python,
        }
        .into())
    }

    /// As pixi writes it: `direct+URL` for what a requirement names, relative paths for files in the workspace.
    fn location(&self, chosen: &Chosen, wheel: &Wheel) -> Result<UrlOrPath, LockError> {
        let text = match wheel.url.to_file_path() {
            Ok(path) if wheel.url.scheme() == "file" => match path.strip_prefix(&self.work.workspace.root) {
                Ok(below) => format!("./{}", below.display()),
                Err(_) => path.display().to_string(),
            },
            _ if chosen.is_direct => format!("direct+{}", wheel.url),
            _ => wheel.url.to_string(),
        };
        text.parse().map_err(|error| LockError::Document { message: format!("{}: {error}", chosen.name) })
    }

    /// As the manifest writes it: uv does not show logins.
    fn index(&self, name: &str) -> Option<Url> {
        let options = &self.wanted.pypi_options;
        let links = options.find_links.iter().filter_map(|link| match link {
            FindLinks::Url(url) => Some(url.clone()),
            FindLinks::Path(_) => None,
        });
        let explicit = self.wanted.pypi.iter().filter_map(|requirement| match &requirement.source {
            PypiSource::Registry { index, .. } => index.clone(),
            _ => None,
        });
        let indexes = options.indexes().into_iter().filter_map(|index| index.parse().ok());
        let known: Vec<Url> = indexes.chain(links).chain(explicit).collect();
        let Some(shown) = self.indexes.get(name) else { return known.into_iter().next() };
        let plain = |url: &Url| without_credentials(url).as_str().trim_end_matches('/').to_owned();
        Some(known.into_iter().find(|url| plain(url) == plain(shown)).unwrap_or_else(|| shown.clone()))
    }
}

/// The target as uv calls it.
fn uv_platform(problem: &Problem) -> Result<&'static str, LockError> {
    let wanted = &problem.together;
    let glibc = wanted.virtual_packages.iter().find(|package| package.name == "__glibc");
    let minor = glibc.and_then(|glibc| glibc.version.as_major_minor()).map_or(28, |(_, minor)| minor);
    let linux =
        |names: &[(u64, &'static str)]| names.iter().rev().find(|(least, _)| *least <= minor).map(|(_, name)| *name);
    let name = match wanted.platform.subdir.as_str() {
        "linux-64" => linux(&X86_64),
        "linux-aarch64" => linux(&AARCH64),
        "osx-64" => Some("x86_64-apple-darwin"),
        "osx-arm64" => Some("aarch64-apple-darwin"),
        "win-64" => Some("x86_64-pc-windows-msvc"),
        "win-arm64" => Some("aarch64-pc-windows-msvc"),
        _ => None,
    };
    name.ok_or_else(|| LockError::PypiPlatform {
        environment: problem.name(),
        platform: wanted.platform.name.clone(),
        glibc: glibc.map(|glibc| glibc.version.to_string()).unwrap_or_default(),
    })
}

/// What uv knows of glibc, by minor version.
const X86_64: [(u64, &str); 12] = [
    (17, "x86_64-manylinux_2_17"),
    (28, "x86_64-manylinux_2_28"),
    (31, "x86_64-manylinux_2_31"),
    (32, "x86_64-manylinux_2_32"),
    (33, "x86_64-manylinux_2_33"),
    (34, "x86_64-manylinux_2_34"),
    (35, "x86_64-manylinux_2_35"),
    (36, "x86_64-manylinux_2_36"),
    (37, "x86_64-manylinux_2_37"),
    (38, "x86_64-manylinux_2_38"),
    (39, "x86_64-manylinux_2_39"),
    (40, "x86_64-manylinux_2_40"),
];
const AARCH64: [(u64, &str); 12] = [
    (17, "aarch64-manylinux_2_17"),
    (28, "aarch64-manylinux_2_28"),
    (31, "aarch64-manylinux_2_31"),
    (32, "aarch64-manylinux_2_32"),
    (33, "aarch64-manylinux_2_33"),
    (34, "aarch64-manylinux_2_34"),
    (35, "aarch64-manylinux_2_35"),
    (36, "aarch64-manylinux_2_36"),
    (37, "aarch64-manylinux_2_37"),
    (38, "aarch64-manylinux_2_38"),
    (39, "aarch64-manylinux_2_39"),
    (40, "aarch64-manylinux_2_40"),
];
