//! The air-gap product: what is in it, that it is the same everywhere, that others accept it, and that it is whole or refused.

mod bootstrap;
mod installers;

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::common::{
    image::{self, Kind},
    odd,
    packages::{file, package},
    pypi::locked,
    sandbox::{Outcome, Sandbox, has, sha256, snapshot},
    wheels::{self, wheel},
    workspace::{Workspace, workspace},
};

/// A program of this machine that is small, where the real one need not run.
const SMALL: &str = "--installer=linux-64=/bin/true";

fn small() -> Workspace {
    let tool = file("bin/tool", odd::text("#!/bin/sh\necho PREFIX\n")).patched("text").mode(0o755);
    let items = [tool, crate::common::packages::symlink("bin/alias", "tool"), file("share/data", "data")];
    workspace([package("tool", items)]).manifest("[activation.env]\nGREETING = \"hello $HOME\"")
}

/// `pixi-oci product ws --workdir WORKDIR`, which must succeed.
fn product(sandbox: &Sandbox, workdir: &str, more: &[&str]) -> PathBuf {
    let arguments = [&["product", "ws", "--workdir", workdir], more].concat();
    let outcome = sandbox.run(&arguments).success();
    PathBuf::from(outcome.stdout.trim_end())
}

fn manifest(product: &Path) -> Value {
    serde_json::from_slice(&fs::read(product.join("manifest.json")).unwrap()).unwrap()
}

/// Contents, link targets, executable bits and times of everything below.
fn everything(root: &Path) -> BTreeMap<String, String> {
    let mut all = snapshot(root);
    for (name, what) in &mut all {
        let meta = fs::symlink_metadata(root.join(name)).unwrap();
        what.push_str(&format!(", mode {:o}, time {}", meta.mode() & 0o7777, meta.mtime()));
    }
    all
}

fn bootstrap(sandbox: &Sandbox, shell: &[&str], product: &Path, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.program(shell[0]);
    command.args(&shell[1..]).arg(product.join("bootstrap-project.sh")).args(arguments);
    Outcome::of(&mut command)
}

#[test]
fn a_product_has_what_it_says() {
    let sandbox = Sandbox::new();
    let ws = small().environment("test", [package("other", [file("share/other", "x")])]).oci("include = [\"app\"]");
    ws.write(&sandbox.path("ws"));
    fs::create_dir_all(sandbox.path("ws/app")).unwrap();
    fs::write(sandbox.path("ws/app/main.py"), "print()\n").unwrap();
    fs::write(sandbox.path("ws/notes.txt"), "not needed\n").unwrap();
    fs::create_dir_all(sandbox.path("data")).unwrap();
    fs::write(sandbox.path("data/model.bin"), "model").unwrap();
    let product = product(&sandbox, "out", &["-e", "default", "-e", "test", "--resources", "data", SMALL]);

    assert_eq!(product, sandbox.path("out/product"));
    for path in [
        "demo/pixi.toml",
        "demo/pixi.lock",
        "demo/app/main.py",
        "res/model.bin",
        "pkg-cache/linux-64/pkgs/tool-1.0-h1234567_0/info/index.json",
        "pkg-cache/linux-aarch64/pkgs/other-1.0-h1234567_0/share/other",
        "pkg-cache/linux-64/pkgs/tool-1.0-h1234567_0.lock",
        "bin/linux-64/pixi-oci",
        "envs.sh",
        "helpers/check.sh",
        "SHA256SUMS",
    ] {
        assert!(product.join(path).exists(), "{path}");
    }
    assert!(!product.join("demo/notes.txt").exists(), "nobody asked for it");
    assert!(sandbox.path("out/project/demo/notes.txt").exists(), "the copy of the project has everything");
    for directory in ["resources", "pixi-cache", "out"] {
        assert!(sandbox.path("out").join(directory).is_dir(), "{directory}");
    }
    let manifest = manifest(&product);
    assert_eq!(manifest["platforms"], json!(["linux-64", "linux-aarch64"]));
    let lock = sha256(&fs::read(product.join("demo/pixi.lock")).unwrap());
    assert_eq!(manifest["lockFileDigest"], format!("sha256:{lock}"));
    let environments = manifest["environments"].as_array().unwrap();
    assert_eq!(environments.len(), 4);
    for package in environments.iter().flat_map(|e| e["packages"].as_array().unwrap()) {
        let archive = fs::read(product.join(package["archive"].as_str().unwrap())).unwrap();
        assert_eq!(package["digest"], format!("sha256:{}", sha256(&archive)));
    }
    Outcome::of(&mut sandbox.pixi_oci(&["verify", "product", "out/product"])).success();
    let report: Value = serde_json::from_slice(&fs::read(sandbox.path("out/out/product.json")).unwrap()).unwrap();
    let digest = fs::read_to_string(product.join("DIGEST")).unwrap();
    assert_eq!(report["digest"], digest.trim_end());
}

#[test]
fn the_same_bytes_from_any_path_and_any_run() {
    let first = Sandbox::new();
    let second = Sandbox::new();
    let mut all = Vec::new();
    for (sandbox, workdir) in [(&first, "out"), (&second, "elsewhere/deep"), (&second, "elsewhere/deep")] {
        workspace(odd::packages()).write(&sandbox.path("ws"));
        let product = product(sandbox, workdir, &["--virtual-package", "__cuda=12.6", SMALL]);
        all.push(everything(&product));
    }
    for other in &all[1..] {
        for (path, what) in &all[0] {
            assert_eq!(other.get(path), Some(what), "{path}");
        }
        assert_eq!(all[0].len(), other.len());
    }
}

#[test]
fn without_pixi_the_prefix_has_the_images_bytes() {
    let sandbox = Sandbox::new();
    let demo = wheel("demo_pkg", [wheels::file("demo_pkg/__init__.py", "x = 1\n")]);
    let ws = workspace(odd::packages()).pypi([locked(&demo)]).oci("include = [\"app.py\"]");
    ws.write(&sandbox.path("ws"));
    fs::write(sandbox.path("ws/app.py"), "print()\n").unwrap();
    let prefix = sandbox.path("prefix");
    let prefix = prefix.to_str().unwrap();
    let cuda = ["--virtual-package", "__cuda=12.6"];
    // The working directory is in `direct_url.json` of the wheel.
    let outcome = sandbox.run(
        &[
            &["build", "ws", "-o", "oci:image:v1", "--set", &format!("prefix={prefix}"), "--workdir", "/srv/demo"][..],
            &cuda,
        ]
        .concat(),
    );
    outcome.success();
    let product = product(&sandbox, "out", &[&cuda[..], &[SMALL]].concat());
    // Nothing else is needed.
    for directory in ["ws", "../cache"] {
        fs::remove_dir_all(sandbox.path(directory)).unwrap();
    }
    let index = image::read(&sandbox.path("image"), "v1");
    for (platform, oci) in [("linux-64", "linux/amd64"), ("linux-aarch64", "linux/arm64")] {
        for _ in 0..2 {
            let outcome = sandbox.run(&[
                "install-product",
                product.to_str().unwrap(),
                "--prefix",
                prefix,
                "--platform",
                platform,
                "--project",
                "/srv/demo",
                "--activate",
                "activate.sh",
            ]);
            assert_eq!(outcome.success().stdout.trim_end(), prefix);
        }
        let tree = index.image(oci).tree();
        let below = format!("{}/", prefix.trim_start_matches('/'));
        let mut count = 0;
        for (path, entry) in tree.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&below)?, entry))) {
            let at = Path::new(prefix).join(path);
            let meta = fs::symlink_metadata(&at).unwrap_or_else(|e| panic!("{path}: {e}"));
            match &entry.kind {
                Kind::Directory => assert!(meta.is_dir(), "{path}"),
                Kind::Link(target) => assert_eq!(fs::read_link(&at).unwrap().to_str(), Some(&**target), "{path}"),
                Kind::File(bytes) => {
                    assert!(fs::read(&at).unwrap() == *bytes, "{path} has other bytes");
                    assert_eq!(meta.permissions().mode() & 0o7777, entry.mode, "{path}");
                    assert_eq!(meta.mtime(), entry.mtime as i64, "{path}");
                }
                Kind::HardLink(_) => unreachable!("trees have files instead"),
            }
            count += 1;
        }
        assert_eq!(snapshot(Path::new(prefix)).len(), count, "nothing else is there");
    }
    // The variables are the image's, too.
    let mut shell = sandbox.program("/bin/bash");
    shell.args(["--noprofile", "--norc", "-c", ". ./activate.sh; env -0"]).env_remove("LC_ALL");
    let env = Outcome::of(&mut shell).success().stdout;
    let env: BTreeMap<&str, &str> = env.split('\0').filter_map(|pair| pair.split_once('=')).collect();
    let image = index.image("linux/arm64");
    for name in ["CONDA_PREFIX", "PIXI_PROJECT_NAME", "PIXI_ENVIRONMENT_NAME", "PIXI_PROJECT_ROOT", "GDAL_DATA"] {
        assert_eq!(env.get(name).copied(), image.env(name), "{name}");
    }
    assert!(env["PATH"].contains(&format!("{prefix}/bin:/usr/local/bin")), "{}", env["PATH"]);
    assert_eq!(env["ORDER"], "az");
}

/// Even one whose lists were made anew: the closed world is that of the packages' digests.
#[test]
fn a_stray_file_is_found_though_the_lists_have_it() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &[SMALL]);
    fs::write(product.join("pkg-cache/linux-64/pkgs/tool-1.0-h1234567_0/share/data"), "other").unwrap();
    fs::write(product.join("demo/stray"), "x").unwrap();
    let script = "cd out/product && rm FILES SHA256SUMS DIGEST && touch FILES SHA256SUMS DIGEST && export LC_ALL=C &&
        { find . -type f -printf 'f %P\\n'; find . -type l -printf 'l %P -> %l\\n'; } | sort >../FILES && mv ../FILES FILES &&
        find . -type f ! -name SHA256SUMS ! -name DIGEST -printf '%P\\0' | sort -z | xargs -0 sha256sum >SHA256SUMS &&
        echo sha256:$(sha256sum <SHA256SUMS | cut -c 1-64) >DIGEST";
    Outcome::of(sandbox.program("/bin/sh").args(["-c", script])).success();
    let outcome = sandbox.run(&["verify", "product", "out/product"]);
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    for words in ["demo/stray: it is not of a package", "tool-1.0-h1234567_0/share/data: it was changed"] {
        assert!(outcome.stderr.contains(words), "{outcome:#?}");
    }
    assert!(outcome.stdout.contains("2 things are wrong"), "{outcome:#?}");
}

#[test]
fn secrets_stay_where_they_are() {
    let sandbox = Sandbox::new();
    small().oci("include = [\"app\"]").write(&sandbox.path("ws"));
    fs::create_dir_all(sandbox.path("ws/app/.git")).unwrap();
    fs::write(sandbox.path("ws/app/.env"), "PASSWORD=x").unwrap();
    fs::write(sandbox.path("ws/app/.git/config"), "x").unwrap();
    fs::write(sandbox.path("ws/app/ignored.log"), "x").unwrap();
    fs::write(sandbox.path("ws/.gitignore"), "*.log\n").unwrap();
    let outcome = sandbox.run(&["product", "ws", "--workdir", "out", SMALL]).success();
    assert!(outcome.stderr.contains("app/.env is left out"), "{}", outcome.stderr);
    for path in snapshot(&sandbox.path("out")).keys() {
        assert!(![".env", ".git", ".log"].iter().any(|end| path.ends_with(end)), "{path}");
    }
    let before = everything(&sandbox.path("out"));
    // Not even in the copy of the project, which nobody named.
    let token = format!("token = '{}_{}'\n", "ghp", "a1".repeat(18));
    fs::write(sandbox.path("ws/settings.py"), &token).unwrap();
    let outcome = sandbox.run(&["product", "ws", "--workdir", "out", SMALL]);
    outcome.refused(1, &["settings.py", "GitHub token"]);
    assert_eq!(everything(&sandbox.path("out")), before, "the product is as it was");
    product(&sandbox, "out", &["--include", "settings.py", SMALL]);
    assert_eq!(fs::read_to_string(sandbox.path("out/product/demo/settings.py")).unwrap(), token);
}

#[test]
fn a_product_is_made_and_verified_in_one_command() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["product", "ws", "--verify", SMALL]).success();
    let made = sandbox.path("ws/dist/airgap/product");
    assert_eq!(outcome.stdout, format!("{}\n", made.display()));
    assert!(outcome.stderr.contains("every byte is accounted for"), "{}", outcome.stderr);
    // What was made before is no part of the next one.
    let digest = || fs::read_to_string(made.join("DIGEST")).unwrap();
    let first = digest();
    sandbox.run(&["product", "ws", SMALL]).success();
    assert_eq!(digest(), first);
    sandbox.run(&["product", "ws", SMALL, "--", "true"]).refused(2, &["--verify"]);
}

/// Each of these made a product once that `verify product` refused.
#[test]
fn what_verify_would_refuse_is_refused_when_it_is_made() {
    let sandbox = Sandbox::new();
    small().platforms(&["linux-64"]).oci("include = [\"deep\"]").write(&sandbox.path("ws"));
    let deep = |levels: usize| {
        let _ = fs::remove_dir_all(sandbox.path("ws/deep"));
        let directory = sandbox.path("ws/deep").join(vec!["d"; levels - 3].join("/"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), "x").unwrap();
    };
    let make = || sandbox.run(&["product", "ws", "--workdir", "out", SMALL]);
    deep(257);
    make().refused(1, &["a product cannot have demo/deep/d", "nest deeper than 256"]);
    assert!(!sandbox.path("out/product").exists());
    deep(256);
    // Of the resources everything is left out by its name.
    fs::create_dir_all(sandbox.path("out/resources")).unwrap();
    fs::write(sandbox.path("out/resources/.env"), "x").unwrap();
    make().success();
    assert!(!sandbox.path("out/product/res").exists());
    sandbox.run(&["verify", "product", "out/product"]).success();
}

#[test]
fn what_cannot_be_is_said() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let refused = |more: &[&str], code, words: &[&str]| {
        sandbox.run(&[&["product", "ws", "--workdir", "out"], more].concat()).refused(code, words);
        assert!(!sandbox.path("out/product").exists());
    };
    refused(&["--installer", "linux-aarch64=/bin/true"], 1, &["/bin/true", "linux-aarch64", "another machine"]);
    refused(&["--installer", "linux-64=ws/pixi.toml"], 1, &["pixi.toml", "no 64-bit ELF"]);
    refused(&["--installer", "osx-64=/bin/true"], 1, &["osx-64", "linux-64, linux-aarch64"]);
    // Nothing was downloaded for it.
    fs::rename(sandbox.path("ws/channel"), sandbox.path("ws/gone")).unwrap();
    refused(&["--with-pixi"], 1, &["pixi", "pixi add pixi"]);
    fs::rename(sandbox.path("ws/gone"), sandbox.path("ws/channel")).unwrap();
    refused(&["-e", "nothing"], 1, &["nothing"]);
    product(&sandbox, "out", &[SMALL]);
    let install = |more: &[&str]| sandbox.run(&[&["install-product", "out/product", "--prefix"], more].concat());
    install(&["prefix", "-e", "nothing"]).refused(1, &["`default` for linux-64"]);
    fs::create_dir(sandbox.path("home")).unwrap();
    fs::write(sandbox.path("home/mine"), "x").unwrap();
    install(&["home", "--platform", "linux-64"]).refused(1, &["home", "not an environment"]);
    assert!(sandbox.path("home/mine").exists());
    let archive = sandbox.path("out/product/pkg-cache/linux-64/archives/tool-1.0-h1234567_0.conda");
    fs::write(archive, "x").unwrap();
    install(&["prefix", "--platform", "linux-64"]).refused(1, &["tool-1.0-h1234567_0.conda", "damaged"]);
}

/// Kills `times` products at moments spread over the time that one takes.
fn kill(times: u32) {
    let sandbox = Sandbox::new();
    let many = package("many", (0..400).map(|i| file(&format!("share/many/{i}"), format!("{i}"))));
    workspace([many, odd::python()]).write(&sandbox.path("ws"));
    let arguments = ["product", "ws", "--workdir", "out", SMALL];
    product(&sandbox, "out", &[SMALL]);
    let whole = everything(&sandbox.path("out/product"));
    // The clock only spreads the moments; whatever they are, the assertions hold.
    let started = std::time::Instant::now();
    product(&sandbox, "out", &[SMALL]);
    let took = started.elapsed();
    for number in 0..times {
        let mut child = sandbox.pixi_oci(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * (number + 1) / (times + 1));
        child.kill().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        assert_eq!(everything(&sandbox.path("out/product")), whole, "after kill {number}");
    }
    product(&sandbox, "out", &[SMALL]);
    assert_eq!(everything(&sandbox.path("out/product")), whole);
    sandbox.run(&["verify", "product", "out/product"]).success();
    let left: Vec<_> = fs::read_dir(sandbox.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn killed_at_any_moment_it_is_whole_and_a_rerun_completes() {
    kill(10);
}

#[test]
#[ignore = "slow: a hundred kills"]
fn killed_a_hundred_times() {
    kill(100);
}

/// rattler's cache has one place for a name, version and build.
#[test]
fn two_packages_for_one_place_are_refused() {
    let sandbox = Sandbox::new();
    let one = package("tool", [file("share/tool", "one")]);
    let two = package("tool", [file("share/tool", "two")]).tar_bz2();
    workspace([one]).environment("test", [two]).write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["product", "ws", "--workdir", "out", "-e", "default", "-e", "test", SMALL]);
    outcome.refused(1, &["tool-1.0-h1234567_0", "two environments"]);
}
