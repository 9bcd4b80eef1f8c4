use std::path::PathBuf;

use super::*;
use pixi_oci_workspace::{GitReference, PypiSource, SourceLocation};

fn workspace(text: &str) -> Workspace {
    Workspace::parse(PathBuf::from("/w/pixi.toml"), text.to_owned()).unwrap_or_else(|e| panic!("{e}"))
}

fn pyproject(text: &str) -> Workspace {
    Workspace::parse(PathBuf::from("/w/pyproject.toml"), text.to_owned()).unwrap_or_else(|e| panic!("{e}"))
}

fn platform(subdir: &str) -> ManifestPlatform {
    ManifestPlatform { name: subdir.to_owned(), subdir: subdir.to_owned(), virtual_packages: Vec::new() }
}

fn wants(workspace: &Workspace, environment: &str, subdir: &str) -> Wanted {
    wanted(workspace, environment, &platform(subdir)).unwrap_or_else(|e| panic!("{e}"))
}

/// `FEATURE: SPEC` of each conda requirement.
fn conda(wanted: &Wanted) -> Vec<String> {
    wanted.conda.iter().map(|r| format!("{}: {}", r.feature, r.match_spec())).collect()
}

/// `FEATURE: NAME VERSION` of each Python requirement from an index.
fn pypi(wanted: &Wanted) -> Vec<String> {
    let version = |r: &PypiRequirement| match &r.source {
        PypiSource::Registry { version, .. } => version.to_string(),
        other => format!("{other:?}"),
    };
    wanted.pypi.iter().map(|r| format!("{}: {} {}", r.feature, r.name, version(r))).collect()
}

fn urls(wanted: &Wanted) -> Vec<&str> {
    wanted.options.channels.iter().map(|channel| channel.url.as_str()).collect()
}

const HEAD: &str = "[workspace]\nchannels = [\"conda-forge\"]\nplatforms = [\"linux-64\", \"osx-arm64\"]\n";

#[test]
fn specific_parts_overwrite_and_features_add() {
    let workspace = workspace(&format!(
        r#"{HEAD}
        [dependencies]
        a = "1.*"
        b = "1.*"
        c = "1.*"
        [host-dependencies]
        b = "2.*"
        [build-dependencies]
        b = "3.*"
        [target.unix.dependencies]
        c = "2.*"
        [target.linux-64.dependencies]
        c = "3.*"
        [target.osx.dependencies]
        c = "4.*"
        [feature.f.dependencies]
        a = ">=1.5"
        [feature.g.dependencies]
        d = "*"
        [environments]
        both = ["f", "g"]
        alone = {{ features = ["g"], no-default-feature = true }}
        inline = {{ dependencies = {{ e = "*" }}, features = ["g"] }}
    "#
    ));
    let shared = ["default: a 1.*", "default: b 3.*"];
    assert_eq!(conda(&wants(&workspace, "default", "linux-64")), [&shared[..], &["default: c 3.*"]].concat());
    assert_eq!(conda(&wants(&workspace, "default", "osx-arm64")), [&shared[..], &["default: c 4.*"]].concat());
    assert_eq!(conda(&wants(&workspace, "default", "win-64")), ["default: a 1.*", "default: c 1.*", "default: b 3.*"]);
    let both = conda(&wants(&workspace, "both", "linux-64"));
    assert_eq!(both[..3], ["f: a >=1.5", "g: d *", "default: a 1.*"]);
    assert_eq!(conda(&wants(&workspace, "alone", "linux-64")), ["g: d *"]);
    assert_eq!(conda(&wants(&workspace, "inline", "linux-64"))[..2], ["inline: e *", "g: d *"]);
}

#[test]
fn channels_by_priority_then_feature() {
    let workspace = workspace(
        r#"
        [workspace]
        channels = ["conda-forge", "https://prefix.dev/motion-stack"]
        platforms = []
        [feature.f]
        channels = ["robostack", "conda-forge"]
        [feature.low]
        channels = [{ channel = "conda-forge", priority = -1 }, { channel = "top", priority = 5 }]
        [environments]
        f = ["f"]
        low = ["low"]
        alone = { features = ["low"], no-default-feature = true }
        one = { features = ["f"], solve-group = "s" }
        two = { solve-group = "s" }
    "#,
    );
    let forge = "https://conda.anaconda.org/conda-forge/";
    let stack = "https://prefix.dev/motion-stack/";
    let robot = "https://conda.anaconda.org/robostack/";
    let top = "https://conda.anaconda.org/top/";
    let of = |environment: &str| wants(&workspace, environment, "linux-64");
    assert_eq!(urls(&of("default")), [forge, stack]);
    assert_eq!(urls(&of("f")), [robot, forge, stack]);
    assert_eq!(urls(&of("low")), [top, forge, stack]);
    assert_eq!(urls(&of("alone")), [top, forge]);
    assert_eq!(urls(&of("two")), [robot, forge, stack], "a solve group shares its channels");
}

#[test]
fn pyproject_adds_its_lists() {
    let workspace = pyproject(
        r#"
        [project]
        name = "My_Project"
        requires-python = "~=3.12.0"
        dependencies = ["flask>=3", "Typing_Extensions; python_version < '3.11'"]
        [project.optional-dependencies]
        net = ["requests[socks]>=2"]
        all = ["my-project[net]", "click"]
        [dependency-groups]
        dev = ["pytest~=8.0", { include-group = "lint_it" }]
        Lint-It = ["ruff"]
        [tool.pixi.workspace]
        channels = []
        platforms = []
        [tool.pixi.pypi-dependencies]
        flask = { version = "<4", extras = ["Async_Io"] }
        [tool.pixi.environments]
        all = ["all", "dev"]
    "#,
    );
    let default = wants(&workspace, "default", "linux-64");
    assert_eq!(conda(&default), ["default: python ~=3.12.0"]);
    assert_eq!(pypi(&default), ["default: flask <4", "default: flask >=3", "default: typing-extensions "]);
    assert_eq!(default.pypi[0].extras, ["async-io"]);
    let all = wants(&workspace, "all", "linux-64");
    let expected = ["all: requests >=2", "all: click ", "dev: pytest ~=8.0", "dev: ruff "];
    assert_eq!(pypi(&all)[..4], expected);
}

#[test]
fn sources() {
    let workspace = workspace(&format!(
        r#"{HEAD}
        [dependencies]
        a = {{ path = "../a" }}
        b = {{ git = "https://example.org/b.git", tag = "v1", subdirectory = "x" }}
        c = {{ path = "c-1-0.conda" }}
        d = {{ version = ">=1", build = "*cuda*", channel = "nvidia" }}
        [pypi-dependencies]
        e = {{ path = ".", editable = true }}
        f = {{ git = "https://example.org/f.git", rev = "abc" }}
        g = {{ url = "https://example.org/g-1-py3-none-any.whl" }}
        h = {{ version = "*", index = "https://index.example/simple" }}
    "#
    ));
    let wanted = wants(&workspace, "default", "linux-64");
    assert_eq!(wanted.conda[0].source, Some(SourceLocation::Path("../a".into())));
    assert!(
        matches!(&wanted.conda[1].source, Some(SourceLocation::Git { reference: Some(GitReference::Tag(tag)), .. }) if tag == "v1")
    );
    assert_eq!(wanted.conda[2].spec.url.as_ref().map(|url| url.as_str()), Some("file:///w/c-1-0.conda"));
    assert_eq!(wanted.conda[3].spec.channel.as_ref().unwrap().base_url.as_str(), "https://conda.anaconda.org/nvidia/");
    assert!(wanted.pypi[0].is_editable());
    assert!(
        matches!(&wanted.pypi[1].source, PypiSource::Git { reference: Some(GitReference::Rev(rev)), .. } if rev == "abc")
    );
    assert!(matches!(&wanted.pypi[2].source, PypiSource::Url { .. }));
    assert!(matches!(&wanted.pypi[3].source, PypiSource::Registry { index: Some(_), .. }));
}

#[test]
fn pypi_options_are_united_and_may_not_contradict_one_another() {
    let text = |index: &str| {
        format!(
            r#"{HEAD}
        [workspace.pypi-options]
        index-url = "https://index.example/simple"
        extra-index-urls = ["https://shared.example/simple"]
        [feature.ml.pypi-options]
        {index}
        extra-index-urls = ["https://ml.example/simple"]
        [feature.plain.dependencies]
        a = "*"
        [environments]
        ml = ["ml", "plain"]
        alone = {{ features = ["ml"], no-default-feature = true }}
    "#
        )
    };
    let same = workspace(&text(""));
    let expected = ["https://index.example/simple", "https://ml.example/simple", "https://shared.example/simple"]
        .map(String::from);
    assert_eq!(wants(&same, "ml", "linux-64").options.pypi_options.indexes(), expected);
    // The workspace's options are for features that have none.
    let alone = wants(&same, "alone", "linux-64").options.pypi_options;
    assert_eq!(alone.indexes(), ["https://pypi.org/simple", "https://ml.example/simple"]);

    let other = workspace(&text("index-url = \"https://other.example/simple\""));
    let said = wanted(&other, "ml", &platform("linux-64")).unwrap_err().to_string();
    assert!(said.contains("`ml`") && said.contains("different values of `index-url` in `pypi-options`"), "{said}");
    assert_eq!(wants(&other, "alone", "linux-64").options.pypi_options.indexes()[0], "https://other.example/simple");
}

#[test]
fn virtual_packages_of_features_and_platforms() {
    let workspace = workspace(&format!(
        r#"{HEAD}
        [system-requirements]
        libc = "2.17"
        [feature.gpu.system-requirements]
        cuda = "12"
        libc = "2.34"
        [environments]
        gpu = ["gpu"]
    "#
    ));
    let of = |environment: &str, subdir: &str| {
        let packages = wants(&workspace, environment, subdir).virtual_packages;
        packages.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("default", "linux-64"), ["__unix=0=0", "__linux=4.18", "__archspec=0=x86_64", "__glibc=2.17"]);
    let gpu = of("gpu", "linux-64");
    assert_eq!(gpu[3..], ["__cuda=12", "__glibc=2.34"]);
    assert_eq!(of("gpu", "osx-arm64"), ["__unix=0=0", "__osx=13.0", "__archspec=0=m1"]);
}

#[test]
fn platforms_of_an_environment() {
    let workspace = workspace(
        r#"
        [workspace]
        channels = []
        platforms = ["linux-64", { name = "gpu", platform = "linux-64", cuda = "12" }, "linux-aarch64"]
        [feature.gpu]
        platforms = ["gpu"]
        [feature.plain]
        platforms = ["linux-64"]
        [environments]
        gpu = ["gpu"]
        plain = ["plain"]
    "#,
    );
    let of = |environment: &str| {
        let platforms = workspace.environment_platforms(environment).unwrap();
        platforms.into_iter().map(|platform| platform.name).collect::<Vec<_>>()
    };
    assert_eq!(of("default"), ["linux-64", "gpu", "linux-aarch64"]);
    assert_eq!(of("gpu"), ["gpu"]);
    assert_eq!(of("plain"), ["linux-64"]);
}

#[test]
fn features_must_be_there_and_once() {
    for (list, words) in [
        ("[\"cuad\"]", ":7:6: feature `cuad` is not defined (did you mean `cuda`?)"),
        ("{ features = [\"cuda\", \"cuda\"] }", "feature `cuda` is there twice"),
    ] {
        let workspace =
            workspace(&format!("{HEAD}[feature.cuda.dependencies]\na = \"*\"\n[environments]\nx = {list}\n"));
        wants(&workspace, "default", "linux-64");
        let error = wanted(&workspace, "x", &platform("linux-64")).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_is_wrong_is_said_when_it_is_needed() {
    let workspace = workspace(&format!("{HEAD}[feature.bad.dependencies]\na = 3\n[environments]\nbad = [\"bad\"]\n"));
    wants(&workspace, "default", "linux-64");
    let error = wanted(&workspace, "bad", &platform("linux-64")).unwrap_err().to_string();
    assert!(
        error.starts_with("/w/pixi.toml:5:5: `feature.bad.dependencies.a` must be a version or a table"),
        "{error}"
    );
}
