//! What one wheel puts under a prefix, as a file tree.
//!
//! [`read_wheel`] reads a wheel's metadata, [`WheelInfo::paths`] says where its files go, so that clobbers can be decided
//! together with all other packages, and [`wheel_tree`] reads its contents. The result equals what uv writes when pixi
//! has it install the wheel (`tests/wheels/against_uv.rs` compares them), without bytecode. Sources of the rules: the
//! binary distribution format (<https://packaging.python.org/en/latest/specifications/binary-distribution-format/>) and
//! `uv-install-wheel` 0.0.72. These differ, on purpose:
//!
//! * Every file must be listed in `RECORD` with its sha256 (or sha384, sha512), as the specification has it, except
//!   `RECORD` and its signatures. uv does not compare hashes and lists what is not listed.
//! * A file of the wheel that only an installer may write (`INSTALLER`, `direct_url.json`, …) is left out: pixi judges by
//!   these where a package came from.
//! * `uv_cache.json` is not written: it would hold a time of the building machine.
//! * A script that is both a console and a gui script is one file, and has one line in `RECORD`.
//! * Modification times are the layer's constant. The zip's are local times without a zone, and uv leaves "now".
//!
//! **Invariant:** as for conda packages, a wheel is hostile until checked; see [`zip`].

mod entry_points;
mod hash;
mod layout;
mod metadata;
mod pack;
mod record;
mod script;
mod tags;
mod tree;
mod zip;

use std::path::Path;

use pixi_oci_layer::TreePath;

pub(crate) use self::zip::WheelZip;
use self::{entry_points::EntryPoints, record::Record, zip::Member};
pub use self::{
    entry_points::WheelScript,
    layout::WheelPath,
    pack::{NewWheelFile, pack_wheel},
    tags::{TagError, check_tags},
    tree::{DirectUrl, wheel_tree},
};
use crate::{Error, Python, error::escape};

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

/// What a wheel says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelInfo {
    /// The wheel's file name, as in errors.
    pub file_name: String,
    /// The PEP 503 name.
    pub name: String,
    /// The version as `METADATA` spells it.
    pub version: String,
    /// `Root-Is-Purelib` of `WHEEL`. In a conda prefix `purelib` and `platlib` are one directory.
    pub root_is_purelib: bool,
    /// The directory of metadata, such as `rich-15.0.0.dist-info`.
    pub dist_info: TreePath,
    /// `console_scripts` and `gui_scripts` of `entry_points.txt`, each in the order of names.
    pub console_scripts: Vec<WheelScript>,
    /// See [`WheelInfo::console_scripts`].
    pub gui_scripts: Vec<WheelScript>,
    members: Vec<Member>,
    record: Record,
}

/// Reads what the wheel at `archive` says about itself. It must be the one that `expected` names.
///
/// Contents are not unpacked, except `METADATA`, `WHEEL`, `RECORD` and `entry_points.txt`.
pub fn read_wheel(archive: &Path, expected: &WheelExpected) -> Result<WheelInfo, Error> {
    let file_name = escape(&expected.file_name);
    let zip = WheelZip::open(archive, &file_name)?;
    let members = zip.members()?;
    let dist_info = metadata::dist_info(&file_name, &members, expected)?;
    let find = |name: &str| {
        let path = format!("{dist_info}/{name}");
        members.iter().position(|member| !member.is_directory && member.path.as_str() == path)
    };
    let need = |name: &'static str| {
        find(name)
            .ok_or_else(|| Error::info(&file_name, name, "the wheel has no such file in its .dist-info directory"))
    };
    let record_bytes = zip.bytes(&members[need("RECORD")?])?;
    let record = Record::parse(&file_name, &record_bytes, &members, &dist_info)?;
    let read = |index: usize| {
        let bytes = zip.bytes(&members[index])?;
        record.verify(&file_name, &members, index, &bytes)?;
        Ok::<_, Error>(bytes)
    };

    let version = metadata::check_metadata(&file_name, &read(need("METADATA")?)?, expected)?;
    let root_is_purelib = metadata::check_wheel(&file_name, &read(need("WHEEL")?)?)?;
    let EntryPoints { console_scripts, gui_scripts } = match find("entry_points.txt") {
        Some(index) => EntryPoints::parse(&file_name, &read(index)?)?,
        None => EntryPoints::default(),
    };
    Ok(WheelInfo {
        name: expected.name.clone(),
        file_name: file_name.clone(),
        version,
        root_is_purelib,
        dist_info,
        console_scripts,
        gui_scripts,
        members,
        record,
    })
}

impl WheelInfo {
    /// Everything that [`wheel_tree`] puts below the prefix of an environment with `python`, in the order of paths. Not
    /// the directories above it.
    pub fn paths(&self, python: &Python, direct_url: Option<&DirectUrl>) -> Result<Vec<WheelPath>, Error> {
        layout::Layout::new(self, python, direct_url).map(|layout| layout.paths())
    }
}
