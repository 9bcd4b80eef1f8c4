//! What programs in containers say: kept in files, with a limit.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use pixi_oci_platform::stripped;

use crate::Error;

/// As much of a stream is kept; a program that talks for ever must not fill the disk.
const MAX_LOG: u64 = 64 << 20;
/// As much of the end is quoted in messages.
const MAX_SAID: usize = 16 << 10;
const MAX_LINES: usize = 30;

#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies a stream to the file, up to a limit, until it ends; gives its last lines.
    pub(crate) fn take(&self, stream: impl Read + Send + 'static) -> Result<JoinHandle<String>, Error> {
        let file = self.file.try_clone().map_err(Error::io(format!("write {}", self.path.display())))?;
        Ok(std::thread::spawn(move || end_of(stream, Some(file))))
    }
}

/// Gives the last lines of a stream when it ends.
pub fn tail(stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || end_of(stream, None))
}

fn end_of(mut stream: impl Read, mut file: Option<File>) -> String {
    let (mut kept, mut room): (Vec<u8>, u64) = (Vec::new(), MAX_LOG);
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if let Some(log) = &mut file {
            let part = read.min(usize::try_from(room).unwrap_or(usize::MAX));
            room -= part as u64;
            // A log that cannot be written must not stop what is logged: the stream is read to its end all the same.
            let written = log.write_all(&buffer[..part]);
            if written.is_ok() && room == 0 {
                let _ = writeln!(log, "\n[pixi-oci: the log is cut here, at {MAX_LOG} bytes]");
            }
            if written.is_err() || room == 0 {
                file = None;
            }
        }
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * MAX_SAID {
            kept.drain(..kept.len() - MAX_SAID);
        }
    }
    let text = stripped(&kept[kept.len().saturating_sub(MAX_SAID)..]);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_limit_and_the_end_is_known_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::create(&directory.path().join("log")).unwrap();
        let stream = std::io::repeat(b'x').take(MAX_LOG + 100).chain(&b"\nthe \x1b[31mend\n"[..]);
        assert!(log.take(stream).unwrap().join().unwrap().ends_with("\nthe [31mend"));
        let length = std::fs::metadata(log.path()).unwrap().len();
        assert!((MAX_LOG..MAX_LOG + 100).contains(&length), "{length}");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let end = tail(std::io::Cursor::new(text)).join().unwrap();
        assert!(end.starts_with("line 9970\n") && end.ends_with("line 9999"), "{end}");
    }
}
