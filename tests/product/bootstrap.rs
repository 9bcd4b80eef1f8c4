//! `bootstrap-project.sh` and `envs.sh`: in plain shells, from anywhere, with and without pixi; of a product that was changed.

use super::*;

/// Shells that are plain.
fn shells() -> Vec<Vec<&'static str>> {
    let mut shells = vec![vec!["/bin/sh"]];
    for (program, shell) in
        [("dash", vec!["dash"]), ("busybox", vec!["busybox", "sh"]), ("bash", vec!["bash", "--posix"])]
    {
        if has(program) {
            shells.push(shell);
        }
    }
    shells
}

#[test]
fn bootstrapping_works_from_anywhere_again_and_again() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let made = product(&sandbox, "out", &["--arch", if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }]);
    // Somewhere else, with a space, and nobody may write there.
    let moved = sandbox.path("some where/moved");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&made, &moved).unwrap();
    let before = everything(&moved);
    for shell in shells() {
        let outcome = bootstrap(&sandbox, &shell, &moved, &["--no-pixi", "--to", "site"]).success();
        assert_eq!(outcome.stdout.trim_end(), sandbox.path("site").to_str().unwrap());
        assert_eq!(everything(&moved), before, "{shell:?}");
        let tool = sandbox.path("site/demo/.pixi/envs/default/bin/tool");
        let said = Outcome::of(&mut sandbox.program(&tool)).success().stdout;
        assert_eq!(said.trim_end(), sandbox.path("site/demo/.pixi/envs/default").to_str().unwrap());
        let mut activated = sandbox.program(shell[0]);
        activated.args(&shell[1..]).args(["-c", ". ./site/activate.sh; tool; echo \"$GREETING\""]);
        let said = Outcome::of(&mut activated).success().stdout;
        assert_eq!(said.lines().last(), Some(&*format!("hello {}", sandbox.home().display())));
    }
    // In place: what was installed is no part of the product.
    let plain = sandbox.path("plain");
    fs::rename(&moved, &plain).unwrap();
    let moved = plain;
    for _ in 0..2 {
        bootstrap(&sandbox, &["/bin/sh"], &moved, &["--no-pixi"]).success();
    }
    assert!(moved.join("installed/activate.sh").exists());
    bootstrap(&sandbox, &["/bin/sh"], &moved, &["--no-pixi", "--to", "plain/demo"]).refused(1, &["in the product"]);
    bootstrap(&sandbox, &["/bin/sh"], &moved, &["--no-pixi", "-e", "none"])
        .refused(1, &["there is no environment none"]);
    bootstrap(&sandbox, &["/bin/sh"], &moved, &["--to", "x"]).refused(1, &["there is no pixi", "--no-pixi"]);
}

#[test]
fn the_steps_can_be_done_one_at_a_time() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &["--arch", if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }]);
    for (number, shell) in shells().iter().enumerate() {
        let to = format!("steps-{number}");
        let step = |name: &str, more: &[&str]| {
            let mut command = sandbox.program(shell[0]);
            let script = product.join("helpers").join(name);
            Outcome::of(command.args(&shell[1..]).arg(script).args(["--to", &to]).args(more))
        };
        step("install.sh", &["--no-pixi"]).refused(1, &["helpers/copy-project.sh first"]);
        assert!(step("check.sh", &[]).success().stdout.contains("every file is there and unchanged"));
        step("copy-project.sh", &[]).success();
        assert!(sandbox.path(&to).join("demo/pixi.toml").exists() && !sandbox.path(&to).join("demo/.pixi").exists());
        step("install.sh", &["--no-pixi"]).success();
        let whole = format!("whole-{number}");
        bootstrap(&sandbox, &["/bin/sh"], &product, &["--no-pixi", "--to", &whole]).success();
        let names = |root: &str| everything(&sandbox.path(root)).into_keys().collect::<Vec<_>>();
        assert_eq!(names(&to), names(&whole));
        step("copy-packages.sh", &[]).success();
        assert!(sandbox.path(&to).join("envs.sh").exists() && sandbox.path(&to).join("pkg-cache").is_dir());
    }
    fs::write(product.join("demo/pixi.toml"), "changed").unwrap();
    let check = product.join("helpers/check.sh");
    Outcome::of(sandbox.program("/bin/sh").arg(check)).refused(1, &["damaged, missing or changed"]);
    bootstrap(&sandbox, &["/bin/sh"], &product, &["--step", "all"]).refused(1, &["unknown step all"]);
}

#[test]
fn a_product_that_was_changed_is_refused() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &[SMALL]);
    let refused = |what: &str| {
        let outcome = bootstrap(&sandbox, &["/bin/sh"], &product, &["--no-pixi", "--to", "site"]);
        // A changed script may not even run to its end.
        assert_ne!(outcome.code, Some(0), "{what}: {outcome:#?}");
        assert!(!sandbox.path("site/demo").exists(), "{what}: nothing was installed");
        let check = sandbox.run(&["verify", "product", "out/product"]);
        assert_eq!(check.code, Some(3), "{what}: {check:#?}");
    };
    let mut files = Vec::new();
    for name in snapshot(&product).into_keys() {
        let path = product.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_file() && meta.len() > 0 && name != "bin/linux-64/pixi-oci" {
            files.push(path);
        }
    }
    assert!(files.len() > 20);
    for (number, path) in files.iter().enumerate() {
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        let at = (number * 7919) % bad.len();
        bad[at] ^= 1;
        let meta = fs::metadata(path).unwrap();
        fs::write(path, &bad).unwrap();
        refused(&format!("{} at {at}", path.display()));
        fs::write(path, &good).unwrap();
        fs::set_permissions(path, meta.permissions()).unwrap();
    }
    // Two spaces, of which sha256sum takes one for a mark.
    let sums = fs::read_to_string(product.join("SHA256SUMS")).unwrap();
    fs::write(product.join("SHA256SUMS"), sums.replacen("  ", " *", 1)).unwrap();
    refused("a mark");
    fs::write(product.join("SHA256SUMS"), sums).unwrap();

    let stray = product.join("pkg-cache/linux-64/pkgs/tool-1.0-h1234567_0/stray");
    fs::write(&stray, "").unwrap();
    refused("a file more");
    let outcome = sandbox.run(&["verify", "product", "out/product"]);
    assert!(outcome.stderr.contains("tool-1.0-h1234567_0/stray: it does not belong"), "{}", outcome.stderr);
    fs::remove_file(&stray).unwrap();
    symlink("tool", &stray).unwrap();
    refused("a link more");
    fs::remove_file(&stray).unwrap();
    let alias = product.join("pkg-cache/linux-64/pkgs/tool-1.0-h1234567_0/bin/alias");
    fs::remove_file(&alias).unwrap();
    refused("a link less");
    symlink("/bin/sh", &alias).unwrap();
    refused("another link");
    fs::remove_file(&alias).unwrap();
    symlink("tool", &alias).unwrap();
    let data = product.join("pkg-cache/linux-64/archives/tool-1.0-h1234567_0.conda");
    fs::rename(&data, sandbox.path("kept")).unwrap();
    refused("a file less");
    fs::rename(sandbox.path("kept"), &data).unwrap();
    for mode in [0o755, 0o600, 0o664, 0o4644, 0o2755] {
        fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
        // Most of them a shell does not see on every file system.
        let outcome = sandbox.run(&["verify", "product", "out/product"]).refused_with(3);
        assert!(outcome.stderr.contains("tool-1.0-h1234567_0.conda: it"), "{mode:o}: {}", outcome.stderr);
        if mode > 0o777 {
            refused("a set-id bit");
        }
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o644)).unwrap();
    let empty = product.join("demo/empty");
    fs::create_dir(&empty).unwrap();
    let outcome = sandbox.run(&["verify", "product", "out/product"]).refused_with(3);
    assert!(outcome.stderr.contains("demo/empty: it is an empty directory"), "{}", outcome.stderr);
    fs::remove_dir(&empty).unwrap();
    sandbox.run(&["verify", "product", "out/product"]).success();
}

#[test]
fn envs_sh_says_where_the_packages_are() {
    let sandbox = Sandbox::new();
    small().write(&sandbox.path("ws"));
    fs::create_dir_all(sandbox.path("out/resources")).unwrap();
    fs::write(sandbox.path("out/resources/model"), "m").unwrap();
    let product = product(&sandbox, "out", &[SMALL]);
    let mut shells = shells();
    if has("zsh") {
        shells.push(vec!["zsh"]);
    }
    let platform = if cfg!(target_arch = "x86_64") { "linux-64" } else { "linux-aarch64" };
    for shell in shells {
        for place in [product.to_str().unwrap(), "out/product", "./out/product"] {
            let mut command = sandbox.program(shell[0]);
            let script = format!(
                ". {place}/envs.sh && echo \"$PIXI_CACHE_DIR|$RATTLER_CACHE_DIR|$PIXI_OFFLINE|$PIXI_OCI_RESOURCES\""
            );
            command.args(&shell[1..]).args(["-c", &script]);
            let said = Outcome::of(&mut command).success().stdout;
            let at = product.display();
            let cache = format!("{at}/pkg-cache/{platform}");
            assert_eq!(said.trim_end(), format!("{cache}|{cache}|true|{at}/res"), "{shell:?} {place}");
        }
    }
}

#[test]
fn pixi_gets_its_own_copy_of_the_cache() {
    let sandbox = Sandbox::new();
    let demo = wheel("demo_pkg", [wheels::file("demo_pkg/__init__.py", "x = 1\n")]);
    workspace([odd::python()]).pypi([locked(&demo)]).write(&sandbox.path("ws"));
    let product = product(&sandbox, "out", &[]);
    fs::create_dir(sandbox.path("bin")).unwrap();
    // It says what it was asked, and writes to its cache as pixi does.
    let pixi = "#!/bin/sh\n[ \"$2\" = --help ] && { echo '  --offline'; exit; }\n\
                touch \"$PIXI_CACHE_DIR/pkgs/.written\" && echo \"$PIXI_OFFLINE $*\" >>\"$PIXI_OCI_PRODUCT/said\"\n";
    fs::write(sandbox.path("bin/pixi"), pixi).unwrap();
    fs::set_permissions(sandbox.path("bin/pixi"), fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        let mut command = sandbox.program("/bin/sh");
        command.arg(product.join("bootstrap-project.sh")).args(["--to", "site"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", sandbox.path("bin").display()));
        Outcome::of(&mut command).success();
    }
    let said = fs::read_to_string(sandbox.path("site/said")).unwrap();
    let line = format!(
        "true install --frozen --offline --manifest-path {}/demo/pixi.toml --environment default",
        sandbox.path("site").display()
    );
    assert_eq!(said.lines().collect::<Vec<_>>(), [&*line, &*line]);
    // Wheels are where pixi looks before it asks its cache.
    let dist_info = "site/demo/.pixi/envs/default/lib/python3.12/site-packages/demo_pkg-1.0.dist-info/INSTALLER";
    assert_eq!(fs::read_to_string(sandbox.path(dist_info)).unwrap(), "uv-pixi");
    sandbox.run(&["verify", "product", "out/product"]).success();
}

/// The package `pixi` of an environment: its program is at the prefix in an image, and in `bin/` of a product, which needs
/// none on the machine then.
#[test]
fn pixi_comes_along_from_its_package() {
    let sandbox = Sandbox::new();
    let platform = if cfg!(target_arch = "aarch64") { "linux-aarch64" } else { "linux-64" };
    let write = |program: &[u8]| {
        let pixi = package("pixi", [file("bin/pixi", program).mode(0o755)]).version("0.99.0");
        workspace([pixi, package("tool", [file("share/tool", "t")])]).platforms(&[platform]).write(&sandbox.path("ws"));
    };
    write(b"#!/bin/sh\n");
    sandbox.build("ws", "oci:image:x");
    let tree = image::read(&sandbox.path("image"), "x").images[0].tree();
    assert_eq!(tree["opt/pixi/env/bin/pixi"].kind, Kind::File(b"#!/bin/sh\n".to_vec()));

    // A product's must be a program of its platform. `bash install --frozen …` runs a script called `install`.
    let bash = fs::read("/bin/bash").unwrap();
    write(&bash);
    let product = product(&sandbox, "out", &["--with-pixi"]);
    assert_eq!(fs::read(product.join("bin").join(platform).join("pixi")).unwrap(), bash);
    assert_eq!(manifest(&product)["pixi"], "0.99.0");
    sandbox.run(&["verify", "product", "out/product"]).success();
    fs::create_dir(sandbox.path("bin")).unwrap();
    let script =
        "[ \"$1\" = --help ] && { echo '  --offline'; exit; }\necho \"$BASH $*\" >\"$PIXI_OCI_PRODUCT/said\"\n";
    fs::write(sandbox.path("bin/install"), script).unwrap();
    let mut command = sandbox.program("/bin/sh");
    command.arg(product.join("bootstrap-project.sh")).args(["--to", "site"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", sandbox.path("bin").display()));
    Outcome::of(&mut command).success();
    let said = fs::read_to_string(sandbox.path("site/said")).unwrap();
    assert!(said.contains(&format!("bin/{platform}/pixi --frozen --offline")), "{said}");
}
