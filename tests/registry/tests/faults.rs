//! The registry in the process misbehaves as it was told, and only then; its profiles differ as they should.

use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
    sync::mpsc,
};

use pixi_oci_test_registry::{
    Fault, Kind, Lie, Point, Profile, Registry, Rule, checker, client,
    docker::{PASSWORD, USER},
    fake::{Auth, Location},
    http::{self, Response},
    sample,
};

/// A request, with whatever comes back.
fn try_request(address: &str, text: &str) -> std::io::Result<(u16, http::Headers, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text.replace('\n', "\r\n").as_bytes())?;
    http::read_response(&mut BufReader::new(stream), text.split(' ').next().unwrap())
}

#[test]
fn every_profile_takes_a_plain_push() {
    for profile in Profile::all() {
        // The sample's client has no password and goes to no other host.
        if matches!(profile.location, Location::OtherHost | Location::NoSlash) {
            continue;
        }
        let name = profile.name;
        let registry = Registry::start(Profile { auth: Auth::Open, ..profile });
        registry.create("a/b");
        let image = sample::image(2, 2);
        sample::upload(&registry.address, "a/b", &image, &["1.0.0"]);
        let found = checker::check(&registry.address).sound();
        assert_eq!(found.tags["a/b:1.0.0"], image.digest(), "{name}");
        assert_eq!(registry.broken_tags(), Vec::<String>::new());
    }
}

#[test]
fn connections_are_cut_where_the_plan_says() {
    let registry = Registry::start(Profile::plain());
    let ping = "GET /v2/ HTTP/1.1\nHost: x\n\n";
    registry.rules([
        Rule { skip: 1, ..Rule::once(Kind::Ping, Fault::ResetBefore) },
        Rule::once(Kind::Ping, Fault::CutAnswer(1)),
        Rule::once(Kind::Ping, Fault::DoneBut(Response::error(503, "UNAVAILABLE"))),
    ]);
    let ask = || try_request(&registry.address, ping).map(|(status, _, _)| status);
    // The first fits the second rule only: the first rule lets one pass.
    assert!(ask().is_err());
    assert_eq!(ask().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(ask().unwrap(), 503);
    assert_eq!(ask().unwrap(), 200);
    let statuses: Vec<_> = registry.log().iter().map(|entry| (entry.status, entry.faulty)).collect();
    assert_eq!(statuses, [(Some(200), true), (None, true), (Some(503), true), (Some(200), false)]);

    registry.rules([Rule::once(Kind::Ping, Fault::Refuse)]);
    assert!(ask().is_err());
    assert_eq!(TcpStream::connect(&registry.address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    registry.listen_again();
    assert_eq!(ask().unwrap(), 200);
}

#[test]
fn a_stalled_request_ends_with_the_client() {
    let registry = Registry::start(Profile::plain());
    registry.rules([Rule::once(Kind::Ping, Fault::Stall)]);
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0]).is_err());
    drop(registry);
    stream.set_read_timeout(None).unwrap();
    assert!(!matches!(stream.read(&mut [0]), Ok(1)));
}

#[test]
fn lies_are_found_by_the_checker_and_noted_in_the_history() {
    for lie in [Lie::StoreNothing, Lie::OtherBytes] {
        let image = sample::image(1, 1);
        let registry = Registry::start(Profile { auth: Auth::Open, ..Profile::ghcr() });
        registry.rules([Rule::once(Kind::UploadPut, Fault::Lie(lie))]);
        let pushed = std::panic::catch_unwind(|| sample::upload(&registry.address, "a/b", &image, &["latest"]));
        // Something that is not there is not taken in a manifest.
        assert_eq!(pushed.is_err(), lie == Lie::StoreNothing);
        if pushed.is_ok() {
            assert_eq!(checker::check(&registry.address).findings.len(), 1);
            assert_eq!(registry.history()[0].missing.len(), 1);
            assert_eq!(registry.broken_tags().len(), 1);
        }
    }
}

#[test]
fn calls_come_before_and_after_what_is_done() {
    let registry = Registry::start(Profile::plain());
    let image = sample::image(1, 1);
    let (send, receive) = mpsc::channel();
    let other = send.clone();
    registry.at(2, Point::Before, move |entry| send.send((Point::Before, entry.kind)).unwrap());
    registry.at(4, Point::After, move |entry| other.send((Point::After, entry.kind)).unwrap());
    let target = "/v2/a/b/blobs/uploads/";
    assert_eq!(client::request(&registry.address, "POST", target, &[], b"").status, 202);
    assert!(try_request(&registry.address, "POST /v2/a/b/blobs/uploads/ HTTP/1.1\nHost: x\n\n").is_err());
    sample::upload(&registry.address, "a/b", &image, &[]);
    assert_eq!(receive.recv().unwrap(), (Point::Before, Kind::UploadStart));
    assert_eq!(receive.recv().unwrap(), (Point::After, Kind::UploadPut));
}

#[test]
fn tokens_are_asked_for_and_expire() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let auth = Auth::Bearer { expires_in: None, uses: Some(2), elsewhere: true, post: true };
    let registry = Registry::start(Profile { auth, ..Profile::plain() });
    let refused = client::get(&registry.address, "/v2/a/b/tags/list");
    let challenge = refused.header("www-authenticate").unwrap();
    let expected =
        format!("Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:a/b:pull\"", registry.elsewhere);
    assert_eq!((refused.status, challenge), (401, expected.as_str()));
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let target = "/token?service=test&scope=repository:a/b:pull,push";
    assert_eq!(client::request(&registry.elsewhere, "GET", target, &[], b"").status, 401);
    let given = client::request(&registry.elsewhere, "GET", target, &[("Authorization", &basic)], b"");
    let bearer = format!("Bearer {}", given.json()["token"].as_str().unwrap());
    let mut statuses = Vec::new();
    for repository in ["a/b", "a/c", "a/b"] {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let answer = client::request(&registry.address, "POST", &target, &[("Authorization", &bearer)], b"");
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [202, 401, 401], "the second has no grant, the third no use left");
    let who: Vec<String> = registry.log().into_iter().map(|entry| entry.who).collect();
    assert_eq!(who, ["", "", USER, "Bearer", "Bearer", "Bearer"]);
    let text = format!("{:?}", registry.log());
    assert!(!text.contains("canary-token") && !text.contains(&STANDARD.encode(PASSWORD)), "{text}");
}

#[test]
fn random_faults_follow_the_seed() {
    let row = |seed| {
        let registry = Registry::start(Profile::plain());
        registry.seed(seed);
        let fault = Fault::OneOf(vec![Fault::Answer(Response::new(500)), Fault::Answer(Response::new(502))]);
        registry.rules([Rule { per_mille: 300, ..Rule::always(Kind::Ping, fault) }]);
        (0..100).map(|_| client::get(&registry.address, "/v2/").status).collect::<Vec<_>>()
    };
    let first = row(7);
    assert_eq!(first, row(7));
    assert_ne!(first, row(8));
    let faults = first.iter().filter(|status| **status >= 500).count();
    assert!((15..45).contains(&faults) && first.contains(&502) && first.contains(&500), "{first:?}");
}
