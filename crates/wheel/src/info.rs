//! What a wheel says about itself, read without unpacking its contents.

use std::{ops::Range, path::Path};

use pixi_oci_layer::TreePath;
use pixi_oci_package::{Error, Member, Style, Zip};
use pixi_oci_platform::escape;

use crate::{
    entry_points::EntryPoints,
    metadata::{self, WheelExpected},
    record::Record,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelInfo {
    pub file_name: String,
    /// The PEP 503 name.
    pub name: String,
    pub version: String,
    /// The directory of metadata, such as `rich-15.0.0.dist-info`.
    pub dist_info: TreePath,
    pub entry_points: EntryPoints,
    pub(crate) members: Vec<Member>,
    pub(crate) record: Record,
}

/// Reads what the wheel at `archive` says about itself. It must be the one that `expected` names.
///
/// Contents are not unpacked, except `METADATA`, `WHEEL`, `RECORD` and `entry_points.txt`.
pub fn read_wheel(archive: &Path, expected: &WheelExpected) -> Result<WheelInfo, Error> {
    let file_name = escape(&expected.file_name);
    info_of(&Zip::open(archive, &file_name, Style::Deflated)?, expected)
}

/// The same of a wheel of which only the parts `here` are in the file; see [`Zip::open_part`].
pub fn read_wheel_part(archive: &Path, here: &[Range<u64>], expected: &WheelExpected) -> Result<WheelInfo, Error> {
    let file_name = escape(&expected.file_name);
    info_of(&Zip::open_part(archive, &file_name, Style::Deflated, here)?, expected)
}

/// What is not here and is needed for [`read_wheel_part`].
pub fn missing_info(archive: &Path, here: &[Range<u64>], expected: &WheelExpected) -> Result<Vec<Range<u64>>, Error> {
    const FILES: [&str; 4] = ["METADATA", "WHEEL", "RECORD", "entry_points.txt"];
    let is_wanted = |member: &str| {
        let file = member.split_once('/').filter(|(top, _)| top.to_ascii_lowercase().ends_with(".dist-info"));
        file.is_some_and(|(_, file)| FILES.contains(&file))
    };
    Zip::open_part(archive, &escape(&expected.file_name), Style::Deflated, here)?.missing(&is_wanted)
}

fn info_of(zip: &Zip<'_>, expected: &WheelExpected) -> Result<WheelInfo, Error> {
    let file_name = escape(&expected.file_name);
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
    let read = |index: usize| zip.bytes(&members[index]);

    let version = metadata::check_metadata(&file_name, &read(need("METADATA")?)?, expected)?;
    metadata::check_wheel(&file_name, &read(need("WHEEL")?)?)?;
    let entry_points = match find("entry_points.txt") {
        Some(index) => EntryPoints::parse(&file_name, &read(index)?)?,
        None => EntryPoints::default(),
    };
    Ok(WheelInfo {
        name: expected.name.clone(),
        file_name: file_name.clone(),
        version,
        dist_info,
        entry_points,
        members,
        record,
    })
}
