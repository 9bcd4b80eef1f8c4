//! Where packages come from: logins, mirrors, proxies, certificates, registries, buckets, and pixi's configuration.

use std::{fs, process::Command};

use crate::common::{
    channel_server::{ChannelServer, Login, Proxy},
    image,
    packages::*,
    sandbox::{Outcome, Sandbox, sha256},
    tls::Identity,
    workspace::{Workspace, edit_lock, workspace},
};

/// The archive that all tests here fetch.
pub const ARCHIVE: &str = "linux-64/demo-1.0-h1234567_0.conda";

/// A package that does not get small: its archive has more than 200,000 bytes.
pub fn demo() -> Workspace {
    workspace([package("demo", [file("share/noise", noise(0, 200_000))]).version("1.0")]).platforms(&["linux-64"])
}

/// The workspace in `ws`, its channel at `channel`.
pub fn written(channel: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    demo().channel(channel).write(&sandbox.path("ws"));
    sandbox
}

/// A sandbox whose packages are on a server.
fn served(login: Login, identity: Option<&Identity>) -> (Sandbox, ChannelServer) {
    let sandbox = Sandbox::new();
    let server = ChannelServer::start(&sandbox.path("ws/channel"), login, identity);
    demo().channel(&server.address).write(&sandbox.path("ws"));
    (sandbox, server)
}

pub fn build(sandbox: &Sandbox) -> Command {
    sandbox.pixi_oci(&["build", "ws", "--frozen", "-v", "-o", "oci:out:x"])
}

fn config(sandbox: &Sandbox, text: &str) {
    fs::create_dir_all(sandbox.path("ws/.pixi")).unwrap();
    fs::write(sandbox.path("ws/.pixi/config.toml"), text).unwrap();
}

fn host(address: &str) -> &str {
    address.split_once("://").unwrap().1.split(':').next().unwrap()
}

/// In JSON, as `pixi auth login` writes it.
fn login(host: &str, authentication: &str) -> String {
    format!("{{\"{host}\": {authentication}}}")
}

#[test]
fn logins_of_every_kind_and_place() {
    let basic = "Basic bWU6c2VjcmV0"; // me:secret
    let kinds = [
        (r#"{"BasicHTTP": {"username": "me", "password": "secret"}}"#, Login::Header(basic.into())),
        (r#"{"BearerToken": "secret"}"#, Login::Header("Bearer secret".into())),
        (r#"{"CondaToken": "secret"}"#, Login::CondaToken("secret".into())),
    ];
    for (place, (authentication, needed)) in ["variable", "home", "config"].into_iter().zip(kinds) {
        let (sandbox, server) = served(needed, None);
        let text = login(host(&server.address), authentication);
        let file = sandbox.path("auth.json");
        let outcome = match place {
            "variable" => {
                fs::write(&file, text).unwrap();
                Outcome::of(build(&sandbox).env("RATTLER_AUTH_FILE", &file))
            }
            "home" => {
                fs::create_dir_all(sandbox.home().join(".rattler")).unwrap();
                fs::write(sandbox.home().join(".rattler/credentials.json"), text).unwrap();
                Outcome::of(&mut build(&sandbox))
            }
            _ => {
                fs::write(&file, text).unwrap();
                config(&sandbox, &format!("authentication-override-file = {file:?}"));
                Outcome::of(&mut build(&sandbox))
            }
        };
        let outcome = outcome.success();
        assert!(!format!("{outcome:?}").contains("secret"), "{outcome:?}");
    }
    for variable in [false, true] {
        let (sandbox, server) = served(Login::Header(basic.into()), None);
        let text = format!("machine {}\nlogin me\npassword secret\n", host(&server.address));
        let file = if variable { sandbox.path("netrc") } else { sandbox.home().join(".netrc") };
        fs::write(&file, text).unwrap();
        let mut command = build(&sandbox);
        if variable {
            command.env("NETRC", &file);
        }
        Outcome::of(&mut command).success();
    }
}

#[test]
fn a_channel_that_wants_a_login() {
    let (sandbox, server) = served(Login::Header("Bearer right".into()), None);
    let words = ["package demo", ARCHIVE, "401", "pixi auth login 127.0.0.1", "RATTLER_AUTH_FILE"];
    Outcome::of(&mut build(&sandbox)).refused(1, &words);
    let file = sandbox.path("auth.json");
    fs::write(&file, login(host(&server.address), r#"{"BearerToken": "canary-wrong"}"#)).unwrap();
    let outcome = Outcome::of(build(&sandbox).env("RATTLER_AUTH_FILE", &file));
    let outcome = outcome.refused(1, &["401", "the login for it is not enough"]);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
    fs::write(&file, "{\"host\": {\"BearerToken\": [\"canary\"]}}").unwrap();
    let outcome = Outcome::of(build(&sandbox).env("RATTLER_AUTH_FILE", &file));
    let outcome = outcome.refused(1, &["auth.json", "line 1", "pixi auth login"]);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
}

/// Secrets in every place that has them; then all that was printed and written is looked through.
#[test]
fn no_secret_gets_out() {
    for works in [true, false] {
        let sandbox = Sandbox::new();
        let needed = Login::CondaToken(if works { "canary-token" } else { "another" }.into());
        let server = ChannelServer::start(&sandbox.path("ws/channel"), needed, None);
        let with_login = server.address.replace("http://", "http://me:canary-password@");
        demo().channel(&format!("{with_login}/t/canary-token")).write(&sandbox.path("ws"));
        let proxy = "http://me:canary-proxy@127.0.0.1:1";
        config(
            &sandbox,
            "mirrors = { \"http://me:canary-mirror@other.example\" = [\"http://me:canary-mirror@m.example\"] }",
        );
        let outcome = Outcome::of(build(&sandbox).arg("--json").env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy));
        assert_eq!(outcome.code, Some(if works { 0 } else { 1 }), "{outcome:?}");
        assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
        if works {
            let index = image::read(&sandbox.path("out"), "x");
            for image in &index.images {
                let tree = image.tree();
                for (path, entry) in &tree {
                    let image::Kind::File(content) = &entry.kind else { continue };
                    let content = String::from_utf8_lossy(content);
                    assert!(!content.contains("canary"), "{path} in the image has a secret");
                }
                // It is looked for in the right place.
                assert!(String::from_utf8_lossy(image::content(&tree, "app/pixi.lock")).contains(&server.address));
            }
            assert!(outcome.stderr.contains("pixi.lock"), "the user is told: {}", outcome.stderr);
        }
    }
}

#[test]
fn logins_stay_with_their_host() {
    let (sandbox, server) = served(Login::Header("Bearer secret".into()), None);
    let elsewhere = ChannelServer::new(&sandbox.path("ws/channel"));
    let to = vec![("Location", format!("{}/{ARCHIVE}", elsewhere.address))];
    server.faults(ARCHIVE, [crate::common::channel_server::Fault::Status(302, to)]);
    let file = sandbox.path("auth.json");
    fs::write(&file, login(host(&server.address), r#"{"BearerToken": "secret"}"#)).unwrap();
    Outcome::of(build(&sandbox).env("RATTLER_AUTH_FILE", &file)).success();
    assert_eq!(server.requests()[0].headers["authorization"], "Bearer secret");
    let request = &elsewhere.requests()[0];
    assert!(!format!("{request:?}").contains("secret"), "{request:?}");
}

#[test]
fn mirrors_are_asked_and_never_recorded() {
    let origin = "https://channel.example/demo";
    let sandbox = written(origin);
    let mirror = ChannelServer::new(&sandbox.path("ws/channel"));
    let local = sandbox.path("ws/channel");
    // The first one is down: nobody listens on port 1.
    config(&sandbox, &format!("[mirrors]\n\"{origin}\" = [\"http://127.0.0.1:1/x\", \"{}\"]", mirror.address));
    let mirrored = Outcome::of(&mut build(&sandbox)).success();
    assert_eq!(mirror.asked(), [format!("GET /{ARCHIVE}")]);
    let tree = image::read(&sandbox.path("out"), "x").image("linux/amd64").tree();
    let record =
        String::from_utf8_lossy(image::content(&tree, "opt/pixi/env/conda-meta/demo-1.0-h1234567_0.json")).into_owned();
    assert!(record.contains(&format!("{origin}/{ARCHIVE}")) && !record.contains("127.0.0.1"), "{record}");
    // The cache has the archive now: the same image comes of it with no mirror at all.
    config(&sandbox, "");
    assert_eq!(Outcome::of(build(&sandbox).arg("--offline")).success().digest(), mirrored.digest());
    assert!(local.exists());
}

#[test]
fn a_mirror_without_the_package_is_named() {
    let sandbox = written("https://me:canary@channel.example/t/canary/demo");
    let mirror = ChannelServer::new(&sandbox.path("empty"));
    config(&sandbox, &format!("[mirrors]\n\"https://channel.example\" = [\"{}/a\"]", mirror.address));
    let words =
        ["package demo", "404", "channel.example", &format!("asked of {}/a/demo/{ARCHIVE}", mirror.address), "mirrors"];
    let outcome = Outcome::of(&mut build(&sandbox)).refused(1, &words);
    // The login is the origin's, not the mirror's.
    assert_eq!(mirror.asked(), [format!("GET /a/demo/{ARCHIVE}")]);
    assert!(!format!("{outcome:?}{:?}", mirror.requests()).contains("canary"));
}

#[test]
fn a_private_authority_is_trusted_when_named() {
    let identity = Identity::new(&["127.0.0.1"]);
    let (sandbox, _server) = served(Login::Everybody, Some(&identity));
    let words = ["package demo", "certificate", "SSL_CERT_FILE"];
    Outcome::of(&mut build(&sandbox)).refused(1, &words);
    config(&sandbox, "tls-root-certs = \"webpki\"");
    Outcome::of(&mut build(&sandbox)).refused(1, &words);

    let file = sandbox.path("root.pem");
    fs::write(&file, &identity.root).unwrap();
    Outcome::of(build(&sandbox).env("SSL_CERT_FILE", &file)).success();
    let fresh = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    fs::create_dir(sandbox.path("certs")).unwrap();
    fs::rename(&file, sandbox.path("certs/root.pem")).unwrap();
    Outcome::of(build(&sandbox).args(["--cache-dir", &fresh("c2")]).env("SSL_CERT_DIR", sandbox.path("certs")))
        .success();
    Outcome::of(build(&sandbox).args(["--cache-dir", &fresh("c3")]).env("SSL_CERT_FILE", &file))
        .refused(1, &["root.pem", "certificates"]);
    fs::write(&file, "no certificate").unwrap();
    Outcome::of(build(&sandbox).args(["--cache-dir", &fresh("c3")]).env("SSL_CERT_FILE", &file))
        .refused(1, &["root.pem", "SSL_CERT_FILE"]);
    config(&sandbox, "tls-no-verify = true");
    Outcome::of(build(&sandbox).args(["--cache-dir", &fresh("c4")])).success();
}

#[test]
fn proxies_plain_and_tunnelled() {
    // Only the proxy knows the host.
    let sandbox = written("http://channel.example");
    let server = ChannelServer::new(&sandbox.path("ws/channel"));
    let proxy = Proxy::new(&server.address);
    let with_login = proxy.address.replace("://", "://me:secret@");
    Outcome::of(build(&sandbox).env("http_proxy", &with_login)).success();
    let request = &proxy.requests()[0];
    assert_eq!(request.target, format!("http://channel.example/{ARCHIVE}"));
    assert_eq!(request.headers["proxy-authorization"], "Basic bWU6c2VjcmV0");

    let identity = Identity::new(&["secure.example"]);
    let sandbox = written("https://secure.example");
    let server = ChannelServer::start(&sandbox.path("ws/channel"), Login::Everybody, Some(&identity));
    let proxy = Proxy::new(&server.address);
    fs::write(sandbox.path("root.pem"), &identity.root).unwrap();
    config(&sandbox, &format!("proxy-config.https = \"{}\"", proxy.address));
    let trusting = |command: &mut Command| {
        command.env("SSL_CERT_FILE", sandbox.path("root.pem"));
        Outcome::of(command)
    };
    trusting(&mut build(&sandbox)).success();
    assert_eq!(proxy.requests()[0].method, "CONNECT");
    assert_eq!(proxy.requests()[0].target, "secure.example:443");

    // The environment's proxies win over the configuration's, and `NO_PROXY` over both.
    let dead = "http://127.0.0.1:1";
    let cache = sandbox.path("c2").to_str().unwrap().to_owned();
    let mut command = build(&sandbox);
    trusting(command.args(["--cache-dir", &cache]).env("HTTPS_PROXY", dead)).refused(1, &["secure.example"]);
    let mut command = build(&sandbox);
    command.args(["--cache-dir", &cache]).env("HTTPS_PROXY", &proxy.address).env("NO_PROXY", ".example");
    let before = proxy.requests().len();
    trusting(&mut command).refused(1, &["secure.example"]);
    assert_eq!(proxy.requests().len(), before);
}

/// rattler takes the host of an `oci:` URL without a port, so the registry has a name that only the proxy knows.
#[test]
fn registries_as_channels_and_as_mirrors() {
    let identity = Identity::new(&["registry.example"]);
    for mirror in [false, true] {
        let channel = if mirror { "https://channel.example/demo" } else { "oci://registry.example/chan" };
        let sandbox = written(channel);
        let bytes = fs::read(sandbox.path("ws/channel").join(ARCHIVE)).unwrap();
        let blobs = sandbox.path("registry/v2/chan/linux-64/demo/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("sha256:{}", sha256(&bytes))), &bytes).unwrap();
        let server = ChannelServer::start(&sandbox.path("registry"), Login::Everybody, Some(&identity));
        let proxy = Proxy::new(&server.address);
        fs::write(sandbox.path("root.pem"), &identity.root).unwrap();
        if mirror {
            config(&sandbox, &format!("[mirrors]\n\"{channel}\" = [\"oci://registry.example/chan\"]"));
        }
        let mut command = build(&sandbox);
        command.env("SSL_CERT_FILE", sandbox.path("root.pem")).env("HTTPS_PROXY", &proxy.address);
        Outcome::of(&mut command).success();
        assert!(server.asked().iter().any(|asked| asked.contains("/blobs/sha256:")), "{:?}", server.asked());
    }
}

#[test]
fn buckets() {
    let sandbox = written("s3://bucket/demo");
    fs::create_dir_all(sandbox.path("s3/bucket")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("ws/channel"), sandbox.path("s3/bucket/demo")).unwrap();
    let server = ChannelServer::new(&sandbox.path("s3"));
    let options = |region: &str| {
        format!(
            "s3-options.bucket = {{ endpoint-url = \"{}\", region = \"{region}\", addressing-style = \"path\" }}",
            server.address
        )
    };
    config(&sandbox, &options("eu-x"));
    let keys = r#"{"S3Credentials": {"access_key_id": "KEYID", "secret_access_key": "canary", "session_token": null}}"#;
    let file = sandbox.path("auth.json");
    fs::write(&file, login("s3://bucket", keys)).unwrap();
    Outcome::of(build(&sandbox).env("RATTLER_AUTH_FILE", &file)).success();
    let request = server.requests().remove(0);
    assert!(request.target.starts_with(&format!("/bucket/demo/{ARCHIVE}?")), "{request:?}");
    assert!(request.target.contains("KEYID%2F") && request.target.contains("eu-x%2Fs3%2Faws4_request"), "{request:?}");
    assert!(!request.target.contains("canary"));

    // No configuration: the variables of Amazon's tools, and their service in another place.
    config(&sandbox, "");
    let mut command = build(&sandbox);
    command.args(["--cache-dir", sandbox.path("c2").to_str().unwrap()]).env("AWS_ENDPOINT_URL", &server.address);
    command.env("AWS_ACCESS_KEY_ID", "OTHER").env("AWS_SECRET_ACCESS_KEY", "canary").env("AWS_REGION", "us-y");
    Outcome::of(&mut command).success();
    assert!(server.requests()[1].target.contains("OTHER%2F"), "{:?}", server.requests());

    // An answer that says no does not show the signature.
    fs::remove_file(sandbox.path("s3/bucket/demo")).unwrap();
    let mut command = build(&sandbox);
    command.args(["--cache-dir", sandbox.path("c3").to_str().unwrap()]).env("AWS_ENDPOINT_URL", &server.address);
    command.env("AWS_ACCESS_KEY_ID", "OTHER").env("AWS_SECRET_ACCESS_KEY", "canary");
    let outcome = Outcome::of(&mut command).refused(1, &["package demo", "404", "s3://bucket/demo"]);
    assert!(!outcome.stderr.contains("Signature"), "{}", outcome.stderr);
}

#[test]
fn offline_lists_all_that_is_missing_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let server = ChannelServer::new(&sandbox.path("ws/channel"));
    let packages = ["one", "two", "three"].map(|name| package(name, [file("share/x", name)]).version("1.0"));
    let with_login = server.address.replace("://", "://me:canary@");
    workspace(packages).platforms(&["linux-64"]).channel(&with_login).write(&sandbox.path("ws"));
    let words = ["offline", "one (http://***@127.0.0.1", "two (", "three (", "--offline"];
    let outcome = Outcome::of(build(&sandbox).arg("--offline")).refused(1, &words);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
    for offline in ["PIXI_OFFLINE", ""] {
        let mut command = build(&sandbox);
        match offline {
            "" => config(&sandbox, "offline = true"),
            variable => drop(command.env(variable, "1")),
        }
        Outcome::of(&mut command).refused(1, &words);
    }
    assert!(!sandbox.path("out").exists());
    assert!(server.requests().is_empty());
    // The command line wins over the configuration.
    Outcome::of(build(&sandbox).arg("--offline=false")).success();
    assert_eq!(server.requests().len(), 3);
    Outcome::of(&mut build(&sandbox)).success();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn pixis_configuration_is_found_where_pixi_finds_it() {
    let sandbox = written("https://channel.example/demo");
    let mirror = ChannelServer::new(&sandbox.path("ws/channel"));
    let text =
        format!("mirrors = {{ \"https://channel.example/demo\" = [\"{}\"] }}\nno-key-of-ours = 3\n", mirror.address);
    let places = [".config/pixi/config.toml", ".pixi/config.toml", "elsewhere/config.toml"];
    for (number, place) in places.into_iter().enumerate() {
        let file = sandbox.home().join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &text).unwrap();
        let mut command = build(&sandbox);
        command.args(["--cache-dir", sandbox.path(&format!("c{number}")).to_str().unwrap()]);
        if place.starts_with("elsewhere") {
            command.env("PIXI_HOME", sandbox.home().join("elsewhere"));
        }
        Outcome::of(&mut command).success();
        fs::remove_file(file).unwrap();
    }
    let named = sandbox.path("named.toml");
    fs::write(&named, &text).unwrap();
    let cache = sandbox.path("c9").to_str().unwrap().to_owned();
    let with = |arguments: &[&str]| Outcome::of(build(&sandbox).args(["--cache-dir", &cache]).args(arguments));
    with(&["--config-file", named.to_str().unwrap()]).success();
    with(&["--config-file", "nowhere.toml"]).refused(1, &["nowhere.toml"]);
    with(&["--config-file", named.to_str().unwrap(), "--no-config"]).refused(2, &["--no-config"]);
}

#[test]
fn a_mistake_in_pixis_configuration_is_pointed_at() {
    let sandbox = written("./channel");
    config(&sandbox, "offline = false\nconcurrency = { downloads = \"many\" }\n");
    let words = ["config.toml", "`concurrency.downloads` must be an integer", "downloads = \"many\""];
    Outcome::of(&mut build(&sandbox)).refused(1, &words);
    config(&sandbox, "concurrency.downloads = 1\n");
    Outcome::of(&mut build(&sandbox)).success();
}

#[test]
fn an_archive_that_is_elsewhere_is_checked_all_the_same() {
    let sandbox = written("./channel");
    let path = sandbox.path("ws/channel").join(ARCHIVE);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, [&bytes[..bytes.len() - 1], b"x"].concat()).unwrap();
    Outcome::of(&mut build(&sandbox)).refused(1, &["package demo", "sha256", "the lock file says"]);
    fs::write(&path, &bytes).unwrap();
    edit_lock(&sandbox.path("ws"), &format!("size: {}", bytes.len()), "size: 7");
    Outcome::of(&mut build(&sandbox)).refused(1, &["package demo", "the lock file says 7"]);
}
