use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use sha2::Digest as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

use pixi_oci_cachedir::Root;
use pixi_oci_lock::{ArchiveLocation, Sha256};
use pixi_oci_net::RetryPolicy;

use super::*;
use pixi_oci_net::ClientSettings;

mod resume;

/// A server that answers the n-th request (from 0) for a path with the n-th answer, and repeats the last one.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: &[(&str, &[Vec<u8>])]) -> Self {
        let answers: HashMap<String, Vec<Vec<u8>>> =
            answers.iter().map(|(path, answers)| (path.to_string(), answers.to_vec())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answers, seen) = (Arc::new(answers), requests.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answers, seen) = (answers.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                            return;
                        }
                        request.push(byte[0]);
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap().to_owned();
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        let count = seen.iter().filter(|r| r.split(' ').nth(1) == Some(&path)).count();
                        seen.push(request);
                        count
                    };
                    if let Some(answers) = answers.get(&path) {
                        let _ = socket.write_all(&answers[before.min(answers.len() - 1)]).await;
                    }
                    let _ = socket.shutdown().await;
                });
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> ArchiveLocation {
        ArchiveLocation::Url(Url::parse(&format!("{}{path}", self.address)).unwrap())
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n").into_bytes();
    answer.extend(body);
    answer
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// An answer without a length that ends with the connection.
fn ok_unknown_length(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", body].concat()
}

fn item(name: &str, location: ArchiveLocation, content: &[u8]) -> FetchItem {
    let sha256 = Sha256::from_bytes(sha2::Sha256::digest(content).into());
    FetchItem { name: name.to_owned(), location, sha256: Some(sha256), md5: None, size: Some(content.len() as u64) }
}

struct Setting {
    directory: tempfile::TempDir,
    cache: ArchiveCache,
    client: Client,
    events: Mutex<Vec<FetchEvent>>,
}

impl Setting {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = ArchiveCache::open(&Root::new(directory.path().join("cache"))).unwrap();
        let client = Client::new(&ClientSettings::default()).unwrap();
        Self { directory, cache, client, events: Mutex::default() }
    }

    async fn fetch(&self, items: &[FetchItem], offline: bool) -> Result<Vec<CachedArchive>, Error> {
        let on_event = |event| self.events.lock().unwrap().push(event);
        let retry =
            RetryPolicy { attempts: 3, first_wait: Duration::from_millis(1), longest_wait: Duration::from_millis(5) };
        let concurrency = NonZeroUsize::new(4).unwrap();
        let options = FetchOptions { offline, concurrency, retry, on_event: &on_event };
        let fetching = self.cache.fetch(items, &options, &self.client);
        can_be_spawned(&fetching);
        fetching.await
    }

    async fn error(&self, item: FetchItem) -> String {
        let error = self.fetch(std::slice::from_ref(&item), false).await.unwrap_err().to_string();
        assert_eq!(self.cache.lookup(&FetchItem { size: None, ..item }).unwrap(), None, "{error}");
        assert_eq!(files(&self.directory.path().join("cache/archives/tmp")), 0, "{error}");
        error
    }
}

fn can_be_spawned(_: &impl Send) {}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn the_biggest_comes_first_and_the_smallest_beside_it() {
    let setting = Setting::new();
    let bodies: Vec<Vec<u8>> = [5, 1, 8, 3, 7, 2, 6, 4].map(|length| vec![b'x'; length]).into();
    let names: Vec<String> = bodies.iter().map(|body| format!("/{}.conda", body.len())).collect();
    let answers: Vec<[Vec<u8>; 1]> = bodies.iter().map(|body| [ok(body)]).collect();
    let answers: Vec<(&str, &[Vec<u8>])> = (0..8).map(|at| (names[at].as_str(), &answers[at][..])).collect();
    let server = Server::start(&answers).await;
    let items: Vec<FetchItem> = (0..8).map(|at| item(&names[at], server.url(&names[at]), &bodies[at])).collect();
    setting.fetch(&items, false).await.unwrap();
    let events = setting.events.lock().unwrap().clone();
    let started = events.iter().filter_map(|event| match event {
        FetchEvent::Started { bytes_total, .. } => *bytes_total,
        _ => None,
    });
    let started: Vec<u64> = started.collect();
    assert_eq!((&started[..4], started.len()), (&[8, 1, 2, 3][..], 8));
}

#[tokio::test]
async fn fetches_once_and_keeps() {
    let setting = Setting::new();
    let server = Server::start(&[("/a.conda", &[ok(b"aaa")]), ("/w.whl", &[ok_unknown_length(b"wheel")])]).await;
    let a = item("a", server.url("/a.conda"), b"aaa");
    let wheel = FetchItem { size: None, ..item("pypi:w", server.url("/w.whl"), b"wheel") };
    let items = [a.clone(), wheel, FetchItem { name: "a for arm".to_owned(), ..a.clone() }];
    let archives = setting.fetch(&items, false).await.unwrap();
    let contents: Vec<_> = archives.iter().map(|a| std::fs::read_to_string(&a.path).unwrap()).collect();
    assert_eq!(contents, ["aaa", "wheel", "aaa"]);
    assert_eq!((archives[1].size, archives[0] == archives[2]), (5, true));
    assert!(archives[1].path.to_string_lossy().ends_with(".whl"));
    assert_eq!(server.requests().len(), 2);
    let events = setting.events.lock().unwrap().clone();
    assert!(events.contains(&FetchEvent::Started { item: 0, name: "a".to_owned(), bytes_total: Some(3) }));
    assert!(events.contains(&FetchEvent::Progress { item: 1, bytes: 5 }));
    assert!(events.contains(&FetchEvent::Finished {
        item: 0,
        name: "a".to_owned(),
        archive: archives[0].clone(),
        cached: false
    }));
    assert!(!events.iter().any(|e| matches!(e, FetchEvent::Started { item: 2, .. })));

    assert_eq!(setting.fetch(&items, true).await.unwrap(), archives);
    assert_eq!(server.requests().len(), 2);
    let cached =
        FetchEvent::Finished { item: 1, name: "pypi:w".to_owned(), archive: archives[1].clone(), cached: true };
    assert!(setting.events.lock().unwrap().contains(&cached));

    // A damaged archive is fetched again.
    std::fs::write(&archives[0].path, b"bbb").unwrap();
    assert_eq!(std::fs::read(&setting.fetch(&[a], false).await.unwrap()[0].path).unwrap(), b"aaa");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn wrong_archives_are_refused_at_once() {
    let server = Server::start(&[
        ("/hash.conda", &[ok(b"bbb")]),
        ("/long.conda", &[ok(b"aaaa")]),
        ("/longer.conda", &[ok_unknown_length(&[b'a'; 100_000])]),
        ("/gone.conda", &[answer("404 Not Found", "", b"")]),
        ("/private.conda", &[answer("401 Unauthorized", "", b"")]),
        ("/moved.conda", &[answer("304 Not Modified", "", b"")]),
    ])
    .await;
    let cases = [
        (
            "/hash.conda",
            "sha256 of {} is 3e744b9dc39389baf0c5a0660589b8402f3dbb49b89b3e75f2c9355852a3c677, the lock file says 9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0;",
        ),
        ("/long.conda", "{} has 4 bytes, the lock file says 3"),
        ("/longer.conda", "{} has more than 3 bytes, the lock file says 3"),
        ("/gone.conda", "{} answered 404 Not Found; the channel does not have the package any more"),
        ("/private.conda", "{} answered 401 Unauthorized; log in with `pixi auth login 127.0.0.1`"),
        ("/moved.conda", "{} answered 304 Not Modified"),
    ];
    for (path, expected) in cases {
        let error = Setting::new().error(item("p", server.url(path), b"aaa")).await;
        let expected = format!("package p: {}", expected.replace("{}", &format!("{}{path}", server.address)));
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
    assert_eq!(server.requests().len(), cases.len());
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let truncated = answer("200 OK", "", b"aaa");
    let truncated = truncated[..truncated.len() - 1].to_vec();
    let server = Server::start(&[
        ("/busy.conda", &[answer("503 Service Unavailable", "retry-after: 0\r\n", b""), ok(b"aaa")]),
        (
            "/many.conda",
            &[answer("429 Too Many Requests", "", b""), answer("408 Request Timeout", "", b""), ok(b"aaa")],
        ),
        ("/cut.conda", &[truncated.clone(), ok(b"aaa")]),
        ("/short.conda", &[ok_unknown_length(b"aa"), ok(b"aaa")]),
        ("/silent.conda", &[Vec::new(), ok(b"aaa")]),
        ("/always-busy.conda", &[answer("500 Internal Server Error", "", b"")]),
        ("/always-cut.conda", &[truncated]),
        ("/always-short.conda", &[ok_unknown_length(b"aa")]),
    ])
    .await;
    for path in ["/busy.conda", "/many.conda", "/cut.conda", "/short.conda", "/silent.conda"] {
        let fetched = Setting::new().fetch(&[item("p", server.url(path), b"aaa")], false).await;
        assert!(fetched.is_ok(), "{path}: {fetched:?}");
    }
    let before = server.requests().len();
    for (path, expected) in [
        ("/always-busy.conda", "answered 500 Internal Server Error"),
        ("/always-cut.conda", "error decoding response body"),
        ("/always-short.conda", "has 2 bytes, the lock file says 3"),
    ] {
        let error = Setting::new().error(item("p", server.url(path), b"aaa")).await;
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(server.requests().len() - before, 9);

    // Nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://me:secret@{closed}/t/tk-secret/a.conda")).unwrap();
    let error = Setting::new().error(item("p", ArchiveLocation::Url(url), b"aaa")).await;
    assert!(error.contains(&format!("http://***@{closed}/t/***/a.conda: ")), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let elsewhere = Server::start(&[("/a.conda", &[ok(b"aaa")])]).await;
    let to = format!("location: {}/a.conda\r\n", elsewhere.address);
    let server = Server::start(&[("/t/tk-secret/a.conda", &[answer("302 Found", &to, b"")])]).await;
    let mut url = Url::parse(&format!("{}/t/tk-secret/a.conda", server.address)).unwrap();
    url.set_username("me").unwrap();
    url.set_password(Some("secret")).unwrap();
    Setting::new().fetch(&[item("p", ArchiveLocation::Url(url), b"aaa")], false).await.unwrap();
    assert!(server.requests()[0].to_lowercase().contains("authorization: basic"), "{:?}", server.requests());
    let request = elsewhere.requests()[0].to_lowercase();
    assert!(
        !request.contains("authorization") && !request.contains("referer") && !request.contains("secret"),
        "{request}"
    );
}

#[tokio::test]
async fn local_files_are_copied_and_checked() {
    let setting = Setting::new();
    let path = setting.directory.path().join("a b-1-0.tar.bz2");
    std::fs::write(&path, b"aaa").unwrap();
    let by_path = item("a", ArchiveLocation::Path(path.clone()), b"aaa");
    let archive = setting.fetch(std::slice::from_ref(&by_path), true).await.unwrap().remove(0);
    assert!(archive.path.to_string_lossy().ends_with(".tar.bz2"));
    std::fs::write(&path, b"bbb").unwrap();
    assert_eq!(std::fs::read(&archive.path).unwrap(), b"aaa");

    let by_url = ArchiveLocation::Url(Url::from_file_path(&path).unwrap());
    let archive = setting.fetch(&[item("b", by_url, b"bbb")], true).await.unwrap().remove(0);
    assert_eq!(std::fs::read(&archive.path).unwrap(), b"bbb");

    let local = |path: &Path, content: &[u8]| item("p", ArchiveLocation::Path(path.to_owned()), content);
    let error = setting.error(local(&path, b"ccc")).await;
    assert!(error.contains("the lock file says"), "{error}");
    let error = setting.error(local(&path, b"cccc")).await;
    assert!(error.contains("has 3 bytes, the lock file says 4"), "{error}");
    let error = setting.error(local(&PathBuf::from("/dev/zero"), b"ccc")).await;
    assert!(error.contains("not a regular file"), "{error}");
    let error = setting.error(local(&path.join("x"), b"ccc")).await;
    assert!(error.starts_with("package p: cannot read "), "{error}");
}

#[tokio::test]
async fn offline_names_all_that_is_missing() {
    let setting = Setting::new();
    let remote = |name: &str| {
        let url = Url::parse(&format!("https://u:p@h.example/{name}.conda")).unwrap();
        item(name, ArchiveLocation::Url(url), name.as_bytes())
    };
    let error = setting.fetch(&[remote("a"), remote("b")], true).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "offline, and not in the cache: a (https://***@h.example/a.conda), b (https://***@h.example/b.conda); run once without `--offline`"
    );
    let gcs = ArchiveLocation::Url(Url::parse("gcs://bucket/a.conda").unwrap());
    let error = setting.error(item("a", gcs, b"a")).await;
    assert!(error.contains("cannot fetch from gcs://bucket/a.conda"), "{error}");
}

#[tokio::test]
async fn one_archive_with_two_sizes_is_an_error() {
    let setting = Setting::new();
    let server = Server::start(&[("/a.conda", &[ok(b"aaa")])]).await;
    let good = item("a", server.url("/a.conda"), b"aaa");
    let bad = FetchItem { name: "b".to_owned(), size: Some(4), ..good.clone() };
    let error = setting.fetch(&[good, bad], false).await.unwrap_err().to_string();
    assert!(error.starts_with("package b: ") && error.contains("has 3 bytes, the lock file says 4;"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_into_one_cache() {
    let setting = Setting::new();
    let contents: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; 200_000 + usize::from(n)]).collect();
    let answers: Vec<(String, Vec<Vec<u8>>)> =
        contents.iter().enumerate().map(|(n, content)| (format!("/{n}.conda"), vec![ok(content)])).collect();
    let answers: Vec<(&str, &[Vec<u8>])> = answers.iter().map(|(path, a)| (path.as_str(), a.as_slice())).collect();
    let server = Server::start(&answers).await;
    let items: Vec<_> = contents
        .iter()
        .enumerate()
        .map(|(n, content)| item(&n.to_string(), server.url(&format!("/{n}.conda")), content))
        .collect();
    // Three callers, as three processes would be: each has its own idea of what is there.
    let (a, b, c) =
        tokio::join!(setting.fetch(&items, false), setting.fetch(&items, false), setting.fetch(&items, false));
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(a == b && b == c);
    for (archive, content) in a.iter().zip(&contents) {
        assert_eq!(&std::fs::read(&archive.path).unwrap(), content);
    }
    assert_eq!(files(&setting.directory.path().join("cache/archives/tmp")), 0);
    for item in &items {
        assert!(setting.cache.lookup(item).unwrap().is_some());
    }
}
