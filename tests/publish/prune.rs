//! `pixi-oci prune`

use pixi_oci_test_registry::checker;

use super::*;

#[test]
fn only_what_no_index_needs_is_removed() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    let release = publish(&sandbox, "1.0.0", &["--publish", "--to", &to]).success();
    write(&sandbox, "2");
    publish(&sandbox, "1.1.0-dev", &["--publish", "--to", &to]).success();
    write(&sandbox, "3");
    // A leg that nobody joined.
    publish(&sandbox, "1.2.0-dev", &["--publish", "--to", &to, "--arch", "amd64", "--leg-file", "x.json"]).success();
    let prune = |arguments: &[&str]| sandbox.run(&[&["prune", "--to", &to], arguments].concat()).success();
    let only = prune(&["--tag", "1.0.0", "-v"]);
    assert_eq!(only.stdout, "");
    assert!(only.stderr.contains("1.0.0-amd64 stays: the index 1.0.0 needs its image"), "{}", only.stderr);
    let before = registry.requests().len();
    let dry = prune(&[]);
    assert!(dry.stdout.contains("app:1.2.0-dev-amd64@sha256:") && dry.stdout.lines().count() == 1, "{}", dry.stdout);
    assert_eq!(mutations(&registry.requests()[before..]), Vec::<&String>::new());
    assert_eq!(prune(&["--delete"]).stdout, dry.stdout);
    let found = checker::check(&registry.address).sound();
    assert!(!found.tags.contains_key("app:1.2.0-dev-amd64"), "{:?}", found.tags);
    assert_eq!(found.tags.len(), 7, "{:?}", found.tags);
    assert_eq!(found.tags["app:1.0.0"], digest(&release));
    assert_eq!(prune(&["--delete"]).stdout, "");
}
