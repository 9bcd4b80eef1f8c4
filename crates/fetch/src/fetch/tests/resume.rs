//! Downloads that are cut, changed in between, too slow, or answered with the wrong part.

use super::*;
use pixi_oci_net::Patience;

const BODY: &[u8] = b"0123456789abcdef";

fn cut(length: usize, headers: &str) -> Vec<u8> {
    let whole = answer("200 OK", headers, BODY);
    whole[..whole.len() - BODY.len() + length].to_vec()
}

fn part(from: usize, range: &str) -> Vec<u8> {
    answer("206 Partial Content", &format!("content-range: {range}\r\n"), &BODY[from..])
}

/// The `Range` headers of the requests, `-` for none.
async fn ranges(answers: &[Vec<u8>]) -> (Vec<String>, Result<Vec<CachedArchive>, Error>) {
    let server = Server::start(&[("/a.conda", answers)]).await;
    let fetched = Setting::new().fetch(&[item("p", server.url("/a.conda"), BODY)], false).await;
    let range = |request: &String| {
        let found = request.lines().find_map(|line| line.strip_prefix("range: ").map(str::to_owned));
        found.unwrap_or_else(|| "-".to_owned())
    };
    (server.requests().iter().map(range).collect(), fetched)
}

const TAG: &str = "etag: \"v1\"\r\n";

#[tokio::test]
async fn the_rest_is_asked_for() {
    let good = part(7, "bytes 7-15/16");
    for validator in [TAG, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        let (ranges, fetched) = ranges(&[cut(7, validator), good.clone()]).await;
        assert_eq!(ranges, ["-", "bytes=7-"]);
        fetched.unwrap();
    }
    // Cut twice, and the total is not said.
    let second = part(7, "bytes 7-15/*");
    let (ranges, fetched) =
        ranges(&[cut(7, TAG), second[..second.len() - 4].to_vec(), part(12, "bytes 12-15/16")]).await;
    assert_eq!(ranges, ["-", "bytes=7-", "bytes=12-"]);
    fetched.unwrap();
}

#[tokio::test]
async fn what_cannot_be_continued_begins_again() {
    let whole = answer("200 OK", TAG, BODY);
    // Nothing names the version of the file.
    for validator in ["", "etag: W/\"weak\"\r\n"] {
        let (ranges, fetched) = ranges(&[cut(7, validator), whole.clone()]).await;
        assert_eq!(ranges, ["-", "-"], "{validator}");
        fetched.unwrap();
    }
    // The file has changed.
    let (seen, fetched) = ranges(&[cut(7, "etag: \"v0\"\r\n"), whole.clone()]).await;
    assert_eq!(seen, ["-", "bytes=7-"]);
    fetched.unwrap();
    // Another part, a part of something else, no range at all, no such range.
    let odd = [
        part(7, "bytes 6-14/16"),
        part(7, "bytes 7-15/17"),
        answer("206 Partial Content", "", &BODY[7..]),
        answer("416 Range Not Satisfiable", "", b""),
    ];
    for odd in odd {
        let (seen, fetched) = ranges(&[cut(7, TAG), odd, whole.clone()]).await;
        assert_eq!(seen, ["-", "bytes=7-", "-"]);
        fetched.unwrap();
    }
    // The parts do not belong together, which only the hash tells.
    let forged = answer("206 Partial Content", "content-range: bytes 7-15/16\r\n", b"XXXXXXXXX");
    let (seen, fetched) = ranges(&[cut(7, TAG), forged, whole]).await;
    assert_eq!(seen, ["-", "bytes=7-", "-"]);
    fetched.unwrap();
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_no_archive() {
    let (seen, fetched) = ranges(&[part(7, "bytes 7-15/16")]).await;
    assert_eq!(seen, ["-"]);
    assert!(fetched.unwrap_err().to_string().contains("answered 206"));
}

/// A server that sends so many bytes after the head of its answer, and one more now and then if it drips.
async fn holding(sent: usize, drips: bool) -> ArchiveLocation {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.conda", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                let whole = answer("200 OK", "", &[0; 1 << 20]);
                let _ = socket.write_all(&whole[..whole.len() - (1 << 20) + sent]).await;
                while drips && socket.write_all(b"0").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                std::future::pending::<()>().await;
            });
        }
    });
    ArchiveLocation::Url(Url::parse(&url).unwrap())
}

#[tokio::test]
async fn servers_that_hold_the_line_are_given_up() {
    let long = Duration::from_secs(600);
    let short = Duration::from_millis(40);
    for (patience, drips, expected) in [
        (Patience { silence: short, window: long, connect: long }, false, "operation timed out"),
        (Patience { silence: long, window: short, connect: long }, true, "too slow: less than 16384 bytes in 40ms"),
    ] {
        let client = Client::new(&ClientSettings { patience, ..ClientSettings::default() }).unwrap();
        let setting = Setting { client, ..Setting::new() };
        let error = setting.error(item("p", holding(100, drips).await, &[0; 1 << 20])).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn progress_is_no_failure_and_its_lack_is() {
    // Each try gets a megabyte further; there are more of them than failures are forgiven.
    let body: Vec<u8> = (0..6 << 20).map(|n: u32| (n >> 8) as u8).collect();
    let mut answers = Vec::new();
    for n in 0..6 {
        let from = n << 20;
        let head = if n == 0 {
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{TAG}content-length: {}\r\n\r\n", body.len())
        } else {
            format!(
                "HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncontent-range: bytes {from}-{}/{}\r\ncontent-length: {}\r\n\r\n",
                body.len() - 1,
                body.len(),
                body.len() - from
            )
        };
        answers.push([head.as_bytes(), &body[from..from + (1 << 20)]].concat());
    }
    let server = Server::start(&[("/a.conda", &answers)]).await;
    Setting::new().fetch(&[item("p", server.url("/a.conda"), &body)], false).await.unwrap();
    assert_eq!(server.requests().len(), 6);

    // Cut at the same place each time, and the server cannot continue.
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let always = vec![[head.as_bytes(), &body[..2 << 20]].concat()];
    let server = Server::start(&[("/a.conda", &always)]).await;
    Setting::new().error(item("p", server.url("/a.conda"), &body)).await;
    assert_eq!(server.requests().len(), 4);
}
