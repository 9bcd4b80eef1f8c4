//! Bodies: files that are sent, and answers of limited size.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::{Digest, DigestWriter};
use pixi_oci_net::Patience;
use tokio::sync::mpsc;

use crate::{
    error::Error,
    event::{Event, Events},
};

/// Read and sent at once; two more wait while one is sent, so that reading, hashing and sending go on together.
const PIECE: usize = 512 << 10;
const WAITING: usize = 2;
/// Handed to the connection at once. It holds sixteen of them until all are sent: with larger ones, a slow line would look like one
/// that stands still.
const CHUNK: usize = 4 << 10;

/// A part of a file that is sent as one request. Each attempt opens the file anew (build-push-action#626 is what happens
/// otherwise).
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    pub(crate) path: PathBuf,
    /// What the whole file is.
    pub(crate) blob: Descriptor,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// Why a file cannot be sent. It comes back as the cause of the connection's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not {expected} any more", path.display())]
    Changed { path: PathBuf, expected: Digest, found: String },
}

impl FileError {
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::Read { path, source } => Error::read(path, io::Error::new(source.kind(), source.to_string())),
            Self::Changed { path, expected, found } => {
                Error::mismatch(format!("the file {}", path.display()), *expected, found)
            }
        }
    }
}

/// How far a body is. It tells a slow connection from one that stands still.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    sent: AtomicU64,
}

impl Progress {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends when fewer than [`Patience::LEAST`] bytes were sent for so long. After the last byte the registry may take
    /// longer: it hashes the blob and moves it to its place.
    pub(crate) async fn is_too_slow(&self, length: u64, patience: Duration) {
        const FOR_THE_ANSWER: u32 = 5;
        let mut before = 0;
        loop {
            tokio::time::sleep(patience).await;
            let now = self.sent();
            if now >= length {
                return tokio::time::sleep(patience * FOR_THE_ANSWER).await;
            }
            if now - before < Patience::LEAST {
                return;
            }
            before = now;
        }
    }
}

impl FilePart {
    /// A body that reads the file once. When the part is the whole file, it is hashed on the way, and its last piece is
    /// held back until the digest is known to be right.
    pub(crate) fn body(&self, progress: Arc<Progress>, events: Events) -> reqwest::Body {
        let (sender, receiver) = mpsc::channel(WAITING);
        let part = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = part.read(|piece| sender.blocking_send(Ok(piece)).is_ok()) {
                // Nobody waits for it when the connection broke before.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let (blob, size, start) = (self.blob.digest, self.blob.size, self.start);
        let state = (receiver, Bytes::new(), progress, events);
        reqwest::Body::wrap_stream(stream::unfold(
            state,
            move |(mut receiver, mut piece, progress, events)| async move {
                if piece.is_empty() {
                    piece = match receiver.recv().await? {
                        Ok(read) => Bytes::from(read),
                        Err(error) => return Some((Err(error), (receiver, piece, progress, events))),
                    };
                }
                let chunk = piece.split_to(piece.len().min(CHUNK));
                let length = chunk.len() as u64;
                let sent = progress.sent.fetch_add(length, Ordering::Relaxed) + length;
                if piece.is_empty() {
                    events(Event::Sent { blob, sent: start + sent, size });
                }
                Some((Ok::<_, FileError>(chunk), (receiver, piece, progress, events)))
            },
        ))
    }

    /// Gives the part to `send` piece by piece, until that returns `false`.
    fn read(&self, mut send: impl FnMut(Vec<u8>) -> bool) -> Result<(), FileError> {
        let failed = |source| FileError::Read { path: self.path.clone(), source };
        let changed = |found: String| FileError::Changed { path: self.path.clone(), expected: self.blob.digest, found };
        let mut file = self.open().map_err(failed)?;
        let whole = self.length == self.blob.size;
        let mut hash = DigestWriter::new(io::sink());
        let mut left = self.length;
        while left > 0 {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            file.read_exact(&mut piece).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => changed("it is shorter".into()),
                _ => failed(error),
            })?;
            left -= piece.len() as u64;
            if whole {
                io::Write::write_all(&mut hash, &piece).map_err(failed)?;
                if left == 0 {
                    let (digest, ..) = std::mem::replace(&mut hash, DigestWriter::new(io::sink())).finish();
                    if digest != self.blob.digest {
                        return Err(changed(format!("it is {digest}")));
                    }
                }
            }
            if !send(piece) {
                break;
            }
        }
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let mut file = pixi_oci_platform::open(&self.path, pixi_oci_platform::Links::Follow)?;
        file.seek(SeekFrom::Start(self.start))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8], blob: &[u8], start: u64, length: u64) -> (tempfile::TempDir, FilePart) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, bytes).unwrap();
        let blob = Descriptor::of(pixi_oci_image::MediaType::ImageLayerGzip, blob);
        (dir, FilePart { path, blob, start, length })
    }

    fn sent(part: &FilePart) -> (Vec<u8>, Result<(), FileError>) {
        let mut sent = Vec::new();
        let result = part.read(|piece| {
            sent.extend(piece);
            true
        });
        (sent, result)
    }

    #[test]
    fn a_file_that_changed_is_never_sent_to_its_end() {
        let bytes: Vec<u8> = (0..PIECE + 1000).map(|n| n as u8).collect();
        let mut wrong = bytes.clone();
        wrong[7] ^= 1;
        let size = bytes.len() as u64;
        let (_dir, file) = part(&bytes, &bytes, 0, size);
        assert_eq!(sent(&file).0, bytes);
        for bad in [&wrong[..], &bytes[..bytes.len() - 1], b""] {
            let (_dir, file) = part(bad, &bytes, 0, size);
            let (sent, result) = sent(&file);
            assert!(sent.len() < bytes.len(), "{}", sent.len());
            assert!(matches!(result, Err(FileError::Changed { .. })), "{result:?}");
        }
        let (_dir, file) = part(&bytes, &bytes, 10, 20);
        assert_eq!(sent(&file).0, bytes[10..30]);
    }

    /// Whether an upload of `length` bytes is given up that moves so many of them every 5 ms.
    fn is_given_up(length: u64, every: u64, window: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let progress = Progress::default();
            let moving = async {
                while progress.sent.fetch_add(every, Ordering::Relaxed) + every < length {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                () = progress.is_too_slow(length, window) => true,
                () = moving => false,
            }
        })
    }

    #[test]
    fn an_upload_has_a_least_rate() {
        // Something moves all the time.
        assert!(is_given_up(1 << 40, 1, Duration::from_millis(50)));
        assert!(!is_given_up(Patience::LEAST * 200, Patience::LEAST, Duration::from_millis(500)));
    }
}
