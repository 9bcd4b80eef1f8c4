//! Which conda packages are Python packages.

use rattler_conda_types::RepoDataRecord;

/// Writes down of each record which Python package it is, where the channel does not say: pixi refuses a lock file of an
/// environment with Python packages in which a conda package says nothing of that.
///
/// A package of conda-forge that depends on Python is taken for the Python package of its name, as pixi does for what its
/// mapping does not have. The mapping itself is a service in the network, and is not asked.
pub(in super::super) fn with_purls(mut records: Vec<RepoDataRecord>) -> Vec<RepoDataRecord> {
    for record in &mut records {
        let is_forge = record.url.path().contains("/conda-forge/");
        let package = &mut record.package_record;
        if package.purls.is_some() {
            continue;
        }
        let is_python =
            |text: &String| matches!(text.split([' ', '=', '<', '>']).next(), Some("python" | "python_abi"));
        let is_one = is_forge && package.depends.iter().any(is_python);
        let purl = is_one.then(|| format!("pkg:pypi/{}", package.name.as_normalized()));
        package.purls = Some(purl.into_iter().filter_map(|purl| purl.parse().ok()).collect());
    }
    records
}
