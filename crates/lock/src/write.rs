//! From a workspace to a lock file: every environment on every platform at once.
//!
//! ```text
//! Workspace ─▶ Problem… ─▶ conda records ─▶ each environment's own ─▶ NewLock
//! ```
//!
//! A problem is what is solved together: the environments of a solve group, or one environment, on one platform. Where
//! the present lock file is true to the manifest it stays; else its packages are preferred, so that only what has to
//! change does, as with `pixi lock`. The host is asked nothing: what a target has is what the manifest and the caller say.
//! PyPI requirements are pixi's to lock.

mod change;
mod document;
mod error;
mod previous;
mod problem;

pub use change::PackageChange;
pub use error::LockError;

use std::{num::NonZeroUsize, path::Path};

use futures_util::{StreamExt, TryStreamExt, stream};
use rattler_conda_types::{Channel, ChannelUrl, MatchSpec, RepoDataRecord};
use rattler_lock::LockedPackage;
use rattler_solve::TimestampPolicy;
use url::Url;

use crate::{LockFile, Repodata, SolveInput, Wanted, conda_subset};
use document::LockedEnvironment;
use pixi_oci_net::Client;
use pixi_oci_workspace::{ExcludeNewer, Requirement, VirtualPackage, Workspace, write_atomically};
use previous::Previous;
use problem::JointSolve;

/// What a lock file depends on besides the workspace and its channels.
#[derive(Clone, Copy)]
pub struct LockOptions<'a> {
    /// Our cache; repodata is kept in it.
    pub cache_dir: &'a Path,
    /// Whether only the cache and local channels may be read.
    pub offline: bool,
    /// What targets are said to have besides what the manifest declares. It is solved with, and not written down.
    pub assumed: &'a [VirtualPackage],
    pub downloads: NonZeroUsize,
    pub solves: NonZeroUsize,
    /// The present, for `exclude-newer = "7d"`.
    pub now: jiff::Timestamp,
    /// Asked now and then; if it says so, the work ends.
    pub interrupted: &'a (dyn Fn() -> bool + Send + Sync),
    /// Told the environment or solve group, and the platform, that is going to be solved.
    pub on_solving: &'a (dyn Fn(&str, &str) + Send + Sync),
}

/// A lock file that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLock {
    /// The whole file, in the newest format.
    pub text: String,
    /// What is different in the packages from the present lock file.
    pub changes: Vec<PackageChange>,
    /// Whether the text is another one than that of the present lock file.
    pub is_changed: bool,
}

/// Locks a workspace. Nothing is written.
pub async fn lock(workspace: &Workspace, client: &Client, options: LockOptions<'_>) -> Result<NewLock, LockError> {
    let repodata = Repodata::new(client, &options.cache_dir.join("repodata"), options.offline, options.downloads);
    let work = Work { workspace, previous: previous::read(workspace)?, repodata, options };
    let mut environments = Vec::new();
    let mut solved = stream::iter(problem::problems(workspace)?)
        .map(|problem| async {
            let packages = work.packages(&problem).await?;
            Ok::<_, LockError>(problem.members.into_iter().zip(packages))
        })
        .buffered(options.solves.get());
    while let Some(members) = solved.try_next().await? {
        environments.extend(members.map(|(wanted, packages)| LockedEnvironment { wanted, packages }));
    }
    let text = document::render(&environments, workspace)?;
    let before = work.previous.as_ref().map(|previous| previous.text.as_str());
    let new = LockFile::parse(&workspace.lock_path(), &text)?.with_platform_names(&workspace.platforms);
    Ok(NewLock {
        changes: change::between(work.previous.as_ref().map(|previous| &previous.lock), &new),
        is_changed: before != Some(text.as_str()),
        text,
    })
}

/// What all problems are solved with.
struct Work<'a> {
    workspace: &'a Workspace,
    previous: Option<Previous>,
    repodata: Repodata,
    options: LockOptions<'a>,
}

impl Work<'_> {
    /// What each member of a problem gets.
    async fn packages(&self, problem: &JointSolve) -> Result<Vec<Vec<LockedPackage>>, LockError> {
        let options = self.options;
        if let Some(previous) = &self.previous
            && let Some(kept) = previous.kept(self.workspace, problem, options.assumed, options.now)?
        {
            return Ok(kept);
        }
        problem.check()?;
        Ok(chosen(problem, &solve(problem, self).await?))
    }
}

impl NewLock {
    /// Writes the file, so that there is always the whole old or the whole new one.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        write_atomically(path, &self.text).map_err(|source| LockError::Write { path: path.to_owned(), source })
    }
}

async fn solve(problem: &JointSolve, work: &Work<'_>) -> Result<Vec<RepoDataRecord>, LockError> {
    let options = work.options;
    let wanted = &problem.together;
    if wanted.conda.is_empty() {
        return Ok(Vec::new());
    }
    let (environment, platform) = (problem.name(), wanted.platform.name.clone());
    (options.on_solving)(&environment, &platform);
    let input = SolveInput {
        specs: wanted.conda.iter().map(Requirement::match_spec).collect(),
        constraints: wanted.constraints.iter().map(Requirement::match_spec).collect(),
        channels: wanted.options.channels.iter().filter_map(|channel| parse_channel(&channel.url)).collect(),
        subdir: problem::subdir(&wanted.platform)?,
        virtual_packages: VirtualPackage::over(wanted.virtual_packages.iter().chain(options.assumed)),
        channel_priority: wanted.options.channel_priority,
        strategy: wanted.options.solve_strategy,
        exclude_newer: exclude_newer(&wanted.options.exclude_newer, options.now),
        locked: work.previous.as_ref().map(|previous| previous.records(problem)).unwrap_or_default(),
    };
    let solved = work.repodata.solve(&input, options.interrupted).await;
    solved.map_err(|source| LockError::Solve { environment, platform, source: Box::new(source) })
}

/// What each member of a problem has of the solution.
fn chosen(problem: &JointSolve, solution: &[RepoDataRecord]) -> Vec<Vec<LockedPackage>> {
    let own = |member: &Wanted| {
        let specs: Vec<MatchSpec> = member.conda.iter().map(Requirement::match_spec).collect();
        let records =
            if problem.together.solve_group.is_some() { conda_subset(solution, &specs) } else { solution.to_vec() };
        records.into_iter().map(|record| LockedPackage::Conda(record.into())).collect()
    };
    problem.members.iter().map(own).collect()
}

/// The URLs of [`ManifestChannel`]s were made from URLs.
fn parse_channel(url: &str) -> Option<Channel> {
    Some(Channel::from_url(ChannelUrl::from(Url::parse(url).ok()?)))
}

/// As pixi passes it on: packages of which nobody knows when they were uploaded may be used.
fn exclude_newer(wanted: &ExcludeNewer, now: jiff::Timestamp) -> Option<rattler_solve::ExcludeNewer> {
    if wanted.cutoff.is_none() && wanted.channels.is_empty() && wanted.packages.is_empty() {
        return None;
    }
    let cutoff = wanted.cutoff.map_or(jiff::Timestamp::MAX, |cutoff| cutoff.resolve(now));
    let mut exclude = rattler_solve::ExcludeNewer::from_datetime(cutoff);
    exclude = exclude.with_timestamp_policy(TimestampPolicy::AllowMissing);
    for (channel, cutoff) in &wanted.channels {
        exclude = exclude.with_channel_cutoff(channel, cutoff.resolve(now));
    }
    for (package, cutoff) in &wanted.packages {
        // Deprecated for users of the solver; pixi's manifests still have it, with just this meaning.
        #[allow(deprecated)]
        {
            let name = rattler_conda_types::PackageName::new_unchecked(package);
            exclude = exclude.with_package_cutoff(name, cutoff.resolve(now));
        }
    }
    Some(exclude)
}
