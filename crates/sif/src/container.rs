//! The container: a header, descriptors, and the objects that they describe (github.com/apptainer/sif, `pkg/sif`).
//!
//! No id and no times: what its own tools take for "deterministic", and keep so when an image is signed.

use std::io::{self, Seek, SeekFrom, Write};

use pixi_oci_image::Architecture;

const LAUNCH: &[u8] = b"#!/usr/bin/env run-singularity\n";
/// Room for others' objects, such as signatures.
const DESCRIPTORS: u64 = 48;
const DESCRIPTOR: u64 = 585;
const DESCRIPTORS_AT: u64 = 4096;
const DATA_AT: u64 = DESCRIPTORS_AT + DESCRIPTORS * DESCRIPTOR;
/// Of partitions, so that they can be mounted.
const PAGE: u64 = 4096;
/// Go's zero time, year 1: no time at all.
const NO_TIME: i64 = -62_135_596_800;
/// The default group, of which the mark says that it is one.
const GROUP: u32 = 0xf000_0001;

#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectKind {
    /// What `apptainer inspect --deffile` shows.
    Deffile = 0x4001,
    Partition = 0x4004,
    Json = 0x4006,
}

/// Descriptors of what was written so far.
pub(crate) struct SifContainer {
    architecture: Architecture,
    descriptors: Vec<u8>,
    count: u32,
    /// Where the last object ends.
    end: u64,
    next: u64,
}

impl SifContainer {
    /// Leaves room for the header and the descriptors.
    pub(crate) fn begin(sink: &mut (impl Write + Seek), architecture: Architecture) -> io::Result<Self> {
        sink.seek(SeekFrom::Start(DATA_AT))?;
        Ok(Self { architecture, descriptors: Vec::new(), count: 0, end: DATA_AT, next: DATA_AT })
    }

    /// Writes an object. Documents have names.
    pub(crate) fn add(&mut self, sink: &mut impl Write, kind: ObjectKind, name: &str, bytes: &[u8]) -> io::Result<()> {
        sink.write_all(bytes)?;
        self.describe(kind, bytes.len() as u64, name, &[]);
        Ok(())
    }

    /// Goes to where a partition may begin.
    pub(crate) fn align(&mut self, sink: &mut impl Write) -> io::Result<()> {
        self.next = self.end.next_multiple_of(PAGE);
        sink.write_all(&vec![0; (self.next - self.end) as usize])
    }

    /// Describes the root file system, a squashfs that was written at the aligned place.
    pub(crate) fn system(&mut self, size: u64) {
        let mut extra = Vec::new();
        // Squashfs; the primary system partition.
        extra.extend_from_slice(&1u32.to_le_bytes());
        extra.extend_from_slice(&2u32.to_le_bytes());
        extra.extend_from_slice(self.architecture_code());
        self.describe(ObjectKind::Partition, size, "", &extra);
    }

    fn describe(&mut self, kind: ObjectKind, size: u64, name: &str, extra: &[u8]) {
        self.count += 1;
        let bytes = &mut self.descriptors;
        let begin = bytes.len();
        bytes.extend_from_slice(&(kind as u32).to_le_bytes());
        bytes.push(1);
        for field in [self.count, GROUP, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        // The size with what is unused before it.
        for field in [self.next, size, self.next - self.end + size] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for field in [NO_TIME, NO_TIME, 0, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(begin + 201, 0);
        bytes.extend_from_slice(extra);
        bytes.resize(begin + DESCRIPTOR as usize, 0);
        self.end = self.next + size;
        self.next = self.end;
    }

    /// Writes the header and the descriptors; the sink stands at its begin.
    pub(crate) fn finish(mut self, sink: &mut impl Write) -> io::Result<()> {
        let mut header = LAUNCH.to_vec();
        header.resize(32, 0);
        header.extend_from_slice(b"SIF_MAGIC\0");
        header.extend_from_slice(b"01\0");
        header.extend_from_slice(self.architecture_code());
        header.extend_from_slice(&[0; 16]);
        for field in [NO_TIME, NO_TIME] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        let free = DESCRIPTORS - u64::from(self.count);
        let size = DESCRIPTORS * DESCRIPTOR;
        for field in [free, DESCRIPTORS, DESCRIPTORS_AT, size, DATA_AT, self.end - DATA_AT] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        header.resize(DESCRIPTORS_AT as usize, 0);
        sink.write_all(&header)?;
        self.descriptors.resize(size as usize, 0);
        sink.write_all(&self.descriptors)
    }

    fn architecture_code(&self) -> &'static [u8; 3] {
        match self.architecture {
            Architecture::Amd64 => b"02\0",
            Architecture::Arm64 => b"04\0",
        }
    }
}
