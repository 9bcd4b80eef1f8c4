use std::path::PathBuf;

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
        ports = [8080, "53/udp"]
        include = ["src", "a.txt -> /etc/a.txt", { src = "run", dest = "bin/run", mode = "0755" }, { src = "x", mode = 0o600 }]
        exclude = ["*.pyc"]
        directories = ["/host-libs"]
        wheels = ["dist/*.whl"]
        compression = "gzip:9"
        max-layers = 60
        virtual-packages = ["__cuda=12.6"]
        token-command = ["pass", "token"]
        "#,
    );
    assert_eq!(config.repositories, strings(&["ghcr.io/me/app"]));
    assert_eq!(config.arch, strings(&["amd64", "arm64"]));
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
    assert_eq!((config.compression, config.max_layers), (Some(gzip9), Some(60)));
    assert_eq!(config.virtual_packages.unwrap()[0].to_string(), "__cuda=12.6");
    assert_eq!(config.token_command, strings(&["pass", "token"]));
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
        [tool.pixi-oci.environments.prod]
        base = "scratch"
        cmd = ["run"]
        env = { B = "2", C = "2" }
        labels = { y = "2" }
        "#,
    );
    let prod = config.for_environment("prod");
    assert_eq!((prod.base.as_deref(), prod.tags), (Some("scratch"), strings(&["general"])));
    assert_eq!((prod.cmd, prod.task), (strings(&["run"]), None));
    let env: Vec<_> = prod.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=1", "B=2", "C=2"]);
    assert_eq!(prod.labels.keys().collect::<Vec<_>>(), ["x", "y"]);
    let general = config.for_environment("default");
    assert_eq!((general.task.as_deref(), general.environments.len()), (Some("start"), 0));
}

#[test]
fn errors() {
    // What is written, line in the table, part of the message.
    let cases = [
        ("max-layer = 3", "unknown key `max-layer` in [tool.pixi-oci], did you mean `max-layers`?"),
        ("virtual_packages = []", "did you mean `virtual-packages`?"),
        ("zzz = 1", "known keys: repositories, tags"),
        ("base = 3", "`tool.pixi-oci.base` must be a string, not an integer"),
        ("tags = \"a\"", "`tool.pixi-oci.tags` must be a list, not a string"),
        ("tags = [1]", "`tool.pixi-oci.tags` must be a string"),
        ("env = { A = 1 }", "write \"1\""),
        ("env = [\"A=1\"]", "must be a table"),
        ("env = { \"A=B\" = \"1\" }", "cannot be the name of a variable"),
        ("cmd = \"a && b\"", "the command `cmd` needs a shell (`&`) (write it as a list"),
        ("cmd = [\"a\"]\ntask = \"b\"", "keep one of them"),
        ("ports = [0]", "a port is a number"),
        ("ports = [\"80/x\"]", "a port is a number"),
        ("ports = [70000]", "a port is a number"),
        ("prefix = \"opt\"", "not an absolute path"),
        ("directories = [\"/a/../b\"]", "not an absolute path"),
        ("compression = \"brotli\"", "`brotli` is not a compression"),
        ("compression = \"gzip:13\"", "`gzip:13` is not a compression"),
        ("compression = \"zstd:0\"", "`zstd:0` is not a compression"),
        ("max-layers = 0", "at least 1"),
        ("user = -1", "`user` is not a user id"),
        ("include = [{ dest = \"a\" }]", "needs `src`"),
        ("include = [{ src = \"a\", mod = \"1\" }]", "did you mean `mode`?"),
        ("include = [{ src = \"a\", mode = 755 }]", "a mode is written"),
        ("include = [{ src = \"a\", mode = \"4755\" }]", "a mode is written"),
        ("include = [\"a -> \"]", "a path is empty"),
        ("virtual-packages = [\"cuda=12\"]", "two underscores"),
        ("environment = \"prodd\"", "no environment `prodd` (did you mean `prod`?)"),
        ("environments.prodd.base = \"x\"", "no environment `prodd` (did you mean `prod`?)"),
        (
            "environments.prod.bas = \"x\"",
            "unknown key `bas` in [tool.pixi-oci.environments.prod], did you mean `base`?",
        ),
        ("environments.prod.environment = \"x\"", "belongs into [tool.pixi-oci]"),
    ];
    for (config, message) in cases {
        let error = open(config).expect_err(config);
        assert!(error.to_string().contains(message), "{config}: {error}");
        let (line, _) = error.line_and_column().expect(config);
        assert_eq!(line, 6 + config.lines().count(), "{config}: {error}");
    }
}
