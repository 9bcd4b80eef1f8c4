//! Which staging tags may go.

use pixi_oci_layer::Digest;

use super::*;

fn tag(tag: &str, content: &str, children: &[&str]) -> StagedTag {
    let digest = |text: &&str| Digest::of(text.as_bytes());
    let children = children.iter().map(digest).collect();
    StagedTag { tag: tag.into(), digest: digest(&content), children, is_foreign: content == "apptainer's" }
}

#[test]
fn what_an_index_needs_stays() {
    let tags = [
        tag("1.0.0", "index 1", &["a", "b"]),
        tag("1.0.0-amd64", "a", &[]),
        tag("1.0.0-arm64", "b", &[]),
        // Of an index that has moved on; one image is still in another index.
        tag("sha-1-amd64", "old", &[]),
        tag("sha-1-arm64", "b", &[]),
        // Removing by digest would take `stable` with it.
        tag("x-amd64", "kept", &[]),
        tag("stable", "kept", &[]),
        // Two names of one orphan go together.
        tag("y-amd64", "twice", &[]),
        tag("z-amd64", "twice", &[]),
        // An index of somebody who gave it such a name.
        tag("all-amd64", "index 2", &["c"]),
        tag("-amd64", "odd", &[]),
        tag("theirs-amd64", "apptainer's", &[]),
    ];
    let plan: Vec<(String, Prune)> = prune_plan(&tags, &[]).into_iter().collect();
    let needed = || Prune::NeededBy("1.0.0".into());
    let expected = [
        ("1.0.0-amd64", needed()),
        ("1.0.0-arm64", needed()),
        ("sha-1-amd64", Prune::Remove),
        ("sha-1-arm64", needed()),
        ("theirs-amd64", Prune::Foreign),
        ("x-amd64", Prune::SharedWith("stable".into())),
        ("y-amd64", Prune::Remove),
        ("z-amd64", Prune::Remove),
    ];
    assert_eq!(plan, expected.map(|(tag, decision)| (tag.to_owned(), decision)));
    let plan = prune_plan(&tags, &["y".into()]);
    assert_eq!(plan.into_iter().collect::<Vec<_>>(), [("y-amd64".to_owned(), Prune::SharedWith("z-amd64".into()))]);
}
