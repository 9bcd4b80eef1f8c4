//! Writes an answer's body to a file; hashing and writing happen on a thread of their own.

use std::pin::pin;

use bytes::Bytes;
use reqwest::Response;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    failure::{Failure, shown},
    task::{Download, MAX_ARCHIVE},
};
use crate::{blocking::blocking, cache::Incoming};
use pixi_oci_net::Patience;

/// Pieces of a download that may wait for the disk.
const QUEUE: usize = 16;

/// Appends the body to the file. Gives the file back even if the body ended early, and then why.
pub(super) async fn receive(
    download: &Download<'_>,
    mut incoming: Incoming,
    response: Response,
) -> Result<(Incoming, Result<(), Failure>), Failure> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
    let position = incoming.size;
    let writer = async move {
        let written = blocking(move || {
            while let Some(piece) = receiver.blocking_recv() {
                incoming.write(&piece)?;
            }
            Ok::<_, std::io::Error>(incoming)
        });
        let directory = download.cache.directory();
        written
            .await
            .map_err(|source| Failure::from(download.item.io_error("write the download into", directory, source)))
    };
    let (received, written) = futures_util::future::join(read(download, position, response, sender), writer).await;
    Ok((written?, received))
}

async fn read(
    download: &Download<'_>,
    mut position: u64,
    mut response: Response,
    sender: mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let place = shown(download.url, Some(response.url()));
    let limit = download.item.size.unwrap_or(MAX_ARCHIVE);
    let patience = download.client.patience();
    let mut window = pin!(sleep(patience.window));
    let mut window_began_at = position;
    loop {
        let piece = tokio::select! {
            biased;
            piece = response.chunk() => piece.map_err(|error| download.broke_off(error))?,
            () = &mut window => {
                if position - window_began_at < Patience::LEAST {
                    return Err(download.too_slow(&place, patience.window));
                }
                window_began_at = position;
                window.as_mut().reset(Instant::now() + patience.window);
                continue;
            }
        };
        let Some(piece) = piece else { return Ok(()) };
        position += piece.len() as u64;
        if position > limit {
            return Err(download.wrong_size(&place, format!("more than {limit}"), limit).into());
        }
        if let Err(mpsc::error::TrySendError::Full(piece)) = sender.try_send(piece) {
            if sender.send(piece).await.is_err() {
                return Ok(()); // the writer failed, and will say why
            }
            // The disk was waited for: that is not the server's fault.
            window_began_at = position;
            window.as_mut().reset(Instant::now() + patience.window);
        }
        (download.progress)(position);
    }
}
