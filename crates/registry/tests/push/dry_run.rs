//! A dry run writes nothing, whatever is asked for and whatever the registry does.

use pixi_oci_registry::{
    Access,
    push::{PushPlan, TagRule, push},
};
use pixi_oci_test_registry::{Fault, Kind, Lie, Profile, Rule, http::Response, sample};

use super::fixture::{BASE, REPOSITORY, Release, release, setup, start, version};

/// xorshift64*: the cases are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }
}

fn case(random: &mut Random, release: &Release) -> PushPlan {
    let mut plan = PushPlan { dry_run: true, ..release.plan.clone() };
    if random.chance() {
        plan.mount_from = vec![BASE.into()];
    }
    for step in &mut plan.tags {
        step.rule = [TagRule::Immutable, TagRule::Moving, TagRule::Staging][random.below(3)];
    }
    if random.chance() {
        plan.tags.truncate(random.below(4));
    }
    if random.below(4) == 0 {
        plan.index = None;
        let images: Vec<_> = plan.images.iter().map(|image| image.manifest.descriptor.digest).collect();
        plan.tags.retain(|step| images.contains(&step.target));
    }
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_dry_runs_make_no_mutating_request() {
    let mut random = Random(20_261_121);
    let profiles = Profile::all();
    let release = release(2);
    let old = version("1.0.0", sample::image(2, 1));
    let mut worked = 0;
    for round in 0..100 {
        let profile = profiles[random.below(profiles.len())].clone();
        let context = format!("round {round}, {}", profile.name);
        let registry = start(profile);
        match random.below(4) {
            0 => sample_in(&registry, &release),
            1 => sample_in(&registry, &old),
            _ => {}
        }
        // Ten runs each: making a client costs more than all that it asks.
        let setup = setup(&registry);
        let client = setup.connect(&registry.address, Access::Push);
        for _ in 0..10 {
            if random.chance() {
                registry.rules([Rule::once(a_kind(&mut random), a_fault(&mut random))]);
            }
            let plan = case(&mut random, &release);
            worked += usize::from(push(&plan, &client).await.is_ok());
            registry.heal();
        }
        let mutating: Vec<String> =
            registry.log().iter().filter(|entry| entry.kind.mutates()).map(|entry| entry.line()).collect();
        assert_eq!(mutating, Vec::<String>::new(), "{context}");
        let others =
            registry.log().into_iter().find(|e| !matches!(e.method.as_str(), "GET" | "HEAD") && e.kind != Kind::Token);
        assert_eq!(others, None, "{context}");
    }
    assert!(worked > 500, "{worked}");
}

fn a_kind(random: &mut Random) -> Kind {
    [Kind::Ping, Kind::Token, Kind::BlobHead, Kind::ManifestHead, Kind::ManifestGet][random.below(5)]
}

fn a_fault(random: &mut Random) -> Fault {
    match random.below(5) {
        0 => Fault::ResetBefore,
        1 => Fault::Answer(Response::error(503, "UNAVAILABLE")),
        2 => Fault::Answer(Response::error(401, "UNAUTHORIZED")),
        3 => Fault::Lie(Lie::YesToEverything),
        _ => Fault::Answer(Response::new(200).body("text/html", "<html>")),
    }
}

fn sample_in(registry: &pixi_oci_test_registry::Registry, release: &Release) {
    for (digest, bytes) in &release.image.blobs {
        registry.put_blob(REPOSITORY, digest, bytes);
    }
    registry.put_image(REPOSITORY, &release.image, &["1.0.0", "latest"]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_sent() {
    let release = release(2);
    let registry = start(Profile::plain());
    let setup = setup(&registry);
    let dry = setup.push(&registry.address, &PushPlan { dry_run: true, ..release.plan.clone() }).await.unwrap();
    let real = setup.push(&registry.address, &release.plan).await.unwrap();
    assert_eq!(dry.uploaded.len(), real.uploaded.len());
    assert_eq!(dry.tags, real.tags);
    let again = setup.push(&registry.address, &PushPlan { dry_run: true, ..release.plan.clone() }).await.unwrap();
    assert_eq!((again.uploaded.len(), again.present.len()), (0, release.image.blobs.len()));
}
