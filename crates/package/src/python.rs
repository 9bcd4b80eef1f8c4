//! The interpreter that `noarch: python` packages are linked for.

use std::path::PathBuf;

use pixi_oci_layer::TreePath;
use pixi_oci_platform::escape;
use rattler::install::PythonInfo;
use rattler_conda_types::{PackageRecord, Subdir};
use serde::Serialize;

use crate::{
    error::{Error, Refusal},
    path::normalise,
};

/// What a `noarch: python` package needs to know of the environment's Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Python {
    /// Major and minor version.
    pub version: (u64, u64),
    /// Where the interpreter is, such as `bin/python3.13`.
    pub executable: TreePath,
    /// Where its packages are, such as `lib/python3.13/site-packages`.
    pub site_packages: TreePath,
}

impl Python {
    /// The interpreter that the package `python` with this record is. `package` is its file name, for errors.
    pub fn of(record: &PackageRecord, package: &str) -> Result<Self, Error> {
        let fail = |reason: String| Error::Python { package: package.to_owned(), reason: escape(&reason) };
        let (major, minor) = record
            .version
            .version()
            .as_major_minor()
            .ok_or_else(|| fail(format!("its version {} has no major and minor number", record.version)))?;
        // Every package of Python goes below it, and lists of paths have one a line.
        let checked = |path: &str| match path.contains(char::is_control) {
            true => Err(fail(format!("its path {path:?} has a control character"))),
            false => normalise(path).map_err(|refusal| fail(format!("its path {path:?} {refusal}"))),
        };
        let site_packages = match &record.python_site_packages_path {
            Some(path) => checked(path)?,
            None => checked(&format!("lib/python{major}.{minor}/site-packages"))?,
        };
        let executable = checked(&format!("bin/python{major}.{minor}"))?;
        Ok(Self { version: (major, minor), executable, site_packages })
    }

    /// The same for rattler's functions.
    pub(crate) fn info(&self, subdir: Subdir) -> PythonInfo {
        PythonInfo {
            platform: subdir,
            short_version: self.version,
            path: self.executable.as_str().into(),
            site_packages_path: self.site_packages.as_str().into(),
            bin_dir: PathBuf::from("bin"),
        }
    }

    /// Where a path of a `noarch: python` package goes (rattler's `PythonInfo::get_python_noarch_target_path`).
    pub(crate) fn place(&self, path: &TreePath) -> Result<TreePath, Refusal> {
        let path = path.as_str();
        let below =
            |directory: &str| path.strip_prefix(directory).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = below("site-packages") {
            normalise(&format!("{}{rest}", self.site_packages))
        } else if let Some(rest) = below("python-scripts") {
            normalise(&format!("bin{rest}"))
        } else {
            normalise(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_where_this_python_looks() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let site_packages = path("lib/python3.13/site-packages");
        let python = Python { version: (3, 13), executable: path("bin/python3.13"), site_packages };
        for (from, to) in [
            ("site-packages/a/b.py", "lib/python3.13/site-packages/a/b.py"),
            ("site-packages", "lib/python3.13/site-packages"),
            ("site-packages-old/a", "site-packages-old/a"),
            ("python-scripts/a", "bin/a"),
            ("python-scripts.txt", "python-scripts.txt"),
            ("share/site-packages/a", "share/site-packages/a"),
        ] {
            assert_eq!(python.place(&path(from)), Ok(path(to)));
        }
    }
}
