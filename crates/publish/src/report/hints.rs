//! What to do about each refusal that a pipeline can tell apart by its name.

/// Every name with what to do about it. Names are API: they stay, and docs/publishing.md has the same table.
const HINTS: [(&str, &str); 18] = [
    (
        "empty-token",
        "set REGISTRY_TOKEN (for the first registry; REGISTRY_TOKEN_<HOST> for others), configure `token-command`, or log in with `podman login` or `docker login`",
    ),
    ("registry-down", "check the host name, the network and the proxy; nothing was published, so try again later"),
    ("not-a-registry", "check the host name; a web page answers where a registry should"),
    ("auth-denied", "check the user, and that the token may write packages to this repository"),
    ("no-repository", "create the owner, project or repository at the registry, or correct its name"),
    ("arch-missing", "publish every architecture in this run first, or say with --arch which ones are enough"),
    ("tag-exists", "a version is published once; raise the version, or choose another tag"),
    ("dev-tag", "say which release it is with VERSION=1.2.3, or choose another --tag"),
    ("rate-limited", "try again later; what was sent is kept"),
    ("quota", "delete old images, or ask for more storage"),
    (
        "digest-mismatch",
        "what is stored or sent is not what its digest says; try again with PIXI_OCI_LAYER_CACHE_SIZE=0, and if that does not help, report it to the registry's operators",
    ),
    ("disk-full", "free space on this machine, or raise the limit of file sizes (`ulimit -f`), then try again"),
    ("too-large", "raise the limit of the proxy before the registry, or upload in pieces with `chunk-size`"),
    ("pull-request", "pipelines of pull requests publish nothing; leave out --publish and PUBLISH there"),
    ("unpinned-base", "a release must not change with its base; pin it by digest"),
    ("unpinned-package", "a release must not change with what is at a path or URL; pin the package by its sha256"),
    ("dirty", "commit or stash what was changed; a development version can be published with --tag NAME"),
    ("leg-mismatch", "join only results of one pipeline run"),
];

/// What to do about the blocker of this name.
pub fn hint(blocker: &str) -> Option<&'static str> {
    HINTS.iter().find(|(name, _)| *name == blocker).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::HINTS;

    #[test]
    fn the_documentation_has_the_same_names() {
        let page = include_str!("../../../../docs/publishing.md");
        let documented: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `BLOCKER(")?.split_once(")`").map(|(name, _)| name))
            .collect();
        assert_eq!(documented, HINTS.map(|(name, _)| name));
    }
}
