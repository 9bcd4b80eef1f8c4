//! The jobs of a CI for a fleet of workspaces: one for each workspace, environment and architecture.

use std::path::Path;

use serde::Serialize;

use crate::{
    PlannedImage,
    shards::{Shard, Share},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Made of the others, and fit to be the name of a file or artifact.
    pub name: String,
    /// As it was named on the command line.
    pub workspace: String,
    pub environment: String,
    /// `amd64` or `arm64`.
    pub arch: String,
}

/// The jobs of a workspace: one for each of its images.
pub fn jobs(workspace: &Path, images: &[PlannedImage]) -> Vec<Job> {
    let workspace = workspace.display().to_string();
    let place = if workspace == "." { String::new() } else { format!("{}-", workspace.trim_matches('/')) };
    let job = |image: &PlannedImage| {
        let PlannedImage { environment, architecture } = image;
        Job {
            name: format!("{place}{environment}-{architecture}").replace(|c: char| !is_plain(c), "-"),
            workspace: workspace.clone(),
            environment: environment.clone(),
            arch: architecture.to_string(),
        }
    };
    images.iter().map(job).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The job that makes a share of the layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayersJob {
    name: String,
    /// `I/N`
    shard: String,
    layers: usize,
    bytes: u64,
}

/// The jobs of shares that have layers.
pub fn layers_jobs(shares: &[Share]) -> Vec<LayersJob> {
    let of = shares.len();
    let job = |(at, share): (usize, &Share)| {
        let shard = Shard { index: at + 1, of };
        let name = format!("layers-{}-of-{of}", shard.index);
        LayersJob { name, shard: shard.to_string(), layers: share.layers.len(), bytes: share.bytes }
    };
    shares.iter().enumerate().filter(|(_, share)| !share.layers.is_empty()).map(job).collect()
}

/// Jobs in JSON, in one line, because `NAME=VALUE` in $GITHUB_OUTPUT ends with it.
pub fn one_line(jobs: &[impl Serialize]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&serde_json::json!({ "include": jobs }))
}

/// Jobs in YAML, for a pipeline of Woodpecker.
pub fn woodpecker(jobs: &[Job]) -> Result<String, serde_json::Error> {
    let mut text = String::from("matrix:\n  include:");
    if jobs.is_empty() {
        text.push_str(" []");
    }
    for job in jobs {
        // A text of JSON is one of YAML.
        let quoted = |text: &str| serde_json::to_string(text);
        text.push_str(&format!(
            "\n    - WORKSPACE: {}\n      ENVIRONMENT: {}\n      ARCH: {}",
            quoted(&job.workspace)?,
            quoted(&job.environment)?,
            quoted(&job.arch)?
        ));
    }
    Ok(text)
}
