//! The workspace's own package as a wheel, without its build backend: a zip of its files and a description, both of which
//! follow from `pyproject.toml` by one [rule]. Where they do not, the answer is [`NotStatic`] and never a guess.
//!
//! What the backend would make is the yardstick: tests compare.

mod metadata;
mod rule;
mod version;

use std::{
    collections::BTreeMap,
    io::BufWriter,
    path::{Path, PathBuf},
};

use pep508_rs::{PackageName, pep440_rs::Version};
use pixi_oci_layer::TreePath;
use pixi_oci_platform::{FileError, Links, read};
use pixi_oci_wheel::{NewWheelFile, pack_wheel};

use self::rule::Package;
use super::{SourceError, listing::Listing, not_static::NotStatic, pyproject::PyProject};
use pixi_oci_contents::{secret_content, secret_name};

#[derive(Debug, PartialEq, Eq)]
pub struct OwnWheel {
    pub path: PathBuf,
    /// The PEP 503 name.
    pub name: String,
    pub version: String,
    /// Files of the package that look like secrets and are not in the wheel, and what they look like.
    pub left_out: BTreeMap<String, &'static str>,
}

/// More than this is not source code.
const MAX_BYTES: u64 = 512 << 20;

/// Makes the wheel of the project in `directory` in `scratch`. Its PEP 503 name must be `name`, if there is one; `locked`
/// is the version that the lock file has. Files may be links, but not out of `workspace`. The inner error says why the
/// backend is needed; the outer one is a failure: files that cannot be read, a secret.
pub fn own_wheel(
    directory: &Path,
    workspace: &Path,
    (name, locked): (Option<&str>, Option<&str>),
    scratch: &Path,
) -> Result<Result<OwnWheel, NotStatic>, SourceError> {
    let listing = Listing::read(directory)?;
    let plan = match plan(&listing, name, locked) {
        Ok(plan) => plan,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut files, mut left_out) = (BTreeMap::new(), BTreeMap::new());
    let mut budget = MAX_BYTES;
    for (inside, path) in plan.files {
        if let Some(what) = secret(&path) {
            left_out.insert(path, what);
            continue;
        }
        let Ok(inside) = TreePath::new(&inside) else {
            return Ok(NotStatic::because(format!("{inside:?} is no path of a wheel")));
        };
        let mut file = content(&listing, &path, workspace, &mut budget)?;
        file.executable &= plan.keeps_modes;
        files.insert(inside, file);
    }
    let dist_info = format!("{}.dist-info", plan.stem);
    for (file, text) in plan.texts {
        if let Ok(path) = TreePath::new(&format!("{dist_info}/{file}")) {
            files.insert(path, NewWheelFile { bytes: text.into_bytes(), executable: false });
        }
    }
    let path = scratch.join(format!("{}-py3-none-any.whl", plan.stem));
    let failed = |source| FileError { action: "write", path: path.clone(), source };
    let file = fs_err::File::create(&path).map_err(failed)?;
    pack_wheel(BufWriter::new(file), &dist_info, &files).map_err(failed)?;
    Ok(Ok(OwnWheel { path, name: plan.name, version: plan.version, left_out }))
}

struct Plan {
    name: String,
    version: String,
    /// `NAME-VERSION` of file names.
    stem: String,
    /// Paths in the wheel, and the files of the project that are there.
    files: BTreeMap<String, String>,
    keeps_modes: bool,
    /// What is in `.dist-info` beside licences.
    texts: Vec<(&'static str, String)>,
}

fn plan(listing: &Listing, wanted: Option<&str>, locked: Option<&str>) -> Result<Plan, NotStatic> {
    if !listing.is_file("pyproject.toml") {
        return NotStatic::because("it has no pyproject.toml");
    }
    let pyproject = PyProject::parse(&listing.text("pyproject.toml")?)?;
    let Some(project) = &pyproject.project else {
        return NotStatic::because("its pyproject.toml has no [project] table");
    };
    let name = project.name.parse::<PackageName>().map(|name| name.to_string());
    let name = name.map_err(|_| NotStatic(format!("{:?} is not a valid name of a package", project.name)))?;
    if wanted.is_some_and(|wanted| wanted != name) {
        return NotStatic::because(format!("its pyproject.toml is that of {:?}", project.name));
    }
    let package = Package::find(&project.name, &pyproject, listing)?;
    let version = version::version(project, &pyproject, &package, listing, locked)?;
    let version = version.trim().parse::<Version>().map(|version| version.to_string());
    let version = version.map_err(|error| NotStatic(format!("its version is none of PEP 440: {error}")))?;
    let stem = format!("{}-{version}", name.replace('-', "_"));
    let licenses = metadata::license_files(project, package.licenses, listing)?;
    let mut texts = vec![
        ("METADATA", metadata::metadata(project, &version, &licenses, listing)?),
        ("WHEEL", metadata::WHEEL.to_owned()),
    ];
    texts.extend(metadata::entry_points(project)?.map(|text| ("entry_points.txt", text)));
    if package.is_of_setuptools {
        texts.push(("top_level.txt", format!("{}\n", package.name)));
    }
    let mut files = package.files(listing, |path| secret(path).is_some())?;
    files.extend(licenses.into_iter().map(|path| (format!("{stem}.dist-info/licenses/{path}"), path)));
    Ok(Plan { name, version, stem, files, keeps_modes: !package.is_of_setuptools, texts })
}

/// What a path looks like, if it looks like a secret.
fn secret(path: &str) -> Option<&'static str> {
    path.split('/').find_map(secret_name)
}

fn content(listing: &Listing, path: &str, workspace: &Path, budget: &mut u64) -> Result<NewWheelFile, SourceError> {
    let file = listing.root.join(path);
    let failed = |source| FileError { action: "read", path: file.clone(), source };
    let real = fs_err::canonicalize(&file).map_err(failed)?;
    if !real.starts_with(fs_err::canonicalize(workspace).map_err(failed)?) {
        return Err(SourceError::OutsideLink { path: file });
    }
    let found = listing.get(path).map_or(0, |found| found.len);
    let Some(left) = budget.checked_sub(found) else {
        return Err(SourceError::TooBig { directory: listing.root.clone(), limit: MAX_BYTES });
    };
    *budget = left;
    let bytes = read(&real, Links::Refuse, MAX_BYTES).map_err(failed)?;
    if let Some(rule) = secret_content(&bytes) {
        return Err(SourceError::Secret { path: file, rule });
    }
    Ok(NewWheelFile { bytes, executable: listing.get(path).is_some_and(|found| found.executable) })
}

#[cfg(test)]
mod tests;
