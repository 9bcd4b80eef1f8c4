//! Servers that never come to an end, and servers that repeat secrets.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::Digest;
use pixi_oci_test_registry::{Fault, Kind, Profile, Registry as Fake, Rule, http::Response};

use crate::{
    credentials::{Credentials, Secret},
    error::ErrorKind,
    event::Event,
    options::RegistryOptions,
    testing::{Setup, Tested, run},
};

/// A server on this machine: `/v2/` is a registry's, everything else is what `answer` writes, which is told how many
/// requests there were before. One connection a request.
fn server(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, asked) = (stream.unwrap(), answer.clone(), count.clone());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
                if first.starts_with("GET /v2/ ") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
                } else {
                    answer(asked.fetch_add(1, Ordering::Relaxed), &mut stream);
                }
            });
        }
    });
    (format!("{address}/a/b"), asked)
}

fn connect(reference: &str) -> Tested {
    let options = RegistryOptions { progress_timeout: Duration::from_millis(200), ..Default::default() };
    Setup { credentials: Credentials::Anonymous, access: crate::options::Access::Pull, options }.connect(reference)
}

fn blob(size: u64) -> Descriptor {
    Descriptor { media_type: MediaType::ImageLayer, digest: Digest::of(b"x"), size, annotations: Default::default() }
}

#[test]
fn a_blob_that_drips_is_given_up() {
    let (reference, asked) = server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let began = Instant::now();
    let mut file = tempfile::tempfile().unwrap();
    let error = run(connect(&reference).registry.fetch_blob(&blob(100_000), &mut file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegistryDown, "{error}");
    assert!(error.to_string().contains("less than 16384 bytes moved"), "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_size_is_believed_up_to_what_the_disk_can_hold() {
    for size in [1 << 60, 1 << 63, u64::MAX] {
        let (reference, asked) = server(|_, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"1\r\nx\r\n").is_ok() {}
        });
        let mut file = tempfile::tempfile().unwrap();
        let error = run(connect(&reference).registry.fetch_blob(&blob(size), &mut file)).unwrap_err();
        assert_eq!(error.name(), Some("disk-full"), "{size}: {error}");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{size}");
    }
    // More is announced than was asked for: none of it is read. What is less may have been cut, and is asked for again.
    let (reference, asked) = server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    });
    let error = run(connect(&reference).registry.fetch_document(&blob(1))).unwrap_err();
    assert_eq!(error.name(), Some("digest-mismatch"), "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn lists_of_tags_end() {
    type Next = fn(usize) -> usize;
    for (tags, next, most, words) in [
        (r#"["-bad"]"#, (|n| n + 1) as Next, 200, "more than 200 pages"),
        (r#"["a"]"#, |n| n + 1, 200, "more than 200 pages"),
        (r#"["a"]"#, |n| (n + 1) % 3, 4, "in a circle"),
    ] {
        let (reference, asked) = server(move |n, stream| {
            let body = format!(r#"{{"tags":{tags}}}"#);
            let link = format!("</v2/a/b/tags/list?last={}>; rel=\"next\"", next(n));
            let head = format!("Link: {link}\r\nContent-Length: {}\r\nConnection: close", body.len());
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        });
        let error = run(connect(&reference).registry.tags()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(asked.load(Ordering::Relaxed) <= most, "{words}: {asked:?}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_not_asked_for_ten_times() {
    let (reference, asked) = server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\x01bad header\r\n\r\n");
    });
    let error = run(connect(&reference).registry.manifest("v1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegistryDown, "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 3, "{error}");
}

#[test]
fn secrets_that_a_registry_repeats_are_in_no_message() {
    let password = "s3cr3t/w0rd";
    let basic = crate::credentials::encoded("me", &Secret::new(password));
    let fake = Fake::start(Profile::plain());
    let echo = format!("you sent {basic}, which is me:{password}");
    let denied = Response::new(400)
        .header("Warning", format!("299 - \"{echo}\""))
        .body("application/json", format!(r#"{{"errors":[{{"code":"{password}","message":"{echo}"}}]}}"#));
    let page = Response::new(502).body("text/html", format!("<html><title>{echo}</title>"));
    for response in [denied, page] {
        fake.rules([Rule::always(Kind::ManifestGet, Fault::Answer(response))]);
        let credentials = Credentials::Basic { user: "me".into(), password: Secret::new(password) };
        let tested = Setup { credentials, ..Setup::default() }.connect(&fake.reference("a/b"));
        let error = run(tested.registry.manifest("v1")).unwrap_err().to_string();
        let events = tested.events.lock().unwrap();
        for text in events.iter().map(|event| format!("{event:?}")).chain([error.clone()]) {
            assert!(!text.contains(password) && !text.contains(&basic), "{text}");
        }
        assert!(error.contains("you sent ***, which is me:***"), "{error}");
        let warned = events.iter().any(|event| matches!(event, Event::Warning(text) if text.contains("***")));
        assert!(warned || error.contains("502"), "{events:?}");
    }
}

#[test]
fn a_probe_opens_an_upload_and_cancels_it() {
    let fake = Fake::start(Profile::plain());
    let tested = Setup::default().connect(&fake.reference("a/b"));
    run(tested.registry.probe_upload()).unwrap();
    let kinds: Vec<Kind> = fake.log().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Ping, Kind::UploadStart, Kind::UploadCancel]);
    for (status, code, name) in [(404, "NAME_UNKNOWN", "no-repository"), (403, "DENIED", "auth-denied")] {
        let fake = Fake::start(Profile::plain());
        fake.rules([Rule::always(Kind::UploadStart, Fault::Answer(Response::error(status, code)))]);
        let error = run(Setup::default().connect(&fake.reference("a/b")).registry.probe_upload()).unwrap_err();
        assert_eq!(error.name(), Some(name), "{error}");
    }
}
