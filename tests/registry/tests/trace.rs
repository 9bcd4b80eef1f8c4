//! The profile of distribution 2.8.2 answers as docker-registry does: the same statuses, headers and error codes for
//! everything that a client may do. This keeps the registry of our tests honest.

use pixi_oci_test_registry::{
    Profile, Registry, checker,
    client::{self, Answer},
    docker::{Docker, Mode},
    sample::{self, INDEX, Image, MANIFEST},
};

/// A registry, the last `Location` that it gave, and what it answered so far.
struct Script {
    address: String,
    location: String,
    trace: Vec<String>,
}

impl Script {
    fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = client::request(&self.address, method, target, headers, body);
        self.trace.push(self.normal(method, target, &answer));
        answer
    }

    /// Starts an upload in `repository` and remembers where it goes on.
    fn start(&mut self, repository: &str, query: &str) {
        let answer = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/{query}"), &[], b"");
        self.follow(&answer);
    }

    /// Goes on with the upload: `query` is added to the address that the registry gave.
    fn go_on(&mut self, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) {
        let target = format!("{}{query}", self.location);
        let answer = self.ask(method, &target, headers, body);
        if method == "PATCH" && answer.status == 202 {
            self.follow(&answer);
        }
    }

    fn follow(&mut self, answer: &Answer) {
        let here = format!("http://{}", self.address);
        self.location = answer.header("location").unwrap_or_default().replace(&here, "");
    }

    /// What must be alike: addresses and names of sessions are replaced.
    fn normal(&self, method: &str, target: &str, answer: &Answer) -> String {
        const HEADERS: [&str; 14] = [
            "location",
            "range",
            "docker-content-digest",
            "docker-upload-uuid",
            "docker-distribution-api-version",
            "content-type",
            "content-range",
            "accept-ranges",
            "etag",
            "cache-control",
            "link",
            "www-authenticate",
            "warning",
            "x-content-type-options",
        ];
        let mut lines = vec![format!("{method} {target}: {}", answer.status)];
        for name in HEADERS {
            lines.extend(answer.header(name).map(|value| format!("  {name}: {value}")));
        }
        // The words of refusals differ, so do their lengths.
        if answer.status < 300 && method == "HEAD" {
            lines.extend(answer.header("content-length").map(|value| format!("  content-length: {value}")));
        }
        let body = String::from_utf8_lossy(&answer.body);
        match serde_json::from_slice::<serde_json::Value>(&answer.body) {
            Ok(document) if answer.status >= 400 => {
                let codes = document["errors"].as_array().into_iter().flatten().map(|error| error["code"].to_string());
                lines.push(format!("  codes: {}", codes.collect::<Vec<_>>().join(" ")));
            }
            // docker-registry gives the tags in the order of its directory.
            Ok(mut document) if target.ends_with("/tags/list") && !document["tags"].is_null() => {
                let tags = document["tags"].as_array_mut().unwrap();
                tags.sort_by_key(ToString::to_string);
                lines.push(format!("  {document}"));
            }
            Ok(document) => lines.push(format!("  {document}")),
            Err(_) => lines.push(format!("  {body}")),
        }
        let text = lines.join("\n").replace(&self.address, "HOST");
        let session = answer.header("docker-upload-uuid").map(ToOwned::to_owned);
        let session = session.or_else(|| Some(self.location.split("uploads/").nth(1)?.split('?').next()?.to_owned()));
        let text = session
            .filter(|session| !session.is_empty())
            .map_or(text.clone(), |session| text.replace(&session, "SESSION"));
        let mut parts = text.split("_state=");
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| {
            let end = part.find(['&', '\n', ':']).unwrap_or(part.len());
            text + "_state=STATE" + &part[end..]
        })
    }
}

const BYTES: (&str, &str) = ("Content-Type", "application/octet-stream");

/// Everything that a client does, right and wrong.
fn play(address: &str, image: &Image) -> Vec<String> {
    let mut script = Script { address: address.to_owned(), location: String::new(), trace: Vec::new() };
    let hello = checker::digest(b"hello");
    script.ask("GET", "/v2/", &[], b"");
    script.ask("HEAD", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("GET", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("GET", "/v2/a/b/blobs/sha256:zz", &[], b"");
    script.ask("GET", "/v2/a/b/tags/list", &[], b"");
    script.ask("GET", "/v2/a/b/nonsense", &[], b"");

    // In one piece; without and with a wrong digest; on after that.
    script.start("a/b", "");
    script.go_on("GET", "", &[], b"");
    script.start("a/b", "");
    script.go_on("PUT", "", &[BYTES], b"hello");
    script.start("a/b", "");
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"other");
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"hello");
    script.go_on("GET", "", &[], b"");
    script.start("a/b", "");
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"hello");
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"hello");
    script.ask("HEAD", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("GET", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("GET", &format!("/v2/a/b/blobs/{hello}"), &[("Range", "bytes=1-2")], b"");
    script.ask("GET", &format!("/v2/a/b/blobs/{hello}"), &[("Range", "bytes=3-")], b"");
    script.ask("HEAD", &format!("/v2/a/c/blobs/{hello}"), &[], b"");

    // In pieces; the range is ignored; the state is not.
    let hello_twice = checker::digest(b"hellohello");
    script.start("a/b", "");
    let stale = script.location.clone();
    script.go_on("PATCH", "", &[BYTES], b"hello");
    script.go_on("GET", "", &[], b"");
    script.go_on("PATCH", "", &[BYTES, ("Content-Range", "77-81")], b"hello");
    script.go_on("PUT", &format!("&digest={hello_twice}"), &[BYTES], b"");
    script.start("a/b", "");
    script.go_on("PATCH", "", &[BYTES], b"hel");
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"lo");
    script.start("a/b", "");
    let older = script.location.clone();
    script.go_on("PATCH", "", &[BYTES], b"hello");
    script.location = older;
    script.go_on("PATCH", "", &[BYTES], b"hello");
    script.go_on("GET", "", &[], b"");
    script.location = stale;
    script.go_on("PUT", &format!("&digest={hello}"), &[BYTES], b"hello");
    script.start("a/b", "");
    script.go_on("DELETE", "", &[], b"");
    script.go_on("GET", "", &[], b"");
    script.go_on("DELETE", "", &[], b"");

    // Mounts.
    script.start("a/c", &format!("?mount={hello}&from=a/b"));
    script.start("a/c", &format!("?mount={hello_twice}&from=no/such"));
    script.start("a/d", &format!("?mount={hello_twice}"));
    script.ask("HEAD", &format!("/v2/a/c/blobs/{hello}"), &[], b"");

    // Manifests: before what they name, and after.
    let (index, manifest) = (&image.manifests[2], &image.manifests[0]);
    let put = |script: &mut Script, name: &str, media_type: &str, bytes: &[u8]| {
        script.ask("PUT", &format!("/v2/a/b/manifests/{name}"), &[("Content-Type", media_type)], bytes);
    };
    put(&mut script, &index.0, INDEX, &index.1);
    put(&mut script, &manifest.0, MANIFEST, &manifest.1);
    sample::upload(address, "a/b", image, &["0.9.0"]);
    put(&mut script, &manifest.0, MANIFEST, &manifest.1);
    put(&mut script, &index.0, MANIFEST, &manifest.1);
    put(&mut script, "1.0.0-amd64", MANIFEST, &manifest.1);
    put(&mut script, &index.0, INDEX, &index.1);
    put(&mut script, "1.0.0", INDEX, &index.1);
    put(&mut script, "latest", INDEX, &index.1);
    put(&mut script, "wrong", INDEX, b"{");
    put(&mut script, "wrong", "text/plain", &manifest.1);
    put(&mut script, "-wrong", INDEX, &index.1);
    let (index_only, both) = (("Accept", INDEX), ("Accept", &*format!("{INDEX}, {MANIFEST}")));
    let nothing = format!("sha256:{}", "0".repeat(64));
    for method in ["HEAD", "GET"] {
        for name in ["1.0.0", "latest", "1.0.0-amd64", "missing", &manifest.0, &index.0, &nothing] {
            script.ask(method, &format!("/v2/a/b/manifests/{name}"), &[both], b"");
        }
        script.ask(method, "/v2/a/b/manifests/1.0.0", &[index_only], b"");
        script.ask(method, "/v2/a/b/manifests/1.0.0", &[], b"");
    }
    script.ask("GET", "/v2/a/b/tags/list", &[], b"");
    script.ask("GET", "/v2/a/c/tags/list", &[], b"");
    script.ask("GET", &format!("/v2/a/b/referrers/{}", manifest.0), &[], b"");

    // The same tag again, another value, and deletion.
    put(&mut script, "latest", MANIFEST, &manifest.1);
    script.ask("HEAD", "/v2/a/b/manifests/latest", &[both], b"");
    script.ask("GET", &format!("/v2/a/b/manifests/{}", index.0), &[both], b"");
    script.ask("DELETE", "/v2/a/b/manifests/latest", &[], b"");
    script.ask("DELETE", &format!("/v2/a/b/manifests/{}", manifest.0), &[], b"");
    script.ask("DELETE", &format!("/v2/a/b/manifests/{}", manifest.0), &[], b"");
    script.ask("GET", "/v2/a/b/tags/list", &[], b"");
    script.ask("DELETE", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("DELETE", &format!("/v2/a/b/blobs/{hello}"), &[], b"");
    script.ask("GET", "/v2/_catalog", &[], b"");
    script.trace
}

#[test]
fn the_profile_answers_as_docker_registry_does() {
    let Some(docker) = Docker::start(Mode::Plain) else { return };
    let fake = Registry::start(Profile::distribution_2_8());
    let image = sample::image(2, 2);
    let (theirs, ours) = (play(&docker.address, &image), play(&fake.address, &image));
    let differences = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours);
    let text: Vec<String> =
        differences.map(|(theirs, ours)| format!("docker-registry\n{theirs}\nours\n{ours}\n")).collect();
    assert!(text.is_empty(), "{}", text.join("\n"));
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.len() > 80, "{}", theirs.len());
}
