//! One member's unpacked bytes.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};

use flate2::{Crc, bufread::DeflateDecoder};

use pixi_oci_layer::TreePath;

/// One member, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is, without the slash that marks a directory.
    pub path: TreePath,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it may be executed.
    pub executable: bool,
    /// Unpacked.
    pub size: u64,
    pub(super) packed: u64,
    pub(super) crc: u32,
    pub(super) deflated: bool,
    /// Where its data begins in the file.
    pub(super) start: u64,
}

impl Member {
    /// Where the bytes of a stored member are in the file.
    pub(crate) fn stored_at(&self) -> Range<u64> {
        self.start..self.start.saturating_add(self.packed)
    }
}

/// Reads a member, and knows at the end whether it was what its header says.
pub struct MemberReader<'a> {
    data: Data,
    spare: &'a Spare,
    crc: Crc,
    read: u64,
    size: u64,
    packed: u64,
    expected_crc: u32,
    /// What made a read fail, for callers that get another error from a copy.
    failed: Option<io::Error>,
}

enum Data {
    Stored(Section),
    Deflated(Inflater),
}

type Inflater = DeflateDecoder<BufReader<Section>>;

/// The decoder of the member before. Its memory is aligned, and glibc before 2.38 finds no room for an aligned block where an equal
/// one was: with one for each of 40,000 members a gigabyte was lost.
pub(super) type Spare = Cell<Option<Inflater>>;

/// A range of a file. Several may be read at once.
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.left.min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..len], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<'a> MemberReader<'a> {
    pub(super) fn new(file: &Arc<File>, spare: &'a Spare, member: &Member) -> Self {
        let section = Section { file: file.clone(), at: member.start, left: member.packed };
        let data = if member.deflated {
            let bytes = BufReader::with_capacity(32 * 1024, section);
            Data::Deflated(match spare.take() {
                Some(mut inflater) => {
                    inflater.reset(bytes);
                    inflater
                }
                None => DeflateDecoder::new(bytes),
            })
        } else {
            Data::Stored(section)
        };
        let Member { size, packed, crc: expected_crc, .. } = *member;
        Self { data, spare, crc: Crc::new(), read: 0, size, packed, expected_crc, failed: None }
    }

    /// What made a read fail.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Checks length and checksum, after everything has been read.
    ///
    /// # Errors
    /// One of them is not what the header says.
    pub fn finish(mut self) -> io::Result<()> {
        let more = self.read(&mut [0])? != 0;
        let used = match &self.data {
            Data::Stored(section) => self.packed - section.left,
            Data::Deflated(decoder) => decoder.total_in(),
        };
        if more || self.read != self.size || used != self.packed {
            return Err(damaged(OTHER_LENGTH));
        }
        if self.crc.sum() != self.expected_crc {
            return Err(damaged("its checksum is not the one in its header"));
        }
        if let Data::Deflated(inflater) = self.data {
            self.spare.set(Some(inflater));
        }
        Ok(())
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.data {
            Data::Stored(section) => section.read(buffer),
            Data::Deflated(decoder) => decoder.read(buffer),
        };
        let read = read.and_then(|read| {
            self.read += read as u64;
            // More than the header says could be without end.
            if self.read > self.size { Err(damaged(OTHER_LENGTH)) } else { Ok(read) }
        });
        match read {
            Ok(read) => {
                self.crc.update(&buffer[..read]);
                Ok(read)
            }
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(copy)
            }
        }
    }
}

const OTHER_LENGTH: &str = "its length is not the one in its header";

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
