use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

use crate::{CompressionAlgorithm, CompressionSetting, Error, Include, ManifestError, OciConfig, Workspace};

fn open(config: &str) -> Result<OciConfig, ManifestError> {
    let text =
        format!("[workspace]\nchannels = []\nplatforms = []\n[environments]\nprod = []\n[tool.pixi-oci]\n{config}");
    match Workspace::parse(PathBuf::from("/ws/pixi.toml"), text) {
        Ok(workspace) => Ok(workspace.oci),
        Err(Error::Manifest(error)) => Err(*error),
        Err(error) => panic!("{error}"),
    }
}

fn read(config: &str) -> OciConfig {
    open(config).unwrap_or_else(|e| panic!("{e}"))
}

fn strings(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|s| s.to_string()).collect())
}

#[test]
fn every_key() {
    let config = read(
        r#"
        repositories = ["ghcr.io/me/app"]
        tags = ["a"]
        sif-tag-prefix = "hpc-"
        base = "scratch"
        arch = ["amd64", "arm64"]
        environment = "prod"
        prefix = "/opt/env"
        workdir = "/srv"
        user = 1000
        entrypoint = ["tini", "--"]
        cmd = "python -m 'my app'"
        env = { B = "1", A = "2" }
        labels = { "org.example" = "x" }
        annotations = { "org.example" = "y" }
        ports = [8080, "53/udp"]
        include = ["src", "a.txt -> /etc/a.txt", { src = "run", dest = "bin/run", mode = "0755" }, { src = "x", mode = 0o600 }]
        exclude = ["*.pyc"]
        directories = ["/host-libs"]
        wheels = ["dist/*.whl"]
        compression = "gzip:9"
        max-layers = 60
        split-above = 512
        virtual-packages = ["__cuda=12.6"]
        token-command = ["pass", "token"]
        base-glibc = "2.36"
        chunk-size = 90
        check-blobs = true
        index = false
        registries = { "docker.io" = { username = "me", token = "env:HUB" } }
        "#,
    );
    assert_eq!(config.repositories, strings(&["ghcr.io/me/app"]));
    assert_eq!(config.arch, strings(&["amd64", "arm64"]));
    assert_eq!(config.sif_tag_prefix.as_deref(), Some("hpc-"));
    assert_eq!((config.user.as_deref(), config.environment.as_deref()), (Some("1000"), Some("prod")));
    assert_eq!(config.cmd, strings(&["python", "-m", "my app"]));
    assert_eq!(config.env, [("B".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())]);
    let ports: Vec<_> = config.ports.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["8080/tcp", "53/udp"]);
    let include = |source: &str, destination: Option<&str>, mode| Include {
        source: source.to_owned(),
        destination: destination.map(str::to_owned),
        mode,
    };
    assert_eq!(
        config.include.unwrap(),
        [
            include("src", None, None),
            include("a.txt", Some("/etc/a.txt"), None),
            include("run", Some("bin/run"), Some(0o755)),
            include("x", None, Some(0o600)),
        ]
    );
    let gzip9 = CompressionSetting { algorithm: CompressionAlgorithm::Gzip, level: Some(9) };
    assert_eq!((config.compression, config.max_layers), (Some(gzip9), NonZeroU32::new(60)));
    assert_eq!(config.split_above, NonZeroU32::new(512));
    assert_eq!(config.virtual_packages.unwrap()[0].to_string(), "__cuda=12.6");
    assert_eq!(config.token_command, strings(&["pass", "token"]));
    assert_eq!((config.index, config.check_blobs), (Some(false), Some(true)));
    assert_eq!((config.base_glibc, config.chunk_size), (Some((2, 36)), NonZeroU64::new(90)));
    assert_eq!(config.registries["docker.io"].token_variable(), Some("HUB"));
    assert_eq!(read(""), OciConfig::default());
    assert_eq!(read("[[tool.pixi-oci.include]]\nsrc = \"a\"").include.unwrap().len(), 1);
}

#[test]
fn an_environments_part_overrides_and_merges() {
    let config = read(
        r#"
        base = "ubuntu"
        tags = ["general"]
        task = "start"
        env = { A = "1", B = "1" }
        labels = { x = "1" }
        annotations = { x = "1", z = "1" }
        [tool.pixi-oci.environments.prod]
        base = "scratch"
        cmd = ["run"]
        env = { B = "2", C = "2" }
        labels = { y = "2" }
        annotations = { z = "2" }
        "#,
    );
    let prod = config.for_environment("prod");
    assert_eq!((prod.base.as_deref(), prod.tags), (Some("scratch"), strings(&["general"])));
    assert_eq!((prod.cmd, prod.task), (strings(&["run"]), None));
    let env: Vec<_> = prod.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=2", "C=2"]);
    assert_eq!(prod.labels.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(prod.annotations.into_iter().collect::<Vec<_>>(), [("x".into(), "1".into()), ("z".into(), "2".into())]);
    let general = config.for_environment("default");
    assert_eq!((general.task.as_deref(), general.environments.len()), (Some("start"), 0));
}

#[test]
fn errors() {
    // What is written, line in the table, part of the message.
    let cases = [
        ("max-layer = 3", "unknown key `max-layer` (did you mean `max-layers`?)"),
        ("virtual_packages = []", "did you mean `virtual-packages`?"),
        ("zzz = 1", "known keys: repositories, tags"),
        ("base = 3", "expected a string, found integer `3` (write \"3\")"),
        ("tags = \"a\"", "expected a list, found string \"a\""),
        ("tags = [1]", "expected a string, found integer `1`"),
        ("env = { A = 1 }", "write \"1\""),
        ("env = [\"A=1\"]", "expected a table"),
        ("env = { \"A=B\" = \"1\" }", "cannot be the name of a variable"),
        ("cmd = \"a && b\"", "the command needs a shell (`&`); write it as a list"),
        ("cmd = [\"a\"]\ntask = \"b\"", "keep one of them"),
        ("ports = [0]", "expected a port: a number"),
        ("ports = [\"80/x\"]", "expected a port: a number"),
        ("ports = [70000]", "expected a port: a number"),
        ("prefix = \"opt\"", "not an absolute path"),
        ("directories = [\"/a/../b\"]", "not an absolute path"),
        ("compression = \"brotli\"", "unknown compression `brotli`"),
        ("compression = \"gzip:13\"", "unknown compression `gzip:13`"),
        ("compression = \"zstd:0\"", "unknown compression `zstd:0`"),
        ("max-layers = 0", "a whole number from 1"),
        ("user = -1", "a user id cannot be negative"),
        ("include = [{ dest = \"a\" }]", "`src` is missing"),
        ("include = [{ src = \"a\", mod = \"1\" }]", "did you mean `mode`?"),
        ("include = [{ src = \"a\", mode = 755 }]", "expected a mode"),
        ("include = [{ src = \"a\", mode = \"4755\" }]", "expected a mode"),
        ("registries = { \"r.io\" = { token = \"s3cret\" } }", "env:NAME"),
        ("hashes = { a = \"00\" }", "64 lower-case hex digits"),
        ("include = [\"a -> \"]", "a path is empty"),
        ("virtual-packages = [\"cuda=12\"]", "two underscores"),
        ("environment = \"prodd\"", "no environment `prodd` (did you mean `prod`?)"),
        ("environments.prodd.base = \"x\"", "no environment `prodd` (did you mean `prod`?)"),
        ("environments.prod.bas = \"x\"", "unknown key `bas` (did you mean `base`?)"),
        ("environments.prod.environment = \"x\"", "belongs into [tool.pixi-oci]"),
    ];
    for (config, message) in cases {
        let error = open(config).expect_err(config);
        assert!(error.to_string().contains(message), "{config}: {error}");
        let (line, _) = error.line_and_column().expect(config);
        assert_eq!(line, 6 + config.lines().count(), "{config}: {error}");
    }
}

#[test]
fn settings_of_a_command_line() {
    let set = |text: &str| crate::setting(text);
    assert_eq!(set("max-layers=60").unwrap().max_layers, NonZeroU32::new(60));
    assert_eq!(set("prefix = /srv/env").unwrap().prefix.as_deref(), Some("/srv/env"));
    assert_eq!(set("base-glibc=2.36").unwrap().base_glibc, Some((2, 36)));
    assert_eq!(set("cmd=[\"a\", \"b c\"]").unwrap().cmd, strings(&["a", "b c"]));
    assert_eq!(set("token-command=pass show token").unwrap().token_command, strings(&["pass", "show", "token"]));
    assert_eq!(set("env.A=x=y").unwrap().env, [("A".to_owned(), "x=y".to_owned())]);
    assert_eq!(set("user=1000").unwrap().user.as_deref(), Some("1000"));
    for (text, message) in [
        ("max-layers", "KEY=VALUE"),
        ("max-layer=3", "did you mean `max-layers`?"),
        ("max-layers=0", "a whole number from 1"),
        ("exclude=[1]", "expected a string, found integer `1`"),
        ("prefix=srv", "`srv` is not an absolute path"),
        ("environment=prod", "no environment"),
        ("annotations={\"dev.pixi-oci.version\"=\"1\"}", "pixi-oci's own"),
        ("environments.prod.base=x", "no environment"),
        ("=3", "key"),
    ] {
        let error = set(text).expect_err(text);
        assert!(error.contains(message), "{text}: {error}");
    }
}
