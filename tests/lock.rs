//! `pixi-oci lock`, and what `build` and `plan` do without a lock file.

use std::{collections::BTreeMap, fs, path::Path};

use rattler_lock::LockFile;

use crate::common::{
    channel::{self, Entry, entry},
    packages::{file, package},
    sandbox::{Outcome, Sandbox, snapshot},
    server::serve,
};

fn main_channel() -> Vec<Entry> {
    let day = |day: u64, entry: Entry| Entry { timestamp: Some(1_704_067_200_000 + day * 86_400_000), ..entry };
    vec![
        day(1, entry("linux-64/python-3.11.9-h_0", &["ssl >=3", "__glibc >=2.17"])),
        day(30, entry("linux-64/python-3.12.4-h_0", &["ssl >=3", "__glibc >=2.17"])),
        day(1, entry("linux-aarch64/python-3.11.9-h_0", &["ssl >=3"])),
        day(1, entry("linux-64/ssl-3.0-h_0", &[])),
        day(60, entry("linux-64/ssl-3.3-h_0", &[])),
        day(1, entry("linux-aarch64/ssl-3.0-h_0", &[])),
        day(2, entry("noarch/flask-3.0-py_0", &["python >=3.9"])),
        day(2, entry("noarch/old-1.0-0", &["ssl <3.1"])),
        day(2, entry("noarch/new-1.0-0", &["ssl >=3.2"])),
        day(2, entry("noarch/tool-1.0-0", &[])),
        day(2, entry("linux-64/gpu-1.0-h_0", &["__cuda >=12"])),
        day(2, entry("linux-64/gpu-0.9-h_0", &[])),
    ]
}

/// A workspace with `manifest` after its `[workspace]` table, for linux-64 unless it says otherwise.
fn workspace(manifest: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    channel::write(&sandbox.path("main"), &main_channel());
    channel::write(
        &sandbox.path("extra"),
        &[entry("linux-64/ssl-9.9-h_0", &[]), entry("noarch/tool-7.0-0", &[]), entry("noarch/only-1.0-0", &["tool"])],
    );
    write_manifest(&sandbox, manifest);
    sandbox
}

fn write_manifest(sandbox: &Sandbox, manifest: &str) {
    let platforms = if manifest.contains("platforms =") { "" } else { "platforms = [\"linux-64\"]\n" };
    let channels = if manifest.contains("channels =") { "" } else { "channels = [\"./main\"]\n" };
    fs::write(sandbox.path("pixi.toml"), format!("[workspace]\nname = \"demo\"\n{platforms}{channels}{manifest}\n"))
        .unwrap();
}

/// What is locked, `ENVIRONMENT PLATFORM` to `NAME-VERSION…`, sorted, as rattler_lock reads it.
fn locked(root: &Path) -> BTreeMap<String, String> {
    let lock = LockFile::from_path(&root.join("pixi.lock")).unwrap();
    let mut all = BTreeMap::new();
    for (name, environment) in lock.environments() {
        for platform in environment.platforms() {
            let mut packages: Vec<_> = environment
                .packages(platform)
                .into_iter()
                .flatten()
                .map(|package| {
                    let record = package.as_binary_conda().unwrap();
                    format!("{}-{}", package.name(), record.package_record.version)
                })
                .collect();
            packages.sort();
            all.insert(format!("{name} {}", platform.name().as_str()), packages.join(" "));
        }
    }
    all
}

#[track_caller]
fn assert_locked(manifest: &str, arguments: &[&str], expected: &[(&str, &str)]) {
    let sandbox = workspace(manifest);
    sandbox.run(&[&["lock"], arguments].concat()).success();
    let expected: BTreeMap<String, String> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(locked(&sandbox.path("")), expected, "{manifest}");
}

#[test]
fn every_environment_and_platform_is_locked_at_once() {
    assert_locked(
        "platforms = [\"linux-64\", \"linux-aarch64\"]\n[dependencies]\nflask = \"*\"\n\
         [feature.t.dependencies]\ntool = \"*\"\n[feature.x]\nplatforms = [\"linux-64\"]\n[feature.x.dependencies]\nssl = \"<3.1\"\n\
         [environments]\nfull = [\"t\"]\nbare = { features = [\"t\"], no-default-feature = true }\nx = [\"x\"]",
        &[],
        &[
            ("bare linux-64", "tool-1.0"),
            ("bare linux-aarch64", "tool-1.0"),
            ("default linux-64", "flask-3.0 python-3.12.4 ssl-3.3"),
            ("default linux-aarch64", "flask-3.0 python-3.11.9 ssl-3.0"),
            ("full linux-64", "flask-3.0 python-3.12.4 ssl-3.3 tool-1.0"),
            ("full linux-aarch64", "flask-3.0 python-3.11.9 ssl-3.0 tool-1.0"),
            ("x linux-64", "flask-3.0 python-3.12.4 ssl-3.0"),
        ],
    );
}

#[test]
fn a_solve_group_has_one_version_of_each_and_each_environment_its_own_part() {
    let features = "[dependencies]\npython = \"*\"\n[feature.old.dependencies]\nold = \"*\"\n";
    let environments = |group: &str| {
        format!(
            "{features}[environments]\nold = {{ features = [\"old\"]{group} }}\ndefault = {{ features = []{group} }}"
        )
    };
    assert_locked(
        &environments(", solve-group = \"g\""),
        &[],
        &[("default linux-64", "python-3.12.4 ssl-3.0"), ("old linux-64", "old-1.0 python-3.12.4 ssl-3.0")],
    );
    assert_locked(
        &environments(""),
        &[],
        &[("default linux-64", "python-3.12.4 ssl-3.3"), ("old linux-64", "old-1.0 python-3.12.4 ssl-3.0")],
    );
}

#[test]
fn options_of_the_solver() {
    let two = "channels = [\"./main\", \"./extra\"]\n";
    for (manifest, expected) in [
        (format!("{two}[dependencies]\nssl = \"*\"\nonly = \"*\""), "only-1.0 ssl-3.3 tool-1.0"),
        (
            format!("{two}channel-priority = \"disabled\"\n[dependencies]\nssl = \"*\"\nonly = \"*\""),
            "only-1.0 ssl-9.9 tool-7.0",
        ),
        (
            "channels = [\"./main\", { channel = \"./extra\", priority = 1 }]\n[dependencies]\nssl = \"*\"".to_owned(),
            "ssl-9.9",
        ),
        (format!("{two}[dependencies]\nssl = {{ version = \"*\", channel = \"./extra\" }}"), "ssl-9.9"),
        ("solve-strategy = \"lowest\"\n[dependencies]\npython = \"*\"".to_owned(), "python-3.11.9 ssl-3.0"),
        ("solve-strategy = \"lowest-direct\"\n[dependencies]\npython = \"*\"".to_owned(), "python-3.11.9 ssl-3.3"),
        ("exclude-newer = \"2024-01-20\"\n[dependencies]\npython = \"*\"".to_owned(), "python-3.11.9 ssl-3.0"),
        ("[constraints]\nssl = \"<3.1\"\n[dependencies]\npython = \"*\"".to_owned(), "python-3.12.4 ssl-3.0"),
        (
            "[dependencies]\npython = \"*\"\n[target.linux-64.dependencies]\npython = \"<3.12\"".to_owned(),
            "python-3.11.9 ssl-3.3",
        ),
        ("[dependencies]\n[host-dependencies]\ntool = \"*\"".to_owned(), "tool-1.0"),
        ("[dependencies]".to_owned(), ""),
    ] {
        assert_locked(&manifest, &[], &[("default linux-64", expected)]);
    }
}

#[test]
fn targets_have_what_is_declared_and_said_and_never_what_the_host_has() {
    let gpu = "[dependencies]\ngpu = \"*\"";
    assert_locked(gpu, &[], &[("default linux-64", "gpu-0.9")]);
    assert_locked(gpu, &["--virtual-package", "__cuda=12.4"], &[("default linux-64", "gpu-1.0")]);
    let required = format!("{gpu}\n[system-requirements]\ncuda = \"12\"");
    assert_locked(&required, &[], &[("default p1", "gpu-1.0")]);
    let rich =
        format!("platforms = [\"linux-64\", {{ name = \"big\", platform = \"linux-64\", cuda = \"12.0\" }}]\n{gpu}");
    assert_locked(&rich, &[], &[("default linux-64", "gpu-0.9"), ("default p1", "gpu-1.0")]);

    let sandbox = workspace(gpu);
    Outcome::of(sandbox.pixi_oci(&["lock"]).env("CONDA_OVERRIDE_CUDA", "12.1")).success();
    assert_eq!(locked(&sandbox.path(""))["default linux-64"], "gpu-1.0");
}

#[test]
fn a_wrong_override_names_the_package_that_needs_more() {
    let sandbox = workspace(
        "platforms = [{ name = \"linux-64-cuda\", platform = \"linux-64\", cuda = \"12\" }]\n[dependencies]\ngpu = \">=1\"",
    );
    sandbox.run(&["lock"]).success();
    let words = ["gpu needs __cuda >=12 on linux-64-cuda", "__cuda 11.8", "--virtual-package __cuda=12"];
    for command in [&["plan"][..], &["build", "-o", "oci:out:x"], &["build", "--frozen", "-o", "oci:out:x"]] {
        sandbox.run(&[command, &["--virtual-package", "__cuda=11.8"]].concat()).refused(1, &words);
        Outcome::of(sandbox.pixi_oci(command).env("CONDA_OVERRIDE_CUDA", "11.8")).refused(1, &words);
    }
}

#[test]
fn the_file_is_what_pixi_writes_and_says_the_same_again() {
    let sandbox = workspace(
        "platforms = [\"linux-64\", { platform = \"linux-64\", cuda = \"12\" }]\n[dependencies]\ntool = \"*\"",
    );
    let outcome = sandbox.run(&["lock"]).success();
    assert_eq!(outcome.stdout, format!("{}\n", sandbox.path("pixi.lock").display()));
    let text = fs::read_to_string(sandbox.path("pixi.lock")).unwrap();
    let directory = sandbox.path("main").display().to_string();
    insta_like(
        &text.replace(&directory, "DIR"),
        "version: 7
platforms:
- name: linux-64
  virtual-packages:
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
- name: p1
  subdir: linux-64
  virtual-packages:
  - __cuda=12
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
environments:
  default:
    channels:
    - url: file://DIR/
    packages:
      linux-64:
      - conda: DIR/noarch/tool-1.0-0.conda
      p1:
      - conda: DIR/noarch/tool-1.0-0.conda
packages:
",
    );
    let before = snapshot(&sandbox.path(""));
    sandbox.run(&["lock"]).success();
    sandbox.run(&["lock", "--check"]).success();
    assert_eq!(snapshot(&sandbox.path("")), before);
    // Both platforms have the names of the manifest here, too.
    let plan = sandbox.run(&["plan", "--json", "--all"]).success().stdout;
    assert!(
        plan.contains("\"platform\": \"linux-64-cuda-12\"") && plan.contains("\"platform\": \"linux-64\""),
        "{plan}"
    );
}

#[track_caller]
fn insta_like(text: &str, beginning: &str) {
    assert!(text.starts_with(beginning), "{text}");
}

#[test]
fn what_was_locked_stays_until_it_cannot() {
    let sandbox = workspace("[dependencies]\npython = \"<3.12\"\nssl = \"<3.1\"");
    sandbox.run(&["lock"]).success();
    write_manifest(&sandbox, "[dependencies]\npython = \"*\"\nssl = \"*\"\ntool = \"*\"");
    let outcome = sandbox.run(&["lock", "--dry-run"]).success();
    assert!(
        outcome.stderr.contains("+ tool 1.0 0 (default linux-64)") && !outcome.stderr.contains("python"),
        "{outcome:?}"
    );
    assert_eq!(locked(&sandbox.path(""))["default linux-64"], "python-3.11.9 ssl-3.0", "a dry run writes nothing");
    let report = sandbox.run(&["lock", "--json", "--dry-run"]).success().stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["changed"], &report["written"]), (&true.into(), &false.into()));
    assert_eq!(report["changes"][0]["package"], "tool");
    let check = sandbox.run(&["lock", "--check"]);
    assert_eq!(check.code, Some(1));
    assert!(check.stderr.contains("run `pixi-oci lock`"), "{}", check.stderr);
    sandbox.run(&["lock"]).success();
    assert_eq!(locked(&sandbox.path(""))["default linux-64"], "python-3.11.9 ssl-3.0 tool-1.0");
    // Another channel, strategy or priority: what was chosen means nothing any more, as in pixi.
    write_manifest(&sandbox, "channels = [\"./main\", \"./extra\"]\n[dependencies]\npython = \"*\"\nssl = \"*\"");
    sandbox.run(&["lock"]).success();
    assert_eq!(locked(&sandbox.path(""))["default linux-64"], "python-3.12.4 ssl-3.3");
}

#[test]
fn what_is_true_to_the_manifest_is_not_solved_again() {
    let sandbox = workspace("[dependencies]\ntool = \"*\"\n[environments]\nother = []");
    sandbox.run(&["lock"]).success();
    let before = fs::read_to_string(sandbox.path("pixi.lock")).unwrap();
    fs::remove_dir_all(sandbox.path("main")).unwrap();
    let outcome = sandbox.run(&["lock"]).success();
    assert_eq!(outcome.stderr, "");
    assert_eq!(fs::read_to_string(sandbox.path("pixi.lock")).unwrap(), before);
    // Only the environment that is new.
    channel::write(&sandbox.path("main"), &main_channel());
    write_manifest(
        &sandbox,
        "[dependencies]\ntool = \"*\"\n[feature.f.dependencies]\nssl = \"*\"\n[environments]\nother = []\nnew = [\"f\"]",
    );
    let outcome = sandbox.run(&["lock"]).success();
    assert!(outcome.stderr.contains("environment `new`") && !outcome.stderr.contains("`default`"), "{outcome:?}");
    assert_eq!(locked(&sandbox.path(""))["new linux-64"], "ssl-3.3 tool-1.0");
}

#[test]
fn refusals_name_environment_platform_and_reason_and_leave_the_file() {
    for (manifest, words) in [
        (
            "[dependencies]\nold = \"*\"\nnew = \"*\"",
            &["cannot lock environment `default` for linux-64", "ssl <3.1"][..],
        ),
        ("[dependencies]\nflaskk = \"*\"", &["no channel has a package `flaskk`", "main", "did you mean `flask`?"]),
        ("[dependencies]\nssl = \">=4\"", &["no version of ssl matches `ssl >=4`", "3.3, 3.0"]),
        ("[dependencies]\ngpu = \">=1\"", &["__cuda >=12", "--virtual-package __cuda=VERSION"]),
        ("[dependencies]\nown = { path = \"own\" }", &["requires own from source", "run `pixi lock`"]),
        (
            "[dependencies]\npython = \"*\"\n[pypi-dependencies]\nrequests = \"*\"",
            &["requires Python packages (requests)", "only pixi can lock", "run `pixi lock`"],
        ),
        ("channels = [\"./nowhere\"]\n[dependencies]\ntool = \"*\"", &["cannot read the packages of", "nowhere"]),
        (
            "[dependencies]\n[feature.o.dependencies]\nold = \"*\"\n[feature.n.dependencies]\nnew = \"*\"\n[environments]\n\
             a = { features = [\"o\"], solve-group = \"g\" }\nb = { features = [\"n\"], solve-group = \"g\" }",
            &["cannot lock environment `a`, `b` for linux-64"],
        ),
    ] {
        let sandbox = workspace(manifest);
        sandbox.run(&["lock"]).refused(1, words);
        assert!(!sandbox.path("pixi.lock").exists());
        fs::write(sandbox.path("pixi.lock"), "version: 6\nenvironments: {}\npackages: []\n").unwrap();
        sandbox.run(&["lock"]).refused(1, words);
        assert!(fs::read_to_string(sandbox.path("pixi.lock")).unwrap().starts_with("version: 6"));
    }
}

#[test]
fn offline_uses_what_was_read_before() {
    let sandbox = workspace("");
    let address = serve(&sandbox.path(""));
    let manifest = |dependency: &str| format!("channels = [\"{address}/main\"]\n[dependencies]\n{dependency} = \"*\"");
    write_manifest(&sandbox, &manifest("tool"));
    sandbox.run(&["lock", "--offline"]).refused(1, &["run once without `--offline`"]);
    sandbox.run(&["lock"]).success();
    fs::remove_dir_all(sandbox.path("main")).unwrap();
    fs::remove_file(sandbox.path("pixi.lock")).unwrap();
    write_manifest(&sandbox, &manifest("flask"));
    sandbox.run(&["lock", "--offline"]).success();
    assert_eq!(locked(&sandbox.path(""))["default linux-64"], "flask-3.0 python-3.12.4 ssl-3.3");
}

#[test]
fn a_build_without_a_lock_file_makes_it() {
    let sandbox = Sandbox::new();
    let demo = crate::common::workspace::workspace([package("hello", [file("bin/hello", "hi")])]);
    demo.write(&sandbox.path("ws"));
    let frozen = sandbox.build("ws", "oci:locked").digest().to_owned();
    channel::index(&sandbox.path("ws/channel"), &[package("hello", [file("bin/hello", "hi")])]);
    let manifest = fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    fs::write(sandbox.path("ws/pixi.toml"), format!("{manifest}\n[dependencies]\nhello = \"*\"\n")).unwrap();
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();

    for said in ["--frozen", "--locked"] {
        let mut command = sandbox.pixi_oci(&["build", "ws", said, "-o", "oci:new"]);
        Outcome::of(command.env_remove("PIXI_FROZEN")).refused(1, &["there is no lock file"]);
    }
    let mut command = sandbox.pixi_oci(&["build", "ws", "-o", "oci:new"]);
    Outcome::of(command.env_remove("PIXI_FROZEN").env("PIXI_LOCKED", "true")).refused(1, &["there is no lock file"]);
    assert!(!sandbox.path("ws/pixi.lock").exists());
    // The sandbox says PIXI_FROZEN.
    let unset = |arguments: &[&str]| Outcome::of(sandbox.pixi_oci(arguments).env_remove("PIXI_FROZEN")).success();
    let plan = unset(&["plan", "ws"]);
    assert!(plan.stderr.contains("there is no lock file") && plan.stdout.contains("hello 1.0"), "{plan:?}");
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();
    let built = unset(&["build", "ws", "-o", "oci:new"]);
    assert!(built.stderr.contains("there is no lock file"), "{built:?}");
    assert_eq!(locked(&sandbox.path("ws"))["default linux-aarch64"], "hello-1.0");
    assert_ne!(built.digest(), frozen, "the application layer has the lock file and manifest");
}

#[test]
fn base_images_are_pinned_in_the_manifest_and_nothing_else_changes() {
    let sandbox = Sandbox::new();
    crate::common::workspace::workspace([]).write(&sandbox.path("base"));
    let digest = sandbox.build("base", "oci:layout:v1").digest().to_owned();
    let manifest = |base: &str, own: &str| {
        format!(
            "# mine\n[workspace]\nname = \"x\"   # keep\nchannels = []\nplatforms = [ \"linux-64\" ]\n[environments]\ne = []\n\n\
             [tool.pixi-oci]\nbase   = {base}   # why\nworkdir='/srv'\n[tool.pixi-oci.environments.e]\nbase = {own}\n"
        )
    };
    fs::write(sandbox.path("pixi.toml"), manifest("'oci:layout:v1'", "\"scratch\"")).unwrap();
    let check = sandbox.run(&["lock", "--base", "--check"]);
    assert_eq!(check.code, Some(1));
    assert!(check.stderr.contains("pixi-oci lock --base"), "{check:?}");
    let outcome = sandbox.run(&["lock", "--base"]).success();
    assert_eq!(outcome.stdout, format!("{}\n", sandbox.path("pixi.toml").display()));
    let pinned = manifest(&format!("\"oci:layout@{digest}\""), "\"scratch\"");
    assert_eq!(fs::read_to_string(sandbox.path("pixi.toml")).unwrap(), pinned);
    sandbox.run(&["lock", "--base", "--check"]).success();
    assert!(!sandbox.path("pixi.lock").exists());

    // The default base goes into a manifest without the table; offline and never seen it cannot.
    fs::write(sandbox.path("pixi.toml"), "[workspace]\nname = \"x\"\nchannels = []\nplatforms = []\n").unwrap();
    sandbox.run(&["lock", "--base", "--offline"]).refused(1, &["docker.io/library/ubuntu:24.04", "--offline"]);
    fs::write(sandbox.path("pixi.toml"), manifest("\"docker-archive:x.tar\"", "\"scratch\"")).unwrap();
    sandbox.run(&["lock", "--base"]).refused(1, &["docker-archive:", "cannot be named by a digest"]);
}

#[test]
fn what_a_build_says_of_targets_is_no_difference_to_the_lock_file_that_was_made_with_it() {
    let sandbox = Sandbox::new();
    let modern = package("modern", [file("bin/modern", "hi")]).depends(&["__glibc >=2.36"]);
    crate::common::workspace::workspace([modern.clone()]).write(&sandbox.path("ws"));
    channel::index(&sandbox.path("ws/channel"), &[modern]);
    let manifest = fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    fs::write(sandbox.path("ws/pixi.toml"), format!("{manifest}\n[dependencies]\nmodern = \"*\"\n")).unwrap();
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();
    let run = |arguments: &[&str]| Outcome::of(sandbox.pixi_oci(arguments).env_remove("PIXI_FROZEN"));
    let said = ["--virtual-package", "__glibc=2.36"];
    run(&["plan", "ws"]).refused(1, &["__glibc >=2.36"]);
    run(&[&["build", "ws", "-o", "oci:out"][..], &said].concat()).success();
    let plan = run(&[&["plan", "ws"][..], &said].concat()).success();
    assert!(plan.stdout.contains("needs __glibc >=2.36 (modern)"), "{plan:?}");
    run(&[&["lock", "ws", "--check"][..], &said].concat()).success();
    // Without it, nobody has said that targets have it.
    run(&["plan", "ws"]).refused(1, &["__glibc >=2.36 is required by package modern, the lock has 2.28"]);
}
