//! Images in registries: one in this process, which can misbehave, and docker-registry.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use pixi_oci_image::{Architecture, Architecture::Amd64, Architecture::Arm64};
use serde_json::Value;

use super::fixture::{DOCKER, Fixture, OCI, OCI_INDEX, digest, have, layer};

/// The status and the body for each path.
type Answers = BTreeMap<String, (u16, Vec<u8>)>;

/// A registry that answers each path with a status and bytes, and remembers what it was asked.
struct Fake {
    address: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = Self { address, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (fake.answers.clone(), fake.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, asked) = (answers.clone(), asked.clone());
                // A client that goes away early is no error of the server.
                std::thread::spawn(move || answer(stream.unwrap(), &answers, &asked));
            }
        });
        fake.put("/v2/", 200, b"{}");
        fake
    }

    fn put(&self, path: &str, status: u16, body: &[u8]) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_vec()));
    }

    /// Serves what is in the fixture's layout, and `root` under the tag `v1`.
    fn serve(&self, fixture: &Fixture, root: &Value) {
        for file in fs::read_dir(fixture.blob_path("sha256:x").parent().unwrap()).unwrap() {
            let file = file.unwrap();
            let (name, bytes) = (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap());
            self.put(&format!("/v2/ns/base/blobs/sha256:{name}"), 200, &bytes);
            self.put(&format!("/v2/ns/base/manifests/sha256:{name}"), 200, &bytes);
        }
        let bytes = fs::read(fixture.blob_path(digest(root))).unwrap();
        self.put("/v2/ns/base/manifests/v1", 200, &bytes);
    }

    fn reference(&self, rest: &str) -> String {
        format!("docker://{}/ns/base{rest}", self.address)
    }

    /// What it was asked since the last call, without the questions whether it wants a token.
    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.retain(|path| path != "/v2/");
        asked
    }
}

fn answer(mut stream: TcpStream, answers: &Mutex<Answers>, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut request = String::new();
        reader.read_line(&mut request).ok()?;
        let path = request.split(' ').nth(1)?.to_owned();
        let mut header = String::new();
        while reader.read_line(&mut header).ok()? > 2 {
            header.clear();
        }
        asked.lock().unwrap().push(path.clone());
        let (status, body) = {
            let mut answers = answers.lock().unwrap();
            match answers.get(&path).cloned() {
                // It is overloaded only once.
                Some((503, body)) => answers.insert(path, (200, body)).map(|(_, body)| (503, body)),
                found => found,
            }
            .unwrap_or((404, b"{\"errors\":[]}".to_vec()))
        };
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).ok()?;
        stream.write_all(&body).ok()?;
    }
}

/// An index of two images in a layout; the index and the images.
fn two_images(fixture: &Fixture) -> (Value, Value, Value) {
    let amd64 = fixture.image(OCI, "linux/amd64", &[layer("shared"), layer("amd64")]);
    let arm64 = fixture.image(DOCKER, "linux/arm64/v8", &[layer("shared"), layer("arm64")]);
    (fixture.index(&[(&amd64, "linux/amd64"), (&arm64, "linux/arm64/v8")]), amd64, arm64)
}

#[test]
fn an_image_is_fetched_once_and_then_known() {
    let (fake, mut fixture) = (Fake::start(), Fixture::new());
    let (index, amd64, arm64) = two_images(&fixture);
    fake.serve(&fixture, &index);

    let base = fixture.resolve(&fake.reference(":v1"), Amd64).unwrap();
    assert_eq!(base.reference, format!("{}/ns/base:v1", fake.address));
    assert_eq!(base.digest.to_string(), digest(&amd64));
    assert_eq!(base.index_digest.unwrap().to_string(), digest(&index));
    // The tag, the manifest, the configuration, two layers.
    assert_eq!(fake.asked().len(), 5);
    // A tag may have moved; nothing else is asked for.
    fixture.resolve(&fake.reference(":v1"), Amd64).unwrap();
    assert_eq!(fake.asked(), ["/v2/ns/base/manifests/v1"]);
    // Of the other architecture only what is different.
    let base = fixture.resolve(&fake.reference(&format!("@{}", digest(&index))), Arm64).unwrap();
    assert_eq!(base.digest.to_string(), digest(&arm64));
    assert_eq!(fake.asked().len(), 3);

    fixture.offline = true;
    assert_eq!(fixture.resolve(&fake.reference(":v1"), Amd64).unwrap().digest.to_string(), digest(&amd64));
    fixture.resolve(&fake.reference(&format!("@{}", digest(&index))), Arm64).unwrap();
    let error = fixture.resolve(&fake.reference(":v2"), Amd64).unwrap_err();
    assert!(error.contains("not in the cache"), "{error}");
    assert_eq!(fake.asked(), [""; 0]);
}

#[test]
fn what_the_registry_sends_is_compared_with_its_digest() {
    let (fake, fixture) = (Fake::start(), Fixture::new());
    let (index, amd64, _) = two_images(&fixture);
    let manifest: Value = serde_json::from_slice(&fs::read(fixture.blob_path(digest(&amd64))).unwrap()).unwrap();
    let wrong = |path: String, change: fn(&mut Vec<u8>)| {
        fake.serve(&fixture, &index);
        let mut body = fake.answers.lock().unwrap()[&path].1.clone();
        change(&mut body);
        fake.put(&path, 200, &body);
        let _ = fs::remove_dir_all(fixture.cache());
        fixture.resolve(&fake.reference(":v1"), Amd64).unwrap_err()
    };
    for change in [|bytes: &mut Vec<u8>| bytes[5] ^= 1, |bytes: &mut Vec<u8>| bytes.extend([b' '; 100_000])] {
        for path in [
            format!("manifests/{}", digest(&amd64)),
            format!("blobs/{}", digest(&manifest["config"])),
            format!("blobs/{}", digest(&manifest["layers"][1])),
        ] {
            let error = wrong(format!("/v2/ns/base/{path}"), change);
            let said = ["but the registry has sha256:", "but the registry sends "];
            assert!(said.iter().any(|said| error.contains(said)), "{path}: {error}");
        }
    }
    // A pinned image that the registry answers with another one.
    fake.put(
        &format!("/v2/ns/base/manifests/{}", digest(&index)),
        200,
        &fs::read(fixture.blob_path(digest(&amd64))).unwrap(),
    );
    let _ = fs::remove_dir_all(fixture.cache());
    let error = fixture.resolve(&fake.reference(&format!("@{}", digest(&index))), Amd64).unwrap_err();
    assert!(error.contains("but the registry has sha256:"), "{error}");
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_said() {
    let (fake, fixture) = (Fake::start(), Fixture::new());
    let (index, amd64, _) = two_images(&fixture);
    fake.serve(&fixture, &index);
    let manifest: Value = serde_json::from_slice(&fs::read(fixture.blob_path(digest(&amd64))).unwrap()).unwrap();
    let path = format!("/v2/ns/base/blobs/{}", digest(&manifest["layers"][1]));
    let body = fake.answers.lock().unwrap()[&path].1.clone();
    fake.put(&path, 503, &body);
    fixture.resolve(&fake.reference(":v1"), Amd64).unwrap();
    assert_eq!(fake.asked().iter().filter(|asked| **asked == path).count(), 2);

    let error = fixture.resolve(&fake.reference(":gone"), Amd64).unwrap_err();
    assert!(error.contains("cannot get ") && error.contains("/ns/base:gone from the registry"), "{error}");
    fake.put("/v2/ns/base/manifests/page", 200, b"<html>");
    let error = fixture.resolve(&fake.reference(":page"), Amd64).unwrap_err();
    assert!(error.contains("web page"), "{error}");
}

/// docker-registry on a port of its own, stopped when dropped.
struct DockerRegistry {
    process: Child,
    address: String,
}

impl DockerRegistry {
    fn start(fixture: &Fixture) -> Self {
        let [config, passwords] = ["registry.yml", "passwords"].map(|name| fixture.path().join(name));
        // The bcrypt of `secret`.
        fs::write(&passwords, "user:$2b$04$rmKZiL2XOnG9cK70G7rDluzjOLvW.hI7wuXvcs5YR79uHBkebqj36\n").unwrap();
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\nauth: {{htpasswd: {{realm: test, path: {passwords:?}}}}}\n",
            fixture.path().join("registry")
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let mut process =
            command.arg("serve").arg(config).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',', '\n']).next().unwrap().to_owned();
            }
        };
        // It stops when nobody reads what it says.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { process, address }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_image_of_docker_registry_with_a_password() {
    if !(have("docker-registry") && have("skopeo")) {
        return;
    }
    let mut fixture = Fixture::new();
    let (index, amd64, arm64) = two_images(&fixture);
    fixture.names(&[(&index, Some("v1"))]);
    let registry = DockerRegistry::start(&fixture);
    let to = format!("docker://{}/ns/base:v1", registry.address);
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"])
        .args(["--dest-creds", "user:secret", &fixture.layout(":v1"), &to])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));

    let error = fixture.resolve(&to, Amd64).unwrap_err();
    assert!(error.contains("from the registry"), "{error}");
    let auth = fixture.path().join("auth.json");
    let login = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.address);
    fs::write(&auth, login).unwrap();
    fixture.registries.credentials.auth_files = vec![auth];
    let expect = |architecture: Architecture, image: &Value| {
        let base = fixture.resolve(&to, architecture).unwrap();
        assert_eq!(base.digest.to_string(), digest(image));
        assert_eq!(base.index_digest.unwrap().to_string(), digest(&index));
        assert!(!base.reference.contains("secret"), "{}", base.reference);
    };
    expect(Amd64, &amd64);
    expect(Arm64, &arm64);
    assert_eq!(index["mediaType"], OCI_INDEX);
}
