//! Writes a wheel: a zip that depends on nothing but what is put into it.

use std::{
    collections::BTreeMap,
    io::{self, Seek, Write},
};

use pixi_oci_layer::TreePath;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::hash;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWheelFile {
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// Writes a wheel of `files`, by their paths in the zip, and the `RECORD` of them into `dist_info`.
///
/// `METADATA`, `WHEEL` and `entry_points.txt` are among the files. Nothing is compressed: such a wheel is unpacked on the
/// same machine, and stored bytes depend on no version of a compressor.
pub fn pack_wheel(
    sink: impl Write + Seek,
    dist_info: &str,
    files: &BTreeMap<TreePath, NewWheelFile>,
) -> io::Result<()> {
    let mut zip = ZipWriter::new(sink);
    // 1980-01-01, the first time that a zip can hold.
    let options = |executable| {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(if executable { 0o755 } else { 0o644 })
    };
    let mut record = String::new();
    for (path, file) in files {
        zip.start_file(path.as_str(), options(file.executable))?;
        zip.write_all(&file.bytes)?;
        record.push_str(&format!("{},{},{}\n", field(path.as_str()), hash::sha256(&file.bytes), file.bytes.len()));
    }
    let path = format!("{dist_info}/RECORD");
    record.push_str(&format!("{},,\n", field(&path)));
    zip.start_file(path, options(false))?;
    zip.write_all(record.as_bytes())?;
    zip.finish()?.flush()?;
    Ok(())
}

/// A field of a line of comma-separated values (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{WheelExpected, read_wheel};

    #[test]
    fn what_is_written_can_be_read() {
        let file = |text: &str| NewWheelFile { bytes: text.into(), executable: false };
        let files: BTreeMap<TreePath, NewWheelFile> = [
            ("a-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1\n"),
            ("a-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("a/odd, \"name\".txt", "x"),
            ("a/__init__.py", ""),
        ]
        .map(|(path, text)| (TreePath::new(path).unwrap(), file(text)))
        .into();
        let mut bytes = [Vec::new(), Vec::new()];
        for bytes in &mut bytes {
            pack_wheel(Cursor::new(bytes), "a-1.dist-info", &files).unwrap();
        }
        assert_eq!(bytes[0], bytes[1]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-1-py3-none-any.whl");
        std::fs::write(&path, &bytes[0]).unwrap();
        let expected =
            WheelExpected { name: "a".into(), version: "1".into(), file_name: "a-1-py3-none-any.whl".into() };
        let info = read_wheel(&path, &expected).unwrap();
        assert_eq!(info.version, "1");
    }
}
