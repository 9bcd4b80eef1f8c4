use std::path::Path;

mod verdicts;

use crate::{LockFile, differences};
use pixi_oci_workspace::Workspace;

/// All differences of every environment, on every platform; each `ENVIRONMENT: DIFFERENCE`.
fn all(workspace: &Workspace, lock: &LockFile) -> Vec<String> {
    let mut found = Vec::new();
    for environment in workspace.environments.keys() {
        let platforms = lock.all_platforms(environment);
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let differences =
            differences(workspace, lock, environment, &platforms, &[], now).unwrap_or_else(|e| panic!("{e}"));
        found.extend(differences.iter().map(|difference| format!("{environment}: {difference}")));
    }
    found
}

/// Prints what is wrong with every workspace under `$PIXI_OCI_REAL_LOCKS`, which has a directory for each.
#[test]
#[ignore = "needs PIXI_OCI_REAL_LOCKS, a directory of real workspaces"]
fn real_workspaces() {
    #[allow(clippy::disallowed_methods, reason = "there is no command line here")]
    let Some(directory) = std::env::var_os("PIXI_OCI_REAL_LOCKS") else { return };
    let mut stale = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let workspace = match Workspace::open(&path) {
            Ok(workspace) => workspace,
            Err(error) => {
                eprintln!("== {}: {error}", path.display());
                continue;
            }
        };
        let found = LockFile::of(&workspace).map(|lock| all(&workspace, &lock));
        match found {
            Ok(found) if found.is_empty() => eprintln!("== {}: true", path.display()),
            Ok(found) => {
                stale += 1;
                eprintln!(
                    "== {}: {} differences\n   {}",
                    path.display(),
                    found.len(),
                    found[..found.len().min(20)].join("\n   ")
                );
            }
            Err(error) => eprintln!("== {}: {error}", path.display()),
        }
    }
    eprintln!("{stale} stale");
}

const MANIFEST: &str = include_str!("../../../../tests/fixtures/locked/pixi.toml");

/// The differences between a manifest and the fixture's lock file.
fn compared(manifest: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/locked");
    let workspace = Workspace::parse(root.join("pixi.toml"), manifest.to_owned()).unwrap_or_else(|e| panic!("{e}"));
    all(&workspace, &LockFile::of(&workspace).unwrap_or_else(|e| panic!("{e}")))
}

#[test]
fn the_fixture_is_true() {
    assert_eq!(compared(MANIFEST), [""; 0]);
}

/// The line of the fixture that contains `line`, replaced; and words that the difference must have.
const NOTICED: &[(&str, &str, &str)] = &[
    (
        "channels = ",
        "channels = [\"https://prefix.dev/extra\", \"conda-forge\"]",
        "the channels are https://prefix.dev/extra, https://conda.anaconda.org/conda-forge",
    ),
    (
        "channels = ",
        "channels = [\"conda-forge\"]",
        "the lock was made with https://conda.anaconda.org/conda-forge, https://prefix.dev/extra",
    ),
    (
        "channels = ",
        "channels = [\"conda-forge\", \"https://prefix.dev/extra\", \"more\"]",
        "https://conda.anaconda.org/more",
    ),
    (
        "channels = ",
        "channels = [\"conda-forge\", { channel = \"https://prefix.dev/extra\", priority = 1 }]",
        "the channels are https://prefix.dev/extra",
    ),
    ("platforms = ", "platforms = [\"linux-64\"]", "platform linux-aarch64 is in the lock and not in the manifest"),
    (
        "platforms = ",
        "platforms = [\"linux-64\", \"linux-aarch64\", \"osx-arm64\"]",
        "platform osx-arm64 is in the manifest and not in the lock",
    ),
    (
        "platforms = ",
        "platforms = [\"linux-64\", { platform = \"linux-aarch64\", glibc = \"2.31\" }]",
        "__glibc=2.31 is in the manifest",
    ),
    (
        "channel-priority",
        "channel-priority = \"disabled\"",
        "channel-priority is disabled, the lock was made with strict",
    ),
    ("channel-priority", "solve-strategy = \"lowest\"", "solve-strategy is lowest, the lock was made with highest"),
    ("channel-priority", "exclude-newer = \"2023-01-01\"", "is newer than exclude-newer allows (2023-01-02T00:00:00Z)"),
    (
        "channel-priority",
        "pypi-options = { index-url = \"https://other.example.org\" }",
        "the Python package indexes are https://other.example.org",
    ),
    (
        "channel-priority",
        "pypi-options = { no-build = [\"tool\"] }",
        "tool 0.1 would have to be built, which no-build forbids",
    ),
    ("channel-priority", "pypi-options = { prerelease-mode = \"allow\" }", "prerelease-mode is allow"),
    ("python = ", "python = \"3.13.*\"", "python 3.13.* is required by feature default, the lock has 3.12.4"),
    ("python = ", "python = \"*\"\nadded = \"*\"", "added * is required by feature default, the lock does not have it"),
    ("python = ", "python = { version = \"3.12.*\", build = \"*_1_*\" }", "the lock has 3.12.4 h1_0_cpython"),
    (
        "python = ",
        "python = { version = \"3.12.*\", subdir = \"noarch\" }",
        "required by feature default, the lock has it for",
    ),
    ("numpy = ", "numpy = \">=2\"", "numpy >=2 is required by feature default, the lock has 1.26.4"),
    (
        "numpy = ",
        "numpy = { version = \">=1.26,<2\", channel = \"https://prefix.dev/extra\" }",
        "the lock has it from https://conda.anaconda.org/conda-forge",
    ),
    (
        "numpy = ",
        "numpy = { path = \"numpy\" }",
        "numpy from numpy is required by feature default, the lock has an archive instead",
    ),
    ("numpy = ", "", "numpy 1.26.4 is in the lock and nothing requires it"),
    ("zlib = ", "zlib = \"<1.3\"", "feature default allows only zlib <1.3, the lock has 1.3.1"),
    ("only-arm = ", "", "only-arm 1.0 is in the lock and nothing requires it (linux-aarch64)"),
    (
        "only-arm = ",
        "only-arm = \"2.0\"",
        "only-arm ==2.0 is required by feature default, the lock has 1.0 (linux-aarch64)",
    ),
    (
        "[target.linux-aarch64",
        "[target.linux.dependencies]",
        "only-arm ==1.0 is required by feature default, the lock does not have it (linux-64)",
    ),
    ("cuda = ", "cuda = \"13\"", "platform linux-64 with __cuda=13 is in the manifest and not in the lock"),
    ("cuda = ", "", "platform linux-64 is in the manifest and not in the lock"),
    ("torch = ", "torch = { version = \">=3\", channel = \"https://prefix.dev/extra\" }", "torch >=3"),
    ("torch = ", "torch = { version = \">=2.1\", channel = \"conda-forge\" }", "gpu: conda-forge::torch"),
    ("extra-index-urls", "", "web: the Python package indexes are https://pypi.org/simple, the lock was made with"),
    (
        "flask = ",
        "flask = { version = \">=4\", extras = [\"async\"] }",
        "flask[async] >=4 is required by feature web, the lock has 3.0.3",
    ),
    ("flask = ", "flask = \">=3\"", "asgiref 3.8.1 is in the lock and nothing requires it"),
    ("flask = ", "", "flask 3.0.3 is in the lock and nothing requires it"),
    (
        "flask = ",
        "flask = { git = \"https://example.org/flask.git\" }",
        "flask from https://example.org/flask.git is required by feature web",
    ),
    (
        "inner = ",
        "inner = { version = \"==1.0\", index = \"https://elsewhere.example.org\" }",
        "the lock has 1.0 from https://index.example.org/simple",
    ),
    (
        "tool = ",
        "tool = { git = \"https://example.org/tool.git\", tag = \"v2\" }",
        "tool from https://example.org/tool.git@v2 is required by feature web",
    ),
    ("tool = ", "tool = { git = \"https://example.org/other.git\", tag = \"v1\" }", "other.git"),
    ("tool = ", "tool = { git = \"https://example.org/tool.git\", branch = \"v1\" }", "tool from"),
    ("tool = ", "tool = { git = \"https://example.org/tool.git\" }", "tool from"),
    ("tool = ", "tool = \"*\"", "tool is required by feature web, the lock has git+https://example.org/tool.git"),
    ("direct = ", "direct = { url = \"https://example.org/direct-2.0-py3-none-any.whl\" }", "direct-2.0"),
    ("direct = ", "direct = \"*\"", "direct is required by feature web, the lock has"),
    ("marked = ", "marked = \"*\"", "marked is required by feature web, the lock does not have it (linux-64)"),
    (
        "marked = ",
        "marked = { version = \"*\", env-markers = \"platform_machine == 'riscv64'\" }",
        "marked 2.0 is in the lock and nothing requires it (linux-aarch64)",
    ),
    ("here = ", "here = { path = \"there\" }", "here from there is required by feature web, the lock has ./here"),
    (
        "gpu = [",
        "gpu = [\"gpu\", \"web\"]",
        "gpu: flask[async] >=3 is required by feature web, the lock does not have it",
    ),
    ("gpu = [", "", "environment `gpu` is in the lock and not in the manifest"),
    ("web = [", "web = [\"web\"]\nnew = [\"web\"]", "environment `new` is in the manifest and not in the lock"),
    ("web = [", "web = { features = [\"web\"], no-default-feature = true }", "web: "),
];

#[test]
fn whatever_changes_is_noticed() {
    let mut missed = Vec::new();
    for (line, new, words) in NOTICED {
        let count = MANIFEST.lines().filter(|text| text.starts_with(line)).count();
        assert_eq!(count, 1, "{line}");
        let lines = MANIFEST.lines().map(|text| if text.starts_with(line) { new } else { text });
        let found = compared(&lines.collect::<Vec<_>>().join("\n"));
        if !found.iter().any(|difference| difference.contains(words)) {
            missed.push(format!("{new:?} must say {words:?}, not {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Every requirement with a version is noticed when no version would do.
#[test]
fn every_version_is_looked_at() {
    let mut changed = 0;
    for (number, line) in MANIFEST.lines().enumerate() {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        let known = ["python", "numpy", "torch", "only-arm", "flask", "inner", "marked"];
        if !known.contains(&name) {
            continue;
        }
        changed += 1;
        let new = format!("{name} = \">=99\"");
        let lines = MANIFEST.lines().enumerate().map(|(at, text)| if at == number { &new[..] } else { text });
        let found = compared(&lines.collect::<Vec<_>>().join("\n"));
        let words = format!("{name} >=99 is required");
        assert!(found.iter().any(|difference| difference.contains(&words)), "{new}: {found:#?}");
    }
    assert_eq!(changed, 7);
}

#[test]
fn what_pixi_does_not_solve_is_no_difference() {
    let changes = [
        ("[tasks]\n", "[tasks]\nmore = \"true\"\n"),
        ("start = ", "# start = "),
        ("MODE = \"production\"", "MODE = \"test\""),
        ("name = \"truth\"", "name = \"lie\"\nversion = \"2.0\"\ndescription = \"x\""),
        ("# What tests", "# Something else\n# What tests"),
        ("channels = [\"conda-forge\", ", "channels = [\"https://conda.anaconda.org/conda-forge/\", "),
        ("python = \"3.12.*\"", "python = \">=3.12,<3.13\""),
        (
            "numpy = { version = \">=1.26,<2\", build = \"py312*\" }",
            "numpy = { build = \"py312*\",\n  version = \">=1.26,<2\", }",
        ),
        ("tool = { git = \"https://example.org/tool.git\"", "tool = { git = \"https://example.org/tool\""),
        ("here = { path = \"here\" }", "here = { path = \"./here/\", editable = true }"),
        ("flask = {", "Flask = {"),
        ("channel-priority = \"strict\"\n", ""),
        ("[environments]", "[tool.pixi-oci]\nuser = \"1000\"\n\n[environments]"),
        ("[constraints]\nzlib = \"<2\"\n", "[constraints]\nzlib = \"<2\"\nnot-there = \"<1\"\n"),
        ("platforms = [\"linux-64\", \"linux-aarch64\"]", "platforms = [\"linux-aarch64\", \"linux-64\"]"),
        ("[feature.web.pypi-options]", "[feature.unused.dependencies]\nnothing = \"*\"\n\n[feature.web.pypi-options]"),
    ];
    for (old, new) in changes {
        assert!(MANIFEST.contains(old), "{old}");
        assert_eq!(compared(&MANIFEST.replacen(old, new, 1)), [""; 0], "{new}");
    }
    // The order of tables means nothing.
    let (head, tables) = MANIFEST.split_once("\n\n").unwrap();
    let mut tables: Vec<&str> = tables.split("\n\n").collect();
    tables.reverse();
    assert_eq!(compared(&format!("{head}\n\n{}", tables.join("\n\n"))), [""; 0]);
}
