//! What tests of the client and of the push have in common: a clock that does not wait, and images at registries.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::Digest;
use pixi_oci_test_registry::{docker, sample};
use serde_json::Value;

use crate::push::{Document, PushImage, PushLayer, PushPlan, PushReport, TagRule, TagStep, push};
use crate::{
    client::Registry,
    credentials::{Credentials, Secret},
    error::Error,
    event::Event,
    options::{Access, RegistryOptions},
    repository::RepositoryRef,
    retry::Clock,
};

/// Sleeps are noted and end at once.
#[derive(Default)]
pub(crate) struct FastClock {
    elapsed: Mutex<Duration>,
    pub(crate) waits: Mutex<Vec<Duration>>,
}

impl Clock for FastClock {
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.elapsed.lock().unwrap() += time;
        self.waits.lock().unwrap().push(time);
        Box::pin(std::future::ready(()))
    }

    fn random(&self) -> f64 {
        0.5
    }
}

/// A registry under test, and what it said.
pub(crate) struct Tested {
    pub(crate) registry: Registry,
    pub(crate) clock: Arc<FastClock>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// What tests vary.
pub(crate) struct Setup {
    pub(crate) access: Access,
    pub(crate) credentials: Credentials,
    pub(crate) options: RegistryOptions,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            access: Access::Push,
            credentials: Credentials::Basic { user: docker::USER.into(), password: Secret::new(docker::PASSWORD) },
            options: RegistryOptions { progress_timeout: Duration::from_millis(500), ..Default::default() },
        }
    }
}

impl Setup {
    pub(crate) fn connect(&self, reference: &str) -> Tested {
        let clock = Arc::new(FastClock::default());
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let repository = reference.parse::<RepositoryRef>().unwrap().repository;
        let log = events.clone();
        let registry = Registry::connect(
            &repository,
            self.access,
            &self.options,
            self.credentials.clone(),
            Arc::new(move |event| log.lock().unwrap().push(event)),
        );
        Tested { registry: registry.unwrap().with_clock(clock.clone()), clock, events }
    }
}

/// Runs on threads of its own: the tests' registries block theirs.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) fn push_to(reference: &str, plan: &PushPlan) -> Result<PushReport, Error> {
    let tested = Setup::default().connect(reference);
    run(push(plan, &tested.registry))
}

fn descriptor(value: &Value) -> Descriptor {
    Descriptor {
        media_type: value["mediaType"].as_str().unwrap().into(),
        digest: value["digest"].as_str().unwrap().parse().unwrap(),
        size: value["size"].as_u64().unwrap(),
        annotations: BTreeMap::new(),
    }
}

/// A sample image as a plan: its layers in files of `dir`, and the tags of a release.
pub(crate) fn release(image: &sample::Image, dir: &Path, version: &str) -> PushPlan {
    for (digest, bytes) in &image.blobs {
        fs::write(dir.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
    }
    let document = |bytes: &Vec<u8>, kind: MediaType| Document::new(&Descriptor::of(kind, bytes), bytes);
    let (index, manifests) = image.manifests.split_last().unwrap();
    let images: Vec<PushImage> = manifests
        .iter()
        .map(|(_, bytes)| {
            let parsed: Value = serde_json::from_slice(bytes).unwrap();
            let config = descriptor(&parsed["config"]);
            let bytes_of_config = &image.blobs[&config.digest.to_string()];
            let layers = parsed["layers"].as_array().unwrap().iter().map(descriptor);
            let layers =
                layers.map(|layer| PushLayer { source: Some(dir.join(layer.digest.hex())), descriptor: layer });
            PushImage {
                manifest: document(bytes, MediaType::ImageManifest),
                config: Document::new(&config, bytes_of_config),
                layers: layers.collect(),
            }
        })
        .collect();
    let index = document(&index.1, MediaType::ImageIndex);
    let step = |tag: String, target: Digest, rule| TagStep { tag, target, rule };
    // Not in the order of publication.
    let mut tags = vec![
        step("latest".into(), index.descriptor.digest, TagRule::Moving),
        step(version.to_owned(), index.descriptor.digest, TagRule::Immutable),
    ];
    for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
        tags.push(step(format!("{version}-{architecture}"), image.manifest.descriptor.digest, TagRule::Immutable));
    }
    PushPlan { tags, ..PushPlan::of(images, Some(index)) }
}
