//! `conda-meta/NAME-VERSION-BUILD.json`: what a conda package has, with digests.

use serde::Deserialize;

use super::{Claim, Claims, Comparison, Facts, record, table::Table};
use crate::report::{PackageKind, PackageRecord, Rule, printable};

#[derive(Deserialize)]
struct Record {
    name: String,
    version: String,
    build: String,
    sha256: Option<String>,
    paths_data: PathsData,
}

#[derive(Deserialize)]
struct PathsData {
    paths: Vec<PathRecord>,
}

#[derive(Deserialize)]
struct PathRecord {
    #[serde(rename = "_path")]
    path: String,
    /// The path in the package, if it is another.
    original_path: Option<String>,
    path_type: String,
    sha256: Option<String>,
    sha256_in_prefix: Option<String>,
}

/// Reads a record; its package and paths are added. The record itself is accounted for if it can be read.
pub(super) fn read(
    facts: &Facts<'_>,
    path: &[u8],
    bytes: &[u8],
    table: &Table,
    packages: &mut Vec<PackageRecord>,
    claims: &mut Claims,
    found: &mut Comparison<'_>,
) {
    let record: Record = match serde_json::from_slice(bytes) {
        Ok(record) => record,
        Err(error) => {
            let text = format!("is no record of a package: {}", printable(error.to_string().as_bytes()));
            return found.path(Rule::Inventory, path, &text);
        }
    };
    let label = format!("{} {} {}", record.name, record.version, record.build);
    let label = printable(label.as_bytes());
    let place = format!("{}/conda-meta/{}-{}-{}.json", facts.prefix, record.name, record.version, record.build);
    if place.as_bytes() != path {
        return found.path(Rule::Inventory, path, &format!("is the record of {label}, which has another place"));
    }
    let sha256 = record.sha256.as_deref().filter(|text| record::from_hex(text).is_some());
    let Some(sha256) = sha256 else {
        return found.path(Rule::Inventory, path, "does not say the package's sha256");
    };
    for listed in record.paths_data.paths {
        let Some(at) = record::join(facts.prefix, &listed.path).filter(|at| at.starts_with(facts.prefix)) else {
            found.path(
                Rule::Inventory,
                path,
                &format!("lists {:?}, outside of the prefix", printable(listed.path.as_bytes())),
            );
            continue;
        };
        let claim = match listed.path_type.as_str() {
            "directory" => Claim::Directory,
            "softlink" => {
                let own = listed.original_path.as_deref().unwrap_or(&listed.path);
                Claim::Link { target: table.link(sha256, own).map(str::to_owned) }
            }
            _ => {
                let digest = listed.sha256_in_prefix.or(listed.sha256).and_then(|text| record::from_hex(&text));
                if digest.is_none() {
                    let text = format!("lists {:?} without its digest", printable(listed.path.as_bytes()));
                    found.path(Rule::Inventory, path, &text);
                }
                // No file has this one.
                Claim::File { sha256: Some(digest.unwrap_or_default()) }
            }
        };
        claims.entry(at).or_default().push((label.clone(), claim));
    }
    // It follows from the archive; without the archive, what it says is compared with the files, and with the lock file.
    claims.entry(place).or_default().push((label, Claim::File { sha256: None }));
    packages.push(PackageRecord {
        kind: PackageKind::Conda,
        name: printable(record.name.as_bytes()),
        version: printable(record.version.as_bytes()),
        build: Some(printable(record.build.as_bytes())),
        sha256: Some(sha256.to_owned()),
    });
}
