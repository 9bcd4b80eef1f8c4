//! What CI systems say, as their documentation has it.

use pixi_oci_project::VersionFacts;

use super::*;

fn context(variables: &[(&str, &str)]) -> Option<CiContext> {
    ci_context(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn event(variables: &[(&str, &str)]) -> CiEvent {
    context(variables).unwrap().event
}

#[test]
fn tags_branches_and_pull_requests_of_every_system() {
    let tag = || CiEvent::Tag("v1.2.3".into());
    let branch = || CiEvent::Branch("main".into());
    let pull = |name: &str| CiEvent::PullRequest(name.into());
    let actions = ("GITHUB_ACTIONS", "true");
    let gitlab = ("GITLAB_CI", "true");
    let woodpecker = ("CI", "woodpecker");
    for (variables, expected) in [
        (&[actions, ("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/tags/v1.2.3")][..], tag()),
        (&[actions, ("GITHUB_EVENT_NAME", "release"), ("GITHUB_REF", "refs/tags/v1.2.3")], tag()),
        (&[actions, ("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")], branch()),
        (&[actions, ("GITHUB_EVENT_NAME", "schedule"), ("GITHUB_REF", "refs/heads/main")], branch()),
        (
            &[
                actions,
                ("GITHUB_EVENT_NAME", "pull_request"),
                ("GITHUB_REF", "refs/pull/7/merge"),
                ("GITHUB_HEAD_REF", "fix"),
            ],
            pull("fix"),
        ),
        // The base branch, for somebody else's change.
        (
            &[
                actions,
                ("GITHUB_EVENT_NAME", "pull_request_target"),
                ("GITHUB_REF", "refs/heads/main"),
                ("GITHUB_REF_NAME", "main"),
            ],
            pull("main"),
        ),
        (
            &[actions, ("GITHUB_EVENT_NAME", "merge_group"), ("GITHUB_REF", "refs/heads/gh-readonly-queue/main/pr-1")],
            pull("refs/heads/gh-readonly-queue/main/pr-1"),
        ),
        (&[actions, ("GITHUB_REF", "refs/pull/7/head")], pull("refs/pull/7/head")),
        (&[actions], CiEvent::Unknown),
        (&[gitlab, ("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_TAG", "v1.2.3")], tag()),
        (&[gitlab, ("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_BRANCH", "main")], branch()),
        (&[gitlab, ("CI_PIPELINE_SOURCE", "merge_request_event"), ("CI_MERGE_REQUEST_IID", "7")], pull("7")),
        (&[gitlab, ("CI_MERGE_REQUEST_IID", "7"), ("CI_COMMIT_BRANCH", "main")], pull("7")),
        (&[woodpecker, ("CI_PIPELINE_EVENT", "tag"), ("CI_COMMIT_TAG", "v1.2.3"), ("CI_COMMIT_BRANCH", "main")], tag()),
        (&[woodpecker, ("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_BRANCH", "main")], branch()),
        (&[woodpecker, ("CI_PIPELINE_EVENT", "cron"), ("CI_COMMIT_BRANCH", "main")], branch()),
        (
            &[
                woodpecker,
                ("CI_PIPELINE_EVENT", "pull_request"),
                ("CI_COMMIT_BRANCH", "main"),
                ("CI_COMMIT_PULL_REQUEST", "7"),
            ],
            pull("7"),
        ),
        (
            &[
                woodpecker,
                ("CI_PIPELINE_EVENT", "pull_request_closed"),
                ("CI_COMMIT_BRANCH", "main"),
                ("CI_COMMIT_SOURCE_BRANCH", "fix"),
            ],
            pull("fix"),
        ),
        // Set to nothing is not set.
        (&[woodpecker, ("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_TAG", ""), ("CI_COMMIT_BRANCH", "main")], branch()),
        (&[("CI_COMMIT_TAG", "v1.2.3")], tag()),
    ] {
        assert_eq!(event(variables), expected, "{variables:?}");
    }
    assert_eq!(context(&[]), None);
    assert_eq!(context(&[("CI", "true")]), None);
    assert_eq!(context(&[actions, ("GITHUB_SHA", SHA)]).unwrap().sha.as_deref(), Some(SHA));
    assert_eq!(context(&[actions, ("GITHUB_SHA", "../../x")]).unwrap().sha, None);
}

#[test]
fn no_environment_of_a_pull_request_is_taken_for_anything_else() {
    // Whatever else is set.
    let marks: [&[(&str, &str)]; 4] = [
        &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request")],
        &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request_target")],
        &[("GITLAB_CI", "true"), ("CI_PIPELINE_SOURCE", "merge_request_event")],
        &[("CI", "woodpecker"), ("CI_PIPELINE_EVENT", "pull_request")],
    ];
    let others = [
        ("CI_COMMIT_TAG", "1.2.3"),
        ("CI_COMMIT_BRANCH", "main"),
        ("GITHUB_REF", "refs/tags/1.2.3"),
        ("GITHUB_SHA", SHA),
    ];
    for mark in marks {
        for bits in 0..1 << others.len() {
            let set = others.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, pair)| *pair);
            let variables: Vec<(&str, &str)> = mark.iter().copied().chain(set).collect();
            assert!(matches!(event(&variables), CiEvent::PullRequest(_)), "{variables:?}");
        }
    }
}

#[test]
fn what_was_said_wins_over_ci_and_ci_over_git() {
    let ci = |event| Some(CiContext { system: "test", event, sha: None });
    let facts = VersionFacts {
        said: Some("v1.0.0".into()),
        ci: ci(CiEvent::Tag("v2.0.0".into())),
        described: Some("3.0.0".into()),
        branch: Some("dev".into()),
        ..VersionFacts::default()
    };
    let found = |facts: &VersionFacts| facts.version(VersionScheme::default()).map(|version| version.to_string());
    assert_eq!(found(&facts).as_deref(), Some("1.0.0"));
    assert_eq!(found(&VersionFacts { said: Some(" ".into()), ..facts.clone() }).as_deref(), Some("2.0.0"));
    let unsaid = VersionFacts { said: None, ..facts };
    let of = |event| found(&VersionFacts { ci: ci(event), ..unsaid.clone() });
    assert_eq!(of(CiEvent::Branch("main".into())).as_deref(), Some("branch main"));
    assert_eq!(of(CiEvent::Unknown), None);
    assert_eq!(found(&VersionFacts { ci: None, ..unsaid.clone() }).as_deref(), Some("3.0.0"));
    assert_eq!(found(&VersionFacts { ci: None, described: None, ..unsaid }).as_deref(), Some("branch dev"));
    assert_eq!(found(&VersionFacts::default()), None);
}
