//! What a CI system says of the commit that it runs on.

/// Why a pipeline runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CiEvent {
    /// A tag was pushed: its name.
    Tag(String),
    /// A branch was pushed, or the pipeline was started by hand or by a timer: the branch's name.
    Branch(String),
    /// For a change that is not merged yet: the branch or number. Nothing is ever pushed then.
    PullRequest(String),
    /// It does not say.
    Unknown,
}

/// What a CI system says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiContext {
    /// Its name, for messages.
    pub system: &'static str,
    /// Why the pipeline runs.
    pub event: CiEvent,
    /// The commit, as hexadecimal digits.
    pub sha: Option<String>,
}

/// Reads the variables of GitHub, Gitea and Forgejo Actions, GitLab, and Woodpecker (and what has its variables). `get`
/// gives a variable of the environment; an empty one counts as none.
///
/// Sources: docs.github.com "Default environment variables"; docs.gitlab.com "Predefined CI/CD variables";
/// woodpecker-ci.org "Environment variables".
pub fn ci_context(get: &dyn Fn(&str) -> Option<String>) -> Option<CiContext> {
    let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    if get("GITHUB_ACTIONS").is_some() {
        return Some(actions(&get));
    }
    if get("GITLAB_CI").is_some() {
        return Some(gitlab(&get));
    }
    // A tag alone counts as well: the contract names this variable, and other systems have it too.
    if get("CI_PIPELINE_EVENT").is_some()
        || get("CI_COMMIT_TAG").is_some()
        || get("CI").as_deref() == Some("woodpecker")
    {
        return Some(woodpecker(&get));
    }
    None
}

type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// GitHub's variables, which Gitea's and Forgejo's runners have as well.
fn actions(get: Get<'_>) -> CiContext {
    let reference = get("GITHUB_REF").unwrap_or_default();
    let event = get("GITHUB_EVENT_NAME").unwrap_or_default();
    let name = get("GITHUB_HEAD_REF").or_else(|| get("GITHUB_REF_NAME")).unwrap_or_else(|| reference.clone());
    // `pull_request_target` runs on the base branch, with its secrets, for somebody else's change; a merge group is a
    // change that is not merged yet.
    let unmerged = event.starts_with("pull_request") || event == "merge_group" || reference.starts_with("refs/pull/");
    let event = if unmerged {
        CiEvent::PullRequest(name)
    } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
        CiEvent::Tag(tag.to_owned())
    } else if let Some(branch) = reference.strip_prefix("refs/heads/") {
        CiEvent::Branch(branch.to_owned())
    } else {
        CiEvent::Unknown
    };
    CiContext { system: "GitHub Actions", event, sha: sha(get("GITHUB_SHA")) }
}

fn gitlab(get: Get<'_>) -> CiContext {
    let source = get("CI_PIPELINE_SOURCE").unwrap_or_default();
    let request = get("CI_MERGE_REQUEST_IID");
    let unmerged =
        matches!(source.as_str(), "merge_request_event" | "external_pull_request_event") || request.is_some();
    let event = if unmerged {
        let branch = get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME").or(request);
        CiEvent::PullRequest(branch.unwrap_or_else(|| "merge request".into()))
    } else {
        tag_or_branch(get)
    };
    CiContext { system: "GitLab CI", event, sha: sha(get("CI_COMMIT_SHA")) }
}

fn woodpecker(get: Get<'_>) -> CiContext {
    let event = get("CI_PIPELINE_EVENT").or_else(|| get("CI_BUILD_EVENT")).unwrap_or_default();
    let request = get("CI_COMMIT_PULL_REQUEST");
    // `pull_request`, `pull_request_closed`, `pull_request_metadata`: CI_COMMIT_BRANCH is then the branch to merge into.
    let event = if event.starts_with("pull_request") || (event.is_empty() && request.is_some()) {
        let branch = get("CI_COMMIT_SOURCE_BRANCH").or(request);
        CiEvent::PullRequest(branch.unwrap_or_else(|| "pull request".into()))
    } else {
        tag_or_branch(get)
    };
    CiContext { system: "Woodpecker CI", event, sha: sha(get("CI_COMMIT_SHA")) }
}

fn tag_or_branch(get: Get<'_>) -> CiEvent {
    match (get("CI_COMMIT_TAG"), get("CI_COMMIT_BRANCH")) {
        (Some(tag), _) => CiEvent::Tag(tag),
        (None, Some(branch)) => CiEvent::Branch(branch),
        (None, None) => CiEvent::Unknown,
    }
}

/// Only what can be a commit: it becomes a tag.
fn sha(text: Option<String>) -> Option<String> {
    text.map(|text| text.to_ascii_lowercase())
        .filter(|text| (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()))
}
