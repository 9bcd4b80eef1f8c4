//! Wheels made in code, down to the headers of their zip.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, Crc, write::DeflateEncoder};
use pixi_oci_layer::{ContentStore, MemoryBudget, TreePath};
use pixi_oci_package::{Change, Error, PackageTree, Python, TargetPrefix};
use pixi_oci_wheel::{DirectUrl, WheelExpected, WheelInfo, read_wheel, wheel_tree};
use tempfile::TempDir;

pub const PREFIX: &str = "/opt/pixi/env";

pub fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

pub fn python() -> Python {
    Python { version: (3, 12), executable: path("bin/python3.12"), site_packages: path("lib/python3.12/site-packages") }
}

/// What a local header and the directory both say.
#[derive(Clone)]
pub struct Header {
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
    pub name: Vec<u8>,
    pub extra: Vec<u8>,
}

/// A member of a zip. Its two headers agree until a test changes one.
#[derive(Clone)]
pub struct Member {
    pub local: Header,
    pub central: Header,
    pub system: u8,
    pub external: u32,
    pub data: Vec<u8>,
    /// After the data: a descriptor, or anything.
    pub after: Vec<u8>,
    /// The unpacked bytes, for `RECORD`.
    pub body: Vec<u8>,
    pub listed: bool,
}

pub fn file(name: &str, body: impl AsRef<[u8]>) -> Member {
    member(name, body.as_ref(), true)
}

pub fn stored(name: &str, body: impl AsRef<[u8]>) -> Member {
    member(name, body.as_ref(), false)
}

pub fn directory(name: &str) -> Member {
    let mut member = member(name, b"", false);
    member.external = 0o040_755 << 16 | 0x10;
    member.listed = false;
    member
}

fn member(name: &str, body: &[u8], deflated: bool) -> Member {
    let data = if deflated {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    } else {
        body.to_vec()
    };
    let mut crc = Crc::new();
    crc.update(body);
    let header = Header {
        flags: if name.is_ascii() { 0 } else { 0x800 },
        method: if deflated { 8 } else { 0 },
        crc: crc.sum(),
        packed: data.len() as u32,
        size: body.len() as u32,
        name: name.into(),
        extra: Vec::new(),
    };
    Member {
        local: header.clone(),
        central: header,
        system: 3,
        external: 0o100_644 << 16,
        data,
        after: Vec::new(),
        body: body.into(),
        listed: true,
    }
}

impl Member {
    pub fn mode(mut self, mode: u32) -> Self {
        self.external = mode << 16;
        self
    }
    pub fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }
    pub fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }
    pub fn local(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        self
    }
    pub fn central(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.central);
        self
    }
    /// As a program writes it that cannot go back to the header.
    pub fn streamed(mut self, signature: bool) -> Self {
        let Header { crc, packed, size, .. } = self.central;
        self.after = if signature { 0x0807_4b50_u32.to_le_bytes().to_vec() } else { Vec::new() };
        [crc, packed, size].into_iter().for_each(|value| self.after.extend(value.to_le_bytes()));
        self.both(|header| header.flags |= 8).local(|header| (header.crc, header.packed, header.size) = (0, 0, 0))
    }
}

impl Header {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0, 0, 0x21, 0]);
        [self.crc, self.packed, self.size].into_iter().for_each(|value| out.extend(value.to_le_bytes()));
        [self.name.len(), self.extra.len()].into_iter().for_each(|len| out.extend((len as u16).to_le_bytes()));
    }
}

/// The bytes of a zip.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let at = out.len() as u32;
        out.extend(0x0403_4b50_u32.to_le_bytes());
        out.extend([20, 0]);
        member.local.write(&mut out);
        out.extend([&member.local.name[..], &member.local.extra, &member.data, &member.after].concat());

        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend([20, member.system, 20, 0]);
        member.central.write(&mut directory);
        // Comment, part and internal attributes.
        directory.extend([0; 6]);
        directory.extend(member.external.to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend([&member.central.name[..], &member.central.extra].concat());
    }
    let (start, len, count) = (out.len() as u32, directory.len() as u32, members.len() as u16);
    out.extend(directory);
    out.extend(0x0605_4b50_u32.to_le_bytes());
    out.extend([0; 4]);
    [count, count].into_iter().for_each(|count| out.extend(count.to_le_bytes()));
    [len, start].into_iter().for_each(|value| out.extend(value.to_le_bytes()));
    out.extend([0, 0]);
    out
}

/// A wheel with metadata and `RECORD`.
#[derive(Clone)]
pub struct Wheel {
    pub name: String,
    pub version: String,
    pub members: Vec<Member>,
    /// Instead of the one that follows from the members.
    pub record: Option<String>,
    pub record_mode: u32,
}

pub fn wheel(name: &str, members: impl IntoIterator<Item = Member>) -> Wheel {
    let in_dist_info = |file: &str| format!("{name}-1.0.dist-info/{file}");
    let mut members: Vec<_> = members.into_iter().collect();
    for (file_name, text) in [
        ("METADATA", format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nText\n")),
        ("WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into()),
    ] {
        let path = in_dist_info(file_name);
        if !members.iter().any(|member| member.central.name == path.as_bytes()) {
            members.push(file(&path, text));
        }
    }
    Wheel { name: name.into(), version: "1.0".into(), members, record: None, record_mode: 0o100_644 }
}

pub fn entry_points(name: &str, text: &str) -> Member {
    file(&format!("{name}-1.0.dist-info/entry_points.txt"), text)
}

/// A line of `RECORD`.
pub fn line(name: &str, body: &[u8]) -> String {
    // The wheel's own encoder is tested against known values; this is another one.
    let digest = pixi_oci_layer::Digest::of(body).hex();
    let bits: String = (0..64).map(|at| format!("{:04b}", u8::from_str_radix(&digest[at..=at], 16).unwrap())).collect();
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text: String = format!("{bits}00")
        .as_bytes()
        .chunks(6)
        .map(|bits| digits[usize::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap()] as char)
        .collect();
    let name = if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() };
    format!("{name},sha256={text},{}\n", body.len())
}

impl Wheel {
    pub fn record_lines(&self) -> String {
        let listed = self.members.iter().filter(|member| member.listed);
        let lines: String = listed.map(|m| line(std::str::from_utf8(&m.central.name).unwrap(), &m.body)).collect();
        format!("{lines}{}-{}.dist-info/RECORD,,\n", self.name, self.version)
    }
    pub fn record(self, record: impl Into<String>) -> Self {
        Self { record: Some(record.into()), ..self }
    }
    pub fn all_members(&self) -> Vec<Member> {
        let record = self.record.clone().unwrap_or_else(|| self.record_lines());
        let record = file(&format!("{}-{}.dist-info/RECORD", self.name, self.version), record).mode(self.record_mode);
        self.members.iter().cloned().chain([record]).collect()
    }
    pub fn bytes(&self) -> Vec<u8> {
        zip(&self.all_members())
    }
    pub fn expected(&self) -> WheelExpected {
        let (name, version) = (&self.name, &self.version);
        WheelExpected {
            name: name.to_lowercase().replace('_', "-"),
            version: version.clone(),
            file_name: format!("{name}-{version}-py3-none-any.whl"),
        }
    }
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(self.expected().file_name);
        fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// How a wheel is installed.
pub struct Install<'a> {
    pub python: Python,
    pub prefix: &'a str,
    pub direct_url: Option<DirectUrl>,
    pub changes: Vec<Change>,
}

impl Default for Install<'_> {
    fn default() -> Self {
        Self { python: python(), prefix: PREFIX, direct_url: None, changes: Vec::new() }
    }
}

impl Install<'_> {
    pub fn archive(&self, archive: &Path, expected: &WheelExpected) -> Result<(WheelInfo, PackageTree), Error> {
        let info = read_wheel(archive, expected)?;
        let scratch = TempDir::new().unwrap();
        let mut store = ContentStore::new(&MemoryBudget::new(64 << 20), scratch.path());
        let prefix = TargetPrefix::new(self.prefix).unwrap();
        let direct_url = self.direct_url.as_ref();
        let tree = wheel_tree(archive, &info, &self.python, &prefix, direct_url, &self.changes, &mut store)?;
        Ok((info, tree))
    }

    pub fn bytes(&self, wheel: &Wheel, bytes: &[u8]) -> Result<(WheelInfo, PackageTree), Error> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("some.whl");
        fs::write(&path, bytes).unwrap();
        self.archive(&path, &wheel.expected())
    }
}

pub fn install(wheel: &Wheel) -> Result<(WheelInfo, PackageTree), Error> {
    Install::default().bytes(wheel, &wheel.bytes())
}
