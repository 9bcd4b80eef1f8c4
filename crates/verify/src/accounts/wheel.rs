//! `NAME-VERSION.dist-info/RECORD`: what a wheel has, with digests.

use std::collections::BTreeMap;

use pixi_oci_formats::layer_table;

use super::{Claim, Claims, Comparison, Everything, Facts, record};
use crate::report::{PackageKind, PackageRecord, Rule, printable};

/// Begins the labels of wheels.
pub(super) const KIND: &str = "pypi:";
/// Those that cannot have their own digest in `RECORD`.
const UNHASHED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Reads a `RECORD`; its wheel and paths are added.
pub(super) fn read(
    facts: &Facts<'_>,
    path: &[u8],
    bytes: &[u8],
    everything: &Everything<'_>,
    packages: &mut Vec<PackageRecord>,
    claims: &mut Claims,
    found: &mut Comparison<'_>,
) {
    let Ok(own) = std::str::from_utf8(path) else {
        return found.path(Rule::Inventory, path, "is no path of a wheel");
    };
    let dist_info = own.strip_suffix("/RECORD").unwrap_or_default();
    let (site_packages, directory) = dist_info.rsplit_once('/').unwrap_or(("", dist_info));
    let named = directory.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-'));
    let (Some((name, version)), true) = (named, site_packages.starts_with(facts.prefix)) else {
        return found.path(Rule::Inventory, path, "is not the RECORD of a wheel below the prefix");
    };
    let label = printable(format!("{KIND}{name} {version}").as_bytes());
    let Some(rows) = std::str::from_utf8(bytes).ok().and_then(rows) else {
        return found.path(Rule::Inventory, path, "is no RECORD: it is not comma-separated values in three columns");
    };
    for [listed, hash, _] in rows {
        // Scripts that the installer makes anew stay in the list under the wheel's own name for them.
        if listed.split('/').next().is_some_and(|first| first.ends_with(".data")) {
            continue;
        }
        let at = record::join(site_packages, &listed).filter(|at| at.starts_with(facts.prefix));
        let Some(at) = at.map(|at| follow(at, everything)) else {
            let text = format!("lists {:?}, outside of the prefix", printable(listed.as_bytes()));
            found.path(Rule::Inventory, path, &text);
            continue;
        };
        let may_be_bare = UNHASHED.iter().any(|name| at == format!("{dist_info}/{name}"));
        let sha256 = match hash.strip_prefix("sha256=") {
            // No file has this one.
            Some(text) => Some(record::from_base64(text).unwrap_or_default()),
            None if !hash.is_empty() || may_be_bare => None,
            None => Some(Default::default()),
        };
        claims.entry(at).or_default().push((label.clone(), Claim::File { sha256 }));
    }
    packages.push(PackageRecord {
        kind: PackageKind::Pypi,
        name: printable(normalised(name).as_bytes()),
        version: printable(version.as_bytes()),
        build: None,
        sha256: None,
    });
}

/// Lets the table say what the list of one wheel, whose label it has, does not: builders forget files and write wrong hashes.
pub(super) fn correct(
    facts: &Facts<'_>,
    label: &str,
    files: &BTreeMap<String, String>,
    claims: &mut Claims,
    found: &mut Comparison<'_>,
) {
    let name = |label: &str| Some(normalised(label.strip_prefix(KIND)?.split(' ').next()?));
    let is_its = |own: &str| name(own).is_some() && name(own) == name(label);
    let Some(own) = claims.values().flatten().map(|(own, _)| own).find(|own| is_its(own)).cloned() else {
        if !files.is_empty() {
            let text = format!("accounts for files of {}, which is not in this layer", printable(label.as_bytes()));
            found.path(Rule::Inventory, layer_table::PLACE.as_bytes(), &text);
        }
        return;
    };
    for (path, digest) in files {
        let claimed = claims.entry(format!("{}/{path}", facts.prefix)).or_default();
        claimed.retain(|(package, _)| !is_its(package));
        // No file has the other one.
        let sha256 = digest.strip_prefix("sha256:").and_then(record::from_hex).unwrap_or_default();
        claimed.push((own.clone(), Claim::File { sha256: Some(sha256) }));
    }
    if !files.is_empty() {
        let text = format!("{own}: {} files accounted for by the table, not by the wheel", files.len());
        found.findings.notice(Rule::Inventory, &found.layer.report.digest, text);
    }
}

/// A name as lock files have it (PEP 503).
fn normalised(name: &str) -> String {
    let lower = name.to_lowercase().replace(['_', '.'], "-");
    let parts: Vec<_> = lower.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// The path without links of packages above it (`lib64 -> lib`).
fn follow(path: String, everything: &Everything<'_>) -> String {
    let mut path = path;
    for _ in 0..MAX_LINKS {
        let above = path.match_indices('/').map(|(at, _)| at);
        let link = above.filter_map(|at| Some((at, everything.links.get(&path.as_bytes()[..at])?))).next();
        let Some((at, target)) = link else { break };
        let directory = path[..at].rsplit_once('/').map_or("", |(directory, _)| directory);
        let target = std::str::from_utf8(target).ok().and_then(|target| match target.strip_prefix('/') {
            Some(absolute) => record::join("", absolute),
            None => record::join(directory, target),
        });
        let Some(target) = target else { break };
        path = format!("{target}{}", &path[at..]);
    }
    path
}

/// Comma-separated values (RFC 4180) of three columns.
fn rows(text: &str) -> Option<Vec<[String; 3]>> {
    let mut rows = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(['\r', '\n']);
        if rest.is_empty() {
            return Some(rows);
        }
        let mut row = [const { String::new() }; 3];
        for (number, slot) in row.iter_mut().enumerate() {
            if number > 0 {
                rest = rest.strip_prefix(',')?;
            }
            (*slot, rest) = field(rest)?;
        }
        if !rest.is_empty() && !rest.starts_with(['\r', '\n']) {
            return None;
        }
        rows.push(row);
    }
}

fn field(rest: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = rest.strip_prefix('"') else {
        let (field, rest) = rest.split_at(rest.find([',', '\r', '\n']).unwrap_or(rest.len()));
        return Some((field.into(), rest));
    };
    let mut field = String::new();
    loop {
        let (text, after) = quoted.split_once('"')?;
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                quoted = after;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_three_columns() {
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
        assert_eq!(rows("a,b,1\r\n\r\n\"c,\"\"\",,\n"), Some(vec![row("a", "b", "1"), row("c,\"", "", "")]));
        for bad in ["a,b", "a,b,1,d", "\"a,b,1", "\"a\"b,c,1"] {
            assert_eq!(rows(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_normalised() {
        assert_eq!(normalised("Foo__Bar.baz"), "foo-bar-baz");
    }
}
