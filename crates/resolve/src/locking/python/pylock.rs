//! What uv has chosen: its `pylock.toml` (PEP 751), with the wheels that fit the target.

use std::{cmp::Reverse, collections::BTreeMap, str::FromStr};

use toml_edit::{DocumentMut, Item, TableLike, Value};
use url::Url;

use super::wheel_rank::{file_name, rank};
use crate::{Sha256, pypi_options::normalized};

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The PEP 503 name.
    pub(super) name: String,
    /// The version; none of projects on this machine.
    pub(super) version: Option<String>,
    /// What is installed.
    pub(super) wheel: Option<Wheel>,
    /// Whether the requirement named the file itself.
    pub(super) is_direct: bool,
}

/// The file of a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wheel {
    /// Where it is; `file:` on this machine.
    pub(super) url: Url,
    /// Its hash, where the index has it.
    pub(super) sha256: Option<Sha256>,
}

/// Reads uv's answer. What is not as PEP 751 has it is an error in words.
pub(super) fn read(text: &str) -> Result<Vec<Chosen>, String> {
    let document = DocumentMut::from_str(text).map_err(|error| error.message().to_owned())?;
    let Some(packages) = document.get("packages") else { return Ok(Vec::new()) };
    let packages = packages.as_array_of_tables().ok_or("`packages` is no list of tables")?;
    packages.iter().map(|package| chosen(package)).collect()
}

fn chosen(package: &dyn TableLike) -> Result<Chosen, String> {
    let string = |key: &str| package.get(key).and_then(Item::as_str);
    let name = normalized(string("name").ok_or("a package has no name")?);
    let mut wheels = Vec::new();
    for wheel in package.get("wheels").and_then(Item::as_array).into_iter().flatten() {
        wheels.push(file(wheel.as_inline_table().map(|table| table as &dyn TableLike), &name)?);
    }
    // The one that fits best, as installers choose; of two that fit alike, the first.
    wheels.sort_by_key(|wheel| Reverse(rank(&file_name(&wheel.url))));
    let archive = package.get("archive").and_then(Item::as_table_like);
    let wheel = match archive {
        Some(archive) => Some(file(Some(archive), &name)?),
        None => wheels.into_iter().next(),
    };
    Ok(Chosen { name, version: string("version").map(str::to_owned), wheel, is_direct: archive.is_some() })
}

fn file(table: Option<&dyn TableLike>, name: &str) -> Result<Wheel, String> {
    let table = table.ok_or_else(|| format!("a file of {name} is no table"))?;
    let string = |key: &str| table.get(key).and_then(Item::as_str);
    let url = match (string("url"), string("path")) {
        (Some(url), _) => Url::parse(url).ok(),
        (None, Some(path)) => Url::from_file_path(path).ok(),
        (None, None) => None,
    };
    let url = url.ok_or_else(|| format!("a file of {name} has neither a URL nor an absolute path"))?;
    let hashes = table.get("hashes").and_then(Item::as_table_like);
    let sha256 = hashes.and_then(|hashes| hashes.get("sha256")).and_then(Item::as_value).and_then(Value::as_str);
    let sha256 = sha256.map(str::parse).transpose().map_err(|_| format!("a hash of {name} is no sha256"))?;
    Ok(Wheel { url, sha256 })
}

/// From which index each package is, by PEP 503 name: uv's other form of the answer, with `--emit-index-annotation`.
///
/// ```text
/// numpy==2.2.6
///     # via …
///     # from https://pypi.org/simple
/// ```
pub(super) fn indexes(text: &str) -> BTreeMap<String, Url> {
    let mut all = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if !line.starts_with([' ', '#']) {
            name = normalized(line.split("==").next().unwrap_or_default().trim());
        } else if let Some(url) = line.trim().strip_prefix("# from ").and_then(|url| Url::parse(url).ok()) {
            all.insert(name.clone(), url);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheel_that_fits_best() {
        let text = r#"
lock-version = "1.0"
[[packages]]
name = "Charset_Normalizer"
version = "3.5.2"
sdist = { url = "https://f/c-3.5.2.tar.gz", hashes = {} }
wheels = [
    { url = "https://f/c-3.5.2-py3-none-any.whl", hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000001" } },
    { url = "https://f/c-3.5.2-cp312-cp312-manylinux2014_x86_64.manylinux_2_28_x86_64.whl" },
    { url = "https://f/c-3.5.2-cp37-abi3-manylinux_2_28_x86_64.whl" },
]
[[packages]]
name = "direct"
version = "3.0"
archive = { path = "/w/direct-3.0-py3-none-any.whl" }
[[packages]]
name = "own"
directory = { path = "/w/own" }
"#;
        let all = read(text).unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|c| (c.name.as_str(), c.wheel.as_ref().map(|wheel| wheel.url.as_str()), c.is_direct))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "charset-normalizer",
                    Some("https://f/c-3.5.2-cp312-cp312-manylinux2014_x86_64.manylinux_2_28_x86_64.whl"),
                    false
                ),
                ("direct", Some("file:///w/direct-3.0-py3-none-any.whl"), true),
                ("own", None, false)
            ]
        );
        for wrong in ["packages = 1", "[[packages]]\nversion = \"1\"", "[[packages]]\nname = \"a\"\nwheels = [1]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn indexes_by_name() {
        let text = "# uv\napp==1.0\n    # via -r r.txt\n    # from http://h/idx\nd @ http://h/d.whl\n    # via x\n";
        let all = indexes(text);
        assert_eq!(all.len(), 1);
        assert_eq!(all["app"].as_str(), "http://h/idx");
    }
}
