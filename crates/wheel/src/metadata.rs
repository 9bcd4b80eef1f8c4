//! Which wheel it is: the `.dist-info` directory, and the headers of `METADATA` and `WHEEL`.

use pep508_rs::{PackageName, pep440_rs::Version};
use pixi_oci_layer::TreePath;

use pixi_oci_package::{Error, Member};

/// The wheel that the lock file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelExpected {
    /// The PEP 503 name.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    /// The wheel's file name, percent-decoded. Errors begin with it.
    pub file_name: String,
}

/// The only `.dist-info` directory, which must be named after the locked package.
pub(crate) fn dist_info(wheel: &str, members: &[Member], expected: &WheelExpected) -> Result<TreePath, Error> {
    let mut found: Option<&str> = None;
    for member in members {
        let (top, below) =
            member.path.as_str().split_once('/').map_or((member.path.as_str(), false), |(t, _)| (t, true));
        if !top.to_ascii_lowercase().ends_with(".dist-info") || !(below || member.is_directory) {
            continue;
        }
        if let Some(other) = found.filter(|other| *other != top) {
            return Err(Error::archive(wheel, format!("it has two .dist-info directories, {other:?} and {top:?}")));
        }
        found = Some(top);
    }
    let Some(found) = found else { return Err(Error::archive(wheel, "it has no .dist-info directory")) };
    let named = found.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-'));
    let agrees =
        named.is_some_and(|(name, version)| is_name(name, &expected.name) && is_version(version, &expected.version));
    if !agrees {
        let WheelExpected { name, version, .. } = expected;
        let reason = format!(
            "its metadata is in {found:?}, but the lock file has {name:?} {version:?}; the wheel is not the locked \
             package: lock again, or ask the index's owner"
        );
        return Err(Error::archive(wheel, reason));
    }
    TreePath::new(found).map_err(|error| Error::path(wheel, found, error))
}

/// The version that `METADATA` has, if it is the locked package's.
pub(crate) fn check_metadata(wheel: &str, bytes: &[u8], expected: &WheelExpected) -> Result<String, Error> {
    const FILE: &str = "METADATA";
    let text = String::from_utf8_lossy(bytes);
    for (header, locked, agrees) in
        [("Name", &expected.name, is_name as fn(&str, &str) -> bool), ("Version", &expected.version, is_version)]
    {
        let value = value(&text, header).ok_or_else(|| Error::info(wheel, FILE, format!("it has no `{header}:`")))?;
        if !agrees(value, locked) {
            let reason = format!(
                "it has `{header}: {value}` where the lock file has {locked:?}; the wheel is not the locked package: \
                 lock again, or ask the index's owner"
            );
            return Err(Error::info(wheel, FILE, reason));
        }
    }
    Ok(value(&text, "Version").unwrap_or_default().into())
}

/// Refuses a version of the format that is not known. Whether the root is `purelib` does not matter: in a conda prefix, `purelib`
/// and `platlib` are one directory.
pub(crate) fn check_wheel(wheel: &str, bytes: &[u8]) -> Result<(), Error> {
    const FILE: &str = "WHEEL";
    let text = std::str::from_utf8(bytes).map_err(|error| Error::info(wheel, FILE, error))?;
    let version = value(text, "Wheel-Version").unwrap_or_default();
    // 0.1 is of before the format was accepted, and the same. A higher minor version may only add what can be ignored.
    if !matches!(version.split_once('.'), Some(("1", _) | ("0", "1"))) {
        let reason = format!("it has `Wheel-Version: {version}`; version 1 of the format is supported");
        return Err(Error::info(wheel, FILE, reason));
    }
    Ok(())
}

/// The first header of that name. Headers end at the first empty line, and none of those that are asked for has several
/// lines.
fn value<'a>(text: &'a str, header: &str) -> Option<&'a str> {
    text.lines().take_while(|line| !line.trim_end().is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(header).then(|| value.trim())
    })
}

/// Whether `found` is a spelling of the PEP 503 name `locked`.
fn is_name(found: &str, locked: &str) -> bool {
    found.parse::<PackageName>().is_ok_and(|found| found.as_ref() == locked)
}

/// Whether `found` is the locked version. As in uv, a file name may add a local version (`+cu121`) that the wheel's
/// metadata does not have.
fn is_version(found: &str, locked: &str) -> bool {
    let (Ok(found), Ok(locked)) = (found.parse::<Version>(), locked.parse::<Version>()) else { return false };
    found == locked || (!found.is_local() && found == locked.without_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_compared_normalised() {
        assert!(is_name("Foo.Bar_baz", "foo-bar-baz") && !is_name("foo", "bar") && !is_name("fo o", "fo-o"));
        assert!(is_version("1.0", "1.0.0") && is_version("2.0.0RC1", "2.0.0rc1") && !is_version("1.0", "1.1"));
        assert!(is_version("2.3.0", "2.3.0+cu121") && !is_version("2.3.0+cpu", "2.3.0+cu121"));
        assert!(!is_version("", "1.0") && !is_version("../x", "1.0"));
    }

    #[test]
    fn headers_end_at_the_first_empty_line() {
        let text = "Metadata-Version: 2.1\r\nNAME: a \r\nName: b\r\n\r\nVersion: 1\r\n";
        assert_eq!(value(text, "Name"), Some("a"));
        assert_eq!(value(text, "Version"), None);
    }
}
