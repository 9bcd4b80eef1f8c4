//! Our trees equal what rattler's installer writes.
//!
//! Each case is a small environment of odd but legal packages. It is installed by rattler into an empty directory, with
//! the same target prefix and platform and without hard or reference links to its cache, and compared with our merged
//! trees: paths, types, link targets, contents, executable bits and modification times.
//!
//! Exceptions: `conda-meta/history` and `CACHEDIR.TAG`, which are not of a package; the times of scripts and records, for
//! which rattler takes the clock; in records, the paths of rattler's cache and the order of lists.

mod random;

use pixi_oci_layer::{FileTree, Node};
use pixi_oci_test_installer::{self as installer, Prefix, Seen};
use pixi_oci_testkit::packages::{self as common, *};
use rattler_conda_types::Subdir;
use serde_json::Value;
use tar::EntryType;
use tempfile::TempDir;

fn ours(tree: &FileTree) -> Prefix {
    let mut seen = Prefix::new();
    let prefix = format!("{}/", &PREFIX[1..]);
    for (path, node) in tree.iter() {
        let name = path.as_str().strip_prefix(&prefix).unwrap().to_owned();
        for ancestor in path.ancestors().filter_map(|ancestor| ancestor.strip_prefix(&prefix)) {
            seen.insert(ancestor.into(), Seen::Directory);
        }
        let node = match node {
            Node::HardLink { target } => {
                assert!(target < path);
                tree.get(target).unwrap()
            }
            node => node,
        };
        let found = match node {
            Node::Directory { .. } => Seen::Directory,
            Node::Symlink { target, .. } => Seen::Link { target: target.clone() },
            Node::File(f) => installer::file(&name, f.content.to_vec().unwrap(), f.mode.bits() & 0o111 != 0, f.mtime),
            Node::HardLink { .. } | Node::Inherited(_) => panic!("no package has {node:?}"),
        };
        seen.insert(name, found);
    }
    seen
}

async fn install(built: &[Built], subdir: Subdir) -> Result<Prefix, String> {
    installer::install(built.iter().map(Built::repodata_record).collect(), subdir, PREFIX).await
}

/// rattler's threads sometimes meet at a path that is a file of one package and a directory of another; then it fails.
async fn install_with_luck(built: &[Built], subdir: Subdir) -> Result<Prefix, String> {
    for _ in 0..4 {
        if let Ok(prefix) = install(built, subdir).await {
            return Ok(prefix);
        }
    }
    install(built, subdir).await
}

/// Compares for both platforms and both formats of archive.
async fn compare(packages: Vec<Package>) {
    for subdir in [Subdir::Linux64, Subdir::LinuxAarch64] {
        for format in [Format::Conda, Format::TarBz2] {
            assert!(compare_one(&packages, subdir, format, "").await, "rattler refuses it too");
        }
    }
}

/// Compares for one of each; `what` is said when they differ. `false` if both refuse the packages.
async fn compare_one(packages: &[Package], subdir: Subdir, format: Format, what: &str) -> bool {
    let directory = TempDir::new().unwrap();
    let built: Vec<_> = packages
        .iter()
        .map(|package| Package { format, ..package.clone() }.subdir(subdir.as_str()).write(directory.path()))
        .collect();
    let (mut theirs, mut ours) = match (install_with_luck(&built, subdir).await, trees(&built, subdir)) {
        (Ok(theirs), Ok(trees)) => (theirs, ours(&merged(trees))),
        (Err(_), Err(_)) => return false,
        (Err(theirs), Ok(_)) => panic!("{what}: only rattler refuses it: {theirs}"),
        (Ok(_), Err(ours)) => panic!("{what}: only we refuse it: {ours}"),
    };
    // Scripts have no time of their own; rattler's is the clock.
    for (path, seen) in &mut ours {
        if let (Seen::File { mtime: None, .. }, Some(Seen::File { mtime, .. })) = (seen, theirs.get_mut(path)) {
            *mtime = None;
        }
    }
    installer::compare(ours, theirs, &format!("{what} {subdir} {format:?}"));
    true
}

fn text(body: &str) -> String {
    body.replace("PREFIX", &placeholder())
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[tokio::test]
async fn placeholders() {
    use common::file;
    let binary = |prefix: &str| {
        [b"\x7fELF\0", text(prefix).as_bytes(), b"/lib:", text(prefix).as_bytes(), b"/x\0tail\0"].concat()
    };
    let long = text("#!PREFIX/bin/python -s -E\nprint('PREFIX')\n");
    let very_long = text(&format!("#!PREFIX/{}/python\nprint('PREFIX')\n", "d".repeat(120)));
    let utf16 = [&b"\x7fELF\0\0"[..], &wide(&text("PREFIX/share")), b"\0\0\0\0", text("PREFIX\0").as_bytes()].concat();
    let offsets = text("root=PREFIX\nlib=PREFIX/lib\n");
    let positions: Vec<_> = offsets.match_indices(&placeholder()).map(|(at, _)| at).collect();
    compare(vec![package(
        "patched",
        [
            file("etc/a.conf", text("x=PREFIX\ny=PREFIX/lib\n")).patched("text"),
            file("bin/short", long).patched("text").mode(0o755),
            file("bin/long", very_long).patched("text").mode(0o755),
            file("bin/spaces", text("#! /usr/bin/env python\nPREFIX\n")).patched("text").mode(0o755),
            file("bin/binary", binary("PREFIX")).patched("binary").mode(0o755),
            file("lib/libwide.so", utf16).patched("binary").mode(0o755),
            file("share/wide.txt", wide(&text("a PREFIX b"))).patched("text"),
            file("share/none", "nothing to replace").patched("text"),
            file("share/not-listed-as-patched", text("PREFIX")),
            file("share/no-digest", text("PREFIX")).patched("text").no_digest(),
            file("share/no-digest-unpatched", "abc").no_digest(),
            file("share/offsets", &offsets)
                .patched("text")
                .list("offsets", serde_json::json!([{"encoding": "utf-8", "ranges": positions}])),
            file("share/wrong-offsets", &offsets)
                .patched("text")
                .list("offsets", serde_json::json!([{"encoding": "utf-8", "ranges": [1, 2]}])),
            file("share/empty-placeholder", "abc").list("file_mode", "text").list("prefix_placeholder", ""),
        ],
    )])
    .await;
}

#[tokio::test]
async fn modes_times_and_names() {
    use common::file;
    let deep = format!("share/{}/{}/f", "d".repeat(120), "e".repeat(200));
    compare(vec![
        package(
            "plain",
            [
                file("bin/setuid", "x").mode(0o4755),
                file("bin/group", "x").mode(0o710),
                file("lib/readonly", "x").mode(0o444),
                file("lib/ancient", "x").mtime(0),
                file("lib/future", "x").mtime(4_000_000_000),
                file(&format!("share/{}", "n".repeat(130)), "long name"),
                file(&deep, "longer"),
                file("share/ünïcödé/日本.txt", "names"),
                file("share/a b 'c' \"d\" $e", "quoted"),
                file("share/tab\t, line\nbreak\r, \u{1b}[2J and \u{202e}", "control characters"),
                symlink("share/control", "tab\t, line\nbreak"),
                not_utf8(),
                file("./share/dot//slash", "normalised").list("_path", "share/dot/slash"),
                file("share/unlisted", "not linked").unlisted(),
                directory("share/empty-unlisted"),
                file("info/listed-in-info", "odd").in_info().list("path_type", "hardlink"),
                file("share/no_link", "copied").list("no_link", true),
            ],
        ),
        package("epoch", [file("share/epoch", "x")]).version("1!2.0+local.1"),
        package("nothing", []),
        Package { about: None, ..package("no-about", [file("share/no-about", "x")]) },
    ])
    .await;
}

/// An entry that no list can name. rattler unpacks it and does not link it.
fn not_utf8() -> Item {
    let mut before = Vec::new();
    entry(&mut before, EntryType::GNULongName, "././@LongLink", "", 0, 0, b"share/\xff\0");
    Item { before, ..common::file("share/not-utf-8", "x").unlisted() }
}

#[tokio::test]
async fn links() {
    use common::file;
    let real = file("lib/libx.so.1", "ELF").mode(0o755);
    let perl = file("bin/perl5", text("\x7fELF PREFIX\0")).patched("binary").mode(0o755);
    let hidden = file("share/hidden", "hidden").unlisted();
    let first = file("share/one", "1");
    compare(vec![package(
        "links",
        [
            real.clone(),
            symlink("lib/libx.so", "libx.so.1"),
            symlink("lib/dangling", "nowhere"),
            symlink("lib64", "lib"),
            symlink("share/outside", "/usr/share/zoneinfo"),
            symlink("share/far", "../../../../../etc"),
            symlink("share/long", &"t/".repeat(80)),
            hard_link("lib/hard", &real),
            hard_link("bin/hard", &real),
            perl.clone(),
            hard_link("bin/perl", &perl),
            hard_link("bin/unpatched", &perl).list("prefix_placeholder", Value::Null).list("file_mode", Value::Null),
            hidden.clone(),
            hard_link("share/of-hidden", &hidden).list("path_type", "hardlink"),
            hard_link("share/of-hidden-2", &hidden).list("path_type", "hardlink"),
            first.clone(),
            hard_link("share/later", &first).mtime(TIME + 77),
            hard_link("share/chain", &Item { path: "share/later".into(), ..first.clone() }),
            symlink("share/copied", "../lib64/libx.so").list("no_link", true),
            symlink("share/copied-perl", "../bin/perl5").list("no_link", true),
            hard_link("share/hard-no-link", &first).list("no_link", true),
        ],
    )])
    .await;
}

#[tokio::test]
async fn packages_without_paths_json() {
    use common::file;
    let real = file("lib/libx.so.1", "ELF").mode(0o755);
    compare(vec![
        package(
            "old",
            [
                real.clone(),
                symlink("lib/libx.so", "libx.so.1"),
                hard_link("lib/hard", &real),
                file("bin/script", text("#!PREFIX/bin/sh\n")).patched("text").mode(0o755),
                file("bin/binary", text("\x7fELF PREFIX\0")).patched("binary").mode(0o755),
                file("share/no_link", "x").list("no_link", true),
                symlink("share/no_softlink", "no_link").list("no_link", true),
                file("share/unlisted", "x").unlisted(),
            ],
        )
        .deprecated(),
        package("old-empty", []).deprecated(),
    ])
    .await;
}

#[tokio::test]
async fn noarch_python() {
    use common::file;
    let pure = package(
        "pure",
        [
            file("site-packages/pure/__init__.py", text("P = 'PREFIX'\n")).patched("text"),
            file("site-packages/pure/x.py", "x = 1\n"),
            file("site-packages-not/x", "x"),
            file("python-scripts/tool", text("#!PREFIX/bin/python\n")).patched("text").mode(0o755),
            file("share/doc/pure", "doc"),
        ],
    )
    .noarch("python")
    .entry_points(&["pure = pure:main", "pure-x = pure.x:Class.run"]);
    let generic = package("generic", [file("site-packages/g", "stays")]).noarch("generic");
    let without = package("without", [file("site-packages/w.py", "")]).noarch("python");
    compare(vec![python("3.12.1"), pure.clone(), generic, without]).await;

    let mut free_threaded = python("3.13.0");
    free_threaded.index["python_site_packages_path"] = "lib/python3.13t/site-packages".into();
    compare(vec![free_threaded, pure]).await;
}

#[tokio::test]
async fn clobbers() {
    use common::file;
    let clobber = |name: &str, depends: &[&str]| {
        package(
            name,
            [
                file("bin/all", name).mode(0o755),
                file(&format!("share/{name}"), "own"),
                file("etc/patched", text(&format!("{name} PREFIX\n"))).patched("text"),
                symlink("lib/link", name),
            ],
        )
        .depends(depends)
    };
    // Two, in either order of names; three, in a chain; three, all apart.
    compare(vec![clobber("a", &[]), clobber("b", &["a"])]).await;
    compare(vec![clobber("a", &["b"]), clobber("b", &[])]).await;
    compare(vec![clobber("a", &["b"]), clobber("b", &["c >=1"]), clobber("c", &[])]).await;
    compare(vec![clobber("a", &[]), clobber("b", &[]), clobber("c", &[])]).await;
    compare(vec![clobber("a", &["c"]), clobber("b", &["a"]), clobber("c", &["b"])]).await;
    let pure = |name: &str| package(name, [file("site-packages/x.py", name)]).noarch("python");
    compare(vec![python("3.12.1"), pure("p"), pure("q")]).await;
}

/// A file of one package where another has a directory. Only if the directory's package has priority does rattler's
/// answer not depend on the order in which its threads come to the packages, and only one level deep (further down it
/// fails to make directories below the file).
#[tokio::test]
async fn files_against_directories() {
    use common::file;
    let flat = package("flat", [file("d", "a file"), file("share/flat", "own")]);
    let deep = package("deep", [file("d/y", "below"), file("d/z", text("PREFIX")).patched("text")]).depends(&["flat"]);
    compare(vec![flat.clone(), deep.clone()]).await;
    compare(vec![deep, flat]).await;
}
