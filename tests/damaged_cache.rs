//! A damaged cache is a miss: whatever happens to a cached file, the result is the same, and no build stays stuck.
//!
//! `PIXI_OCI_TEST_DAMAGES=10000` tries as many; `PIXI_OCI_TEST_SEED` starts elsewhere. Damage below the file system, which
//! changes bytes and no time, is found with `--check-cache` only.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::common::{
    odd,
    packages::{Package, file, package},
    pypi::locked,
    sandbox::{Outcome, Sandbox, sha256},
    wheels::{file as wheel_file, wheel},
    workspace::workspace,
};

const DAMAGES: u64 = 60;

/// xorshift64*: the same damages for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

#[allow(clippy::disallowed_methods)] // How many damages a run makes.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The cached files by their kind: the directories above them and their extension.
fn kinds(root: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    fn visit(root: &Path, directory: &Path, found: &mut BTreeMap<String, Vec<PathBuf>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
                continue;
            }
            if path.file_name().unwrap() == "lock" {
                continue;
            }
            let below = path.parent().unwrap().strip_prefix(root).unwrap();
            let place: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).filter(|p| p.len() != 2).collect();
            let extension = path.extension().map_or("", |extension| extension.to_str().unwrap());
            found.entry(format!("{}/*.{extension}", place.join("/"))).or_default().push(path);
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found.values_mut().for_each(|files| files.sort());
    found
}

/// Damages a file, or two of one kind; says what it did.
fn damage(files: &[PathBuf], random: &mut Random) -> String {
    let path = &files[random.below(files.len())];
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let bytes = fs::read(path).unwrap();
    let time = fs::metadata(path).unwrap().modified().unwrap();
    match random.below(5) {
        kind @ (0 | 1) if !bytes.is_empty() => {
            let mut bytes = bytes;
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            fs::write(path, bytes).unwrap();
            if kind == 0 {
                // As if it had not been written to.
                File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
                return format!("byte {at} of {name} was changed, its time put back");
            }
            format!("byte {at} of {name} was changed")
        }
        2 if !bytes.is_empty() => {
            let length = random.below(bytes.len());
            File::options().write(true).open(path).unwrap().set_len(length as u64).unwrap();
            format!("{name} was cut to {length} bytes")
        }
        3 => {
            fs::rename(path, path.with_file_name(format!("x{name}"))).unwrap();
            format!("{name} was renamed")
        }
        _ => {
            let other = &files[random.below(files.len())];
            let between = path.with_file_name("between");
            fs::rename(path, &between).unwrap();
            // Where it is the same file there is nothing to change places with.
            if path != other {
                fs::rename(other, path).unwrap();
            }
            fs::rename(&between, other).unwrap();
            format!("{name} and {} changed places", other.display())
        }
    }
}

/// Whether every blob of a layout is what its name says.
fn is_sound(layout: &Path) -> bool {
    fs::read_dir(layout.join("blobs/sha256")).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        path.file_name().unwrap().to_str().unwrap() == sha256(&fs::read(&path).unwrap())
    })
}

/// 40 kB that cannot be compressed, so that each has a layer.
fn big(seed: u64) -> Package {
    let mut random = Random(seed + 1);
    let bytes: Vec<u8> = std::iter::from_fn(|| Some(random.below(256) as u8)).take(40_000).collect();
    package(&format!("big{seed}"), [file(&format!("share/big{seed}"), bytes)])
}

#[test]
fn no_damage_of_the_cache_changes_a_result_or_stays() {
    let sandbox = Sandbox::new();
    workspace([package("tool", [file("bin/tool", "x").mode(0o755)])]).write(&sandbox.path("base"));
    sandbox.build("base", "oci:bases:v1");
    let wheel = wheel("pure-wheel", [wheel_file("pure_wheel/__init__.py", "x = 1\n")]);
    workspace(odd::packages().into_iter().chain((0..3).map(big)))
        .pypi([locked(&wheel)])
        .oci_only("base = \"oci:../bases:v1\"\nprefix = \"/opt/other/env\"\n")
        .write(&sandbox.path("ws"));
    let build = || {
        let mut command = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out:x"]);
        Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB"))
    };
    let expected = build().success().stdout;

    let (damages, seed) = (number("PIXI_OCI_TEST_DAMAGES", DAMAGES), number("PIXI_OCI_TEST_SEED", 1));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let cache = sandbox.path("../cache/pixi-oci");
    let (mut wrong, mut stuck, mut warned) = (Vec::new(), Vec::new(), 0);
    let mut count: BTreeMap<String, u64> = BTreeMap::new();
    for n in 0..damages {
        let kinds = kinds(&cache);
        // Every kind as often as every other.
        let (kind, files) = kinds.iter().nth(random.below(kinds.len())).unwrap();
        *count.entry(kind.clone()).or_default() += 1;
        let what = format!("{n}: {kind}: {}", damage(files, &mut random));
        let first = build();
        let warnings = first.stderr.matches("of the cache were damaged").count();
        assert!(warnings <= 1, "{what}: one warning is enough: {}", first.stderr);
        warned += warnings;
        if first.code != Some(0) {
            let again = build();
            if again.code != Some(0) {
                stuck.push(format!("{what}: {}", again.stderr));
                fs::remove_dir_all(&cache).unwrap();
                build().success();
            }
        } else if first.stdout != expected || !is_sound(&sandbox.path("out")) {
            wrong.push(format!("{what}: {}", first.stdout));
            fs::remove_dir_all(&cache).unwrap();
            build().success();
        }
    }
    println!("{damages} damages (seed {seed}) of {count:#?}");
    println!("{warned} warnings, {} wrong results, {} stuck builds", wrong.len(), stuck.len());
    assert!(count.len() >= 8.min(damages as usize), "all kinds of files are damaged: {count:?}");
    assert!(wrong.is_empty() && stuck.is_empty(), "wrong: {wrong:#?}\nstuck: {stuck:#?}");
}
