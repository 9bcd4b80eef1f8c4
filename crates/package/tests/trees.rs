//! What one package becomes, where rattler cannot be asked.

use pixi_oci_layer::{ContentStore, Digest, File, MemoryBudget, Mode, Node, TreePath, dump};
use pixi_oci_package::{OutsideLink, PackageTree, TargetPrefix, file_tree};
use pixi_oci_testkit::packages::{self as common, *};
use rattler_conda_types::Subdir;
use serde_json::Value;
use tempfile::TempDir;

fn node(tree: &PackageTree, path: &str) -> Node {
    let path = TreePath::new(&format!("opt/pixi/env/{path}")).unwrap();
    tree.tree.get(&path).unwrap_or_else(|| panic!("no {path}:\n{}", dump(&tree.tree))).clone()
}

fn regular(tree: &PackageTree, path: &str) -> File {
    match node(tree, path) {
        Node::File(file) => file,
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn a_dump_of_everything() {
    let real = file("bin/real", "x").mode(0o755);
    let package = package(
        "all",
        [
            real.clone(),
            hard_link("bin/alias", &real),
            symlink("bin/link", "real"),
            file("etc/conf", format!("{}/etc", placeholder())).patched("text"),
            directory("var/empty").list("path_type", "directory"),
            directory("var/implied").list("path_type", "directory").really(tar::EntryType::Directory),
            file("unlisted", "").unlisted(),
        ],
    );
    let text = dump(&tree(&package).unwrap().tree);
    let expected = [
        "f 0755 1700000000 opt/pixi/env/bin/alias 1 sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        "l 0777 1700000000 opt/pixi/env/bin/link -> \"real\"",
        "h - - opt/pixi/env/bin/real => opt/pixi/env/bin/alias",
        "f 0644 - opt/pixi/env/conda-meta/all-1.0-h1234567_0.json",
        "f 0644 1700000501 opt/pixi/env/etc/conf 17 sha256:",
        "d 0755 - opt/pixi/env/var/empty",
        "d 0755 - opt/pixi/env/var/implied",
    ];
    assert_eq!(text.lines().count(), expected.len(), "{text}");
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn the_record_has_nothing_of_the_machine() {
    let directory = TempDir::new().unwrap();
    let built = package("p", [file("b", ""), file("a", "")]).write(directory.path());
    let info = built.info().unwrap();
    let plan = plans(std::slice::from_ref(&built), std::slice::from_ref(&info), Subdir::Linux64).unwrap().remove(0);
    let mut meta = built.meta();
    meta.url = "https://conda.example.org/ch/linux-64/p-1.0-h1234567_0.conda".parse().unwrap();
    let mut store = ContentStore::new(&MemoryBudget::new(1 << 20), directory.path());
    let prefix = TargetPrefix::new(PREFIX).unwrap();
    let tree = file_tree(&built.path, &info, &plan, &prefix, &meta, &mut store, directory.path()).unwrap();
    let record = regular(&tree, "conda-meta/p-1.0-h1234567_0.json");
    let text = String::from_utf8(record.content.to_vec().unwrap()).unwrap();
    assert!(!text.contains("/tmp") && !text.contains(directory.path().to_str().unwrap()), "{text}");
    assert!(text.contains("\n  \"name\": \"p\""), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["url"], "https://conda.example.org/ch/linux-64/p-1.0-h1234567_0.conda");
    assert_eq!(json["fn"], "p-1.0-h1234567_0.conda");
    assert_eq!(json["channel"], "https://example.org/channel");
    assert_eq!(json["files"], serde_json::json!(["a", "b"]));
    assert_eq!(json["size"], built.size);
    assert_eq!(json["license"], "MIT");
    assert!(json.get("link").is_none() && json.get("extracted_package_dir").is_none());
    meta.url = "https://conda.example.org/ch/linux-64/".parse().unwrap();
    assert!(file_tree(&built.path, &info, &plan, &prefix, &meta, &mut store, directory.path()).is_err());
}

#[test]
fn patched_files_are_younger_than_bytecode_even_without_about_json() {
    let patched = file("a.py", placeholder()).patched("text");
    let package = Package { about: None, ..package("p", [patched, file("z", "").mtime(TIME + 9999)]) };
    assert_eq!(regular(&tree(&package).unwrap(), "a.py").mtime, Some(TIME as i64 + 10_000));
}

/// Unlike rattler, which copies what the list says into the record.
#[test]
fn wrong_digests_are_told_and_corrected() {
    let wrong = |path: &str| file(path, "abc").list("sha256", "00".repeat(32)).list("size_in_bytes", 7);
    let right = file("share/right", "right");
    let package = package(
        "p",
        [
            wrong("share/a"),
            wrong("share/b\n"),
            right.clone(),
            file("share/none", "x").no_digest(),
            hard_link("share/z", &right).list("sha256", "00".repeat(32)),
        ],
    );
    let tree = tree(&package).unwrap();
    let what =
        r#"info/paths.json has a wrong sha256 of "share/a" and 2 more; it has a wrong size of "share/a" and 1 more"#;
    assert_eq!((tree.corrections.what.as_str(), tree.corrections.files.len()), (what, 0));
    let record = regular(&tree, "conda-meta/p-1.0-h1234567_0.json").content.to_vec().unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    for (number, content) in [(0, "abc"), (1, "abc"), (3, "right"), (4, "right")] {
        let path = &record["paths_data"]["paths"][number];
        assert_eq!(path["sha256"], Digest::of(content.as_bytes()).hex(), "{path}");
        assert_eq!(path["size_in_bytes"], content.len(), "{path}");
        assert_eq!(path["sha256_in_prefix"], Value::Null);
    }
    assert!(common::tree(&common::package("p", [right])).unwrap().corrections.is_empty());
}

#[test]
fn variables_have_a_limit() {
    let files = |lengths: &[usize]| {
        let place = |(number, length): (usize, &usize)| {
            file(&format!("etc/conda/env_vars.d/{number}.json"), "x".repeat(*length))
        };
        tree(&package("p", lengths.iter().enumerate().map(place)))
    };
    files(&[65_535, 1]).unwrap();
    let error = files(&[65_535, 2]).unwrap_err().to_string();
    assert!(error.contains("etc/conda/env_vars.d longer than 64 KiB"), "{error}");
}

#[test]
fn hard_links_are_kept_only_between_unpatched_linked_files() {
    let perl = file("bin/perl", format!("{}\0", placeholder())).patched("binary").mode(0o755);
    let data = file("share/z", "data");
    let plain = Value::Null;
    let package = package(
        "p",
        [
            perl.clone(),
            hard_link("bin/perl5", &perl),
            hard_link("share/raw1", &perl).list("prefix_placeholder", plain.clone()).list("file_mode", plain.clone()),
            hard_link("share/raw2", &perl).list("prefix_placeholder", plain.clone()).list("file_mode", plain),
            data.clone(),
            hard_link("share/y", &data),
            hard_link("share/x", &data).list("no_link", true),
        ],
    );
    let tree = tree(&package).unwrap();
    assert_eq!(regular(&tree, "bin/perl").content.len(), 256);
    assert_eq!(regular(&tree, "bin/perl5").mode, Mode::EXECUTABLE);
    assert_eq!(regular(&tree, "share/raw1").content.to_vec().unwrap(), format!("{}\0", placeholder()).into_bytes());
    let target = |path: &str| match node(&tree, path) {
        Node::HardLink { target } => target.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(target("share/raw2"), "opt/pixi/env/share/raw1");
    assert_eq!(target("share/z"), "opt/pixi/env/share/y");
    assert_eq!(regular(&tree, "share/x").content.to_vec().unwrap(), b"data");
}

#[test]
fn hard_links_follow_clobbered_files() {
    let data = file("z", "data");
    let directory = TempDir::new().unwrap();
    let loser = package("loser", [data.clone(), hard_link("a", &data)]).write(directory.path());
    let winner = package("winner", [file("a", "won")]).depends(&["loser"]).write(directory.path());
    let trees = trees(&[loser, winner], Subdir::Linux64).unwrap();
    let text = dump(&trees[0].1.tree);
    assert!(text.contains("h - - opt/pixi/env/z => opt/pixi/env/__clobbers__/loser/a"), "{text}");
}

#[test]
fn links_out_of_the_prefix_are_kept_and_told() {
    let package = package(
        "p",
        [
            symlink("a", "/etc/passwd"),
            symlink("b", "../../../../../etc"),
            symlink("lib/c", "../bin/c"),
            symlink("d", "/opt/pixi/env/bin/d"),
            symlink("e", "../env/bin"),
            symlink("f", "../other"),
            symlink("g", "/opt/pixi/envelope"),
            symlink("h", "."),
        ],
    );
    let tree = tree(&package).unwrap();
    let outside: Vec<_> = tree.outside_links.iter().map(|link| link.path.as_str()).collect();
    assert_eq!(outside, ["a", "b", "f", "g"]);
    let first = OutsideLink { path: TreePath::new("a").unwrap(), target: "/etc/passwd".into() };
    assert_eq!(tree.outside_links[0], first);
    assert!(matches!(node(&tree, "b"), Node::Symlink { target, .. } if target == "../../../../../etc"));
}

#[test]
fn link_scripts_are_reported_and_linked() {
    let directory = TempDir::new().unwrap();
    let items = [file("bin/.p-post-link.sh", ""), file("bin/.q-post-link.sh", ""), file("bin/.p-pre-unlink.sh", "")];
    let info = package("p", items).write(directory.path()).info().unwrap();
    let scripts: Vec<_> = info.link_scripts.iter().map(TreePath::as_str).collect();
    assert_eq!(scripts, ["bin/.p-post-link.sh", "bin/.p-pre-unlink.sh"]);
    assert_eq!(info.paths.len(), 3);
}

#[test]
fn big_files_are_patched_outside_memory() {
    let mut body = vec![b'x'; 40 << 20];
    let at = body.len() - 300;
    body[at..at + 255].copy_from_slice(placeholder().as_bytes());
    body[at + 255] = 0;
    let mut random = 7_u64;
    for chunk in body[..at].chunks_mut(64) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        chunk[..8].copy_from_slice(&random.to_le_bytes().map(|byte| byte | 1));
    }
    let big = file("lib/big.so", &body).patched("binary");
    let text = file("lib/big.txt", &body).patched("text");
    let tree = tree(&package("p", [big.clone(), text, hard_link("lib/raw", &big).patched("text")])).unwrap();
    assert_eq!(regular(&tree, "lib/big.so").content.len(), 40 << 20);
    let shorter = (40 << 20) - 255 + PREFIX.len() as u64;
    assert_eq!(regular(&tree, "lib/big.txt").content.len(), shorter);
    assert_eq!(regular(&tree, "lib/raw").content.len(), shorter);
    let bytes = regular(&tree, "lib/big.so").content.to_vec().unwrap();
    assert_eq!(&bytes[at..at + PREFIX.len() + 1], format!("{PREFIX}\0").as_bytes());
}

#[test]
fn long_names_in_pax_headers() {
    let name = format!("share/{}", "ü".repeat(100));
    let short = file("x", "pax").list("_path", name.as_str());
    let short = Item { before: pax(&[("path", &name), ("mtime", "1.5")]), ..short };
    let target = "t/".repeat(90);
    let link = Item { before: pax(&[("linkpath", &target)]), ..symlink("link", "short") };
    let tree = tree(&package("p", [short, link]).tar_bz2()).unwrap();
    assert_eq!(regular(&tree, &name).content.to_vec().unwrap(), b"pax");
    assert!(matches!(node(&tree, "link"), Node::Symlink { target: t, .. } if t == target));
}

#[test]
fn info_at_the_end_of_an_archive() {
    // Found if nothing of info/ came before...
    let package = package("p", [file("a", placeholder()).patched("text")]).tar_bz2();
    let directory = TempDir::new().unwrap();
    let items: Vec<_> = package.contents().into_iter().chain(package.info_items()).collect();
    let built = package.write_bytes(directory.path(), bzip2_bytes(&common::tar(&items)));
    let tree = trees(&[built], Subdir::Linux64).unwrap().remove(0).1;
    assert_eq!(regular(&tree, "a").mtime, Some(ABOUT_TIME as i64 + 1));
    // ...and refused if it was thought to be complete.
    let late = file("info/no_link", "a\n").in_info();
    let items: Vec<_> = package.info_items().into_iter().chain(package.contents()).chain([late]).collect();
    let built = package.write_bytes(directory.path(), bzip2_bytes(&common::tar(&items)));
    let error = trees(&[built], Subdir::Linux64).unwrap_err().to_string();
    assert!(error.contains("info/no_link") && error.contains("repackage"), "{error}");
}

#[test]
fn archives_are_known_by_their_bytes() {
    for package in [package("p", [file("a", "x")]), package("p", [file("a", "x")]).tar_bz2()] {
        let directory = TempDir::new().unwrap();
        let mut built = package.write(directory.path());
        let cached = directory.path().join("0123abc");
        std::fs::rename(&built.path, &cached).unwrap();
        let url = built.meta().url;
        built.path = cached.clone();
        let info = built.info().unwrap();
        assert_eq!(info.file_name, package.file_name());
        let plan = plans(std::slice::from_ref(&built), std::slice::from_ref(&info), Subdir::Linux64).unwrap().remove(0);
        let meta = pixi_oci_package::CondaMeta { url, channel: None, sha256: built.sha256, size: built.size };
        let mut store = ContentStore::new(&MemoryBudget::new(0), directory.path());
        let prefix = TargetPrefix::new(PREFIX).unwrap();
        let tree = file_tree(&cached, &info, &plan, &prefix, &meta, &mut store, directory.path()).unwrap();
        assert_eq!(regular(&tree, "a").content.to_vec().unwrap(), b"x");
    }
}
