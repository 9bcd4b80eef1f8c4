//! The choice itself: resolvo, on a thread of its own, because it computes and does not wait.

use std::{future::Future, pin::pin, time::Duration};

use rattler_conda_types::RepoDataRecord;
use rattler_repodata_gateway::RepoData;
use rattler_solve::{CancellationToken, ChannelRepoData, SolverImpl, SolverTask, resolvo};

use super::{error::SolveError, input::SolveInput};
use pixi_oci_net::redact_text;
use pixi_oci_workspace::VirtualPackage;

/// How often somebody who wants the work to end is listened to.
const LISTEN: Duration = Duration::from_millis(100);

pub(super) async fn solve(
    input: &SolveInput,
    candidates: Vec<RepoData>,
    interrupted: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Vec<RepoDataRecord>, SolveError> {
    let token = CancellationToken::new();
    let (task_input, task_token) = (input.clone(), token.clone());
    let work = tokio::task::spawn_blocking(move || choose(&task_input, &candidates, task_token));
    match until(interrupted, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(SolveError::Solver { message: error.to_string() }),
        Err(error) => {
            token.cancel();
            Err(error)
        }
    }
}

/// Waits for work, but no longer than it is wanted.
pub(crate) async fn until<T>(
    interrupted: &(dyn Fn() -> bool + Send + Sync),
    work: impl Future<Output = T>,
) -> Result<T, SolveError> {
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(LISTEN, &mut work).await {
            Ok(result) => return Ok(result),
            Err(_) if interrupted() => return Err(SolveError::Interrupted),
            Err(_) => {}
        }
    }
}

fn choose(
    input: &SolveInput,
    candidates: &[RepoData],
    token: CancellationToken,
) -> Result<Vec<RepoDataRecord>, SolveError> {
    let repodata = candidates
        .iter()
        .map(|data| ChannelRepoData { records: data.iter().collect::<Vec<_>>(), multi_channel: data.multi_channel() });
    let task = SolverTask {
        specs: input.specs.clone(),
        constraints: input.constraints.clone(),
        locked_packages: input.locked.iter().collect(),
        virtual_packages: input.virtual_packages.iter().filter_map(VirtualPackage::generic).collect(),
        channel_priority: input.channel_priority,
        strategy: input.strategy,
        exclude_newer: input.exclude_newer.clone(),
        cancellation_token: Some(token),
        ..repodata.collect()
    };
    let solution = resolvo::Solver.solve(task).map_err(|error| match error {
        rattler_solve::SolveError::Unsolvable(reasons) => {
            SolveError::Conflict { explanation: redact_text(reasons.join("\n").trim_end()) }
        }
        rattler_solve::SolveError::Cancelled => SolveError::Interrupted,
        other => SolveError::Solver { message: redact_text(&other.to_string()) },
    })?;
    let mut records = solution.records;
    records.sort_by(|a, b| a.package_record.name.cmp(&b.package_record.name));
    Ok(records)
}
