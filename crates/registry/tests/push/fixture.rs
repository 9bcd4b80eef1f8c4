//! An image to publish, a clock that nobody waits for, and one call that publishes.

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_registry::{
    Access, Clock, Credentials, Error, Event, Registry, RegistryOptions, Repository, Secret,
    push::{Document, PushImage, PushLayer, PushPlan, PushReport, TagRule, TagStep, push},
};
use pixi_oci_test_registry::{
    docker::{PASSWORD, USER},
    fake, sample,
};
use tempfile::TempDir;

pub const REPOSITORY: &str = "team/app";
/// Where the registry may link blobs from.
pub const BASE: &str = "team/base";

/// An image with two architectures on disk and the plan to publish it.
pub struct Release {
    pub plan: PushPlan,
    pub image: sample::Image,
    _files: TempDir,
}

/// Version 1.0.0 with `latest`, of so many layers an architecture.
pub fn release(layers: usize) -> Release {
    version("1.0.0", sample::image(2, layers))
}

/// A version of this content. The tags are those of a release.
pub fn version(version: &str, image: sample::Image) -> Release {
    let files = TempDir::new().unwrap();
    let mut paths: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (digest, bytes) in &image.blobs {
        let path = files.path().join(digest.replace(':', "-"));
        fs::write(&path, bytes).unwrap();
        paths.insert(digest, path);
    }
    let (index, manifests) = image.manifests.split_last().unwrap();
    let document = |media_type, bytes: &[u8]| Document::new(&Descriptor::of(media_type, bytes), bytes);
    let images = manifests.iter().map(|(_, bytes)| {
        let manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| {
            let digest = layer["digest"].as_str().unwrap();
            let media_type = MediaType::ImageLayerGzip;
            PushLayer {
                descriptor: Descriptor::of(media_type, &image.blobs[digest]),
                source: Some(paths[digest].clone()),
            }
        });
        PushImage {
            manifest: document(MediaType::ImageManifest, bytes),
            config: document(MediaType::ImageConfig, &image.blobs[manifest["config"]["digest"].as_str().unwrap()]),
            layers: layers.collect(),
        }
    });
    let images: Vec<PushImage> = images.collect();
    let index = document(MediaType::ImageIndex, &index.1);
    let step =
        |tag: &str, target: &Document, rule| TagStep { tag: tag.to_owned(), target: target.descriptor.digest, rule };
    let mut tags = Vec::new();
    for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
        tags.push(step(&format!("{version}-{architecture}"), &image.manifest, TagRule::Immutable));
    }
    tags.push(step(version, &index, TagRule::Immutable));
    tags.push(step("latest", &index, TagRule::Moving));
    let plan = PushPlan { tags, ..PushPlan::of(images, Some(index)) };
    Release { plan, image, _files: files }
}

/// A clock that goes on by itself when somebody waits. What random numbers it gives, the seed says.
pub struct TestClock {
    state: Mutex<(Duration, u64)>,
    pub waits: Mutex<Vec<Duration>>,
    /// Called at each wait.
    at_wait: Box<dyn Fn() + Send + Sync>,
}

impl TestClock {
    pub fn new(seed: u64, at_wait: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let state = Mutex::new((Duration::ZERO, seed.max(1)));
        Arc::new(Self { state, waits: Mutex::default(), at_wait: Box::new(at_wait) })
    }
}

impl Clock for TestClock {
    fn elapsed(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.state.lock().unwrap().0 += time;
        self.waits.lock().unwrap().push(time);
        (self.at_wait)();
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> f64 {
        let state = &mut self.state.lock().unwrap().1;
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How to publish.
pub struct Setup {
    pub options: RegistryOptions,
    pub credentials: Credentials,
    pub clock: Arc<TestClock>,
    pub events: Arc<Mutex<Vec<Event>>>,
}

/// The user that the registries let in, and a clock that also lets a registry that refuses connections take them again.
pub fn setup(registry: &Arc<fake::Registry>) -> Setup {
    let again = Arc::downgrade(registry);
    Setup {
        // Long enough for a busy machine; only what stalls waits for it.
        options: RegistryOptions { progress_timeout: Duration::from_secs(2), ..RegistryOptions::default() },
        credentials: Credentials::Basic { user: USER.into(), password: Secret::new(PASSWORD) },
        clock: TestClock::new(1, move || {
            if let Some(registry) = again.upgrade() {
                registry.listen_again();
            }
        }),
        events: Arc::default(),
    }
}

impl Setup {
    pub fn connect(&self, address: &str, access: Access) -> Registry {
        let repository = Repository::new(address, REPOSITORY).unwrap();
        let events = self.events.clone();
        let tell = Arc::new(move |event| events.lock().unwrap().push(event));
        let registry = Registry::connect(&repository, access, &self.options, self.credentials.clone(), tell).unwrap();
        registry.with_clock(self.clock.clone())
    }

    /// Publishes. A push that does not end is a bug, not a long test.
    pub async fn push(&self, address: &str, plan: &PushPlan) -> Result<PushReport, Error> {
        let registry = self.connect(address, Access::Push);
        tokio::time::timeout(Duration::from_secs(120), push(plan, &registry)).await.expect("the push ends")
    }
}

/// A registry that several tasks use.
pub fn start(profile: fake::Profile) -> Arc<fake::Registry> {
    let registry = fake::Registry::start(profile);
    registry.create(REPOSITORY);
    Arc::new(registry)
}

/// What holds whatever a registry does: no tag ever named something incomplete, and `latest` was set last of all.
#[track_caller]
pub fn assert_never_incomplete(registry: &fake::Registry, context: &str) {
    for value in registry.history() {
        assert_eq!(value.missing, Vec::<String>::new(), "{context}: {value:#?}");
    }
    let log = registry.log();
    let latest = log.iter().find(|entry| entry.method == "PUT" && entry.target.ends_with("/manifests/latest"));
    if let Some(first) = latest {
        let later = log.iter().filter(|entry| {
            entry.number > first.number && entry.kind.mutates() && !entry.target.ends_with("/manifests/latest")
        });
        let later: Vec<String> = later.map(fake::Entry::line).collect();
        assert_eq!(later, Vec::<String>::new(), "{context}: after latest");
    }
}

/// What a secret looks like that must be in no output.
pub fn assert_no_canary(text: &str, context: &str) {
    for canary in [PASSWORD, "canary", "cm9ib3Q6"] {
        assert!(!text.contains(canary), "{context}: {canary} in {text}");
    }
}

/// A variable of the environment, for who runs the tests by hand.
#[allow(clippy::disallowed_methods)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
