//! A damaged cache is a miss: whatever happens to a cached file, the result is the same, and no build stays stuck.
//!
//! Some files are damaged at a time, then everything that reads the cache is run: `lock`, `build` and `publish`.
//! `cargo test --release -p pixi-oci --test main damages -- --ignored --nocapture` tries ten thousand, up to forty between two runs;
//! `PIXI_OCI_TEST_DAMAGES` is another number, and `PIXI_OCI_TEST_SEED` starts elsewhere. Damage below the file system, which changes bytes and no time, is found with
//! `--check-cache` only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use pixi_oci_test_registry::{Profile, Registry};

use crate::common::{
    channel::{self, entry},
    channel_server::ChannelServer,
    odd,
    packages::{Package, file, package},
    pypi::locked,
    sandbox::{Outcome, Sandbox, sha256},
    server::serve,
    wheels::{file as wheel_file, wheel},
    workspace::workspace,
};

const DAMAGES: u64 = 60;
const MANY_DAMAGES: u64 = 10_000;

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

/// 40 kB that cannot be compressed, so that each has a layer.
fn big(seed: u64) -> Package {
    let mut random = Random(seed + 1);
    let bytes: Vec<u8> = std::iter::from_fn(|| Some(random.below(256) as u8)).take(40_000).collect();
    package(&format!("big{seed}"), [file(&format!("share/big{seed}"), bytes)])
}

/// Workspaces, a channel, an index and a registry on this machine, and a cache that is warm.
struct Machine {
    sandbox: Sandbox,
    registry: Registry,
    published: u64,
}

/// What the commands gave.
#[derive(Debug, PartialEq)]
struct Results {
    lock: String,
    digests: [String; 2],
}

impl Machine {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        workspace([package("tool", [file("bin/tool", "x").mode(0o755)])]).write(&sandbox.path("base"));
        sandbox.build("base", "oci:bases:v1");
        let wheel = wheel("pure-wheel", [wheel_file("pure_wheel/__init__.py", "x = 1\n")]);
        let server = ChannelServer::new(&sandbox.path("ws/channel"));
        workspace(odd::packages().into_iter().chain((0..3).map(big)))
            .pypi([locked(&wheel).at(&serve(&sandbox.path("ws/wheels")))])
            .channel(&server.address)
            .oci_only("base = \"oci:../bases:v1\"\nprefix = \"/opt/other/env\"\n")
            .write(&sandbox.path("ws"));
        channel::write(
            &sandbox.path("channel"),
            &[entry("noarch/flask-3.0-py_0", &["ssl"]), entry("noarch/ssl-3.3-0", &[])],
        );
        fs::create_dir(sandbox.path("locked")).unwrap();
        let manifest = format!(
            "[workspace]\nname = \"x\"\nplatforms = [\"linux-64\"]\nchannels = [{:?}]\n[dependencies]\nflask = \"*\"\n",
            serve(&sandbox.path("channel"))
        );
        fs::write(sandbox.path("locked/pixi.toml"), manifest).unwrap();
        Self { sandbox, registry: Registry::start(Profile::distribution_3_1()), published: 0 }
    }

    /// Runs everything that reads the cache.
    ///
    /// # Errors
    /// What a command said that failed.
    fn run(&mut self) -> Result<(Results, usize), String> {
        let sandbox = &self.sandbox;
        let mut warnings = 0;
        let mut run = |arguments: &[&str]| {
            let mut command = sandbox.pixi_oci(arguments);
            command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB").env("VERSION", "1.0.0-dev");
            let outcome = Outcome::of(&mut command);
            let said = outcome.stderr.matches("of the cache were damaged").count();
            assert!(said <= 1, "one warning is enough: {}", outcome.stderr);
            warnings += said;
            if outcome.code == Some(0) { Ok(outcome.stdout) } else { Err(format!("{arguments:?}: {}", outcome.stderr)) }
        };
        let _ = fs::remove_file(sandbox.path("locked/pixi.lock"));
        run(&["lock", "locked"])?;
        let lock = fs::read_to_string(sandbox.path("locked/pixi.lock")).unwrap();
        let built = run(&["build", "ws", "-o", "oci:out:x"])?;
        // Another repository each time, so that blobs are linked from what the notes say was sent.
        self.published += 1;
        if self.published.is_multiple_of(20) {
            self.registry = Registry::start(Profile::distribution_3_1());
        }
        let to = self.registry.reference(&format!("app{}", self.published));
        let published = run(&["publish", "ws", "--publish", "--to", &to])?;
        let digest = |text: &str| text.trim().rsplit('@').next().unwrap_or_default().to_owned();
        Ok((Results { lock, digests: [digest(&built), digest(&published)] }, warnings))
    }

    /// Whether every blob in the layout is what its name says, and every tag of the registry whole.
    fn is_sound(&self) -> bool {
        let blobs = fs::read_dir(self.sandbox.path("out/blobs/sha256")).unwrap();
        let is_whole = |path: PathBuf| path.file_name().unwrap().to_str().unwrap() == sha256(&fs::read(&path).unwrap());
        blobs.map(|entry| entry.unwrap().path()).all(is_whole) && self.registry.broken_tags().is_empty()
    }

    fn cache(&self) -> PathBuf {
        self.sandbox.path("../cache/pixi-oci")
    }

    fn start_again(&mut self) {
        fs::remove_dir_all(self.cache()).unwrap();
        self.run().unwrap();
    }
}

#[test]
fn no_damage_of_the_cache_changes_a_result_or_stays() {
    damage_caches(DAMAGES, 8);
}

#[test]
#[ignore = "slow"]
fn nor_do_ten_thousand_damages() {
    damage_caches(number("PIXI_OCI_TEST_DAMAGES", MANY_DAMAGES), 40);
}

/// Makes damages, from one up to `at_once` between two runs, each of a file by itself or with one of its kind.
#[allow(clippy::print_stdout)] // What it is run for.
fn damage_caches(damages: u64, at_once: usize) {
    let start = Instant::now();
    let mut machine = Machine::new();
    let (expected, _) = machine.run().unwrap();
    let seed = number("PIXI_OCI_TEST_SEED", 1);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut wrong, mut stuck, mut warned, mut done, mut runs) = (Vec::new(), Vec::new(), 0, 0, 0);
    let mut count: BTreeMap<String, u64> = BTreeMap::new();
    while done < damages {
        let mut what = Vec::new();
        runs += 1;
        for _ in 0..=random.below(at_once) {
            let kinds = kinds(&machine.cache());
            // Every kind as often as every other.
            let (kind, files) = kinds.iter().nth(random.below(kinds.len())).unwrap();
            *count.entry(kind.clone()).or_default() += 1;
            what.push(format!("{done}: {kind}: {}", damage(files, &mut random)));
            done += 1;
        }
        match machine.run() {
            Ok((results, warnings)) => {
                warned += warnings;
                if results != expected || !machine.is_sound() {
                    wrong.push(format!("{what:?}: {results:?}"));
                    machine.start_again();
                }
            }
            Err(_) => {
                if let Err(said) = machine.run() {
                    stuck.push(format!("{what:?}: {said}"));
                    machine.start_again();
                }
            }
        }
    }
    println!("{done} damages in {runs} runs (seed {seed}), {:.0?}, of {count:#?}", start.elapsed());
    println!("{warned} warnings, {} wrong results, {} stuck builds", wrong.len(), stuck.len());
    let parts: BTreeSet<&str> = count.keys().filter_map(|kind| kind.split('/').next()).collect();
    let all = ["archives", "base", "facts", "layers", "pushed", "repodata"];
    assert!(done < DAMAGES || all.iter().all(|part| parts.contains(part)), "all kinds are damaged: {count:?}");
    assert!(wrong.is_empty() && stuck.is_empty(), "wrong: {wrong:#?}\nstuck: {stuck:#?}");
}
