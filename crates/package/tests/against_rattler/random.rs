//! Environments that nobody thought of: packages with every combination that the generator knows, from seeds.
//!
//! `PIXI_OCI_RANDOM_SEEDS=FROM-TO` tries other seeds; a failure names the one to try again.

use rattler_conda_types::Subdir;

use pixi_oci_testkit::packages::*;

use super::compare_one;

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const PLACEHOLDERS: [&str; 4] = ["LONG", "/opt/anaconda1anaconda2anaconda3", "/opt/old", "/opt/pixi/env/long"];

fn replaced(name: &str) -> String {
    if name == "LONG" { placeholder() } else { name.into() }
}

/// Pieces that prefix replacement might stumble over.
fn body(random: &mut Random, placeholder: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.one_in(3) {
        let start = random.of(&["#!", "#! ", "#!\t", "#!/usr/bin/env ", "\u{feff}#!", " #!"]);
        bytes.extend(start.as_bytes());
        if random.one_in(2) {
            bytes.extend(placeholder.as_bytes());
        }
        bytes.extend(
            random.of(&["/bin/python", "/bin/python -u", "/bin/sh -e -x", "/bin/a b", "/bin/python3.12 "]).bytes(),
        );
        if random.one_in(3) {
            bytes.extend(std::iter::repeat_n(b'/', random.below(130)));
        }
        bytes.extend(random.of(&["\n", "\r\n", "", "\n\n"]).as_bytes());
    }
    for _ in 0..random.below(12) {
        // A wide placeholder that is shorter than the prefix is refused, by both.
        let piece = match random.below(12) {
            2..=4 if placeholder.len() < PREFIX.len() && !random.one_in(50) => 0,
            piece => piece,
        };
        match piece {
            0 | 1 => bytes.extend(placeholder.as_bytes()),
            2 => bytes.extend(placeholder.encode_utf16().flat_map(u16::to_le_bytes)),
            3 => bytes.extend(placeholder.encode_utf16().flat_map(u16::to_be_bytes)),
            4 => bytes.extend(placeholder.chars().flat_map(|c| (c as u32).to_le_bytes())),
            5 => bytes.extend(vec![0; 1 + random.below(9)]),
            6 => bytes.extend(&placeholder.as_bytes()[..random.below(placeholder.len())]),
            7 => bytes.extend([0xff, 0xfe, 0x80]),
            8 => bytes.extend(b"/lib:"),
            9 => bytes.push(b'\n'),
            10 => bytes.extend(b"\x7fELF\0"),
            _ => bytes.extend(b"text\0"),
        }
    }
    bytes
}

/// Files and links are in directories whose names are no names of files, so that nothing is both.
fn path(random: &mut Random, noarch_python: bool) -> String {
    let tops = ["bin", "lib", "share", "etc", "Lib", "lib64", "include"];
    let mut path = if noarch_python && random.one_in(2) {
        random.of(&["site-packages", "python-scripts", "site-packages-x"]).to_owned()
    } else {
        // Two files of one package for one place are refused, and rattler takes the one that it comes to last.
        random.of(&tops[usize::from(noarch_python)..]).to_owned()
    };
    for _ in 0..random.below(3) {
        path += "/";
        path += random.of(&["d", "D", "ordner ü", "d.d", "site-packages", "..d"]);
    }
    let name = match random.below(14) {
        0 => "long".repeat(1 + random.below(60)),
        1 => "日本.so".into(),
        2 => "a'b\"c$d`e\\f".into(),
        3 => ".hidden".into(),
        4 => "-rf".into(),
        5 => "with space ".into(),
        _ => format!("{}{}", random.of(&["f", "F", "f.py", "f.so", "f.pyc"]), random.below(6)),
    };
    format!("{path}/{name}")
}

fn items(random: &mut Random, noarch_python: bool, old: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut taken = std::collections::HashSet::new();
    for _ in 0..1 + random.below(10) {
        let path = path(random, noarch_python);
        if !taken.insert(path.clone()) || (old && (path.contains(' ') || path.contains('"'))) {
            continue;
        }
        let files: Vec<Item> = items.iter().filter(|item| item.kind == tar::EntryType::Regular).cloned().collect();
        let kind = random.below(10);
        let mut item = if kind == 0 {
            let target = random.of(&["f0", "../lib/f1", "/usr/lib/x", "../../../../etc/x", ".", "a//b/", "./f0"]);
            symlink(&path, target)
        } else if kind == 1 && !files.is_empty() {
            let target = random.of(&files);
            let mut link = hard_link(&path, &target);
            if link.listed.as_ref().is_some_and(|listed| listed["path_type"] != "hardlink") {
                link.listed = None;
            }
            if random.one_in(3) && link.listed.is_some() {
                link =
                    link.list("prefix_placeholder", serde_json::Value::Null).list("file_mode", serde_json::Value::Null);
            }
            link.mtime(TIME + random.below(100) as u64)
        } else if kind == 2 {
            // rattler cannot install directories that are listed.
            directory(&format!("{path}.dir"))
        } else {
            let placeholder = replaced(random.of(&PLACEHOLDERS));
            let mut item = file(&path, body(random, &placeholder));
            if random.one_in(2) {
                let is_short = placeholder.len() < PREFIX.len() && !random.one_in(50);
                let mode = if is_short { "text" } else { random.of(&["text", "binary"]) };
                item = item.list("file_mode", mode).list("prefix_placeholder", &*placeholder);
            }
            item
        };
        if item.kind == tar::EntryType::Regular {
            item = item.mode(random.of(&[0o644, 0o755, 0o600, 0o4755, 0o775, 0o444, 0o401, 0o2711, 0o1777]));
            item =
                item.mtime(random.of(&[0, 1, 315_532_799, 315_532_801, TIME, TIME + 3, 4_000_000_000, 8_000_000_000]));
        }
        if random.one_in(8) && item.listed.is_some() && item.kind != tar::EntryType::Directory && !old {
            item = item.no_digest();
        }
        if random.one_in(12) && item.kind == tar::EntryType::Regular && item.listed.is_some() {
            item = item.list("no_link", true);
        }
        if random.one_in(12) {
            item = item.unlisted();
        }
        items.push(item);
    }
    items
}

fn environment(seed: u64) -> Vec<Package> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        random.next();
    }
    let names = ["a", "b-b", "c_c", "d.d"];
    let count = 1 + random.below(names.len());
    let mut packages = vec![python("3.12.1")];
    for name in &names[..count] {
        let noarch_python = random.one_in(3);
        let old = !noarch_python && random.one_in(5);
        let mut built = package(name, items(&mut random, noarch_python, old));
        if old {
            built = built.deprecated();
        }
        if noarch_python {
            built = built.noarch("python");
            if random.one_in(2) {
                built = built.entry_points(&[&format!("{name}-run = {}", random.of(&["m:main", "m.n:C.x"]))]);
            }
        } else if random.one_in(2) {
            built = built.depends(&[random.of(&["a", "b-b", "c_c >=1", "python"])]);
        }
        // Without this file, what is patched has the clock's time.
        built.about = Some(random.of(&[0, 315_532_800, TIME - 7, ABOUT_TIME]));
        packages.push(built);
    }
    packages
}

#[allow(clippy::disallowed_methods, reason = "a test has no command line")]
fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("PIXI_OCI_RANDOM_SEEDS").unwrap_or_else(|_| "0-40".into());
    let (from, to) = text.split_once('-').expect("FROM-TO");
    from.parse().unwrap()..to.parse().unwrap()
}

#[tokio::test]
async fn random_environments() {
    let mut refused = 0;
    for seed in seeds() {
        let format = if seed % 2 == 0 { Format::Conda } else { Format::TarBz2 };
        let packages = environment(seed);
        refused += usize::from(!compare_one(&packages, Subdir::Linux64, format, &format!("seed {seed}")).await);
    }
    // The generator must not be so nasty that nothing is compared.
    assert!(refused * 3 < seeds().count(), "{refused} of {} are refused", seeds().count());
}
