//! What a verification with runs says: the verdict, and all that is needed to understand and repeat it.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was looked at and is right.
    Passed,
    /// It could not be looked at.
    NotRun,
    /// It was looked at and is wrong.
    Failed,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict<T: Serialize> {
    /// The worst of the structure and all runs.
    pub verdict: Outcome,
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_file: Option<String>,
    /// What was recomputed without running anything.
    #[serde(flatten)]
    pub structure: T,
    #[serde(flatten)]
    pub ran: Runs,
}

impl<T: Serialize> Verdict<T> {
    pub fn new(subject: String, lock_file: Option<String>, structure: T, sound: bool, runs: Option<Runs>) -> Self {
        let of_structure = if sound { Outcome::Passed } else { Outcome::Failed };
        let ran = runs.unwrap_or_default();
        let verdict = ran.runs.iter().map(|run| run.outcome).fold(of_structure, Outcome::max);
        Self { verdict, subject, lock_file, structure, ran }
    }
}

/// All runs, and how they were made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Runs {
    /// One for each architecture; none if nothing was to be run, or the structure is wrong.
    pub runs: Vec<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// What was run on one architecture, or why not.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// `linux/amd64`
    pub platform: String,
    /// The digest of the image manifest of the image that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub emulated: bool,
    /// What ran in the container, with its arguments; empty for the image's own command.
    pub command: Vec<String>,
    /// The exact command that ran it on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub podman: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// From the start of podman to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The last lines of stderr.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// Where stdout is, from the report's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Where stderr is, from the report's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::NotRun => "not run",
        };
        let emulated = if self.emulated && self.outcome != Outcome::NotRun { " under QEMU" } else { "" };
        let time = self.seconds.map(|seconds| format!(" in {seconds:.1} s")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        write!(f, "{}: {how}{emulated}{time}{reason}", self.platform)
    }
}

/// The programs that a verification depends on, with versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    pub pixi_oci: String,
    pub podman: String,
    pub runtime: String,
    pub kernel: String,
}

/// What containers were denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolation {
    /// Whether a container that breaks out is an ordinary user.
    pub rootless: bool,
    pub network: &'static str,
    /// The user and group in the container.
    pub user: String,
    pub read_only_root: bool,
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
}
