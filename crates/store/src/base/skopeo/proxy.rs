//! `skopeo experimental-image-proxy`: an image is opened as this machine's policy and signatures allow, and blobs are read one by one.
//!
//! skopeo is believed as a program; what it reads is not. It has as much memory as a document of an image needs and ends when it does not
//! answer in time; blobs are read up to the size that is named, at the least rate of all transfers, and hashed.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use containers_image_proxy::{
    Error as ProxyError, ImageProxy, ImageProxyConfig, OpenedImage, oci_spec::image::Digest as OciDigest,
};
use oci_read::{document::Descriptor as Entry, limits::DOCUMENT};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::{Digest, DigestWriter};
use pixi_oci_net::LeastRate;
use pixi_oci_platform::{Leash, stripped};
use pixi_oci_registry::{Event, Events};
use tokio::{io::AsyncReadExt, sync::Mutex, time::timeout};

use super::program::{ANSWER, Skopeo, end, is_policy, no_answer};
use crate::{Error, base::Problem, destination::check};

/// What skopeo has in memory at once: a manifest of [`DOCUMENT`] many times, and no other part of an image as a whole.
const MEMORY: u64 = 512 << 20;
/// The first version of the protocol that tells how layers are stored.
const OLDEST: (u64, u64, u64) = (0, 2, 5);

/// An open image. A proxy that is not closed is killed.
pub(super) struct Proxy {
    proxy: ImageProxy,
    image: OpenedImage,
    /// It reads one blob at a time, and what waits for that has not been asked yet.
    turn: Mutex<()>,
    patience: Duration,
    events: Events,
    leash: Leash,
}

impl Proxy {
    /// Opens the image; `None` if this skopeo has no proxy that can read all images.
    pub(super) async fn open(
        skopeo: &Skopeo<'_>,
        patience: Duration,
        events: &Events,
    ) -> Result<Option<Self>, Problem> {
        let mut command = skopeo.command();
        let leash = Leash::on(&mut command, MEMORY).map_err(Error::io("run", skopeo.program))?;
        let mut config = ImageProxyConfig::default();
        config.skopeo_cmd = Some(command);
        let started = timeout(ANSWER * patience, ImageProxy::new_with_config(config)).await;
        let proxy = match started.map_err(|_| no_answer("images by its proxy", patience))? {
            Ok(proxy) => proxy,
            Err(ProxyError::SkopeoSpawnError(error)) => return Err(skopeo.no(error)),
            // It knows no proxy, or one of another time.
            Err(_) => return Ok(None),
        };
        let version = proxy.protocol_version();
        if (version.major, version.minor, version.patch) < OLDEST {
            return Ok(None);
        }
        let image = answer("the image", patience, proxy.open_image(skopeo.reference)).await?;
        Ok(Some(Self { proxy, image, turn: Mutex::default(), patience, events: events.clone(), leash }))
    }

    /// The digest of the image's manifest, and the manifest in OCI's form.
    pub(super) async fn manifest(&self) -> Result<(Digest, Vec<u8>), Problem> {
        let asked = self.proxy.fetch_manifest_raw_oci(&self.image);
        let (digest, bytes) = answer("its manifest", self.patience, asked).await?;
        if bytes.len() as u64 > DOCUMENT {
            let reason = format!("it is larger than {DOCUMENT} bytes");
            return Err(Problem::document("its manifest", "a document of an image", reason));
        }
        let digest = digest.parse().map_err(|error| Problem::document("its manifest", "named by a digest", error))?;
        Ok((digest, bytes))
    }

    pub(super) async fn layers(&self) -> Result<Vec<Entry>, Problem> {
        let found = answer("its layers", self.patience, self.proxy.get_layer_info(&self.image)).await?;
        let layers = found.unwrap_or_default().into_iter();
        Ok(layers
            .map(|layer| Entry {
                media_type: layer.media_type.to_string(),
                ..Entry::new(layer.digest.to_string(), layer.size)
            })
            .collect())
    }

    /// Writes a blob to `sink`. `received` is told how many bytes have come.
    pub(super) async fn blob(
        &self,
        blob: &Descriptor,
        sink: &mut (impl Write + Send),
        received: impl Fn(u64),
    ) -> Result<(), Problem> {
        let _turn = self.turn.lock().await;
        let what = format!("blob {}", blob.digest);
        let failed = |said: String| Problem::Proxy { what: what.clone(), said };
        let digest: OciDigest = blob.digest.to_string().parse().map_err(|error| failed(format!("{error}")))?;
        let asked = self.proxy.get_blob_stream(&self.image, &digest, blob.size);
        let (mut reader, mut driver) = answer(&what, self.patience, asked).await?.into_parts();
        let reading = async {
            let mut sink = DigestWriter::new(sink);
            // One byte more than it should have tells that it is too long.
            let mut left = blob.size.saturating_add(1);
            let (mut rate, mut buffer) = (LeastRate::new(self.patience), vec![0; 256 << 10]);
            while left > 0 {
                let began = Instant::now();
                let read = timeout(self.patience, reader.read(&mut buffer)).await;
                let slow = || failed(format!("it sends too little in {} seconds", self.patience.as_secs()));
                let n = read.map_err(|_| slow())?.map_err(|error| failed(error.to_string()))?;
                if n == 0 {
                    break;
                }
                if rate.is_too_slow(n as u64, began.elapsed()) {
                    return Err(slow());
                }
                let kept = buffer.get(..n.min(usize::try_from(left).unwrap_or(n))).unwrap_or_default();
                sink.write_all(kept).map_err(Error::io("write", "a base image's layer"))?;
                left -= kept.len() as u64;
                received(blob.size.saturating_sub(left.saturating_sub(1)));
            }
            // Lets skopeo see that no more is read.
            drop(reader);
            let (digest, size, _) = sink.finish();
            check(blob, || what.clone(), digest, size).map_err(Problem::from)
        };
        let said = |error| refusal(&what, error);
        // skopeo says at its end whether it gave all of it, and may say so before we have read it.
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                read?;
                answer(&what, self.patience, driver).await
            }
            end = &mut driver => {
                end.map_err(said)?;
                reading.await
            }
        }
    }

    pub(super) fn received(&self, blob: &Descriptor, received: u64) {
        (self.events)(Event::Received { blob: blob.digest, received, size: blob.size });
    }

    /// Lets skopeo end by itself, with nothing of its own left in temporary directories. Only for a proxy that has answered everything.
    pub(super) async fn close(self) {
        if timeout(self.patience, self.proxy.finalize()).await.is_ok() {
            self.leash.release();
        }
    }
}

/// Waits for an answer for so long.
async fn answer<T>(
    what: &str,
    patience: Duration,
    asked: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, Problem> {
    let answer = timeout(ANSWER * patience, asked).await;
    answer.map_err(|_| no_answer(what, patience))?.map_err(|error| refusal(what, error))
}

fn refusal(what: &str, error: ProxyError) -> Problem {
    let said = match error {
        ProxyError::RequestInitiationFailure { error, .. } | ProxyError::RetryableRequestFailure { error, .. } => {
            error.into_string()
        }
        // Its end may be seen before its status and its words are.
        ProxyError::SerDe(error) => format!("it ended, or its answer cannot be read: {error}"),
        error => error.to_string(),
    };
    let said = end(&stripped(said));
    if is_policy(&said) { Problem::Policy { said } } else { Problem::Proxy { what: what.to_owned(), said } }
}
