use std::path::{Path, PathBuf};

use crate::{Error, ManifestError, TargetPlatform, Workspace};

fn parse(text: &str) -> Workspace {
    Workspace::parse(PathBuf::from("/ws/pixi.toml"), text.to_owned()).unwrap_or_else(|e| panic!("{e}"))
}

fn fails(file: &str, text: &str) -> ManifestError {
    match Workspace::parse(Path::new("/ws").join(file), text.to_owned()) {
        Err(Error::Manifest(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn linux() -> TargetPlatform<'static> {
    TargetPlatform { name: "linux-64", subdir: "linux-64" }
}

const WORKSPACE: &str = "[workspace]\nchannels = [\"conda-forge\"]\nplatforms = [\"linux-64\"]\n";

#[test]
fn pixi_toml() {
    let workspace = parse(
        r#"
        [workspace]
        name = "app"
        version = "1.2.3"
        description = "An app"
        license = "MIT"
        authors = ["A <a@b.c>"]
        channels = ["conda-forge", { channel = "https://prefix.dev/x", priority = 2 }]
        platforms = ["linux-64", "osx-arm64"]
        a-key-of-the-future = { x = 1 }

        [dependencies]
        python = {
          version = ">=3.12", # TOML 1.1: several lines, trailing comma
        }
        [environments]
        prod = { features = ["a", "b"], no-default-feature = true, solve-group = "x" }
        test = ["a"]
        [table-of-the-future]
        "#,
    );
    assert_eq!(workspace.root, Path::new("/ws"));
    assert_eq!(workspace.lock_path(), Path::new("/ws/pixi.lock"));
    assert_eq!((workspace.about.name.as_str(), workspace.about.version.as_deref()), ("app", Some("1.2.3")));
    assert_eq!(workspace.about.license.as_deref(), Some("MIT"));
    assert_eq!(workspace.about.authors, ["A <a@b.c>"]);
    assert_eq!(workspace.channels, ["conda-forge", "https://prefix.dev/x"]);
    assert_eq!(workspace.environments.keys().collect::<Vec<_>>(), ["default", "prod", "test"]);
    let prod = &workspace.environments["prod"];
    assert_eq!((&prod.features[..], prod.no_default_feature), (&["a".to_owned(), "b".to_owned()][..], true));
    assert_eq!(prod.solve_group.as_deref(), Some("x"));
    let requirements = workspace.features["default"].requirements_for(linux()).unwrap();
    assert_eq!(requirements.conda[0].match_spec().to_string(), "python >=3.12");
}

#[test]
fn legacy_project_table_and_name_of_the_directory() {
    let workspace = parse("[project]\nchannels = []\nplatforms = []\n");
    assert_eq!(workspace.about.name, "ws");
    assert_eq!(workspace.about.version, None);
}

#[test]
fn pyproject_falls_back_to_python_metadata() {
    let text = r#"
        [project]
        name = "py-app"
        version = "0.1"
        license = { text = "BSD-3-Clause" }
        authors = [{ name = "N", email = "n@e" }, { email = "only@e" }]
        [tool.pixi.workspace]
        channels = ["conda-forge"]
        platforms = ["linux-64"]
        [tool.pixi.tasks]
        start = "python -m app"
        [tool.pixi-oci]
        task = "start"
        "#;
    let workspace = Workspace::parse(PathBuf::from("/ws/pyproject.toml"), text.to_owned()).unwrap();
    assert_eq!((workspace.about.name.as_str(), workspace.about.version.as_deref()), ("py-app", Some("0.1")));
    assert_eq!(workspace.about.license.as_deref(), Some("BSD-3-Clause"));
    assert_eq!(workspace.about.authors, ["N <n@e>", "only@e"]);
    assert_eq!(workspace.oci.task.as_deref(), Some("start"));
    assert_eq!(workspace.task("default", linux(), "start").unwrap().argv, ["python", "-m", "app"]);
}

/// Each of thirty groups includes the next one twice, which would be a billion steps.
#[test]
fn groups_that_include_one_another_many_times_are_refused() {
    let workspace = "[tool.pixi.workspace]\nchannels = []\nplatforms = ['linux-64']\n";
    for (table, start, include) in [
        ("[dependency-groups]\n", "", "{ include-group = 'gNEXT' }"),
        ("[project.optional-dependencies]\n", "[project]\nname = 'x'\n", "'x[gNEXT]'"),
    ] {
        let mut text = format!("{workspace}{start}{table}g30 = ['a']\n");
        for group in 0..30 {
            let next = include.replace("NEXT", &(group + 1).to_string());
            text += &format!("g{group} = [{next}, {next}]\n");
        }
        let workspace = Workspace::parse(PathBuf::from("/ws/pyproject.toml"), text).unwrap();
        let error = workspace.features["g0"].targets[0].requirements.get().unwrap_err().to_string();
        assert!(error.contains("100000 entries"), "{error}");
    }
}

#[test]
fn opens_directories_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let error = Workspace::open(root).unwrap_err().to_string();
    assert!(error.contains("neither a pixi.toml"), "{error}");

    std::fs::write(root.join("pyproject.toml"), "[project]\nname = 'x'\n").unwrap();
    assert!(matches!(Workspace::open(root), Err(Error::NoWorkspace { .. })));
    let error = Workspace::open(&root.join("pyproject.toml")).unwrap_err().to_string();
    assert!(error.contains("[tool.pixi.workspace]"), "{error}");

    std::fs::write(root.join("pyproject.toml"), "[tool.pixi.workspace]\nchannels = []\nplatforms = []\n").unwrap();
    assert_eq!(Workspace::open(root).unwrap().manifest_file_name(), "pyproject.toml");
    std::fs::write(root.join("pixi.toml"), WORKSPACE).unwrap();
    assert_eq!(Workspace::open(root).unwrap().manifest_file_name(), "pixi.toml");

    std::fs::create_dir(root.join("sub")).unwrap();
    let error = Workspace::open(&root.join("sub")).unwrap_err().to_string();
    assert!(error.contains("there is a workspace above it"), "{error}");
    assert!(matches!(Workspace::open(&root.join("none")), Err(Error::Io { .. })));
}

#[test]
fn errors_point_at_the_place() {
    let error = fails("pixi.toml", "[workspace]\nname = 3\n");
    assert_eq!(error.to_string(), "/ws/pixi.toml:2:8: `workspace.name` must be a string, not an integer (write \"3\")");
    let error = fails("pixi.toml", "[workspace]\nname = \"é\" x\n");
    assert_eq!(error.line_and_column().map(|(line, _)| line), Some(2));
    let error = fails("pixi.toml", "[workspace]\nchannels = \"a\"\n");
    assert!(error.message.contains("`workspace.channels` must be a list, not a string"), "{error}");
    let error = fails("pixi.toml", "[workspace]\nplatforms = [{ cuda = \"12\" }]\n");
    assert_eq!(error.line_and_column(), Some((2, 14)));
    assert!(error.message.contains("needs `platform`"), "{error}");
}

#[test]
fn rich_platforms() {
    let workspace = parse(
        r#"
        [workspace]
        channels = []
        platforms = [
          "linux-64",
          { name = "gpu", platform = "linux-64", cuda = "12.6", from-the-future = true },
          { platform = "linux-64", cuda = { driver = "12.0", arch = "8.6" }, glibc = "2.28", archspec = "x86_64_v3" },
          { name = "linux-aarch64" },
          { platform = "linux-aarch64", __foo = "1.2=bar" },
          "plan9-mips",
        ]
        "#,
    );
    let shown: Vec<_> = workspace
        .platforms
        .iter()
        .map(|p| {
            let packages: Vec<_> = p.virtual_packages.iter().map(ToString::to_string).collect();
            format!("{} {} {}", p.name, p.subdir, packages.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "linux-64 linux-64 ",
            "gpu linux-64 __cuda=12.6",
            "linux-64-cuda-12-0-cuda-arch-8-6-archspec-x86-64-v3 linux-64 __cuda=12.0,__cuda_arch=8.6,__archspec=0=x86_64_v3,__glibc=2.28",
            "linux-aarch64 linux-aarch64 ",
            "linux-aarch64-foo-1-2 linux-aarch64 __foo=1.2=bar",
            "plan9-mips plan9-mips ",
        ]
    );
}

const ACTIVATION: &str = r#"
[workspace]
channels = []
platforms = ["linux-64", { name = "gpu", platform = "linux-64", cuda = "12" }]

[activation]
scripts = ["default.sh"]
env = { SHARED = "default", DEFAULT = "1" }
[target.unix.activation]
env = { SHARED = "unix" }
[target.win.activation]
scripts = ["never.bat"]

[feature.a.activation]
scripts = ["a.sh"]
env = { SHARED = "a", A = "1" }
[feature.a.target.linux.activation]
scripts = ["a-linux.sh", "a-linux-2.sh"]
[feature.a.target.linux-64.activation.env]
A = "linux-64"
[feature.a.target."g*".activation]
scripts = []

[feature.b.activation]
scripts = ["b.sh"]
env = { SHARED = "b", A = "b" }

[environments]
ab = ["a", "b"]
ba = { features = ["b", "a"], no-default-feature = true }
own = { features = ["b"], activation = { scripts = ["own.sh"], env = { SHARED = "own" } } }
"#;

#[test]
fn activation_composes_features_as_pixi_does() {
    let workspace = parse(ACTIVATION);
    let of = |environment: &str, platform: TargetPlatform<'_>| {
        let activation = workspace.activation(environment, platform).unwrap();
        let env: Vec<_> = activation.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (activation.scripts.join(" "), env.join(" "))
    };
    let expect = |scripts: &str, env: &str| (scripts.to_owned(), env.to_owned());
    assert_eq!(of("default", linux()), expect("default.sh", "SHARED=unix DEFAULT=1"));
    assert_eq!(of("ab", linux()), expect("a-linux.sh a-linux-2.sh b.sh default.sh", "A=linux-64 SHARED=a DEFAULT=1"));
    assert_eq!(of("ba", linux()), expect("b.sh a-linux.sh a-linux-2.sh", "SHARED=b A=b"));
    assert_eq!(of("own", linux()), expect("own.sh b.sh default.sh", "SHARED=own A=b DEFAULT=1"));
    // The later selector wins with its empty list; `linux-64` still selects by the subdir.
    let gpu = TargetPlatform { name: "gpu", subdir: "linux-64" };
    assert_eq!(of("ab", gpu), expect("b.sh default.sh", "A=linux-64 SHARED=a DEFAULT=1"));
    let arm = TargetPlatform { name: "linux-aarch64", subdir: "linux-aarch64" };
    assert_eq!(of("ab", arm).1, "SHARED=a A=1 DEFAULT=1");
    let error = workspace.activation("abc", linux()).unwrap_err().to_string();
    assert!(
        error.ends_with("has no environment `abc`; did you mean `ab`? it has `ab`, `ba`, `default`, `own`"),
        "{error}"
    );
}

#[test]
fn tasks() {
    let workspace = parse(&format!(
        "{WORKSPACE}{}",
        r#"
        [tasks]
        start = "gunicorn -w 4 'docker project:app' --bind :8000"
        list = { cmd = ["python", "-c", "print(1)"], env = { A = "1" }, cwd = "sub", description = "x", inputs = ["*"] }
        alone = { cmd = "a b", depends-on = [], args = [] }
        shell = "a && b"
        both = { cmd = "a", depends-on = ["start"] }
        alias = [{ task = "start" }]
        alias2 = { depends-on = "start" }
        args = { cmd = "a {{ x }}", args = ["x"] }
        odd = 3
        [target.linux.tasks]
        shell = "a -b"
        [target.win.tasks]
        start = "never"
        [feature.f.tasks]
        start = "other"
        [environments]
        f = ["f"]
        "#
    ));
    let task = |environment: &str, name: &str| workspace.task(environment, linux(), name).map_err(|e| e.to_string());
    let start = task("default", "start").unwrap();
    assert_eq!(start.argv, ["gunicorn", "-w", "4", "docker project:app", "--bind", ":8000"]);
    let list = task("default", "list").unwrap();
    assert_eq!(list.argv, ["python", "-c", "print(1)"]);
    assert_eq!((list.env, list.cwd.as_deref()), (vec![("A".to_owned(), "1".to_owned())], Some("sub")));
    assert_eq!(task("default", "alone").unwrap().argv, ["a", "b"]);
    assert_eq!(task("default", "shell").unwrap().argv, ["a", "-b"]);
    assert_eq!(task("f", "start").unwrap().argv, ["other"]);
    for (name, reason) in [
        ("both", "depends on other tasks"),
        ("alias", "depends on other tasks"),
        ("alias2", "depends on other tasks"),
        ("args", "takes arguments"),
        ("odd", "has no command"),
        ("none", "does not exist"),
    ] {
        let error = task("default", name).unwrap_err();
        assert!(error.contains(reason) && error.contains("`cmd = "), "{name}: {error}");
    }
}

#[test]
fn system_requirements() {
    let workspace = parse(&format!(
        "{WORKSPACE}{}",
        r#"
        [system-requirements]
        linux = "5.10"
        libc = { family = "glibc", version = "2.31" }
        macos = "13"
        [feature.a.system-requirements]
        cuda = "12.6"
        libc = "2.35"
        archspec = "x86_64_v3"
        [feature.b.system-requirements]
        cuda = "12"
        [environments]
        gpu = ["b", "a"]
        "#
    ));
    let of = |environment: &str| -> Vec<String> {
        workspace.system_requirements(environment).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(of("default"), ["__linux=5.10", "__glibc=2.31"]);
    assert_eq!(of("gpu"), ["__cuda=12.6", "__glibc=2.35", "__archspec=0=x86_64_v3", "__linux=5.10"]);
    let error = fails("pixi.toml", &format!("{WORKSPACE}[system-requirements]\ncuda = \">=12\"\n"));
    assert_eq!(error.line_and_column(), Some((5, 8)));
}

#[test]
fn editable_dependencies() {
    let workspace = parse(&format!(
        r#"{WORKSPACE}
        [pypi-dependencies]
        My_App = {{ path = ".", editable = true }}
        other = {{ path = "other", editable = true }}
        lib = {{ path = "lib" }}
        rich = "*"
        [target.osx-arm64.pypi-dependencies]
        lib = {{ path = "lib", editable = true }}
        [feature.prod.pypi-dependencies]
        other = {{ path = "other" }}
        [environments]
        prod = ["prod"]
        "#
    ));
    let names = |environment| workspace.editable_dependencies(environment, linux()).unwrap();
    assert_eq!(names("default"), ["my-app", "other"].map(str::to_owned).into());
    assert_eq!(names("prod"), ["my-app"].map(str::to_owned).into());
}
