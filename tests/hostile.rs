//! Hostile packages: each is refused with its name and the path, in bounded time and memory, and nothing is written but
//! the copy in the cache.
//!
//! The crate that reads archives has the longer list; here is every kind of attack once, through the front door.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;
use tar::EntryType;

use crate::common::{
    image, odd,
    packages::{self, *},
    sandbox::{BINARY, Outcome, Sandbox, snapshot},
    workspace::{Workspace, edit_lock, workspace},
};

/// In KiB of address space, which is more than what is used.
const MEMORY: &str = "2097152";
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A sandbox with an image in it that must stay as it is.
pub struct Target(Sandbox);

impl Target {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        workspace([package("good", [file("share/good", "x")])]).platforms(&["linux-64"]).write(&sandbox.path("good"));
        sandbox.build("good", "oci:out:good");
        fs::write(sandbox.path("canary"), "alive").unwrap();
        Self(sandbox)
    }

    #[track_caller]
    pub fn refuses(&self, ws: &Workspace, words: &[&str]) -> String {
        let _ = fs::remove_dir_all(self.0.path("ws"));
        ws.write(&self.0.path("ws"));
        self.refuses_what_is_there(words)
    }

    #[track_caller]
    fn refuses_what_is_there(&self, words: &[&str]) -> String {
        let before = snapshot(&self.0.path(""));
        for output in ["oci:out:bad", "oci:fresh:bad", "oci-archive:fresh.tar:bad"] {
            let start = Instant::now();
            let mut command = self.0.program("/bin/sh");
            let limited = format!("ulimit -v {MEMORY}; exec \"$@\"");
            command.args(["-c", &limited, "sh", BINARY, "build", "ws", "-o", output]);
            let outcome = Outcome::of(&mut command).refused(1, words);
            assert!(start.elapsed() < TIME_LIMIT, "{:?}", start.elapsed());
            let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!outcome.stderr.contains(hidden), "{:?}", outcome.stderr);
            assert!(before == snapshot(&self.0.path("")), "something was written");
            assert_eq!(fs::read_dir(self.0.path("../tmp")).unwrap().count(), 0);
            if output == "oci-archive:fresh.tar:bad" {
                return outcome.stderr;
            }
        }
        unreachable!()
    }

    /// The package in both formats.
    #[track_caller]
    pub fn refuses_package(&self, package: &Package, words: &[&str]) {
        for package in [package.clone(), package.clone().tar_bz2()] {
            let name = package.file_name();
            let words = [&[&*name][..], words].concat();
            self.refuses(&around(package), &words);
        }
    }
}

/// A workspace with the package, and what noarch Python packages need.
pub fn around(package: Package) -> Workspace {
    workspace([odd::python(), package]).platforms(&["linux-64"])
}

pub fn evil(items: impl IntoIterator<Item = Item>) -> Package {
    package("evil", items)
}

#[test]
fn paths_that_leave_the_prefix_or_are_not_the_packages_own() {
    let target = Target::new();
    let absolute = target.0.path("canary").to_str().unwrap().to_owned();
    for (path, words) in [
        ("../../../../canary", ["../canary", "`..`"]),
        ("share/../../x", ["share/../../x", "`..`"]),
        (&absolute, ["canary", "absolute"]),
        ("conda-meta/other-1.0-0.json", ["conda-meta/other-1.0-0.json", "installer"]),
        ("conda-meta/history", ["conda-meta/history", "installer"]),
        ("__clobbers__/python/bin/python", ["__clobbers__", "installer"]),
        ("share/.wh.x", ["share/.wh.x", ".wh."]),
        (".wh..wh..opq", [".wh..wh..opq", ".wh."]),
        ("share/.wh.dir/x", ["share/.wh.dir", ".wh."]),
        ("a\n\u{1b}]0;x\u{7}\u{202e}/../b", ["a\\n\\u{1b}]0;x", "`..`"]),
    ] {
        let list = json!({"paths": [{"_path": path, "path_type": "hardlink"}], "paths_version": 1}).to_string();
        // In the archive alone, in the list alone, in both, and as a link.
        target.refuses_package(&evil([file(path, "x").unlisted()]), &words);
        target.refuses_package(&evil([file("ok", "x").unlisted()]).paths_json(list), &words);
        target.refuses_package(&evil([file(path, "x")]), &words);
        target.refuses_package(&evil([symlink(path, "x")]), &words);
    }
    let deep = "d/".repeat(300) + "x";
    target.refuses_package(&evil([file(&deep, "x")]), &["d/d/", "301 components"]);
    let long = "n".repeat(256);
    target.refuses_package(&evil([file(&long, "x")]), &[&long, "a name of 256 bytes"]);
}

/// GHSA for rattler < 0.43.2: CVE-2026-47425.
#[test]
fn entry_points_that_leave_the_prefix() {
    let target = Target::new();
    let absolute = target.0.path("canary").to_str().unwrap().to_owned();
    for (command, word) in [
        ("../../canary", "info/link.json"),
        (&absolute, "info/link.json"),
        ("..", "info/link.json"),
        ("a/b", "info/link.json"),
        ("x\u{1b}[2J/y", "info/link.json"),
    ] {
        let package = evil([]).noarch("python").entry_points(&[&format!("{command} = m:f")]);
        target.refuses_package(&package, &[word]);
    }
    let code = evil([]).noarch("python").entry_points(&["x = m:f(); import os; os.system('id')"]);
    target.refuses_package(&code, &["info/link.json"]);
}

#[test]
fn writing_through_links() {
    let target = Target::new();
    let outside = target.0.path("").to_str().unwrap().to_owned();
    let through = |to: &str| evil([symlink("d", to), file("d/canary", "dead")]);
    for to in [&*outside, "../../../../..", "share", "/"] {
        target.refuses_package(&through(to), &["d/canary"]);
    }
    // Twice the same path: a link, then a file in its place; and the other way round.
    target.refuses_package(&evil([symlink("d", &outside).unlisted(), file("d", "x").unlisted()]), &["\"d\"", "twice"]);
    target.refuses_package(&evil([file("./d", "x").unlisted(), file("d", "x").unlisted()]), &["\"d\"", "twice"]);
    // A pair of links (GHSA-3wgq-wrwc-vqmv).
    target.refuses_package(&evil([symlink("a", "b"), symlink("b", &outside), file("a/canary", "x")]), &["a/canary"]);
    for to in ["/etc/passwd", "../../../etc/passwd", "nothing", &format!("{outside}canary")] {
        let link = evil([hard_link("h", &file(to, ""))]);
        target.refuses_package(&link, &["\"h\"", to]);
    }
    let via = evil([symlink("l", "/etc/passwd"), hard_link("h", &file("l", ""))]);
    target.refuses_package(&via, &["\"h\"", "\"l\""]);
    let copied = evil([symlink("l", "../../../../etc/passwd").list("no_link", true)]);
    target.refuses_package(&copied, &["\"l\"", "passwd"]);
}

/// One package's link leads another package's files astray: they are refused, or they are in the prefix all the same,
/// where nobody else's files are.
#[test]
fn writing_through_the_links_of_another_package() {
    let target = Target::new();
    let prey = package("prey", [file("d/x-1.0-0.json", "x")]);
    let script = evil([]).noarch("python").entry_points(&["x = m:f"]);
    let module = evil([file("site-packages/x.py", "x")]).noarch("python");
    let mut cases = Vec::new();
    for to in ["/etc", "../../../etc", "../..", "conda-meta", "share/../conda-meta", "__clobbers__", "d", "sub/../d"] {
        cases.push((vec![package("trap", [symlink("d", to)]), prey.clone()], "d -> ".to_owned() + to));
    }
    let two = [package("trap", [symlink("d", "e")]), package("trap2", [symlink("e", "../../../etc")]), prey.clone()];
    cases.push((two.to_vec(), "two links".into()));
    let round = [package("trap", [symlink("d", "e")]), package("trap2", [symlink("e", "d")]), prey];
    cases.push((round.to_vec(), "in a circle".into()));
    for to in ["/usr/bin", "../../../usr/bin"] {
        cases
            .push((vec![package("trap", [symlink("bin", to)]), python_elsewhere(), script.clone()], "a script".into()));
        cases
            .push((vec![package("trap", [symlink("lib", to)]), python_elsewhere(), module.clone()], "a module".into()));
    }
    for (packages, case) in cases {
        let _ = fs::remove_dir_all(target.0.path("ws"));
        let _ = fs::remove_dir_all(target.0.path("trapped"));
        workspace(packages).platforms(&["linux-64"]).write(&target.0.path("ws"));
        let outcome = target.0.run(&["build", "ws", "-o", "oci:trapped:x"]);
        if outcome.code != Some(0) {
            let outcome = outcome.refused(1, &[]);
            assert!(["prey", "trap", "evil"].iter().any(|name| outcome.stderr.contains(name)), "{case}: {outcome:?}");
            assert!(!target.0.path("trapped").exists());
            continue;
        }
        // Reading the image checks that no entry goes through a link.
        for image in image::read(&target.0.path("trapped"), "x").images {
            let layers = image.layers.iter().filter(|layer| layer.annotations["dev.pixi-oci.packages"].is_string());
            for (path, _) in layers.flat_map(|layer| &layer.entries) {
                let inside =
                    path.starts_with("opt/pixi/env/") || ["opt", "opt/pixi", "opt/pixi/env"].contains(&&**path);
                assert!(inside && !path.contains("conda-meta/x-1.0"), "{case}: {path}");
            }
            let tree = image.tree();
            let found = ["/x-1.0-0.json", "/bin/x", "/lib/python3.12/site-packages/x.py"];
            assert!(found.iter().any(|path| tree.keys().any(|p| p.ends_with(path))), "{case}: {:?}", tree.keys());
        }
        assert_eq!(fs::read_to_string(target.0.path("canary")).unwrap(), "alive");
    }
}

fn python_elsewhere() -> Package {
    package("python", [file("share/python", "x")]).version("3.12.1")
}

#[test]
fn what_is_no_file_directory_or_link() {
    let target = Target::new();
    for (kind, word) in [
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::GNUSparse, "sparse"),
        (EntryType::new(b'Z'), "unknown kind"),
    ] {
        target.refuses_package(&evil([file("dev/x", "").really(kind).unlisted()]), &["dev/x", word]);
    }
    target.refuses_package(&evil([file("a", "x").list("path_type", "softlink")]), &["\"a\"", "symbolic link"]);
}

#[test]
fn another_package_inside_than_outside() {
    let target = Target::new();
    for (field, locked, inside) in
        [("name", "evil", "other"), ("version", "1.0", "2.0"), ("build", "h1234567_0", "other_0")]
    {
        for format in [Format::Conda, Format::TarBz2] {
            let mut package = Package { format, ..evil([file("a", "x")]) };
            package.index[field] = inside.into();
            around(package).write(&target.0.path("ws"));
            edit_lock(&target.0.path("ws"), &format!("{field}: \"{inside}\""), &format!("{field}: \"{locked}\""));
            target.refuses_what_is_there(&["evil-1.0-h1234567_0", "info/index.json", inside, locked]);
        }
    }
}

#[test]
fn damaged_metadata() {
    let target = Target::new();
    let deep = "[".repeat(100_000);
    for json in ["", "{}", "null", &deep, r#"{"paths": [{"_path": "a", "path_type": "\u001b"}], "paths_version": 1}"#] {
        target.refuses_package(&evil([]).paths_json(json), &["info/paths.json"]);
    }
    target.refuses_package(
        &evil([]).paths_json(r#"{"paths": [{"_path": "gone", "path_type": "hardlink"}], "paths_version": 1}"#),
        &["gone", "not in the archive"],
    );
    for json in ["", "{}", r#"{"name": "\u001b[2J"}"#, &format!("{{\"name\": {deep}")] {
        let package = evil([]).tar_bz2();
        let items: Vec<_> = package
            .info_items()
            .into_iter()
            .map(|item| if item.path == "info/index.json" { file("info/index.json", json) } else { item })
            .collect();
        let bytes = bzip2_bytes(&packages::tar(&items));
        target.refuses(&around(package.clone()).archive("evil", bytes), &["evil", "info/index.json"]);
    }
}

#[test]
fn truncated_archives() {
    let target = Target::new();
    for package in [evil([file("a", "some content")]), evil([file("a", "some content")]).tar_bz2()] {
        let whole = package.bytes();
        for part in [0, 1, 3, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let ws = around(package.clone()).archive("evil", whole[..part].to_vec());
            target.refuses(&ws, &["evil-1.0-h1234567_0"]);
        }
    }
}

/// Not the packages' doing, but as hostile: settings that runtimes were attacked with (CVE-2024-21626, CVE-2024-40635).
#[test]
fn settings_that_break_out() {
    let target = Target::new();
    for (setting, words) in [
        ("workdir = \"/proc/self/fd/8\"", ["/proc", "workdir"]),
        ("workdir = \"/srv/../../x\"", ["/srv/../../x", "absolute"]),
        ("user = \"4294967296\"", ["4294967296", "user"]),
        ("user = \"0x0\\nroot\"", ["user", "root"]),
        ("env = { \"A\\nB\" = \"x\" }", ["A\\nB", "variable"]),
    ] {
        target.refuses(&workspace([]).platforms(&["linux-64"]).oci(setting), &words);
    }
}

#[test]
fn a_prefix_in_a_file_system_of_the_kernel() {
    let target = Target::new();
    for prefix in ["/proc/1/root", "/sys/env", "/dev/env"] {
        let ws = workspace([]).platforms(&["linux-64"]).oci(&format!("prefix = {prefix:?}"));
        target.refuses(&ws, &["prefix", prefix]);
    }
}
