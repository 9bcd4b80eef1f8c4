//! The packages that channels offer: rattler's gateway (sharded repodata, zst, bz2, plain JSON, local directories), with our
//! client and our cache.

use std::{num::NonZeroUsize, path::Path};

use rattler_conda_types::{Channel, MatchSpec, PackageName, PackageNameMatcher, RepoDataRecord, Subdir};
use rattler_repodata_gateway::{
    ChannelConfig, Gateway, GatewayError, RepoData, SourceConfig,
    fetch::{CacheAction, FetchRepoDataError},
};

use super::{error::SolveError, guard::Guard, input::SolveInput, problem};
use pixi_oci_net::{Client, cause, redact, redact_text};

/// Reads channels; what was read once is kept for as long as this lives, and on disk.
#[derive(Clone)]
pub struct Repodata {
    gateway: Gateway,
    offline: bool,
}

/// Shards read from disk at a time, far below the usual limit of open files.
const CONCURRENT_READS: usize = 100;
const SUGGESTIONS: usize = 3;

impl Repodata {
    /// A reader with its cache in `directory`, that asks so many things at a time. Offline, only the cache and local
    /// channels are read, however old they are.
    pub fn new(client: &Client, directory: &Path, offline: bool, requests: NonZeroUsize) -> Self {
        let cache_action = if offline { CacheAction::ForceCacheOnly } else { CacheAction::CacheOrFetch };
        let default = SourceConfig { cache_action, missing_shards_are_empty: offline, ..SourceConfig::default() };
        let gateway = Gateway::builder()
            .with_client(client.http_behind(Guard::new(client.patience())))
            .with_cache_dir(directory)
            .with_channel_config(ChannelConfig { default, ..ChannelConfig::default() })
            .with_max_concurrent_requests(requests.get())
            .with_max_concurrent_io(CONCURRENT_READS)
            .finish();
        Self { gateway, offline }
    }

    /// Chooses packages. The answer is sorted by name.
    ///
    /// `interrupted` is asked now and then, and ends the work.
    pub async fn solve(
        &self,
        input: &SolveInput,
        interrupted: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Vec<RepoDataRecord>, SolveError> {
        let candidates = problem::until(interrupted, self.candidates(input)).await??;
        problem::solve(input, candidates, interrupted).await
    }

    /// All records that the solve could want.
    async fn candidates(&self, input: &SolveInput) -> Result<Vec<RepoData>, SolveError> {
        let found = self.query(input, input.specs.clone(), true).await?;
        for name in required_names(&input.specs) {
            if !found.iter().flat_map(RepoData::iter).any(|record| record.package_record.name == *name) {
                return Err(self.missing(input, name).await);
            }
        }
        Ok(found)
    }

    async fn query(
        &self,
        input: &SolveInput,
        specs: Vec<MatchSpec>,
        recursive: bool,
    ) -> Result<Vec<RepoData>, SolveError> {
        let query = self.gateway.query(input.channels.clone(), subdirs(input), specs).recursive(recursive);
        Ok(query.await.map_err(|error| self.unreadable(input, &error))?.repodata)
    }

    /// Why nothing was found for a name: no such package, or no such version.
    async fn missing(&self, input: &SolveInput, name: &PackageName) -> SolveError {
        let any = MatchSpec { name: PackageNameMatcher::Exact(name.clone()), ..MatchSpec::default() };
        let found = match self.query(input, vec![any], false).await {
            Ok(found) => found,
            Err(error) => return error,
        };
        let mut versions: Vec<_> =
            found.iter().flat_map(RepoData::iter).map(|record| record.package_record.version.clone()).collect();
        versions.sort();
        versions.dedup();
        if versions.is_empty() {
            return SolveError::UnknownPackage {
                name: name.as_source().to_owned(),
                channels: channel_names(&input.channels),
                similar: self.similar(input, name.as_normalized()).await,
            };
        }
        let of_name = |spec: &&MatchSpec| matches!(&spec.name, PackageNameMatcher::Exact(known) if known == name);
        let specs: Vec<_> = input.specs.iter().filter(of_name).map(|spec| redact_text(&spec.to_string())).collect();
        SolveError::NoSuchVersion {
            name: name.as_source().to_owned(),
            spec: specs.join("`, `"),
            versions: versions.iter().rev().map(ToString::to_string).collect(),
        }
    }

    /// Names of the channels that look like one; none if they cannot be had.
    async fn similar(&self, input: &SolveInput, name: &str) -> Vec<String> {
        let Ok(names) = self.gateway.names(input.channels.clone(), subdirs(input)).await else { return Vec::new() };
        let mut scored: Vec<(f64, String)> = names
            .into_iter()
            .map(|other| (strsim::jaro_winkler(name, other.as_normalized()), other.as_normalized().to_owned()))
            .filter(|(score, _)| *score > 0.85)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        scored.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
    }

    fn unreadable(&self, input: &SolveInput, error: &GatewayError) -> SolveError {
        let not_cached = match error {
            GatewayError::ShardedIndexNotCached(_) | GatewayError::ShardNotCached(_) => true,
            GatewayError::FetchRepoDataError(error) => matches!(error, FetchRepoDataError::NoCacheAvailable(_)),
            _ => false,
        };
        let hint = match (self.offline, not_cached) {
            (true, true) => Some("; it is not in the cache: run once without `--offline`"),
            _ => None,
        };
        SolveError::Repodata {
            channels: channel_names(&input.channels),
            message: cause(error).replace('\n', " "),
            hint,
        }
    }
}

fn subdirs(input: &SolveInput) -> [Subdir; 2] {
    [input.subdir, Subdir::NoArch]
}

/// What is required by a plain name, virtual packages aside: those are not the channels' to have.
fn required_names(specs: &[MatchSpec]) -> impl Iterator<Item = &PackageName> {
    specs.iter().filter(|spec| spec.condition.is_none()).filter_map(|spec| match &spec.name {
        PackageNameMatcher::Exact(name) if !name.as_normalized().starts_with("__") => Some(name),
        _ => None,
    })
}

/// The channels as they may be shown.
pub(super) fn channel_names(channels: &[Channel]) -> Vec<String> {
    channels.iter().map(|channel| redact(channel.base_url.as_str().trim_end_matches('/'))).collect()
}
