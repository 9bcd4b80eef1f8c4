use std::io::Write;

use futures_util::TryStreamExt;

use super::*;

/// What is said of a body, sent in pieces of a connection's usual length.
fn count(path: &str, is_gzip: bool, body: &[u8]) -> std::result::Result<(), String> {
    let mut counted = Counted::new(path, true, is_gzip).unwrap();
    body.chunks(16 << 10).try_for_each(|piece| counted.count(piece)).map_err(|error| error.to_string())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(body: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_comes_and_what_it_unpacks_to_is_bounded() {
    let zeros = vec![0; 32 << 20];
    let zst = zstd::encode_all(&*zeros, 1).unwrap();
    for (path, is_gzip, body) in [
        ("linux-64/repodata.json.zst", false, &zst),
        ("linux-64/repodata_shards.msgpack.zst", false, &zst),
        ("linux-64/repodata.json.bz2", false, &bzip2(&zeros)),
        ("linux-64/repodata.json", true, &gzip(&zeros)),
        ("linux-64/repodata.json.zst", true, &gzip(&zst)),
        // A second frame, a second member.
        ("linux-64/repodata.json.zst", false, &[zstd::encode_all(&b"x"[..], 1).unwrap(), zst.clone()].concat()),
    ] {
        let error = count(path, is_gzip, body).expect_err(path);
        assert!(error.contains("unpack to more than"), "{path}: {error}");
    }
    assert_eq!(count("linux-64/shard", false, &zeros).unwrap_err(), "it has more than 16777216 bytes");
    let few = &zeros[..16 << 20];
    for (path, body) in [
        ("linux-64/repodata.json", &zeros),
        ("linux-64/repodata.json.zst", &zstd::encode_all(few, 1).unwrap()),
        ("linux-64/repodata.json.bz2", &bzip2(few)),
    ] {
        assert_eq!(count(path, false, body), Ok(()), "{path}");
    }
    // Other documents have no compressed form.
    assert!(count("linux-64/repodata.json.zst", false, b"no such thing").unwrap_err().contains("cannot be unpacked"));
}

#[test]
fn a_body_that_drips_is_given_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let watched = Watched {
        counted: Counted::new("repodata.json", true, false).unwrap(),
        rate: LeastRate::new(Duration::from_millis(50)),
        refused: Refused::default(),
        url: "https://example.org/repodata.json".parse().unwrap(),
    };
    let drip = stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    });
    let error = runtime.block_on(watched.pieces(Box::pin(drip)).try_for_each(async |_| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("less than 16384 bytes"), "{error}");
}
