//! What a wheel becomes.

use std::collections::BTreeSet;

use pixi_oci_layer::{File, Node, dump};
use pixi_oci_package::{Change, PackageTree, Python};
use pixi_oci_wheel::DirectUrl;

use pixi_oci_testkit::wheels::{Install, directory, entry_points, file, install, line, path, python, stored, wheel};

const SITE_PACKAGES: &str = "opt/pixi/env/lib/python3.12/site-packages";

fn regular(tree: &PackageTree, at: &str) -> File {
    match tree.tree.get(&path(&format!("opt/pixi/env/{at}"))) {
        Some(Node::File(file)) => file.clone(),
        other => panic!("{at} is {other:?}:\n{}", dump(&tree.tree)),
    }
}

fn text(tree: &PackageTree, at: &str) -> String {
    String::from_utf8(regular(tree, at).content.to_vec().unwrap()).unwrap()
}

#[test]
fn a_dump_of_everything() {
    let data = |path: &str, body: &str| file(&format!("all-1.0.data/{path}"), body);
    let wheel = wheel(
        "all",
        [
            file("all/__init__.py", "x"),
            stored("all/tool", "x").mode(0o100_755),
            directory("all/empty/"),
            directory("all/"),
            data("purelib/pure.py", "x"),
            data("platlib/plat.py", "x"),
            data("data/share/x", "x"),
            data("headers/all.h", "x"),
            data("scripts/script", "#!python\nx\n"),
            entry_points("all", "[console_scripts]\nall = all:main\n"),
        ],
    );
    let (info, tree) = install(&wheel).unwrap();
    let dump = dump(&tree.tree);
    let x = "1 sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let expected = [
        "f 0755 - opt/pixi/env/bin/all ".into(),
        "f 0755 - opt/pixi/env/bin/script ".into(),
        format!("f 0644 - opt/pixi/env/include/python3.12/all/all.h {x}"),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/INSTALLER 7 "),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/METADATA "),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/RECORD "),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/REQUESTED 0 "),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/WHEEL "),
        format!("f 0644 - {SITE_PACKAGES}/all-1.0.dist-info/entry_points.txt "),
        format!("f 0644 - {SITE_PACKAGES}/all/__init__.py {x}"),
        format!("d 0755 - {SITE_PACKAGES}/all/empty"),
        format!("f 0755 - {SITE_PACKAGES}/all/tool {x}"),
        format!("f 0644 - {SITE_PACKAGES}/plat.py {x}"),
        format!("f 0644 - {SITE_PACKAGES}/pure.py {x}"),
        format!("f 0644 - opt/pixi/env/share/x {x}"),
    ];
    assert_eq!(dump.lines().count(), expected.len(), "{dump}");
    for (line, expected) in dump.lines().zip(&expected) {
        assert!(line.starts_with(expected.as_str()), "{line}\n{expected}");
    }
    let paths: BTreeSet<_> = info.paths(&python(), None).unwrap().into_iter().map(|path| path.path).collect();
    let in_tree = tree.tree.iter().map(|(at, _)| path(at.as_str().strip_prefix("opt/pixi/env/").unwrap()));
    assert_eq!(paths, in_tree.collect());
    assert_eq!((info.name.as_str(), info.version.as_str()), ("all", "1.0"));
    assert_eq!(info.entry_points.console_scripts[0].module, "all");

    assert_eq!(text(&tree, "bin/script"), "#!/opt/pixi/env/bin/python3.12\nx\n");
    let launcher = "#!/opt/pixi/env/bin/python3.12\n# -*- coding: utf-8 -*-\nimport sys\nfrom all import main\nif __name__ == \"__main__\":\n    if sys.argv[0].endswith(\"-script.pyw\"):\n        sys.argv[0] = sys.argv[0][:-11]\n    elif sys.argv[0].endswith(\".exe\"):\n        sys.argv[0] = sys.argv[0][:-4]\n    sys.exit(main())\n";
    assert_eq!(text(&tree, "bin/all"), launcher);
    let dist_info = "lib/python3.12/site-packages/all-1.0.dist-info";
    assert_eq!(text(&tree, &format!("{dist_info}/INSTALLER")), "uv-pixi");
    let record = text(&tree, &format!("{dist_info}/RECORD"));
    assert!(record.starts_with(&line("../../../bin/all", launcher.as_bytes())), "{record}");
    assert!(record.contains(&line("../../../bin/script", b"#!/opt/pixi/env/bin/python3.12\nx\n")), "{record}");
    assert!(record.contains(&line("../../../include/python3.12/all/all.h", b"x")), "{record}");
    assert!(record.contains(&line("pure.py", b"x")) && record.contains("\nall-1.0.dist-info/RECORD,,\n"), "{record}");
    assert!(!record.contains(".data"), "{record}");
    let mut sorted: Vec<_> = record.lines().collect();
    sorted.sort_unstable();
    assert_eq!(record.lines().collect::<Vec<_>>(), sorted);
}

#[test]
fn long_prefixes_and_free_threaded_pythons() {
    let wheel = wheel("w", [file("w-1.0.data/headers/w.h", ""), entry_points("w", "[gui_scripts]\nw = w.cli:a.b\n")]);
    let prefix = format!("/{}", "p".repeat(150));
    let python = Python {
        version: (3, 13),
        executable: path("bin/python3.13t"),
        site_packages: path("lib/python3.13t/site-packages"),
    };
    let install = Install { python: python.clone(), prefix: &prefix, ..Install::default() };
    let (info, tree) = install.bytes(&wheel, &wheel.bytes()).unwrap();
    let paths = info.paths(&python, None).unwrap();
    assert!(paths.iter().any(|at| at.path == path("include/python3.13t/w/w.h")));
    let Some(Node::File(script)) = tree.tree.get(&path(&format!("{}/bin/w", &prefix[1..]))) else { panic!() };
    let script = String::from_utf8(script.content.to_vec().unwrap()).unwrap();
    let first = format!("#!/bin/sh\n'''exec' '{prefix}/bin/python3.13t' \"$0\" \"$@\"\n' '''\n# -*- coding");
    assert!(script.starts_with(&first), "{script}");
    assert!(script.contains("from w.cli import a\n") && script.ends_with("sys.exit(a.b())\n"), "{script}");
}

#[test]
fn direct_urls_are_recorded_without_secrets() {
    let wheel = wheel("w", []);
    let dist_info = "lib/python3.12/site-packages/w-1.0.dist-info";
    for (url, expected) in [
        ("https://example.com/w-1.0-py3-none-any.whl#sha256=00", "https://example.com/w-1.0-py3-none-any.whl"),
        ("https://user:secret@example.com/w.whl", "https://****:****@example.com/w.whl"),
        ("https://token@example.com/w.whl", "https://****@example.com/w.whl"),
        ("file:///a%20b/w.whl", "file:///a%20b/w.whl"),
    ] {
        let direct_url = Some(DirectUrl::new(url.parse().unwrap()));
        let (info, tree) =
            Install { direct_url: direct_url.clone(), ..Install::default() }.bytes(&wheel, &wheel.bytes()).unwrap();
        let json = format!("{{\"url\":\"{expected}\",\"archive_info\":{{}}}}");
        assert_eq!(text(&tree, &format!("{dist_info}/direct_url.json")), json);
        assert!(
            text(&tree, &format!("{dist_info}/RECORD"))
                .contains(&line("w-1.0.dist-info/direct_url.json", json.as_bytes()))
        );
        let paths = info.paths(&python(), direct_url.as_ref()).unwrap();
        assert!(paths.iter().any(|path| path.path.as_str().ends_with("direct_url.json")));
    }
}

#[test]
fn files_of_an_installer_are_not_taken_from_the_wheel() {
    let dist_info = |name: &str| file(&format!("w-1.0.dist-info/{name}"), "forged");
    let wheel = wheel("w", ["INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"].map(dist_info));
    let (_, tree) = install(&wheel).unwrap();
    let record = text(&tree, "lib/python3.12/site-packages/w-1.0.dist-info/RECORD");
    let names: Vec<_> = record.lines().map(|line| line.split([',', '/']).nth(1).unwrap()).collect();
    assert_eq!(names, ["INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL"]);
    assert_eq!(text(&tree, "lib/python3.12/site-packages/w-1.0.dist-info/INSTALLER"), "uv-pixi");
}

#[test]
fn other_packages_change_where_files_go() {
    let wheel =
        wheel("w", [file("a.py", "a"), file("b.py", "b"), file("c.py", "c"), file("w-1.0.data/data/lib64/d", "d")]);
    let at = |name: &str| path(&format!("lib/python3.12/site-packages/{name}"));
    let changes = vec![
        Change::Dropped { path: at("a.py") },
        Change::Clobbered { path: at("b.py"), to: path("__clobbers__/w/b.py") },
        Change::Resolved { path: path("lib64/d"), to: path("lib/d") },
        Change::Clobbered { path: path("lib/d"), to: path("__clobbers__/w/d") },
    ];
    let (_, tree) = Install { changes, ..Install::default() }.bytes(&wheel, &wheel.bytes()).unwrap();
    assert!(tree.tree.get(&path(&format!("{SITE_PACKAGES}/a.py"))).is_none());
    assert!(tree.tree.get(&path(&format!("{SITE_PACKAGES}/b.py"))).is_none());
    assert_eq!(text(&tree, "__clobbers__/w/b.py"), "b");
    assert_eq!(text(&tree, "__clobbers__/w/d"), "d");
    let record = text(&tree, "lib/python3.12/site-packages/w-1.0.dist-info/RECORD");
    assert!(record.contains(&line("a.py", b"a")) && record.contains(&line("../../../lib64/d", b"d")), "{record}");
}

#[test]
fn records_as_wheels_have_them() {
    let members = [file("a.py", "a"), file("b.py", "b"), file("w-1.0.dist-info/RECORD.p7s", "s").unlisted()];
    let wheel = wheel("w", members);
    let lines = wheel.record_lines();
    let usual = install(&wheel).unwrap().1;
    let record = |tree: &PackageTree| text(tree, "lib/python3.12/site-packages/w-1.0.dist-info/RECORD");
    for other in [
        lines.replace('\n', "\r\n"),
        lines.replace("w-1.0.dist-info/RECORD,,\n", ""),
        lines.replace("RECORD,,", "RECORD,sha256=x,1"),
        format!("{lines}gone.py,sha256=x,1\n"),
        format!("{lines}{}", line("a.py", b"a")),
        lines.replace("a.py,", "/a.py,"),
    ] {
        let tree = install(&wheel.clone().record(other.clone())).unwrap_or_else(|error| panic!("{error}: {other}")).1;
        assert_eq!(record(&tree), record(&usual));
    }
    // No length; a padded hash.
    let tree = install(&wheel.clone().record(lines.replace(",1\n", "=,\n"))).unwrap().1;
    assert!(record(&tree).contains("=,\n"));
}

#[test]
fn names_are_compared_normalised() {
    let mut wheel = wheel("Some_Name.x", [file("a.py", "a")]);
    let expected = pixi_oci_wheel::WheelExpected {
        name: "some-name-x".into(),
        version: "1.0.0+local".into(),
        file_name: "x.whl".into(),
    };
    let directory = tempfile::TempDir::new().unwrap();
    let archive = wheel.write(directory.path());
    Install::default().archive(&archive, &expected).unwrap();
    wheel.members.retain(|member| !member.central.name.ends_with(b"METADATA"));
    wheel.members.push(file("Some_Name.x-1.0.dist-info/METADATA", "name: SOME.name_X\r\nVERSION: 1\r\n\r\n"));
    let archive = wheel.write(directory.path());
    Install::default().archive(&archive, &expected).unwrap();
}
