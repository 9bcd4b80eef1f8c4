//! Wheels: from the lock file into the image, as uv installs them for pixi.

use serde_json::{Value, json};

use crate::common::{
    forge::{by_rule, forge},
    image::{self, Kind, content},
    odd,
    packages::{file as conda_file, package, symlink},
    pypi::{Locked, locked, named, source},
    sandbox::{Outcome, Sandbox},
    server::serve,
    wheels::{Wheel, entry_points, file, line, wheel},
    workspace::{Workspace, edit_lock, workspace},
};

const SITE_PACKAGES: &str = "opt/pixi/env/lib/python3.12/site-packages";

/// Text of a file below the prefix.
fn text(tree: &image::Tree, path: &str) -> String {
    String::from_utf8(content(tree, &format!("opt/pixi/env/{path}")).to_vec()).unwrap()
}

fn pure(name: &str) -> Wheel {
    wheel(
        name,
        [
            file(&format!("{name}/__init__.py"), "x = 1\n"),
            file(&format!("{name}-1.0.data/scripts/{name}-script"), "#!python\nprint()\n"),
            entry_points(name, &format!("[console_scripts]\n{name} = {name}:main\n")),
        ],
    )
}

/// A Python and wheels for both architectures.
fn with(wheels: impl IntoIterator<Item = Locked>) -> Workspace {
    workspace([odd::python()]).pypi(wheels)
}

fn built(sandbox: &Sandbox, ws: &Workspace) -> (Value, image::Index) {
    ws.write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:v1", "--json"]).success();
    (serde_json::from_str(&outcome.stdout).unwrap(), image::read(&sandbox.path("out"), "v1"))
}

#[test]
fn wheels_are_in_the_image_as_uv_installs_them() {
    let sandbox = Sandbox::new();
    let (report, index) = built(&sandbox, &with([locked(&pure("demo_pkg"))]));
    let image = index.image("linux/arm64");
    let tree = image.tree();
    assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/demo_pkg/__init__.py")), b"x = 1\n");
    let script = &tree["opt/pixi/env/bin/demo_pkg-script"];
    assert_eq!(script.mode, 0o755);
    assert_eq!(script.kind, Kind::File(b"#!/opt/pixi/env/bin/python3.12\nprint()\n".to_vec()));
    let launcher = text(&tree, "bin/demo_pkg");
    assert!(launcher.starts_with("#!/opt/pixi/env/bin/python3.12\n"), "{launcher}");
    assert!(launcher.contains("from demo_pkg import main"), "{launcher}");
    let dist_info = format!("{SITE_PACKAGES}/demo_pkg-1.0.dist-info");
    assert_eq!(content(&tree, &format!("{dist_info}/INSTALLER")), b"uv-pixi");
    assert_eq!(content(&tree, &format!("{dist_info}/REQUESTED")), b"");
    let record = String::from_utf8(content(&tree, &format!("{dist_info}/RECORD")).to_vec()).unwrap();
    assert!(record.contains("../../../bin/demo_pkg,sha256="), "{record}");
    assert!(!tree.keys().any(|path| path.ends_with(".pyc")), "nothing was run");

    // It has a layer like other packages, and the report names it.
    let wheel = locked(&pure("demo_pkg"));
    let bytes = wheel.file.as_ref().unwrap().1.len();
    for (said, image) in report["images"].as_array().unwrap().iter().zip(&index.images) {
        assert_eq!(
            said["wheels"],
            json!([{
                "name": "demo-pkg", "version": "1.0", "fileName": "demo_pkg-1.0-py3-none-any.whl",
                "url": "./wheels/demo_pkg-1.0-py3-none-any.whl", "sha256": wheel.sha256, "size": bytes,
                "locked": true, "source": "lock",
            }])
        );
        let layers =
            image.layers.iter().filter(|layer| layer.annotations["dev.pixi-oci.packages"] == "pypi:demo-pkg 1.0");
        assert_eq!(layers.count(), 1);
    }
    // A pure wheel is the same layer for both.
    let layer_of = |platform: &str| {
        let layers = &index.image(platform).layers;
        let layer = layers.iter().find(|layer| layer.annotations["dev.pixi-oci.packages"] == "pypi:demo-pkg 1.0");
        layer.unwrap().digest.clone()
    };
    assert_eq!(layer_of("linux/amd64"), layer_of("linux/arm64"));
}

/// A wheel `NAME` with one file, which holds its name.
fn one_file(name: &str, path: &str) -> Wheel {
    wheel(name, [file(path, name)])
}

#[test]
fn wheels_come_from_indexes_urls_and_paths() {
    let sandbox = Sandbox::new();
    let server = serve(&sandbox.path("ws"));
    let secret = server.replace("http://", "http://user:canary-password@");
    let names = ["indexed", "linked", "direct", "direct_secret", "unhashed", "absolute"];
    let wheels: Vec<Wheel> = names.iter().map(|name| pure(name)).collect();
    let at = |n: usize, base: String| locked(&wheels[n]).at(&base);
    let query = |mut wheel: Locked| {
        wheel.location += "?token=canary-query#canary-fragment";
        wheel
    };
    let absolute = sandbox.path("ws/wheels").to_str().unwrap().to_owned();
    let ws = with([
        at(0, format!("{server}/wheels")),
        locked(&wheels[1]),
        at(2, format!("direct+{server}/wheels")),
        query(at(3, format!("direct+{secret}/wheels"))),
        at(4, format!("direct+{server}/wheels")).without_hash(),
        at(5, absolute.clone()).without_hash(),
    ]);
    let (report, index) = built(&sandbox, &ws);
    let tree = index.image("linux/amd64").tree();
    let direct = |name: &str| {
        let path = format!("{SITE_PACKAGES}/{name}-1.0.dist-info/direct_url.json");
        tree.contains_key(&path).then(|| serde_json::from_slice::<Value>(content(&tree, &path)).unwrap()["url"].clone())
    };
    assert_eq!(direct("indexed"), None, "pixi takes what has one for no wheel of an index");
    assert_eq!(direct("linked").unwrap(), "file:///app/wheels/linked-1.0-py3-none-any.whl");
    assert_eq!(direct("direct").unwrap(), format!("{server}/wheels/direct-1.0-py3-none-any.whl"));
    let hidden = server.replace("http://", "http://****:****@");
    assert_eq!(direct("direct_secret").unwrap(), format!("{hidden}/wheels/direct_secret-1.0-py3-none-any.whl"));
    assert_eq!(direct("absolute").unwrap(), format!("file://{absolute}/absolute-1.0-py3-none-any.whl"));

    let wheels_said = report["images"][0]["wheels"].as_array().unwrap();
    for (said, n) in wheels_said.iter().zip([5, 2, 3, 0, 1, 4]) {
        assert_eq!(said["name"], names[n].replace('_', "-"));
        let sha256 = locked(&wheels[n]).sha256.unwrap();
        assert_eq!(said["sha256"], sha256, "found out where the lock file has none");
        assert_eq!(said["locked"], n < 4);
    }
    assert!(!report.to_string().contains("canary"), "{report}");
    for layer in &index.image("linux/amd64").layers {
        for (path, entry) in &layer.entries {
            let Kind::File(bytes) = &entry.kind else { continue };
            // A fragment never is a secret, and in the lock file it is the user's.
            let text = String::from_utf8_lossy(bytes).replace("#canary-fragment", "");
            assert!(!text.contains("canary"), "{path}");
        }
    }

    // Nothing is fetched twice, also where only the URL was known.
    for name in ["indexed", "direct", "direct_secret", "unhashed"] {
        std::fs::remove_file(sandbox.path(&format!("ws/wheels/{name}-1.0-py3-none-any.whl"))).unwrap();
    }
    let again = sandbox.run(&["build", "ws", "-o", "oci:again:v1", "--offline"]).success();
    assert_eq!(again.digest(), index.digest);
}

#[test]
fn wheels_below_a_linked_directory() {
    let sandbox = Sandbox::new();
    let ws = with([locked(&pure("linked"))]);
    built(&sandbox, &ws);
    // The lock file is what the manifest says, wherever the link leads: in the workspace, and outside of it.
    let mut manifest = std::fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    manifest += "\n[dependencies]\npython = \"*\"\n[pypi-dependencies]\n";
    manifest += "linked = { path = \"wheels/linked-1.0-py3-none-any.whl\" }\n";
    std::fs::write(sandbox.path("ws/pixi.toml"), manifest).unwrap();
    for (real, link) in [("ws/real", "real"), ("elsewhere", "../elsewhere")] {
        std::fs::rename(sandbox.path("ws/wheels"), sandbox.path(real)).unwrap();
        std::os::unix::fs::symlink(link, sandbox.path("ws/wheels")).unwrap();
        sandbox.run(&["build", "ws", "--locked", "-o", "oci:again:v1"]).success();
        let tree = image::read(&sandbox.path("again"), "v1").image("linux/amd64").tree();
        assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/linked/__init__.py")), b"x = 1\n", "{link}");
        std::fs::remove_file(sandbox.path("ws/wheels")).unwrap();
        std::fs::rename(sandbox.path(real), sandbox.path("ws/wheels")).unwrap();
    }
}

#[test]
fn a_wheel_that_is_not_the_locked_one() {
    let sandbox = Sandbox::new();
    with([locked(&pure("victim"))]).write(&sandbox.path("ws"));
    let path = sandbox.path("ws/wheels/victim-1.0-py3-none-any.whl");
    std::fs::write(path, pure("other").bytes()).unwrap();
    sandbox.run(&["build", "ws", "-o", "oci:out:v1"]).refused(1, &["pypi:victim", "sha256"]);
    // With the right hash, but another package inside.
    with([named(&pure("other"), "victim-1.0-py3-none-any.whl")]).write(&sandbox.path("ws"));
    edit_lock(&sandbox.path("ws"), "name: other", "name: victim");
    sandbox
        .run(&["build", "ws", "-o", "oci:out:v1"])
        .refused(1, &["victim-1.0-py3-none-any.whl", "other-1.0.dist-info"]);
    assert!(!sandbox.path("out").exists());
}

/// Whoever comes last in the order of names keeps a file, wherever the lock file has them.
#[test]
fn files_that_two_packages_have() {
    let conda = package(
        "zlib-conda",
        [
            conda_file("bin/tool", "conda").mode(0o755),
            symlink("bin/tool-link", "tool"),
            conda_file("share/doc/readme", "conda"),
            symlink("lib64", "lib"),
        ],
    );
    let data = |name: &str, path: &str| file(&format!("{name}-1.0.data/data/{path}"), name);
    let a = wheel("aa", [file("shared/x.py", "aa"), file("shared/a.py", "aa")]);
    let b = wheel("bb", [file("shared/x.py", "bb"), data("bb", "bin/tool"), data("bb", "bin/tool-link")]);
    let c = wheel("cc", [file("shared/x.py", "cc"), data("cc", "lib64/python3.12/site-packages/through.py")]);
    let mut digests = Vec::new();
    for wheels in [[&a, &b, &c], [&c, &a, &b]] {
        let sandbox = Sandbox::new();
        let ws = workspace([odd::python(), conda.clone()]).pypi(wheels.map(locked));
        let (report, index) = built(&sandbox, &ws);
        let tree = index.image("linux/amd64").tree();
        assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/shared/x.py")), b"cc");
        assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/shared/a.py")), b"aa");
        assert_eq!(text(&tree, "bin/tool"), "bb");
        assert_eq!(tree["opt/pixi/env/bin/tool"].mode, 0o644);
        assert_eq!(text(&tree, "bin/tool-link"), "bb");
        assert_eq!(text(&tree, "share/doc/readme"), "conda");
        // As if it had been written through the link of the conda package.
        assert_eq!(tree["opt/pixi/env/lib64"].kind, Kind::Link("lib".into()));
        assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/through.py")), b"cc");
        let warnings = report["images"][0]["warnings"].to_string();
        for words in [
            "pypi:bb overwrites files of zlib-conda: bin/tool, bin/tool-link",
            "pypi:cc overwrites files of pypi:aa: lib/python3.12/site-packages/shared/x.py",
            "pypi:cc overwrites files of pypi:bb: lib/python3.12/site-packages/shared/x.py",
        ] {
            assert!(warnings.contains(words), "{warnings}");
        }
        let record = content(&tree, "opt/pixi/env/conda-meta/zlib-conda-1.0-h1234567_0.json");
        let record: Value = serde_json::from_slice(record).unwrap();
        assert!(!record["files"].as_array().unwrap().contains(&json!("bin/tool")), "it is not the conda package's");
        let layers = &index.image("linux/amd64").layers;
        // The application layer has the lock file.
        let packages = layers[..layers.len() - 1].iter().map(|layer| layer.digest.clone());
        digests.push(packages.collect::<Vec<_>>());
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_file_where_another_package_has_a_directory() {
    let sandbox = Sandbox::new();
    let refused = |ws: Workspace, words: &[&str]| {
        ws.write(&sandbox.path("ws"));
        sandbox.run(&["build", "ws", "-o", "oci:out:v1"]).refused(1, words);
        assert!(!sandbox.path("out").exists());
    };
    let aa = locked(&one_file("aa", "thing"));
    let bb = locked(&one_file("bb", "thing/x.py"));
    refused(with([aa, bb]), &["aa-1.0-py3-none-any.whl", "bb-1.0-py3-none-any.whl", "thing/x.py"]);
    let conda = package("with-directory", [conda_file("share/thing/x", "conda")]);
    let wheel = locked(&one_file("cc", "cc-1.0.data/data/share/thing"));
    let ws = workspace([odd::python(), conda]).pypi([wheel]);
    refused(ws, &["cc-1.0-py3-none-any.whl", "with-directory-1.0-h1234567_0.conda", "share/thing"]);
    let outside = package("outside", [symlink("share/out", "/usr/share")]);
    let wheel = locked(&one_file("dd", "dd-1.0.data/data/share/out/x"));
    refused(
        workspace([odd::python(), outside]).pypi([wheel]),
        &["dd-1.0-py3-none-any.whl", "share/out", "out of the prefix"],
    );
}

#[test]
fn wheels_need_a_python() {
    let sandbox = Sandbox::new();
    workspace([odd::bash()]).pypi([locked(&pure("aa")), locked(&pure("bb"))]).write(&sandbox.path("ws"));
    let words = ["aa-1.0-py3-none-any.whl", "bb-1.0-py3-none-any.whl", "linux-64", "pixi add python"];
    sandbox.run(&["build", "ws", "-o", "oci:out:v1"]).refused(1, &words);
}

#[test]
fn wheels_must_be_for_the_target() {
    let sandbox = Sandbox::new();
    let build = |tags: &str, flags: &[&str]| -> Outcome {
        let wheel = named(&pure("aa"), &format!("aa-1.0-{tags}.whl"));
        with([wheel]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
        sandbox.run(&[&["build", "ws", "-o", "oci:out:v1"], flags].concat())
    };
    for (tags, word) in [
        ("cp311-cp311-manylinux_2_17_x86_64", "cp312"),
        ("cp312-cp312-manylinux_2_17_aarch64", "linux-64"),
        ("cp312-cp312-win_amd64", "linux-64"),
        ("cp312-cp312-musllinux_1_2_x86_64", "musl"),
        ("pp310-pypy310_pp73-manylinux_2_17_x86_64", "cp312"),
    ] {
        build(tags, &[]).refused(1, &[&format!("aa-1.0-{tags}.whl"), word]);
    }
    let new = "cp312-cp312-manylinux_2_34_x86_64";
    build(new, &["--set", "base-glibc=2.28"]).refused(1, &[new, "glibc 2.34", "2.28"]);
    build(new, &["--virtual-package", "__glibc=2.28"]).refused(1, &[new, "glibc 2.34", "2.28"]);
    build(new, &["--set", "base-glibc=2.39", "--virtual-package", "__glibc=2.28"]).success();
    // Where nobody says what the target has, the lock file was made for it.
    build(new, &[]).success();
}

#[test]
fn sources_are_listed_all_at_once_and_nothing_is_fetched() {
    let sandbox = Sandbox::new();
    let ws = with([
        locked(&pure("fine")),
        source("an-sdist", "https://files.example.org/an_sdist-1.0.tar.gz"),
        source(
            "from-git",
            "git+https://user:canary@git.example.org/r.git?rev=main#0123456789012345678901234567890123456789",
        ),
        source("a-directory", "./somewhere").only("linux-64"),
    ]);
    ws.write(&sandbox.path("ws"));
    let words =
        ["pypi:an-sdist", "pypi:from-git", "pypi:a-directory", "--build-sdists", "--wheel FILE", "conda package"];
    let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:v1"]).refused(1, &words);
    assert!(!outcome.stderr.contains("canary") && !outcome.stderr.contains("fine"), "{}", outcome.stderr);
    assert!(!sandbox.path("../cache/pixi-oci").exists());
    assert!(!sandbox.path("out").exists());
}

#[test]
fn wheels_are_planned_without_a_network() {
    let sandbox = Sandbox::new();
    with([locked(&pure("left_pad")).at("https://files.example.org")]).write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["plan", "ws", "--json", "--offline"]).success();
    let plans: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for plan in plans[0]["platforms"].as_array().unwrap() {
        assert_eq!(plan["unknownSizes"], json!(["pypi:left-pad"]));
        let packages =
            plan["layers"].as_array().unwrap().iter().flat_map(|layer| layer["packages"].as_array().unwrap());
        let wheel: Vec<&Value> = packages.filter(|package| package["name"] == "pypi:left-pad").collect();
        assert_eq!((wheel.len(), &wheel[0]["size"]), (1, &Value::Null));
    }
    assert!(sandbox.run(&["plan", "ws"]).success().stdout.contains("pypi:left-pad"));
}

#[test]
fn two_builds_of_wheels_are_the_same() {
    let names = ["aa", "bb", "cc", "dd", "ee"];
    let mut digests = Vec::new();
    for turn in 0..2 {
        let sandbox = Sandbox::new();
        let mut wheels: Vec<Locked> = names.iter().map(|name| locked(&pure(name))).collect();
        wheels.rotate_left(turn * 2);
        digests.push(built(&sandbox, &with(wheels)).1.digest);
    }
    assert_eq!(digests[0], digests[1]);
}

/// Wheels that uv installs although their RECORD is wrong, and conda packages whose list is.
#[test]
fn lists_that_are_wrong_are_told_once_and_corrected() {
    let sandbox = Sandbox::new();
    let good = |name: &str| wheel(name, [file(&format!("{name}/__init__.py"), "x = 1\n")]);
    let wrong = |name: &str, change: &dyn Fn(&str) -> String| {
        let wheel = good(name);
        let lines = wheel.record_lines();
        wheel.record(change(&lines))
    };
    let init = |name: &str| line(&format!("{name}/__init__.py"), b"x = 1\n");
    let unlisted =
        wheel("unlisted", [file("unlisted/__init__.py", ""), file("unlisted/_ext.so", "\x7fELF").unlisted()]);
    let bare = wrong("bare", &|lines| lines.replace(&init("bare"), "bare/__init__.py,,\n"));
    let other = line("forged/__init__.py", b"other\n");
    let forged = wrong("forged", &|lines| lines.replace(&init("forged"), &other));
    let conda = package(
        "conda-wrong",
        [
            conda_file("share/a\tb\n\u{1b}", "x"),
            conda_file("share/wrong", "right").list("sha256", "0".repeat(64)).list("size_in_bytes", 7),
        ],
    );
    let ws = workspace([odd::python(), conda]).platforms(&["linux-64"]).pypi([
        locked(&unlisted),
        locked(&bare),
        locked(&forged),
        locked(&good("good")),
    ]);
    ws.write(&sandbox.path("ws"));
    let warnings = |outcome: &Outcome| {
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let warnings = report["images"][0]["warnings"].as_array().unwrap().clone();
        let mut warnings: Vec<String> = warnings.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        warnings.retain(|text| text.contains("installed anyway"));
        warnings.sort();
        warnings
    };
    let expected = [
        r#"conda-wrong 1.0 h1234567_0: info/paths.json has a wrong sha256 of "share/wrong"; it has a wrong size of "share/wrong"; it is installed anyway, as pixi does"#,
        r#"pypi:bare 1.0: RECORD has no hash of "bare/__init__.py"; it is installed anyway, as pixi does"#,
        r#"pypi:forged 1.0: RECORD has a wrong hash of "forged/__init__.py"; it is installed anyway, as pixi does"#,
        r#"pypi:unlisted 1.0: RECORD does not list "unlisted/_ext.so"; it is installed anyway, as pixi does"#,
    ];
    // Made, and from the cache.
    for _ in 0..2 {
        let outcome = sandbox.run(&["build", "ws", "-o", "oci:out:v1", "--json"]).success();
        assert_eq!(warnings(&outcome), expected);
    }
    let tree = image::read(&sandbox.path("out"), "v1").image("linux/amd64").tree();
    assert_eq!(content(&tree, &format!("{SITE_PACKAGES}/unlisted/_ext.so")), b"\x7fELF");
    assert_eq!(content(&tree, "opt/pixi/env/share/a\tb\n\u{1b}"), b"x");
    let record: Value = serde_json::from_str(&text(&tree, "conda-meta/conda-wrong-1.0-h1234567_0.json")).unwrap();
    let paths = record["paths_data"]["paths"].as_array().unwrap();
    let path = paths.iter().find(|path| path["_path"] == "share/wrong").unwrap();
    assert_eq!(path["sha256"], crate::common::sandbox::sha256(b"right"));
    assert_eq!(path["size_in_bytes"], 5);

    let outcome = sandbox.run(&["verify", "image", "oci:out", "--json"]).success();
    for name in ["bare", "forged", "unlisted"] {
        let notice = format!("pypi:{name} 1.0: 1 files accounted for by the table, not by the wheel");
        assert!(outcome.stdout.contains(&notice), "{name}: {outcome:?}");
    }
    assert!(!outcome.stdout.contains("pypi:good 1.0: "), "{outcome:?}");
    for (path, rule) in [("unlisted/_ext.so", "changed"), ("good/__init__.py", "changed")] {
        let at = format!("{SITE_PACKAGES}/{path}");
        forge(&sandbox.path("out"), "amd64", |_, entries| {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.path == at) {
                entry.content = b"forged".to_vec();
            }
        });
        let outcome = sandbox.run(&["verify", "image", "oci:out", "--json"]);
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        let found = by_rule(&serde_json::from_str(&outcome.stdout).unwrap());
        assert!(found[rule].iter().any(|text| text.contains(&at)), "{found:?}");
    }
}
