//! Registries that attack, named after the holes that others had. The registry is on this machine, so that tests can
//! be sent to addresses of other kinds only.

mod endless;

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_test_registry::{Fault, Kind, Profile, Registry as Fake, Rule, fake::Auth, http::Response, sample};

use crate::{
    credentials::Credentials,
    error::{Error, ErrorKind},
    options::Access,
    testing::{Setup, run},
};

const MIB: usize = 1 << 20;

/// What a tag's look-up ends with when requests of a kind are answered so.
fn attacked(kind: Kind, response: Response) -> (Fake, Error) {
    let auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
    let fake = Fake::start(Profile { auth, ..Profile::plain() });
    fake.rules([Rule::always(kind, Fault::Answer(response))]);
    let tested = Setup::default().connect(&fake.reference("a/b"));
    let error = run(tested.registry.manifest("v1")).unwrap_err();
    (fake, error)
}

fn challenge(realm: &str) -> Response {
    Response::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))
}

#[test]
fn cve_2026_48978_credentials_are_not_sent_to_a_realm_inside() {
    for realm in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0.0.0.0/token",
        "https://user:password@example.org/",
        "file:///etc/passwd",
        "ftp://example.org/",
    ] {
        let (_, error) = attacked(Kind::Ping, challenge(realm));
        assert!(error.kind() == ErrorKind::Forbidden, "{realm}: {error}");
        assert!(!error.to_string().contains("password@"), "{error}");
    }
    let (fake, error) = attacked(Kind::Ping, challenge("not a URL"));
    assert!(error.kind() == ErrorKind::Answer, "{error}");
    assert!(fake.log().iter().all(|entry| entry.who.is_empty()));
}

#[test]
fn ggcr_2292_a_location_inside_gets_nothing() {
    for location in ["http://169.254.169.254/upload", "http://0.0.0.0/upload", "gopher://x/"] {
        for (kind, status) in [(Kind::UploadStart, 202), (Kind::BlobGet, 307), (Kind::ManifestGet, 302)] {
            let fake = Fake::start(Profile::plain());
            fake.rules([Rule::always(kind, Fault::Answer(Response::new(status).header("Location", location)))]);
            let registry = Setup::default().connect(&fake.reference("a/b")).registry;
            let blob = Descriptor::of(MediaType::ImageConfig, b"{}");
            let error = run(async {
                match kind {
                    Kind::UploadStart => registry.put_blob(&blob, crate::client::BlobSource::Bytes(b"{}"), None).await,
                    Kind::BlobGet => registry.fetch_document(&blob).await.map(drop),
                    _ => registry.manifest("v1").await.map(drop),
                }
            });
            let error = error.unwrap_err();
            assert!(error.kind() == ErrorKind::Forbidden, "{kind:?} {location}: {error}");
        }
    }
    // In a circle.
    let (fake, error) = attacked(Kind::ManifestGet, Response::new(302).header("Location", "/v2/a/b/manifests/v1"));
    assert!(error.to_string().contains("for ever"), "{error}");
    assert!(fake.log().len() < 12);
}

#[test]
fn ggcr_2296_answers_have_a_size() {
    let huge = |size: usize| vec![b' '; size];
    let (_, error) = attacked(Kind::Token, Response::new(200).body("application/json", huge(2 * MIB)));
    assert!(error.to_string().contains("longer than 1048576"), "{error}");
    let (_, error) = attacked(Kind::ManifestGet, Response::new(200).body("application/json", huge(5 * MIB)));
    assert!(error.to_string().contains("longer than 4194304"), "{error}");
    let (_, error) = attacked(Kind::ManifestGet, Response::new(400).body("text/plain", vec![b'x'; 900_000]));
    assert!(error.to_string().len() < 1000, "{}", error.to_string().len());
    // A blob that does not end.
    let fake = Fake::start(Profile::plain());
    fake.rules([Rule::always(Kind::BlobGet, Fault::Answer(Response::new(200).body("x/y", huge(MIB))))]);
    let registry = Setup { access: Access::Pull, ..Setup::default() }.connect(&fake.reference("a/b")).registry;
    let mut file = tempfile::tempfile().unwrap();
    let error = run(registry.fetch_blob(&Descriptor::of(MediaType::ImageLayer, b"small"), &mut file)).unwrap_err();
    assert_eq!(error.name(), Some("digest-mismatch"), "{error}");
    assert!(file.metadata().unwrap().len() < 100);
}

#[test]
fn ghsa_f36w_mj3v_6jqv_malformed_answers_are_errors() {
    for body in ["", "{", "[]", "null", "{\"token\":1}", "{\"token\":\"\"}", "{\"token\":\"a\\nb\"}", "<html>"] {
        let (_, error) = attacked(Kind::Token, Response::new(200).body("application/json", body));
        assert!(error.kind() == ErrorKind::Answer, "{body}: {error}");
    }
    let deep = "[".repeat(100_000);
    for (header, value) in [
        ("WWW-Authenticate", "Bearer"),
        ("WWW-Authenticate", ",,,=\"\\"),
        ("Location", "http://["),
        ("Retry-After", "-1"),
        ("Link", "<"),
    ] {
        for status in [200, 202, 307, 401, 404, 503] {
            let response = Response::new(status).header(header, value).body("application/json", deep.clone());
            for kind in [Kind::Ping, Kind::ManifestGet] {
                let fake = Fake::start(Profile::plain());
                fake.rules([Rule::always(kind, Fault::Answer(response.clone()))]);
                let registry = Setup::default().connect(&fake.reference("a/b")).registry;
                // Whatever it is, it is said and not a panic, and a manifest is only what its digest says.
                if let Ok((found, bytes)) = run(registry.manifest("v1")) {
                    assert_eq!(found.digest, pixi_oci_layer::Digest::of(&bytes));
                }
                let _ = run(registry.tags());
            }
        }
    }
}

#[test]
fn pages_of_tags_are_followed_and_deletion_says_whether_there_was_something() {
    let fake = Fake::start(Profile::plain());
    let image = sample::image(1, 1);
    sample::upload(&fake.address, "a/b", &image, &["b", "a", "c"]);
    let registry = Setup::default().connect(&fake.reference("a/b")).registry;
    run(async {
        let mut tags = registry.tags().await.unwrap();
        tags.sort();
        assert_eq!(tags, ["a", "b", "c"]);
        assert!(registry.delete(image.digest()).await.unwrap());
        assert!(!registry.delete(image.digest()).await.unwrap());
        assert_eq!(registry.head_manifest("a").await.unwrap(), None);
    });
    let nothing = Setup { access: Access::Pull, credentials: Credentials::Anonymous, ..Setup::default() };
    assert_eq!(run(nothing.connect(&fake.reference("x/y")).registry.tags()).unwrap(), [""; 0]);
}
