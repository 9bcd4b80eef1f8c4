//! A package's metadata: what `info/` says about it, read without unpacking its contents.

mod files;
mod listed;

use std::{
    collections::{BTreeMap, HashMap},
    ops::{ControlFlow, Range},
    path::Path,
};

use pixi_oci_layer::TreePath;
use rattler_conda_types::{
    PackageRecord,
    package::{EntryPoint, IndexJson, LinkJson, NoArchLinks, PackageFile, PathType},
};

pub(crate) use self::files::{Fingerprints, InfoFiles};
pub use self::listed::ListedPath;
use crate::{
    archive::{Archive, Kind, Part},
    error::{Error, Refusal},
    zip::{Style, Zip},
};

/// What an archive says about its package.
#[derive(Debug, Clone)]
pub struct PackageInfo {
    /// The package's file name, as in errors: `numpy-2.1.0-py312h1234567_0.conda`.
    pub file_name: String,
    /// `info/index.json`. Where it has no `subdir`, the locked record's stands in.
    pub index: IndexJson,
    /// Every path that is to be linked, in the order of paths.
    pub paths: Vec<ListedPath>,
    /// The scripts of a `noarch: python` package that are made while it is linked.
    pub entry_points: Vec<EntryPoint>,
    /// Scripts that conda would run when it links or unlinks the package. They are linked and never run.
    pub link_scripts: Vec<TreePath>,
    /// The modification time of `info/about.json`, which patched files get plus one second.
    pub(crate) about_mtime: Option<i64>,
    /// What was read, to notice if there is more of it later in the archive.
    pub(crate) fingerprints: Fingerprints,
}

impl PackageInfo {
    /// The length of all its files in bytes, as far as it says so; nothing was counted.
    pub fn unpacked_size(&self) -> u64 {
        let sizes = self.paths.iter().filter_map(|path| path.entry.size_in_bytes);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Reads what the archive at `archive` says about its package, which must be the one that `record` locks.
///
/// A `.conda` archive's contents are not touched; a `.tar.bz2` is read up to its first entry outside `info/`, if what is
/// needed came before. Only packages of before 2017, which have no `info/paths.json`, are read wholly.
pub fn read_info(archive: &Path, record: &PackageRecord) -> Result<PackageInfo, Error> {
    info_of(Archive::open(archive, record)?, record)
}

/// The same of a `.conda` archive of which only the parts `here` are in the file; see [`Zip::open_part`].
pub fn read_info_part(archive: &Path, here: &[Range<u64>], record: &PackageRecord) -> Result<PackageInfo, Error> {
    info_of(Archive::open_part(archive, here, record)?, record)
}

/// What is not here and is needed for [`read_info_part`].
pub fn missing_info(archive: &Path, here: &[Range<u64>], record: &PackageRecord) -> Result<Vec<Range<u64>>, Error> {
    let name = format!("{}.conda", Archive::name_of(record));
    Zip::open_part(archive, &name, Style::Stored, here)?.missing(&|member| member.starts_with("info-"))
}

fn info_of(archive: Archive, record: &PackageRecord) -> Result<PackageInfo, Error> {
    let mut files = InfoFiles::default();
    archive.walk(Part::Info, &mut |entry| {
        if files.suffice() && !entry.path.as_str().starts_with("info/") {
            return Ok(ControlFlow::Break(()));
        }
        files.read(&archive, entry)?;
        Ok(ControlFlow::Continue(()))
    })?;

    let index = index(&archive, &files, record)?;
    let paths = match files.content("info/paths.json") {
        Some(json) => listed::from_json(&archive, json)?,
        None => listed::from_deprecated(&archive, &files, &types(&archive)?)?,
    };
    let entry_points = match files.content("info/link.json") {
        Some(json) if index.noarch.is_python() => entry_points(&archive, json)?,
        _ => Vec::new(),
    };
    let link_scripts = link_scripts(&index, &paths);
    Ok(PackageInfo {
        index,
        paths,
        entry_points,
        link_scripts,
        about_mtime: files.about_mtime(),
        fingerprints: files.fingerprints(),
        file_name: archive.name,
    })
}

/// The targets of all symbolic links of a package, by where they are in it. All headers of the archive are read for
/// this; [`link_plan`](crate::link_plan) asks for it only when another package has paths below a link.
pub fn read_links(archive: &Path, info: &PackageInfo) -> Result<BTreeMap<TreePath, String>, Error> {
    let archive = Archive::reopen(archive, &info.file_name)?;
    let mut links = BTreeMap::new();
    archive.walk(Part::All, &mut |entry| {
        if let Kind::Symlink(target) = entry.kind {
            links.insert(entry.path, target);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(links)
}

fn index(archive: &Archive, files: &InfoFiles, record: &PackageRecord) -> Result<IndexJson, Error> {
    const FILE: &str = "info/index.json";
    let json = files.content(FILE).ok_or_else(|| Error::info(&archive.name, FILE, "the package has no such file"))?;
    let mut index = IndexJson::from_slice(json).map_err(|e| Error::info(&archive.name, FILE, e))?;
    for (field, expected, found) in [
        ("name", record.name.as_normalized().to_owned(), index.name.as_normalized().to_owned()),
        ("version", record.version.to_string(), index.version.to_string()),
        ("build", record.build.to_string(), index.build.to_string()),
    ] {
        if expected != found {
            return Err(Error::Mismatch { package: archive.name.clone(), field, expected, found });
        }
    }
    // The name of the package's record in the prefix.
    let stem = format!("{}-{}-{}", index.name.as_normalized(), index.version, index.build);
    if stem.contains('/') || TreePath::new(&stem).and_then(TreePath::printable).is_err() {
        return Err(Error::info(&archive.name, FILE, format!("{stem:?} cannot be a file name")));
    }
    index.subdir.get_or_insert_with(|| record.subdir.clone());
    Ok(index)
}

fn entry_points(archive: &Archive, json: &[u8]) -> Result<Vec<EntryPoint>, Error> {
    const FILE: &str = "info/link.json";
    let link = LinkJson::from_slice(json).map_err(|e| Error::info(&archive.name, FILE, e))?;
    match link.noarch {
        NoArchLinks::Python(links) if links.entry_points.len() as u64 > archive.max_paths() => {
            Err(Error::TooBig { package: archive.name.clone(), what: "entry points", limit: archive.max_paths() })
        }
        NoArchLinks::Python(links) => Ok(links.entry_points),
        NoArchLinks::Generic => {
            Err(Error::info(&archive.name, FILE, "it is for a generic package, but index.json says `noarch: python`"))
        }
    }
}

/// `bin/.NAME-post-link.sh` and its sisters (rattler's `install/link_script.rs`).
fn link_scripts(index: &IndexJson, paths: &[ListedPath]) -> Vec<TreePath> {
    let names =
        ["pre-link", "post-link", "pre-unlink"].map(|when| format!("bin/.{}-{when}.sh", index.name.as_normalized()));
    paths.iter().map(|listed| &listed.path).filter(|path| names.iter().any(|n| n == path.as_str())).cloned().collect()
}

/// What every path in the archive is, as `lstat` would say after unpacking.
fn types(archive: &Archive) -> Result<HashMap<TreePath, PathType>, Error> {
    let mut types = HashMap::new();
    archive.walk(Part::All, &mut |entry| {
        for ancestor in entry.path.ancestors() {
            if !types.contains_key(ancestor) {
                let path =
                    TreePath::new(ancestor).map_err(|e| Error::path(&archive.name, ancestor, Refusal::from(e)))?;
                types.insert(path, PathType::Directory);
            }
        }
        let kind = match entry.kind {
            Kind::File | Kind::HardLink(_) => PathType::HardLink,
            Kind::Directory => PathType::Directory,
            Kind::Symlink(_) => PathType::SoftLink,
        };
        types.insert(entry.path, kind);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(types)
}
