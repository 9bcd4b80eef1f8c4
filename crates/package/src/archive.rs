//! A package archive on disk: what kind it is, and its entries, each checked before anybody sees it.
//!
//! `.conda` is a zip of two `.tar.zst`, one with `info/` and one with the rest; `.tar.bz2` is one tar.
//! The kind is told by the first bytes, because caches name archives by their digest.

mod limit;
mod tar;

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, escape, open};
use rattler_conda_types::PackageRecord;

use self::limit::{Limit, Limited};
pub(crate) use self::tar::Visitor;
pub use self::tar::{Entry, Kind};
use crate::{
    check::{Checker, max_paths},
    error::Error,
    zip::{Style, Zip},
};

/// An archive whose outside is valid.
pub(crate) struct Archive {
    /// The package's file name, for errors.
    pub name: String,
    path: PathBuf,
    len: u64,
    format: Format,
}

enum Format {
    /// Where the two tars are in the file.
    Conda {
        info: Range<u64>,
        contents: Range<u64>,
    },
    TarBz2,
    TarGz,
}

/// Which entries are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// At least everything that `.conda` keeps in its own tar of metadata.
    Info,
    /// Everything.
    All,
}

impl Archive {
    /// Opens the archive of the package that `record` locks.
    pub fn open(path: &Path, record: &PackageRecord) -> Result<Self, Error> {
        Self::open_named(path, Self::name_of(record))
    }

    /// What a record's archive is called in errors, without an ending.
    pub fn name_of(record: &PackageRecord) -> String {
        escape(&format!("{}-{}-{}", record.name.as_normalized(), record.version, record.build))
    }

    /// Opens an archive again, whose file name in errors is known already.
    pub fn reopen(path: &Path, name: &str) -> Result<Self, Error> {
        let stem = name.strip_suffix(".conda").or_else(|| name.strip_suffix(".tar.bz2")).unwrap_or(name);
        Self::open_named(path, stem.into())
    }

    /// Opens a source archive of that file name.
    pub fn open_source(path: &Path, name: String) -> Result<Self, Error> {
        let (len, magic) = begin(path, &name)?;
        let format = match &magic[..] {
            [b'B', b'Z', b'h', ..] => Format::TarBz2,
            [0x1f, 0x8b, ..] => Format::TarGz,
            _ => return Err(Error::archive(&name, "it is neither a .tar.gz nor a .tar.bz2 file")),
        };
        Ok(Self { name, path: path.into(), len, format })
    }

    /// Opens the archive of the package that errors call `stem`.
    pub fn open_named(path: &Path, stem: String) -> Result<Self, Error> {
        let (len, magic) = begin(path, &stem)?;
        let (format, extension) = match &magic[..] {
            b"PK\x03\x04" => {
                let name = format!("{stem}.conda");
                (members(&Zip::open(path, &name, Style::Stored)?, &name)?, "conda")
            }
            [b'B', b'Z', b'h', ..] => (Format::TarBz2, "tar.bz2"),
            _ => {
                // Named by what it claims to be.
                let claimed = [".conda", ".tar.bz2"]
                    .into_iter()
                    .find(|end| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes()));
                let name = format!("{stem}{}", claimed.unwrap_or_default());
                return Err(Error::archive(&name, "it is neither a .conda nor a .tar.bz2 file"));
            }
        };
        Ok(Self { name: format!("{stem}.{extension}"), path: path.into(), len, format })
    }

    /// Opens the metadata of a `.conda` archive of which no more is here; see [`Zip::open_part`]. Limits count from its length.
    pub fn open_part(path: &Path, here: &[Range<u64>], record: &PackageRecord) -> Result<Self, Error> {
        let name = format!("{}.conda", Self::name_of(record));
        let format = members(&Zip::open_part(path, &name, Style::Stored, here)?, &name)?;
        let Format::Conda { info, .. } = &format else { return Err(Error::archive(&name, "it is no .conda file")) };
        Ok(Self { len: info.end - info.start, name, path: path.into(), format })
    }

    /// The most bytes that the archive may unpack to: far more than a package of programs and data does, and little
    /// enough that a few kilobytes cannot fill a disk.
    pub fn limit(&self) -> u64 {
        (64 << 20) + self.len.saturating_mul(250)
    }

    /// Shows the entries to `visit`, in the order of the archive, until it breaks off.
    pub fn walk(&self, part: Part, visit: &mut Visitor<'_>) -> Result<(), Error> {
        let limit = self.broken_by();
        let left = std::cell::Cell::new(limit.bytes);
        let mut checker = Checker::new(self.len);
        match &self.format {
            Format::TarBz2 => {
                let tar = bzip2::read::MultiBzDecoder::new(self.section(0..self.len)?);
                let _ = tar::walk(&limit, Limited::new(tar, &left), &mut checker, visit)?;
            }
            Format::TarGz => {
                let tar = flate2::bufread::MultiGzDecoder::new(self.section(0..self.len)?);
                let _ = tar::walk(&limit, Limited::new(tar, &left), &mut checker, visit)?;
            }
            Format::Conda { info, contents } => {
                let sections: &[_] = if part == Part::Info { &[info] } else { &[info, contents] };
                for section in sections {
                    let tar = zstd::Decoder::with_buffer(self.section(Range::clone(section))?)
                        .map_err(|source| self.unreadable(source))?;
                    if tar::walk(&limit, Limited::new(tar, &left), &mut checker, visit)?.is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The most paths that it may have, or list.
    pub fn max_paths(&self) -> u64 {
        max_paths(self.len)
    }

    /// The most bytes of the files in `info/` that are kept in memory.
    pub fn max_info(&self) -> u64 {
        (32 << 20) + self.len.saturating_mul(16)
    }

    /// The longest file that may have a prefix placeholder: it is in memory while that is replaced.
    pub fn max_patched(&self) -> u64 {
        (128 << 20) + self.len.saturating_mul(16)
    }

    fn section(&self, range: Range<u64>) -> Result<BufReader<io::Take<File>>, Error> {
        let open = || {
            let mut file = open(&self.path, Links::Follow)?;
            file.seek(SeekFrom::Start(range.start))?;
            Ok(BufReader::with_capacity(64 * 1024, file.take(range.end - range.start)))
        };
        open().map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Read { package: self.name.clone(), archive: self.path.display().to_string(), source }
    }

    /// What a failed read of the unpacked bytes means.
    pub fn broken(&self, error: io::Error) -> Error {
        self.broken_by().broken(error)
    }

    fn broken_by(&self) -> Limit<'_> {
        Limit { package: &self.name, bytes: self.limit() }
    }
}

/// The length of a file, and its first bytes.
fn begin(path: &Path, name: &str) -> Result<(u64, Vec<u8>), Error> {
    let begin = || {
        let file = open(path, Links::Follow)?;
        let (len, mut magic) = (file.metadata()?.len(), Vec::new());
        file.take(4).read_to_end(&mut magic)?;
        Ok((len, magic))
    };
    begin().map_err(|source| Error::Read { package: name.into(), archive: path.display().to_string(), source })
}

/// Where the two tars of a `.conda` package are. Every other member but `metadata.json` is refused.
fn members(zip: &Zip<'_>, name: &str) -> Result<Format, Error> {
    let (mut info, mut contents) = (None, None);
    for member in zip.members()? {
        let file = member.path.as_str();
        let is_tar = |kind| !file.contains('/') && file.starts_with(kind) && file.ends_with(".tar.zst");
        let slot = match file {
            _ if member.is_directory => None,
            "metadata.json" => continue,
            _ if is_tar("info-") => Some(&mut info),
            _ if is_tar("pkg-") => Some(&mut contents),
            _ => None,
        };
        let Some(slot) = slot else {
            return Err(Error::archive(name, format!("the zip has an unexpected member {file:?}")));
        };
        if slot.replace(member.stored_at()).is_some() {
            return Err(Error::archive(name, format!("the zip has a second member of the kind of {file:?}")));
        }
    }
    match (info, contents) {
        (Some(info), Some(contents)) => Ok(Format::Conda { info, contents }),
        (None, _) => Err(Error::archive(name, "the zip has no member info-*.tar.zst")),
        (_, None) => Err(Error::archive(name, "the zip has no member pkg-*.tar.zst")),
    }
}

#[cfg(test)]
mod tests {
    use pixi_oci_testkit::packages::package;

    use super::*;

    #[test]
    fn limits_are_counted_from_the_length() {
        let limits = |len| {
            let archive = Archive { name: String::new(), path: PathBuf::new(), len, format: Format::TarGz };
            [archive.limit(), archive.max_info(), archive.max_patched(), archive.max_paths()]
        };
        assert_eq!(limits(0), [67_108_864, 33_554_432, 134_217_728, 100_000]);
        assert_eq!(limits(1_000_000), [317_108_864, 49_554_432, 150_217_728, 125_000]);
    }

    #[test]
    fn of_an_archive_in_parts_only_its_metadata_counts() {
        let directory = tempfile::tempdir().unwrap();
        let built = package("a", []).write(directory.path());
        let here = 0..built.size;
        let part = Archive::open_part(&built.path, std::slice::from_ref(&here), &built.package.record()).unwrap();
        let Format::Conda { info, .. } = part.format else { panic!("it is a .conda file") };
        assert_eq!(info.start + part.len, info.end);
    }
}
