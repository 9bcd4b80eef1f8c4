//! Pushes to Debian's docker-registry, in all ways in which it can be reached.

use pixi_oci_test_registry::{
    checker,
    docker::{Docker, Mode},
    sample,
};

use crate::{
    credentials::{Credentials, Secret},
    error::ErrorKind,
    event::Event,
    options::Access,
    push::push,
    testing::{Setup, release, run},
};

fn setup(docker: &Docker) -> Setup {
    let mut setup = Setup::default();
    setup.options.ca_file.clone_from(&docker.ca_file);
    setup
}

#[test]
fn docker_registry_in_four_modes_takes_a_push_and_a_second_one_sends_nothing() {
    for mode in Mode::ALL {
        let Some(docker) = Docker::start(mode) else { return };
        let (image, dir) = (sample::image(2, 3), tempfile::tempdir().unwrap());
        let mut plan = release(&image, dir.path(), "1.0.0");
        let tested = setup(&docker).connect(&docker.reference("group/app"));
        let report = run(push(&plan, &tested.registry)).unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        assert_eq!(report.uploaded.len(), image.blobs.len());
        if let Some(issuer) = &docker.issuer {
            // Three tasks at a time, and one token.
            assert_eq!(issuer.requests().len(), 1, "{:?}", issuer.requests());
            assert!(tested.events.lock().unwrap().iter().any(|event| matches!(event, Event::TokenService { .. })));
        }
        let found = checker::check(&docker.open_view().address).sound();
        assert_eq!(found.tags.len(), 4);
        assert_eq!(found.tags["group/app:latest"], image.digest());
        assert_eq!(found.reached.len(), image.blobs.len() + image.manifests.len());

        let before = docker.requests().len();
        let again = setup(&docker).connect(&docker.reference("group/app"));
        let report = run(push(&plan, &again.registry)).unwrap();
        let budget = (image.blobs.len() + image.manifests.len() + plan.tags.len() + 3) as u64;
        assert!(report.requests <= budget, "{mode:?}: {} requests of {budget}", report.requests);
        assert_eq!((report.bytes, report.uploaded.len(), report.manifests.len()), (0, 0, 0), "{mode:?}");
        let log = docker.requests();
        let writes = |line: &&String| ["POST", "PUT", "PATCH"].iter().any(|method| line.starts_with(method));
        assert_eq!(log[before..].iter().find(writes), None, "{mode:?}");

        // Another repository of the same registry: everything is linked.
        plan.mount_from = vec!["group/app".into()];
        let tested = setup(&docker).connect(&docker.reference("group/other"));
        let report = run(push(&plan, &tested.registry)).unwrap();
        assert_eq!((report.mounted.len(), report.uploaded.len()), (image.blobs.len(), 0), "{mode:?}");
        assert_eq!(run(tested.registry.tags()).unwrap().len(), 4);
        checker::check(&docker.open_view().address).sound();
    }
}

#[test]
fn wrong_and_missing_credentials_have_names() {
    for mode in [Mode::Htpasswd, Mode::Token] {
        let Some(docker) = Docker::start(mode) else { return };
        let (image, dir) = (sample::image(1, 1), tempfile::tempdir().unwrap());
        let plan = release(&image, dir.path(), "1.0.0");
        let wrong = Credentials::Basic { user: "robot".into(), password: Secret::new("wrong-canary") };
        for (credentials, name) in [(wrong, "auth-denied"), (Credentials::Anonymous, "empty-token")] {
            let tested = Setup { credentials, ..setup(&docker) }.connect(&docker.reference("a/b"));
            let error = run(push(&plan, &tested.registry)).unwrap_err();
            assert_eq!(error.name(), Some(name), "{mode:?}: {error}");
            assert!(!format!("{error} {error:?} {:?}", tested.events).contains("canary"), "{error:?}");
        }
        // Nobody may read there either; that is no question of publishing.
        let anonymous = Setup { credentials: Credentials::Anonymous, access: Access::Pull, ..setup(&docker) }
            .connect(&docker.reference("a/b"));
        let error = run(anonymous.registry.manifest("1.0.0")).unwrap_err();
        assert_eq!(error.name(), Some("auth-denied"), "{error}");
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_accepted() {
    let Some(docker) = Docker::start(Mode::Tls) else { return };
    let tested = Setup::default().connect(&docker.reference("a/b"));
    let error = run(tested.registry.tags()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RegistryDown | ErrorKind::NotARegistry), "{error}");

    // certs.d, as podman and docker have it.
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join(&docker.address);
    std::fs::create_dir(&host).unwrap();
    std::fs::copy(docker.ca_file.as_ref().unwrap(), host.join("ca.crt")).unwrap();
    let mut with_dir = Setup::default();
    with_dir.options.cert_dirs = vec![dir.path().join("missing"), dir.path().to_owned()];
    assert_eq!(run(with_dir.connect(&docker.reference("a/b")).registry.tags()).unwrap(), [""; 0]);
    // Of another registry they do not count.
    std::fs::rename(&host, dir.path().join("127.0.0.1:1")).unwrap();
    assert!(run(with_dir.connect(&docker.reference("a/b")).registry.tags()).is_err());
}

#[test]
fn a_registry_that_restarts_is_waited_for() {
    let Some(mut docker) = Docker::start(Mode::Plain) else { return };
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let tested = Setup::default().connect(&docker.reference("a/b"));
    run(tested.registry.ping()).unwrap();
    docker.kill_and_restart();
    run(push(&plan, &tested.registry)).unwrap();
    checker::check(&docker.address).sound();
}

#[test]
fn large_layers_go_in_pieces_when_asked() {
    let Some(docker) = Docker::start(Mode::Plain) else { return };
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let mut setup = Setup::default();
    setup.options.chunk_size = Some(10);
    run(push(&plan, &setup.connect(&docker.reference("a/b")).registry)).unwrap();
    let log = docker.requests_until("/manifests/latest");
    assert!(log.iter().filter(|line| line.starts_with("PATCH")).count() > 4 * 2, "{log:#?}");
    checker::check(&docker.address).sound();
}
