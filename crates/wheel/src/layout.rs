//! Where everything of a wheel goes below the prefix.

use std::collections::{BTreeMap, HashSet};

use pixi_oci_layer::TreePath;
use pixi_oci_package::{Checker, Error, Member, Python, WheelPath, normalise};

use crate::{
    direct_url::DirectUrl,
    entry_points::{WheelScript, for_python, is_interpreter},
    info::WheelInfo,
};

/// What only an installer writes into `.dist-info`.
pub(crate) const RECORD: &str = "RECORD";
pub(crate) const INSTALLER: &str = "INSTALLER";
pub(crate) const REQUESTED: &str = "REQUESTED";
pub(crate) const DIRECT_URL: &str = "direct_url.json";
const INSTALLER_FILES: [&str; 6] = [RECORD, INSTALLER, REQUESTED, DIRECT_URL, "uv_cache.json", "uv_build.json"];

impl WheelInfo {
    /// Everything that [`wheel_tree`](crate::wheel_tree) puts below the prefix of an environment with `python`, in the order of paths. Not
    /// the directories above it.
    pub fn paths(&self, python: &Python, direct_url: Option<&DirectUrl>) -> Result<Vec<WheelPath>, Error> {
        Layout::new(self, python, direct_url).map(|layout| layout.paths())
    }
}

/// The places of a wheel's files. All paths are relative to the prefix.
pub(crate) struct Layout {
    /// For each member of the zip, in their order.
    pub members: Vec<Option<Place>>,
    pub scripts: BTreeMap<TreePath, WheelScript>,
    /// What is written into `.dist-info`.
    pub written: BTreeMap<&'static str, TreePath>,
}

pub(crate) struct Place {
    pub path: TreePath,
    pub is_directory: bool,
    /// Whether it comes from `.data`, so that `RECORD` has another path for it than the zip.
    pub moved: bool,
    /// Whether it comes from `.data/scripts`.
    pub is_script: bool,
}

impl Layout {
    pub fn new(info: &WheelInfo, python: &Python, direct_url: Option<&DirectUrl>) -> Result<Self, Error> {
        let wheel = &info.file_name;
        let place = |path: &str| normalise(path).map_err(|refusal| Error::path(wheel, path, refusal));

        let console_scripts = for_python(&info.entry_points.console_scripts, python.version.1);
        let mut scripts = BTreeMap::new();
        for script in console_scripts.iter().chain(&info.entry_points.gui_scripts) {
            scripts.insert(place(&format!("bin/{}", script.name))?, script.clone());
        }
        let names: HashSet<&str> = scripts.values().map(|script: &WheelScript| script.name.as_str()).collect();
        let members = info.members.iter().map(|member| member_place(info, python, &names, member));
        let mut members = members.collect::<Result<Vec<_>, _>>()?;
        let mut written = BTreeMap::new();
        for name in [RECORD, INSTALLER, REQUESTED].into_iter().chain(direct_url.map(|_| DIRECT_URL)) {
            written.insert(name, place(&format!("{}/{}/{name}", python.site_packages, info.dist_info))?);
        }

        let made = scripts.keys().chain(written.values());
        let mut checker = Checker::new(u64::MAX);
        for place in members.iter().flatten() {
            checker.add(wheel, &place.path, place.is_directory)?;
        }
        made.clone().try_for_each(|path| checker.add(wheel, path, false))?;
        // A directory that has something in it is implied by that.
        let implied = directories_above(members.iter().flatten().map(|place| &place.path).chain(made));
        for member in &mut members {
            member.take_if(|place| place.is_directory && implied.contains(place.path.as_str()));
        }
        Ok(Self { members, scripts, written })
    }

    pub fn paths(&self) -> Vec<WheelPath> {
        let members = self.members.iter().flatten();
        let made = self.scripts.keys().chain(self.written.values());
        let mut paths: Vec<_> = members
            .map(|place| WheelPath { path: place.path.clone(), is_directory: place.is_directory })
            .chain(made.map(|path| WheelPath { path: path.clone(), is_directory: false }))
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Where a member goes. `None` for what is not installed as it is.
fn member_place(
    info: &WheelInfo,
    python: &Python,
    scripts: &HashSet<&str>,
    member: &Member,
) -> Result<Option<Place>, Error> {
    let wheel = &info.file_name;
    let site_packages = python.site_packages.as_str();
    let (top, below) = member.path.as_str().split_once('/').unwrap_or((member.path.as_str(), ""));
    let stem = info.dist_info.as_str().trim_end_matches(".dist-info");
    if top == info.dist_info.as_str() && INSTALLER_FILES.contains(&below) {
        return Ok(None);
    }
    let is_data = top.strip_suffix(".data") == Some(stem);
    let (path, is_script) = if is_data {
        match data_place(info, python, scripts, member, below)? {
            Some(place) => place,
            None => return Ok(None),
        }
    } else {
        (format!("{site_packages}/{}", member.path), false)
    };

    let path = normalise(&path).map_err(|refusal| Error::path(wheel, &path, refusal))?;
    let below = |directory: &str| path.as_str().strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
    if below("bin").is_some_and(is_interpreter) {
        let reason = format!("{:?} has a name that is reserved for the interpreter", member.path);
        return Err(Error::archive(wheel, reason));
    }
    // Another package's metadata, by the detour of `.data`.
    let top = below(site_packages).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if top != info.dist_info.as_str() && top.to_ascii_lowercase().ends_with(".dist-info") {
        return Err(Error::archive(wheel, format!("{:?} is the metadata of another package", member.path)));
    }
    Ok(Some(Place { path, is_directory: member.is_directory, moved: is_data, is_script }))
}

/// Where a member of the `.data` directory goes, and whether it is a script. `below` is its path there.
fn data_place(
    info: &WheelInfo,
    python: &Python,
    scripts: &HashSet<&str>,
    member: &Member,
    below: &str,
) -> Result<Option<(String, bool)>, Error> {
    let fail = |reason| Err(Error::archive(&info.file_name, format!("{:?} {reason}", member.path)));
    let (scheme, rest) = below.split_once('/').unwrap_or((below, ""));
    let is_script = scheme == "scripts";
    let path = match scheme {
        "" if member.is_directory => return Ok(None),
        "purelib" | "platlib" => format!("{}/{rest}", python.site_packages),
        "data" => format!("./{rest}"),
        // The interpreter of a conda prefix is no virtual environment, where it would be `include/site`.
        "headers" => format!("include/{}/{}/{rest}", python_directory(python), info.name),
        "scripts" => format!("bin/{rest}"),
        _ => return fail("is not in purelib, platlib, scripts, headers or data"),
    };
    match rest {
        "" if member.is_directory => Ok(None),
        "" => fail("is not a directory"),
        _ if is_script && (member.is_directory || rest.contains('/')) => fail("is a directory among the scripts"),
        // Made from `entry_points.txt` instead.
        _ if is_script && scripts.contains(wrapped(rest)) => Ok(None),
        _ => Ok(Some((path, is_script))),
    }
}

/// The name of the command that builders of before 2013 wrapped for Windows (as pip and uv have it).
fn wrapped(name: &str) -> &str {
    [".exe", "-script.py", ".pya"].into_iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// `python3.13`, or `python3.13t` without the global interpreter lock: the directory in `lib` and in `include`.
pub(crate) fn python_directory(python: &Python) -> String {
    let (major, minor) = python.version;
    let plain = format!("python{major}.{minor}");
    let free_threaded = format!("{plain}t");
    if python.site_packages.components().any(|component| component == free_threaded) { free_threaded } else { plain }
}

fn directories_above<'a>(paths: impl Iterator<Item = &'a TreePath>) -> HashSet<String> {
    let mut directories = HashSet::new();
    for path in paths {
        // From below, and only up to the first that is known.
        let mut path = path.as_str();
        while let Some((above, _)) = path.rsplit_once('/') {
            if !directories.insert(above.to_owned()) {
                break;
            }
            path = above;
        }
    }
    directories
}

/// `path` as seen from the directory `from`.
pub(crate) fn relative(path: &TreePath, from: &TreePath) -> String {
    let common = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..");
    up.chain(path.components().skip(common)).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let site_packages = path("lib/python3.12/site-packages");
        assert_eq!(relative(&path("bin/x"), &site_packages), "../../../bin/x");
        assert_eq!(relative(&path("lib/x"), &site_packages), "../../x");
        assert_eq!(relative(&path("lib/python3.12/site-packages/a/b"), &site_packages), "a/b");
    }

    #[test]
    fn wrapped_scripts() {
        assert_eq!(["x", "x.exe", "x-script.py", "x.pya", "x.py"].map(wrapped), ["x", "x", "x", "x", "x.py"]);
    }
}
