//! Secrets are planted wherever a secret can come from, all commands run, well and badly, in every way to say much or
//! little, and then everything that was printed and written is looked through.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pixi_oci_test_registry::{
    Profile, Registry,
    docker::{PASSWORD, USER},
};

use crate::common::{
    channel_server::{ChannelServer, Login},
    odd,
    packages::*,
    pypi::locked,
    sandbox::{Outcome, Sandbox},
    server::serve,
    wheels,
    workspace::workspace,
};

/// How much is said, and how.
const VOICES: [&[&str]; 5] =
    [&[], &["-v", "--progress", "plain"], &["--quiet"], &["-v", "--progress", "json"], &["-v", "--color", "always"]];

/// Those that say most.
const LOUD: [&[&str]; 2] = [VOICES[1], VOICES[3]];

/// Every secret has this word in it; and `robot:canary-password`, `me:canary-…` as they are sent.
const CANARIES: [&str; 3] = ["canary", "cm9ib3Q6Y2FuYXJ5", "bWU6Y2FuYXJ5"];

fn has_canary(text: &[u8]) -> Option<&'static str> {
    CANARIES.into_iter().find(|canary| text.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

/// Where the secrets are, which is where they stay.
struct Planted {
    sandbox: Sandbox,
    registry: Registry,
    files: Vec<PathBuf>,
}

impl Planted {
    fn new(login_works: bool) -> Self {
        let sandbox = Sandbox::new();
        let registry = Registry::start(Profile::gitea());
        let mut planted = Self { sandbox, registry, files: Vec::new() };
        let channel = if login_works { "canary-channel" } else { "another" };
        let server = ChannelServer::start(&planted.sandbox.path("ws/channel"), Login::CondaToken(channel.into()), None);
        let files = serve(&planted.sandbox.path("ws")).replace("http://", "http://me:canary-wheel@");
        let mut pure = locked(&wheels::wheel("pure", [wheels::file("pure/__init__.py", "x = 1\n")]))
            .at(&format!("direct+{files}/wheels"));
        pure.location += "?token=canary-query";
        let with_login = server.address.replace("http://", "http://me:canary-user@");
        workspace([odd::python(), package("tool", [file("bin/tool", "x").mode(0o755)])])
            .channel(&format!("{with_login}/t/canary-channel"))
            .pypi([pure])
            .write(&planted.sandbox.path("ws"));
        planted.files.push(planted.sandbox.path("ws/pixi.lock"));

        let host = planted.registry.address.clone();
        planted.plant("../home/.rattler/credentials.json", r#"{"other.example": {"CondaToken": "canary-home"}}"#);
        planted
            .plant("rattler.json", r#"{"127.0.0.1": {"BasicHTTP": {"username": "me", "password": "canary-rattler"}}}"#);
        planted.plant("../home/.netrc", "machine 127.0.0.1\nlogin me\npassword canary-netrc\n");
        let mirrors =
            r#"mirrors = { "http://me:canary-mirror@other.example" = ["http://me:canary-mirror@m.example"] }"#;
        planted.plant("ws/.pixi/config.toml", mirrors);
        planted.plant(
            "ws/.git/config",
            "[remote \"origin\"]\n\turl = https://me:canary-remote@git.example.org/me/app.git\n",
        );
        planted.plant("token", PASSWORD);
        // robot:canary-password
        let auth = format!(r#"{{"auths": {{"{host}": {{"auth": "cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk"}}}}}}"#);
        planted.plant("containers.json", &auth);
        planted.plant("docker/config.json", &format!(r#"{{"credHelpers": {{"{host}": "canaries"}}}}"#));
        let helper = format!("#!/bin/sh\necho '{{\"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'\n");
        planted.plant("bin/docker-credential-canaries", &helper);
        let helper = planted.sandbox.path("bin/docker-credential-canaries");
        fs::set_permissions(helper, PermissionsExt::from_mode(0o755)).unwrap();
        planted
    }

    fn plant(&mut self, path: &str, text: &str) {
        let path = self.sandbox.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.files.push(path);
    }

    /// Runs a command in one voice; what it says has no secret.
    fn run(&self, arguments: &[&str], voice: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = self.sandbox.pixi_oci(arguments);
        command.args(voice);
        command
            .env("RATTLER_AUTH_FILE", self.sandbox.path("rattler.json"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.sandbox.path("bin").display()))
            .env("https_proxy", "http://me:canary-proxy@127.0.0.1:1")
            .env("NO_PROXY", "127.0.0.1")
            // Nobody reads these, and nothing should.
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env_remove("PIXI_NO_PROGRESS")
            .envs(variables.iter().copied());
        let outcome = Outcome::of(&mut command);
        for said in [&outcome.stdout, &outcome.stderr] {
            assert_eq!(has_canary(said.as_bytes()), None, "{arguments:?} {voice:?} {variables:?}: {outcome:#?}");
        }
        outcome
    }

    /// Looks through everything that was written, and gives the number of files.
    fn look(&self) -> usize {
        let mut looked = 0;
        let mut directories = vec![self.sandbox.path("..")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file() && !self.is_planted(&path) {
                    let bytes = fs::read(&path).unwrap();
                    let found = has_canary(&bytes).or_else(|| has_canary(&unpacked(&bytes)));
                    assert_eq!(found, None, "{} has a secret", path.display());
                    looked += 1;
                }
            }
        }
        looked
    }

    fn is_planted(&self, path: &Path) -> bool {
        let path = path.canonicalize().unwrap();
        self.files.iter().any(|planted| planted.canonicalize().unwrap() == path)
    }
}

/// What is in a layer.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    }
    content
}

#[test]
fn no_canary_gets_out_of_what_works() {
    let planted = Planted::new(true);
    let to = planted.registry.reference("me/app");
    let image = format!("{to}:1.0.0");
    let [containers, docker, token] =
        ["containers.json", "docker", "token"].map(|name| planted.sandbox.path(name).display().to_string());
    let command = format!("token-command=[\"cat\", {token:?}]");
    // Each kind of credentials once, and each with another voice.
    let kinds: [(&[&str], &[(&str, &str)]); 5] = [
        (&[], &[("REGISTRY_TOKEN", PASSWORD), ("REGISTRY_USER", USER)]),
        (&["--set", &command], &[("REGISTRY_USER", USER)]),
        (&[], &[("REGISTRY_AUTH_FILE", &containers)]),
        (&[], &[("DOCKER_CONFIG", &docker)]),
        (&["--json"], &[("REGISTRY_TOKEN", PASSWORD), ("REGISTRY_USER", USER)]),
    ];
    for (number, ((more, variables), voice)) in kinds.into_iter().zip(VOICES).enumerate() {
        let version = format!("{}.0.0", number + 1);
        let mut variables = variables.to_vec();
        variables.push(("VERSION", &version));
        let run = |arguments: &[&str]| planted.run(&[arguments, more].concat(), voice, &variables);
        run(&["publish", "ws", "--to", &to]).success();
        run(&["publish", "ws", "--to", &to, "--publish"]).success();
        run(&["publish", "ws", "--to", &to, "--publish", "--tag", &version]).success();
        let leg = ["publish", "ws", "--to", &to, "--publish", "--arch", "amd64", "--leg-file", "leg.json"];
        run(&leg).success();
        let join = ["publish-index", "leg.json", "--manifest-path", "ws", "--to", &to, "--arch", "amd64", "--publish"];
        run(&[&join[..], &["--tag", &format!("join-{number}")]].concat()).success();
        run(&["prune", "ws", "--to", &to, "--delete"]).success();
    }
    let reads = [("REGISTRY_AUTH_FILE", containers.as_str())];
    for voice in LOUD {
        for arguments in [
            &["build", "ws", "-o", "oci:out:x"][..],
            &["build", "ws", "-o", "oci-archive:out.tar", "--json", "--cache-from", &image],
            &["plan", "ws", "--json"],
            &["product", "ws", "--workdir", "gap", "--json"],
            &["verify", "image", "oci:out:x", "--json"],
            &["verify", "image", &image, "--out", "proof"],
            &["verify", "product", "gap/product"],
        ] {
            planted.run(arguments, voice, &reads).success();
        }
    }
    assert!(planted.look() > 50, "it looks where things are written");
}

#[test]
fn no_canary_gets_out_of_what_fails() {
    let planted = Planted::new(false);
    let to = planted.registry.reference("me/app");
    let denied = [("REGISTRY_TOKEN", "canary-wrong"), ("REGISTRY_USER", "me"), ("VERSION", "1.0.0")];
    let helpless = [("VERSION", "1.0.0"), ("http_proxy", "http://me:canary-proxy@127.0.0.1:1"), ("NO_PROXY", "")];
    let broken_command = r#"token-command=["sh", "-c", "echo canary-said; echo canary-said >&2; exit 1"]"#;
    for voice in LOUD {
        for variables in [&denied[..], &helpless] {
            for arguments in [
                &["build", "ws", "-o", "oci:out:x"][..],
                &["product", "ws", "--workdir", "gap"],
                &["publish", "ws", "--to", &to, "--publish"],
                &["publish", "ws", "--to", &to, "--publish", "--set", broken_command],
                &["prune", "ws", "--to", &to, "--delete"],
                &["build", "ws", "-o", "oci:out:x", "--base", &format!("{to}:1")],
                &["verify", "image", &format!("{to}:1")],
                // What is typed wrong is repeated, but for this.
                &["publish", "ws", "--to", "docker://me:canary-typed@127.0.0.1:1/app"],
                &["build", "ws", "--cache-from", "docker://me:canary-typed@127.0.0.1:1/app"],
            ] {
                let outcome = planted.run(arguments, voice, variables);
                assert!(matches!(outcome.code, Some(1 | 2)), "{arguments:?}: {outcome:#?}");
            }
        }
    }
    planted.look();
}
