//! A zip, which wheels and `.conda` packages are, read so that no two programs can see different members in it.
//!
//! Members lie back to back from the first byte of the file to the directory, which ends the file, and every local
//! header says what the directory says: a program that streams the headers and one that reads the directory then find
//! the same. Whatever else zip allows (encryption, several parts, data between members or after the end, comments,
//! names in code pages, links) is refused; no builder of packages writes it.

mod bytes;
mod directory;
mod failure;
mod local;
mod reader;

use std::{fs::File, io, ops::Range, path::Path, sync::Arc};

pub use self::{
    failure::Style,
    reader::{Member, MemberReader},
};
use self::{failure::ZipFault, reader::Spare};
use crate::{check::Checker, error::Error, path::normalise};
use pixi_oci_platform::{Links, open};

/// The most bytes of one of the files that are read into memory: `RECORD` of the largest wheels has a few.
const MAX_METADATA: u64 = 64 << 20;

/// An open zip.
pub struct Zip<'a> {
    /// The package's file name, for errors.
    name: &'a str,
    path: &'a Path,
    file: Arc<File>,
    spare: Spare,
    style: Style,
    /// What is in the file of a zip that is somewhere else, with holes for the rest; `None` for one that is here.
    here: Option<&'a [Range<u64>]>,
}

impl<'a> Zip<'a> {
    /// Opens the archive of the package that errors call `name`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &'a Path, name: &'a str, style: Style) -> Result<Self, Error> {
        let file = open(path, Links::Follow).map_err(|source| Error::Read {
            package: name.into(),
            archive: path.display().to_string(),
            source,
        })?;
        Ok(Self { name, path, file: file.into(), spare: Spare::default(), style, here: None })
    }

    /// Opens what is here of an archive, at its place in a file of the archive's length: its last bytes, and what was asked
    /// for since. Nothing else of it can be read.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_part(path: &'a Path, name: &'a str, style: Style, here: &'a [Range<u64>]) -> Result<Self, Error> {
        Ok(Self { here: Some(here), ..Self::open(path, name, style)? })
    }

    /// What is not here and is needed to read the members that are wanted: the directory first, and when that is there, these.
    ///
    /// # Errors
    /// As [`members`](Self::members).
    pub fn missing(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Range<u64>>, Error> {
        let len = self.file.metadata().map_err(|e| self.unreadable(e))?.len();
        let (directory, _) = directory::read_end(&self.file, len).map_err(|failure| self.fault(failure))?;
        if !self.is_here(&directory) {
            return Ok(vec![directory]);
        }
        let (entries, end) = directory::read(&self.file, len, self.style).map_err(|failure| self.fault(failure))?;
        let ends = entries.iter().skip(1).map(|next| next.header).chain([end]);
        let mut missing: Vec<Range<u64>> = Vec::new();
        for (place, entry) in ends.enumerate().map(|(at, end)| (entries[at].header..end, &entries[at])) {
            if !is_wanted(&entry.name) || self.is_here(&place) {
                continue;
            }
            match missing.last_mut().filter(|last| last.end == place.start) {
                Some(last) => last.end = place.end,
                None => missing.push(place),
            }
        }
        Ok(missing)
    }

    fn is_here(&self, place: &Range<u64>) -> bool {
        let holds = |range: &Range<u64>| range.start <= place.start && place.end <= range.end;
        self.here.is_none_or(|here| here.iter().any(holds))
    }

    /// All members, in the order of the file.
    ///
    /// # Errors
    /// It is not a zip, or not one that all programs read alike.
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        let len = self.file.metadata().map_err(|e| self.unreadable(e))?.len();
        let entries = directory::read(&self.file, len, self.style)
            .and_then(|read| local::check(&self.file, read, self.style, &|place| self.is_here(&place)));
        let entries = entries.map_err(|failure| self.fault(failure))?;

        // Far more than files of programs and data unpack to.
        let limit = (64 << 20) + len.saturating_mul(250);
        let unpacked = entries.iter().fold(0_u64, |sum, (entry, _)| sum.saturating_add(entry.size));
        if unpacked > limit {
            return Err(Error::TooBig { package: self.name.into(), what: "unpacked bytes", limit });
        }
        let mut checker = Checker::new(len);
        let mut members = Vec::with_capacity(entries.len());
        for (entry, start) in entries {
            let path = normalise(&entry.name).map_err(|refusal| Error::path(self.name, &entry.name, refusal))?;
            checker.add(self.name, &path, entry.is_directory)?;
            members.push(Member {
                path,
                is_directory: entry.is_directory,
                executable: entry.executable,
                size: entry.size,
                packed: entry.packed,
                crc: entry.crc,
                deflated: entry.deflated,
                start,
            });
        }
        Ok(members)
    }

    /// A member's unpacked bytes, one after another.
    pub fn reader(&self, member: &Member) -> MemberReader<'_> {
        MemberReader::new(&self.file, &self.spare, member)
    }

    /// A member's bytes at once.
    ///
    /// # Errors
    /// They are damaged, or too many.
    pub fn bytes(&self, member: &Member) -> Result<Vec<u8>, Error> {
        if member.size > MAX_METADATA {
            let what = "bytes in a file of metadata";
            return Err(Error::TooBig { package: self.name.into(), what, limit: MAX_METADATA });
        }
        let mut bytes = Vec::new();
        let mut reader = self.reader(member);
        io::copy(&mut reader, &mut bytes).map_err(|e| self.broken(member, e))?;
        reader.finish().map_err(|e| self.broken(member, e))?;
        Ok(bytes)
    }

    /// What a failed read of a member means.
    pub fn broken(&self, member: &Member, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Error::archive(self.name, format!("{:?} is damaged: {error}", member.path))
            }
            _ => self.unreadable(error),
        }
    }

    fn fault(&self, failure: ZipFault) -> Error {
        match failure {
            ZipFault::Invalid(reason) => Error::archive(self.name, reason),
            ZipFault::Member(name, refusal) => Error::path(self.name, name, refusal),
            // A position outside the file is the archive's lie, not the disk's failure.
            ZipFault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::archive(self.name, "the zip's headers point outside the file; it is truncated")
            }
            ZipFault::Io(error) => self.unreadable(error),
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Read { package: self.name.into(), archive: self.path.display().to_string(), source }
    }
}
