//! Equal layer keys mean equal bytes: over generated environments and options, whatever stands beside a package, in whatever
//! order the lock file has them, with however much memory and however many cores. And what the key lists changes it, in the
//! layers that it is about and in no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroUsize,
    path::Path,
};

use pixi_oci_net::ClientSettings;
use pixi_oci_plan::build;
use pixi_oci_project::{Caches, Containers, Declared, Inputs, LockUse, Project, Resources, Session};
use pixi_oci_registry::RegistryAccess;
use pixi_oci_workspace::Workspace;
use serde_json::Value;

use crate::common::{
    odd,
    packages::*,
    sandbox::{BINARY, Outcome, Sandbox},
    workspace::workspace,
};

/// As common/odd.rs: `PREFIX` stands for the placeholder.
fn text(body: &str) -> String {
    odd::text(body)
}

/// 70 kB that cannot be compressed: what is smaller shares its layer with others.
fn noise(seed: &str) -> Item {
    let start = seed.bytes().fold(1_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut random = Random(start);
    file(&format!("share/noise/{seed}"), (0..70_000).map(|_| random.next() as u8).collect::<Vec<u8>>())
}

/// The same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.next() as usize % list.len()]
    }
}

fn python(version: &str) -> Package {
    let minor = version.rsplit_once('.').unwrap().0;
    let program = format!("bin/python{minor}");
    let items = [file(&program, text("\x7fELF PREFIX/lib\0")).patched("binary").mode(0o755), noise(version)];
    package("python", items).version(version)
}

/// What may stand in an environment. A zip has the time at which it was made, so these are none.
fn pool() -> Vec<Package> {
    let tool = file("bin/tool", text("#!PREFIX/bin/sh\nPREFIX\n")).patched("text").mode(0o755);
    let real = file("lib/libx.so.1", "ELF").mode(0o755);
    let links = [
        real.clone(),
        hard_link("lib/libx-hard.so", &real),
        symlink("lib/libx.so", "libx.so.1"),
        tool.clone(),
        hard_link("bin/tool-hard", &tool),
        noise("links"),
    ];
    let pure = |name: &str| {
        let module = file(&format!("site-packages/{name}/__init__.py"), text("P = 'PREFIX'\n")).patched("text");
        let script = file(&format!("python-scripts/{name}"), text("#!PREFIX/bin/python\n")).patched("text").mode(0o755);
        package(name, [module, script, noise(name)])
            .entry_points(&[&format!("{name}-main = {name}:main")])
            .noarch("python")
    };
    let binary = file("lib/libp.so", text("\x7fELF\0PREFIX/share\0rest")).patched("binary").mode(0o755);
    let variables = file("etc/conda/env_vars.d/v.json", r#"{"V": "1"}"#);
    let small =
        |n: usize| package(&format!("small{n}"), [file(&format!("share/small{n}"), "s").mode(0o600).mtime(n as u64)]);
    let mut all = vec![
        package("links", links),
        pure("pure"),
        pure("purer"),
        package("patched", [binary, noise("patched")]),
        package("variables", [variables, noise("variables")]),
        package("generic", [file("share/generic", "g"), noise("generic")]).noarch("generic"),
        // Three that meet: whoever is there decides where the others' files go.
        package("loser", [file("bin/contested", "loser"), noise("loser")]),
        package("winner", [file("bin/contested", "winner"), noise("winner")]).depends(&["loser"]),
        package("linker", [symlink("lib64", "lib"), noise("linker")]),
        package("user", [file("lib64/x", "x"), noise("user")]),
    ];
    all.extend((0..5).map(small));
    all.into_iter().map(Package::tar_bz2).collect()
}

/// Every package layer of a build: its key, what it is, and what is in it.
struct Built {
    layers: Vec<(String, Blob, String)>,
}

/// Digest, diff id and size.
type Blob = (String, String, u64);

/// By whom a workspace is built.
#[derive(Debug, Clone, Copy)]
enum Builder {
    /// The program, on as many cores as there are, or on one.
    Program { one_core: bool },
    /// The library, with so many threads, and with so many bytes of content in memory.
    Library { threads: usize, memory: usize },
}

impl Built {
    fn of(sandbox: &Sandbox, packages: &[Package], arguments: &[&str]) -> Self {
        Self::write(sandbox, packages);
        Self::by(sandbox, Builder::Program { one_core: false }, arguments)
    }

    fn write(sandbox: &Sandbox, packages: &[Package]) {
        let _ = fs::remove_dir_all(sandbox.path("ws"));
        workspace(packages.iter().cloned()).write(&sandbox.path("ws"));
    }

    /// Builds what was written.
    fn by(sandbox: &Sandbox, builder: Builder, arguments: &[&str]) -> Self {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        let report = match builder {
            Builder::Program { one_core } => {
                let command = [&["build", "ws", "-o", "oci:out", "--json"], arguments].concat();
                let mut run = sandbox.pixi_oci(&command);
                if one_core {
                    run = sandbox.program("taskset");
                    run.args(["--cpu-list", "0", BINARY]).args(&command);
                }
                serde_json::from_str(&Outcome::of(&mut run).success().stdout).unwrap()
            }
            Builder::Library { threads, memory } => {
                assert!(arguments.is_empty(), "what the program says in its own words");
                let session = session(sandbox, threads, memory);
                let project = project(sandbox, &session);
                let to = format!("oci:{}", sandbox.path("out").display());
                serde_json::to_value(build(&project, Some(&to), &session).unwrap()).unwrap()
            }
        };
        Self::read(&report)
    }

    fn read(report: &Value) -> Self {
        let images = report["images"].as_array().unwrap().iter();
        let layers =
            images.flat_map(|image| image["layers"].as_array().unwrap()).filter(|layer| layer["kind"] == "packages");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let layer = |layer: &Value| {
            assert_eq!(layer["origin"], "made", "this is about layers that are made");
            let blob = (text(&layer["digest"]), text(&layer["diffId"]), layer["size"].as_u64().unwrap());
            (
                text(&layer["key"]),
                blob,
                layer["packages"].as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(", "),
            )
        };
        Self { layers: layers.map(layer).collect() }
    }

    /// The keys of each layer by what is in it.
    fn keys(&self) -> BTreeMap<String, BTreeSet<&str>> {
        let mut keys: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (key, _, packages) in &self.layers {
            keys.entry(packages.clone()).or_default().insert(key);
        }
        keys
    }
}

/// What the command line makes for a build without an argument, but for the resources.
pub(crate) fn session(sandbox: &Sandbox, threads: usize, memory: usize) -> Session {
    let few = NonZeroUsize::MIN;
    let caches =
        Caches { dir: pixi_oci_cachedir::Root::new(sandbox.path("../cache/pixi-oci")), layers: 0, archives: u64::MAX };
    let resources = Resources { downloads: few, solves: few, threads, memory, containers: Containers::default() };
    let mut session =
        Session::new(ClientSettings::default(), RegistryAccess::default(), caches, resources, Default::default());
    session.offline = true;
    session
}

pub(crate) fn project(sandbox: &Sandbox, session: &Session) -> Project {
    let workspace = Workspace::open(&sandbox.path("ws")).unwrap();
    let inputs = Inputs { lock_use: LockUse::Frozen, ..Inputs::default() };
    Project::open(Declared::new(workspace.into(), inputs).unwrap(), session).unwrap()
}

/// Puts the packages of the lock file into another order: those of each platform, and their entries.
fn reorder(root: &Path, random: &mut Random) {
    let path = root.join("pixi.lock");
    let text = fs::read_to_string(&path).unwrap();
    let (environments, entries) = text.split_once("\npackages:\n").unwrap();
    let mut lines: Vec<&str> = environments.lines().collect();
    for platform in lines.chunk_by_mut(|a, b| a.starts_with("      - ") == b.starts_with("      - ")) {
        if platform[0].starts_with("      - ") {
            shuffle(platform, random);
        }
    }
    let entries = format!("\n{}", entries.trim_end());
    let mut entries: Vec<&str> = entries.split("\n- ").skip(1).collect();
    shuffle(&mut entries, random);
    fs::write(path, format!("{}\npackages:\n- {}\n", lines.join("\n"), entries.join("\n- "))).unwrap();
}

fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for end in (1..list.len()).rev() {
        list.swap(end, random.next() as usize % (end + 1));
    }
}

/// Builds this many generated environments with generated options, and compares all their layers with one another.
fn equal_keys(cases: u64) {
    let sandbox = Sandbox::new();
    let pool = pool();
    // By key: the bytes, and in which cases they were made.
    let mut known: BTreeMap<String, (Blob, String, BTreeSet<u64>)> = BTreeMap::new();
    for case in 0..cases {
        let mut random = Random(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The first numbers of near seeds are near.
        let _ = (0..5).map(|_| random.next()).last();
        let mut packages: Vec<Package> = pool.iter().filter(|_| !random.next().is_multiple_of(3)).cloned().collect();
        packages.push(python(["3.12.1", "3.13.0"][random.next() as usize % 2]).tar_bz2());
        let arguments = [
            *random.of(&[&[][..], &["--set", "prefix=/srv/env"]]),
            *random.of(&[&[][..], &[], &["--compression", "gzip:1"], &["--compression", "zstd:1"]]),
            *random.of(&[&[][..], &["--set", "max-layers=15"]]),
            *random.of(&[&[][..], &["--workdir", "/srv/app"], &["--label", "a=b"]]),
            *random.of(&[&[][..], &["--arch", "amd64"]]),
        ];
        let mut arguments = arguments.concat();
        let builder = match random.next() % 3 {
            0 => {
                arguments.clear();
                // Contents wait in a file: all of them, the larger ones, or none.
                let memory = *random.of(&[0, 1, 4_000, 80_000, 300_000, 10 << 20]);
                Builder::Library { threads: *random.of(&[1, 2, 5]), memory }
            }
            n => Builder::Program { one_core: n == 1 },
        };
        Built::write(&sandbox, &packages);
        reorder(&sandbox.path("ws"), &mut random);
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let context = format!("case {case}: {builder:?} {} {names:?}", arguments.join(" "));
        for (key, blob, held) in Built::by(&sandbox, builder, &arguments).layers {
            let (first, other, seen) =
                known.entry(key.clone()).or_insert_with(|| (blob.clone(), context.clone(), BTreeSet::new()));
            assert_eq!(*first, blob, "key {key} of {held} stands for different bytes:\n  {other}\n  {context}");
            seen.insert(case);
        }
    }
    // It is about something: many layers come in several cases, and many keys are of different bytes.
    let shared = known.values().filter(|(_, _, seen)| seen.len() > 1).count();
    let contents: BTreeSet<&Blob> = known.values().map(|(blob, _, _)| blob).collect();
    assert!(shared >= 10 && contents.len() >= 30, "{shared} keys in several cases, {} contents", contents.len());
}

#[test]
fn equal_keys_mean_equal_bytes() {
    equal_keys(10);
}

#[test]
#[ignore = "slow: 400 generated environments"]
fn equal_keys_mean_equal_bytes_often() {
    equal_keys(400);
}

/// What is changed, and the packages whose layers then have other keys.
#[test]
fn what_the_key_lists_changes_it_and_nothing_else_does() {
    let sandbox = Sandbox::new();
    let only = |names: &[&str]| -> Vec<Package> {
        let mut chosen: Vec<Package> = pool().into_iter().filter(|p| names.contains(&p.name.as_str())).collect();
        chosen.push(python("3.12.1").tar_bz2());
        chosen
    };
    let names = ["links", "pure", "patched", "generic", "loser", "user"];
    let base = only(&names);
    let with = |more: &str| only(&[&names[..], &[more]].concat());
    let without_python = |version: &str| -> Vec<Package> {
        let mut packages = base.clone();
        packages.pop();
        packages.push(python(version).tar_bz2());
        packages
    };
    let newer = |name: &str| -> Vec<Package> {
        let newer = |p: &Package| if p.name == name { p.clone().version("1.1") } else { p.clone() };
        base.iter().map(newer).collect()
    };
    let all = ["links", "pure", "patched", "generic", "loser", "user", "python"];
    let first = Built::of(&sandbox, &base, &[]);
    let before = first.keys();
    assert_eq!(before.len(), all.len(), "a layer for each: {before:#?}");
    // For both architectures: one key where the package is the same.
    let keys_of = |name: &str| before.iter().find(|(held, _)| held.starts_with(&format!("{name} "))).unwrap().1.len();
    assert_eq!((keys_of("generic"), keys_of("pure"), keys_of("links")), (1, 1, 2));

    for (what, packages, arguments, changed) in [
        ("nothing", base.clone(), &[][..], &[][..]),
        ("settings of the image", base.clone(), &["--workdir", "/srv", "--label", "a=b", "--env", "X=1"], &[]),
        ("the prefix", base.clone(), &["--set", "prefix=/srv/env"], &all),
        ("the compressor's level", base.clone(), &["--compression", "gzip:1"], &all),
        ("the compressor", base.clone(), &["--compression", "zstd"], &all),
        ("another interpreter", without_python("3.13.0"), &[], &["python", "pure"]),
        ("another patch of the interpreter", without_python("3.12.2"), &[], &["python"]),
        ("another version of a package", newer("links"), &[], &["links"]),
        ("a package beside them", with("variables"), &[], &[]),
        ("one that wins a path", with("winner"), &[], &["loser"]),
        ("one that has a link above a path", with("linker"), &[], &["user"]),
    ] {
        let built = Built::of(&sandbox, &packages, arguments);
        let after = built.keys();
        let name = |held: &String| held.split(' ').next().unwrap().to_owned();
        let old: BTreeMap<String, &BTreeSet<&str>> = before.iter().map(|(held, keys)| (name(held), keys)).collect();
        let differ: BTreeSet<String> = after
            .iter()
            .filter(|(held, keys)| old.get(&name(held)).is_some_and(|old| old != keys))
            .map(|(held, _)| name(held))
            .collect();
        assert_eq!(differ, changed.iter().map(|name| (*name).to_owned()).collect(), "{what}");
    }
}
