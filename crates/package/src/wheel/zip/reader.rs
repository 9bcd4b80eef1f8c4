//! One member's unpacked bytes.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
};

use flate2::{Crc, bufread::DeflateDecoder};

use super::Member;

/// Reads a member, and knows at the end whether it was what its header says.
pub(in crate::wheel) struct MemberReader<'a> {
    data: Data<'a>,
    crc: Crc,
    read: u64,
    expected: (u64, u64, u32),
    /// What made a read fail, for callers that get another error from a copy.
    failed: Option<io::Error>,
}

enum Data<'a> {
    Stored(Section<'a>),
    Deflated(DeflateDecoder<BufReader<Section<'a>>>),
}

/// A range of a file. Several may be read at once.
struct Section<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.left.min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..len], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<'a> MemberReader<'a> {
    pub(super) fn new(file: &'a File, member: &Member) -> Self {
        let section = Section { file, at: member.start, left: member.packed };
        let data = if member.deflated {
            Data::Deflated(DeflateDecoder::new(BufReader::with_capacity(32 * 1024, section)))
        } else {
            Data::Stored(section)
        };
        Self { data, crc: Crc::new(), read: 0, expected: (member.size, member.packed, member.crc), failed: None }
    }

    /// What made a read fail.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Checks length and checksum, after everything has been read.
    pub fn finish(mut self) -> io::Result<()> {
        let (size, packed, crc) = self.expected;
        let more = self.read(&mut [0])? != 0;
        let used = match &self.data {
            Data::Stored(section) => packed - section.left,
            Data::Deflated(decoder) => decoder.total_in(),
        };
        let reason = if more || self.read != size || used != packed {
            "its length is not the one in its header"
        } else if self.crc.sum() != crc {
            "its checksum is not the one in its header"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.data {
            Data::Stored(section) => section.read(buffer),
            Data::Deflated(decoder) => decoder.read(buffer),
        };
        let read = read.map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.failed = Some(error);
            copy
        })?;
        self.read += read as u64;
        // More than the header says could be without end.
        if self.read > self.expected.0 {
            let reason = "its length is not the one in its header";
            self.failed = Some(io::Error::new(io::ErrorKind::InvalidData, reason));
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}
