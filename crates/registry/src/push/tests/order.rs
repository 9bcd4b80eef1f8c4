//! What is sent, in which order, and what is not sent.

use pixi_oci_test_registry::{Kind, Point, Profile, Registry, checker, fake::Auth, sample};

use crate::{
    error::ErrorKind,
    event::{Arrival, Event},
    push::{TagRule, push},
    testing::{Setup, push_to, release, run},
};

fn mutations(registry: &Registry) -> Vec<String> {
    let log = registry.log();
    log.iter().filter(|entry| entry.kind.mutates()).map(|entry| format!("{:?} {}", entry.kind, entry.target)).collect()
}

#[test]
fn every_kind_of_registry_takes_a_push_and_everything_is_there() {
    for profile in Profile::all() {
        let name = profile.name;
        let short_tokens = matches!(profile.auth, Auth::Bearer { uses: Some(_), .. });
        let registry = Registry::start(profile);
        registry.create("a/b");
        let (image, dir) = (sample::image(2, 3), tempfile::tempdir().unwrap());
        let report = push_to(&registry.reference("a/b"), &release(&image, dir.path(), "1.0.0"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(report.uploaded.len(), image.blobs.len(), "{name}");
        assert_eq!(registry.broken_tags(), [""; 0], "{name}");
        for tag in ["1.0.0", "latest"] {
            assert_eq!(registry.tag("a/b", tag).as_deref(), Some(image.digest()), "{name}");
        }
        for (n, architecture) in ["amd64", "arm64"].iter().enumerate() {
            let tag = registry.tag("a/b", &format!("1.0.0-{architecture}"));
            assert_eq!(tag.as_ref(), Some(&image.manifests[n].0), "{name}");
        }
        assert!(registry.most_uploads() <= 3, "{name}: {}", registry.most_uploads());
        // Nobody but the registry and its token service saw credentials.
        for entry in registry.log().iter().filter(|entry| entry.elsewhere && entry.kind != Kind::Token) {
            assert_eq!(entry.who, "", "{name}: {}", entry.line());
        }
        // The second time nothing is sent.
        registry.clear_log();
        let report = push_to(&registry.reference("a/b"), &release(&image, dir.path(), "1.0.0")).unwrap();
        assert_eq!((report.uploaded.len(), report.bytes), (0, 0), "{name}");
        assert_eq!(mutations(&registry), [""; 0], "{name}");
        let budget = image.blobs.len() + image.manifests.len() + 4 + 3;
        assert!(
            short_tokens || registry.log().len() <= budget,
            "{name}: {} requests of {budget}",
            registry.log().len()
        );
        assert_eq!(report.requests, registry.log().len() as u64, "{name}");
    }
}

#[test]
fn a_push_goes_from_blobs_to_latest() {
    let registry = Registry::start(Profile::plain());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let report = push_to(&registry.reference("a/b"), &plan).unwrap();
    let order = mutations(&registry);
    let puts: Vec<_> = order.iter().filter_map(|line| line.strip_prefix("ManifestPut /v2/a/b/manifests/")).collect();
    let [amd64, arm64, index] = [0, 1, 2].map(|n| image.manifests[n].0.as_str());
    assert_eq!(puts, [amd64, arm64, "1.0.0-amd64", "1.0.0-arm64", index, "1.0.0", "latest"]);
    let first_manifest = order.iter().position(|line| line.starts_with("ManifestPut")).unwrap();
    assert!(order[first_manifest..].iter().all(|line| line.starts_with("ManifestPut")), "{order:#?}");
    let tags: Vec<_> = report.tags.iter().map(|tag| (tag.tag.as_str(), tag.old, tag.new.to_string())).collect();
    assert_eq!(tags[2..], [("1.0.0", None, index.to_owned()), ("latest", None, index.to_owned())]);
    // A configuration comes after all layers; each blob costs HEAD, POST, PUT, HEAD.
    let configs: Vec<_> = plan.images.iter().map(|image| image.config.descriptor.digest).collect();
    assert_eq!(report.uploaded[report.uploaded.len() - 2..], configs);
    assert_eq!(registry.log().iter().filter(|entry| entry.target.contains("/blobs/")).count(), 4 * image.blobs.len());
    checker::check(&registry.address).sound();
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_it_would_do() {
    let registry = Registry::start(Profile::plain());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    plan.dry_run = true;
    plan.mount_from = vec!["c/d".into()];
    let dry = push_to(&registry.reference("a/b"), &plan).unwrap();
    assert_eq!(mutations(&registry), [""; 0]);
    plan.dry_run = false;
    let wet = push_to(&registry.reference("a/b"), &plan).unwrap();
    assert_eq!((dry.uploaded, dry.manifests, dry.tags), (wet.uploaded, wet.manifests, wet.tags));
}

#[test]
fn a_version_is_never_published_twice() {
    let registry = Registry::start(Profile::plain());
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (sample::image(2, 2), sample::image(2, 3));
    push_to(&registry.reference("a/b"), &release(&first, dir.path(), "1.0.0")).unwrap();
    registry.clear_log();
    let error = push_to(&registry.reference("a/b"), &release(&second, dir.path(), "1.0.0")).unwrap_err();
    assert!(error.kind() == ErrorKind::TagExists && error.to_string().contains(":1.0.0"), "{error}");
    assert_eq!(error.name(), Some("tag-exists"));
    assert_eq!(mutations(&registry), [""; 0]);
    // A new version moves `latest`, and the old tags stay.
    let report = push_to(&registry.reference("a/b"), &release(&second, dir.path(), "1.1.0")).unwrap();
    let latest = report.tags.last().unwrap();
    assert_eq!(latest.old.unwrap().to_string(), first.digest());
    assert_eq!(registry.tag("a/b", "1.0.0").as_deref(), Some(first.digest()));
    assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(second.digest()));
    // Harbor protects tags itself: the tag was written by nobody that we could see.
    let mut moving = release(&first, dir.path(), "1.2.0");
    moving.tags.iter_mut().for_each(|step| step.rule = TagRule::Moving);
    let harbor = Registry::start(Profile { must_exist: false, ..Profile::harbor() });
    push_to(&harbor.reference("a/b"), &release(&second, dir.path(), "1.2.0")).unwrap();
    let error = push_to(&harbor.reference("a/b"), &moving).unwrap_err();
    assert_eq!(error.name(), Some("tag-exists"), "{error}");
}

#[test]
fn an_index_needs_every_image_by_its_digest() {
    let registry =
        Registry::start(Profile { children: pixi_oci_test_registry::fake::Children::Unchecked, ..Profile::plain() });
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    // The legs of two jobs, and the index of a third.
    let leg = |n: usize| {
        let mut leg = plan.clone();
        (leg.images, leg.index) = (vec![plan.images[n].clone()], None);
        leg.tags.retain(|step| step.target == leg.images[0].manifest.descriptor.digest);
        leg
    };
    let mut join = plan.clone();
    join.images.clear();
    join.tags.retain(|step| Some(step.target) == join.index.as_ref().map(|index| index.descriptor.digest));
    for (legs, missing) in [(&[][..], 2), (&[0], 1), (&[1], 0)] {
        for n in legs {
            push_to(&registry.reference("a/b"), &leg(*n)).unwrap();
        }
        registry.clear_log();
        let result = push_to(&registry.reference("a/b"), &join);
        if missing == 0 {
            result.unwrap();
        } else {
            let error = result.unwrap_err();
            assert_eq!(error.name(), Some("arch-missing"), "{error}");
            assert_eq!(error.to_string().matches("sha256:").count(), missing, "{error}");
            assert_eq!(mutations(&registry), [""; 0]);
        }
    }
    assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(image.digest()));
    assert_eq!(registry.broken_tags(), [""; 0]);
}

#[test]
fn a_plan_that_contradicts_itself_is_not_begun() {
    let registry = Registry::start(Profile::plain());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let wrong = |change: &dyn Fn(&mut crate::push::PushPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        let error = push_to(&registry.reference("a/b"), &plan).unwrap_err();
        assert!(error.kind() == ErrorKind::Plan, "{error}");
        error.to_string()
    };
    assert!(wrong(&|plan| plan.tags[0].tag = "a b".into()).contains("cannot be a tag"));
    assert!(wrong(&|plan| plan.tags[1].tag = "latest".into()).contains("twice"));
    assert!(wrong(&|plan| plan.index = None).contains("not in it"));
    assert!(wrong(&|plan| drop(plan.images[0].layers.pop())).contains("other blobs"));
    assert!(wrong(&|plan| plan.images[0].manifest.bytes.push(b' ')).contains("longer"));
    assert!(wrong(&|plan| plan.images[1].config.bytes[3] ^= 1).contains("sha256:"));
    assert_eq!(registry.log(), []);
}

#[test]
fn blobs_of_other_repositories_are_linked_and_not_sent() {
    for (profile, mounts) in
        [(Profile::plain(), true), (Profile::quay(), true), (Profile::gitea_old(), false), (Profile::relative(), true)]
    {
        let name = profile.name;
        let registry = Registry::start(profile);
        let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
        let mut plan = release(&image, dir.path(), "1.0.0");
        push_to(&registry.reference("a/b"), &plan).unwrap();
        plan.mount_from = vec!["x/nothing".into(), "a/b".into(), "c/d".into()];
        let tested = Setup::default().connect(&registry.reference("c/d"));
        let report = run(push(&plan, &tested.registry)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (linked, sent) = if mounts { (image.blobs.len(), 0) } else { (0, image.blobs.len()) };
        assert_eq!((report.mounted.len(), report.uploaded.len()), (linked, sent), "{name}");
        assert_eq!(registry.broken_tags(), [""; 0], "{name}");
        let done = tested
            .events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| matches!(event, Event::BlobDone { how, .. } if *how != Arrival::Present))
            .count();
        assert_eq!(done, image.blobs.len());
    }
}

#[test]
fn a_blob_without_a_file_must_be_there() {
    let registry = Registry::start(Profile::plain());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    for layer in plan.images.iter_mut().flat_map(|image| &mut image.layers) {
        layer.source = None;
    }
    let error = push_to(&registry.reference("a/b"), &plan).unwrap_err();
    assert!(error.kind() == ErrorKind::NoSource, "{error}");
    push_to(&registry.reference("a/b"), &release(&image, dir.path(), "1.0.0")).unwrap();
    let (_, manifests) = registry.content("a/b");
    assert_eq!(manifests.len(), 3);
    plan.tags.iter_mut().for_each(|step| step.tag = step.tag.replace("1.0.0", "1.0.1"));
    push_to(&registry.reference("a/b"), &plan).unwrap();
}

#[test]
fn a_push_that_is_killed_at_any_request_leaves_nothing_incomplete_and_the_next_one_finishes() {
    let (old, image, dir) = (sample::image(2, 1), sample::image(2, 2), tempfile::tempdir().unwrap());
    let (before, plan) = (release(&old, dir.path(), "0.9.0"), release(&image, dir.path(), "1.0.0"));
    let whole = Registry::start(Profile::plain());
    push_to(&whole.reference("a/b"), &before).unwrap();
    whole.clear_log();
    push_to(&whole.reference("a/b"), &plan).unwrap();
    let requests = whole.log().len();
    for point in [Point::Before, Point::After] {
        for number in 1..=requests {
            let registry = Registry::start(Profile::plain());
            push_to(&registry.reference("a/b"), &before).unwrap();
            let first = registry.log().last().unwrap().number;
            let tested = Setup::default().connect(&registry.reference("a/b"));
            let ended = run(async {
                let (kill, killed) = tokio::sync::oneshot::channel();
                registry.at(first + number, point, move |_| {
                    let _ = kill.send(());
                });
                // Nothing of the push runs after the other branch was ready: its connections are closed.
                tokio::select! {
                    biased;
                    _ = killed => None,
                    result = push(&plan, &tested.registry) => Some(result),
                }
            });
            assert!(ended.is_none_or(|result| result.is_ok()), "{point:?} {number}");
            let latest = registry.tag("a/b", "latest").unwrap();
            assert!([old.digest(), image.digest()].contains(&latest.as_str()), "{point:?} {number}");
            push_to(&registry.reference("a/b"), &plan).unwrap();
            assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(image.digest()));
            // At the moment when each tag was written.
            let broken: Vec<_> = registry.history().into_iter().filter(|value| !value.missing.is_empty()).collect();
            assert_eq!(broken, [], "{point:?} {number}");
        }
    }
}
