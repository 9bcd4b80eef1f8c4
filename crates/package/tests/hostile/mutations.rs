//! Thousands of damaged archives: whatever is in one, the answer is a tree or an error, never a panic, and never long in
//! coming. Mutations are the same in every run.

use std::{fs, path::Path};

use pixi_oci_layer::{ContentStore, MemoryBudget};
use pixi_oci_package::source_tree;
use pixi_oci_wheel::{WheelExpected, read_wheel};

use super::*;

/// xorshift64*: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n.max(1) as u64) as usize
    }
}

/// Damages some bytes in one to four places.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    const ODD: [&[u8]; 12] = [
        b"",
        b"\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\0\0\0\0\0\0\0\0",
        b"77777777777",
        b"../",
        b"/",
        b"-1",
        b"99999999999999999999",
        b"PK\x05\x06",
        b"\xe2\x80\xae",
        b"\"",
    ];
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(24)).min(bytes.len());
        match random.below(8) {
            0..=2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            4 => bytes.truncate(at),
            5 => drop(bytes.splice(at..end, [])),
            6 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            _ => {
                let odd = ODD[random.below(ODD.len())];
                let end = if random.below(2) == 0 { at } else { (at + odd.len()).min(bytes.len()) };
                drop(bytes.splice(at..end, odd.iter().copied()));
            }
        }
    }
}

/// Makes the checksums of a tar's headers right again, so that what is in them is looked at.
fn sum(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// A package with some of everything.
fn whole() -> Package {
    let real = file("lib/libx.so.1", placeholder() + "\0").patched("binary").mode(0o755);
    let name = "n".repeat(140);
    package(
        "evil",
        [
            real.clone(),
            symlink("lib/libx.so", "libx.so.1"),
            hard_link("lib/hard", &real),
            file("site-packages/x.py", "x = 1\n"),
            file(&format!("share/{name}"), placeholder()).patched("text"),
            Item { before: pax(&[("mtime", "1700000000.5"), ("path", "share/cut")]), ..file("share/cut", "pax") },
            directory("var/empty").list("path_type", "directory"),
        ],
    )
    .noarch("python")
    .entry_points(&["x = x:main"])
}

fn try_package(directory: &Path, package: &Package, bytes: Vec<u8>) -> bool {
    let built = package.write_bytes(directory, bytes);
    trees(&[python("3.12.1").write(directory), built], Subdir::Linux64).is_ok()
}

#[test]
fn damaged_archives() {
    let directory = TempDir::new().unwrap();
    let mut random = Random(0x5eed);
    let (package, mut whole_ones) = (whole(), 0);
    assert!(try_package(directory.path(), &package, package.bytes()));
    for round in 0..400 {
        // What is inside, then what it is packed in.
        let mut info = tar(&package.info_items());
        let mut contents = tar(&package.contents());
        match round % 4 {
            0 => damage(&mut random, &mut info),
            1 | 2 => damage(&mut random, &mut contents),
            _ => {}
        }
        if round % 8 != 2 {
            sum(&mut info);
            sum(&mut contents);
        }
        let mut packed = if round % 3 == 0 {
            info.truncate(info.len().saturating_sub(1024));
            bzip2_bytes(&[info, contents].concat())
        } else {
            let stem = "evil-1.0-h1234567_0";
            zip(&[
                ("metadata.json".into(), br#"{"conda_pkg_format_version": 2}"#.to_vec()),
                (format!("pkg-{stem}.tar.zst"), zstd::encode_all(&*contents, 1).unwrap()),
                (format!("info-{stem}.tar.zst"), zstd::encode_all(&*info, 1).unwrap()),
            ])
        };
        if round % 4 == 3 {
            damage(&mut random, &mut packed);
        }
        whole_ones += usize::from(try_package(directory.path(), &package, packed));
    }
    // Some damage is in a file's content or in what nobody reads; most is noticed.
    assert!((1..250).contains(&whole_ones), "{whole_ones}");
}

#[test]
fn damaged_lists_of_paths() {
    let directory = TempDir::new().unwrap();
    let mut random = Random(0x11575);
    let whole = whole();
    let text = whole.info_items().into_iter().find(|item| item.path == "info/paths.json").unwrap().body;
    for _ in 0..150 {
        let mut bytes = text.clone();
        damage(&mut random, &mut bytes);
        let package = whole.clone().paths_json(String::from_utf8_lossy(&bytes));
        try_package(directory.path(), &package, package.bytes());
    }
}

#[test]
fn damaged_source_archives_and_wheels() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("evil");
    let mut random = Random(0xd15);
    let items = [file("evil-1.0/PKG-INFO", "Name: evil\n"), symlink("evil-1.0/l", "PKG-INFO"), directory_of_sources()];
    let record =
        "evil/__init__.py,,\nevil-1.0.dist-info/METADATA,,\nevil-1.0.dist-info/WHEEL,,\nevil-1.0.dist-info/RECORD,,\n";
    let wheel = [
        ("evil/__init__.py", "x"),
        ("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"),
        ("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("evil-1.0.dist-info/RECORD", record),
    ];
    let wheel: Vec<_> = wheel.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
    let expected =
        WheelExpected { file_name: "evil-1.0-py3-none-any.whl".into(), name: "evil".into(), version: "1.0".into() };
    for round in 0..300 {
        let mut sources = tar(&items);
        damage(&mut random, &mut sources);
        sum(&mut sources);
        fs::write(&path, bzip2_bytes(&sources)).unwrap();
        let mut store = ContentStore::new(&MemoryBudget::new(1 << 20), directory.path());
        let _ = source_tree(&path, "evil-1.0.tar.bz2", &mut store);

        let mut members = wheel.clone();
        if round % 2 == 0 {
            let at = random.below(members.len());
            damage(&mut random, &mut members[at].1);
        }
        let mut bytes = zip(&members);
        if round % 2 == 1 {
            damage(&mut random, &mut bytes);
        }
        fs::write(&path, bytes).unwrap();
        let _ = read_wheel(&path, &expected);
    }
}

fn directory_of_sources() -> Item {
    directory("evil-1.0/src/")
}

/// Of an archive that is somewhere else only the end is here, and holes.
#[test]
fn damaged_parts_of_archives() {
    let bytes = package("a", [file("bin/a", "a"), file("lib/b", vec![1; 3000])]).bytes();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("part");
    let record = package("a", []).record();
    for seed in 1..2000 {
        let mut random = Random(seed);
        let mut copy = bytes.clone();
        damage(&mut random, &mut copy);
        let end = copy.len() as u64;
        let begin = end.saturating_sub([300, 900, 1 << 20][random.below(3)]);
        copy[..begin as usize].fill(0);
        fs::write(&path, &copy).unwrap();
        let end_of = begin..end;
        let here = std::slice::from_ref(&end_of);
        let missing = pixi_oci_package::missing_info(&path, here, &record);
        let read = pixi_oci_package::read_info_part(&path, here, &record);
        // Nothing is read out of a hole.
        if missing.is_ok_and(|missing| !missing.is_empty()) {
            assert!(read.is_err(), "seed {seed}");
        }
    }
}
