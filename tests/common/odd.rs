//! A channel of packages that are odd and legal.

use super::packages::*;

/// With the text `PREFIX` as the prefix placeholder.
pub fn text(body: &str) -> String {
    body.replace("PREFIX", &placeholder())
}

/// A shell that is there for the entrypoint's sake only.
pub fn bash() -> Package {
    package("bash", [file("bin/bash", "no shell").mode(0o755), symlink("bin/sh", "bash")])
}

/// A Python of which the interpreter's name and version matter.
pub fn python() -> Package {
    let script = file("bin/python3.12", text("\x7fELF PREFIX/lib\0")).patched("binary").mode(0o755);
    let items = [script, symlink("bin/python", "python3.12"), file("lib/python3.12/os.py", "# os\n").mtime(TIME - 5)];
    package("python", items).version("3.12.1")
}

/// Whose activation scripts would go wrong if somebody quoted them badly.
pub fn activated() -> Package {
    let script = "export ODD='it'\\''s \"$HOME\" `x` \\n'\nexport ORDER=\"${ORDER}a\"\nexport LINES_='one\ntwo'\n\
                  export PATH=\"$CONDA_PREFIX/odd bin:$PATH\"\nunset GONE\n";
    package(
        "activated",
        [
            file("etc/conda/activate.d/a first.sh", script),
            file("etc/conda/activate.d/activated.fish", "not for bash"),
            file("etc/conda/deactivate.d/activated.sh", "exit 1"),
            file(
                "etc/conda/env_vars.d/activated.json",
                r#"{"GDAL_DATA": "a 'b' \"c\" \\$HOME", "GONE": "soon", "NO_TEXT": 1}"#,
            ),
        ],
    )
}

/// Whose script comes later, though the package comes earlier.
pub fn activated_later() -> Package {
    package("aardvark", [file("etc/conda/activate.d/z.sh", "export ORDER=\"${ORDER}z\"\nexport SEEN_ODD=\"$ODD\"\n")])
}

/// All of them; those on which rattler's own answer depends on luck are not among them.
pub fn packages() -> Vec<Package> {
    let real = file("lib/libx.so.1", "ELF").mode(0o755);
    let tool = file("bin/tool", text("#!PREFIX/bin/python -s\nprint('PREFIX')\n")).patched("text").mode(0o755);
    let deep = format!("share/{}/{}/file", "d".repeat(120), "e".repeat(200));
    let long_target = "t/".repeat(70);
    let clobber = |name: &str, depends: &[&str]| {
        let items = [file("bin/contested", name).mode(0o755), file(&format!("share/{name}"), "own")];
        package(name, items).depends(depends)
    };
    let pure = package(
        "pure",
        [
            file("site-packages/pure/__init__.py", text("P = 'PREFIX'\n")).patched("text"),
            file("site-packages/pure/x.py", "x = 1\n"),
            file("python-scripts/pure-script", text("#!PREFIX/bin/python\n")).patched("text").mode(0o755),
        ],
    );
    vec![
        bash(),
        python(),
        activated(),
        activated_later(),
        package(
            "links",
            [
                real.clone(),
                symlink("lib/libx.so", "libx.so.1"),
                symlink("lib/dangling", "nowhere"),
                symlink("usr", "share"),
                symlink("share/outside", "/usr/share/zoneinfo"),
                symlink("share/far-outside", "../../../../../etc"),
                symlink("share/long", &long_target),
                hard_link("lib/libx-hard.so", &real),
                tool.clone(),
                hard_link("bin/tool-hard", &tool),
            ],
        ),
        package(
            "names",
            [
                file(&format!("share/{}", "n".repeat(130)), "over 100 bytes"),
                file(&deep, "over 255 bytes"),
                file("share/ünïcödé/日本.txt", "not ASCII"),
                file("share/a b 'c' \"d\" $e", "quoted"),
                directory("share/empty"),
            ],
        )
        .tar_bz2(),
        package(
            "modes",
            [
                file("bin/setuid", "x").mode(0o4755),
                file("bin/group", "x").mode(0o710),
                file("lib/readonly", "x").mode(0o444),
                file("lib/private", "x").mode(0o600),
                file("lib/ancient", "x").mtime(0),
                file("lib/future", "x").mtime(4_000_000_000),
            ],
        )
        .tar_bz2(),
        package("many", (0..3000).map(|i| file(&format!("share/many/{}/{i}", i % 50), format!("{i}")))),
        package("nothing", []),
        package("epoch", [file("share/epoch", "x")]).version("1!2.0+local.1"),
        package("post-linked", [file("bin/.post-linked-post-link.sh", "touch /ran\n").mode(0o755)]),
        clobber("clobber-a", &["clobber-b"]),
        clobber("clobber-b", &[]),
        package("cuda-thing", [file("lib/cuda-thing", "x")]).depends(&["__cuda >=12"]),
        pure.noarch("python").entry_points(&["pure = pure:main", "pure-x = pure.x:Class.run"]),
        package("generic", [file("site-packages/g", "stays")]).noarch("generic").tar_bz2(),
    ]
}
