//! What `pixi-oci lock` chooses is what py-rattler, the same solver under another's hand, chooses from the same channels
//! for the same requirements. `tests/run` gets it; without `PIXI_OCI_PY_RATTLER` the test is skipped aloud.
//!
//! Each case is an environment of one workspace, so that composing features is under test, too.

use pixi_oci_test_need::From;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use rattler_lock::LockFile;
use serde_json::{Value, json};

use crate::common::{
    channel::{self, Entry},
    sandbox::Sandbox,
};

const CASES: usize = 50;
const PACKAGES: u64 = 24;
const CHANNELS: [&str; 3] = ["one", "two", "three"];

/// A linear congruential generator (Knuth's MMIX): the same cases for everybody.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// What versions 1.0 to 5.1 could be asked for.
    fn versions(&mut self) -> String {
        let (low, high) = (1 + self.below(4), 3 + self.below(3));
        match self.below(6) {
            0 => format!(">={low}"),
            1 => format!(">={low},<{}", high.max(low + 1)),
            2 => format!("<{high}"),
            3 => format!("{low}.*"),
            4 => format!("!={low}.0"),
            _ => "*".to_owned(),
        }
    }
}

/// Packages `p0` to `p23`: a dependency has a lower number than what depends on it, so that there is an end.
fn make_channel(random: &mut Random, share: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    for number in 0..PACKAGES {
        if random.below(10) >= share {
            continue;
        }
        let is_noarch = random.one_in(3);
        for major in 1..=5 {
            if random.one_in(4) {
                continue;
            }
            for build_number in 0..=random.below(2) {
                let mut depends = BTreeSet::new();
                for _ in 0..random.below(4).min(number) {
                    depends.insert(format!("p{} {}", random.below(number), random.versions()));
                }
                match random.below(12) {
                    0 => drop(depends.insert(format!("__glibc >=2.{}", 17 + random.below(20)))),
                    1 => drop(depends.insert(format!("__cuda >={}", 11 + random.below(3)))),
                    2 => drop(depends.insert("__archspec * x86_64".to_owned())),
                    3 => drop(depends.insert("__unix".to_owned())),
                    _ => {}
                }
                // Not itself: a debug build of resolvo 0.12.2 stumbles over that.
                let other = (number + 1 + random.below(PACKAGES - 1)) % PACKAGES;
                let constrains = random.one_in(5).then(|| format!("p{other} {}", random.versions()));
                let subdirs: &[&str] = if is_noarch { &["noarch"] } else { &["linux-64", "linux-aarch64"] };
                for subdir in subdirs {
                    entries.push(Entry {
                        subdir: (*subdir).to_owned(),
                        name: format!("p{number}"),
                        version: format!("{major}.{}", build_number % 2),
                        build: format!("h{share}_{build_number}"),
                        build_number,
                        depends: depends.iter().cloned().collect(),
                        constrains: constrains.iter().cloned().collect(),
                        timestamp: Some(1_700_000_000_000 + major * 1000),
                    });
                }
            }
        }
    }
    entries
}

struct Case {
    channels: Vec<&'static str>,
    specs: BTreeMap<String, String>,
    constraints: BTreeMap<String, String>,
    priority: &'static str,
    strategy: &'static str,
    cuda: Option<u64>,
}

fn case(random: &mut Random) -> Case {
    let mut channels = CHANNELS.to_vec();
    for _ in 0..random.below(3) {
        channels.rotate_left(1);
    }
    channels.truncate(1 + random.below(3) as usize);
    let mut named = |most: u64| -> BTreeMap<String, String> {
        (0..most).map(|_| (format!("p{}", random.below(PACKAGES)), random.versions())).collect()
    };
    let (specs, constraints) = (named(3), named(2));
    Case {
        channels,
        specs,
        constraints: if random.one_in(3) { constraints } else { BTreeMap::new() },
        priority: random.of(&["strict", "strict", "disabled"]),
        strategy: random.of(&["highest", "highest", "lowest", "lowest-direct"]),
        cuda: random.one_in(3).then(|| 11 + random.below(3)),
    }
}

impl Case {
    /// As a feature and an environment that has nothing else.
    fn manifest(&self, name: &str) -> (String, String) {
        let mut feature = format!("[feature.{name}]\nchannel-priority = \"{}\"\n", self.priority);
        writeln!(feature, "solve-strategy = \"{}\"", self.strategy).unwrap();
        let channels: Vec<_> = self.channels.iter().map(|channel| format!("\"./{channel}\"")).collect();
        writeln!(feature, "channels = [{}]", channels.join(", ")).unwrap();
        if let Some(cuda) = self.cuda {
            writeln!(feature, "[feature.{name}.system-requirements]\ncuda = \"{cuda}\"").unwrap();
        }
        for (table, specs) in [("dependencies", &self.specs), ("constraints", &self.constraints)] {
            writeln!(feature, "[feature.{name}.{table}]").unwrap();
            for (package, spec) in specs {
                writeln!(feature, "{package} = \"{spec}\"").unwrap();
            }
        }
        (feature, format!("{name} = {{ features = [\"{name}\"], no-default-feature = true }}\n"))
    }

    fn problem(&self, root: &Path, subdir: &str) -> Value {
        let texts = |specs: &BTreeMap<String, String>| -> Vec<String> {
            specs.iter().map(|(name, spec)| format!("{name} {spec}")).collect()
        };
        let architecture = if subdir == "linux-64" { "x86_64" } else { "aarch64" };
        // What pixi assumes of every linux machine.
        let mut virtual_packages: Vec<String> =
            ["__unix=0=0", "__linux=4.18", "__glibc=2.28"].map(str::to_owned).to_vec();
        virtual_packages.push(format!("__archspec=0={architecture}"));
        virtual_packages.extend(self.cuda.map(|cuda| format!("__cuda={cuda}")));
        let channels: Vec<_> =
            self.channels.iter().map(|channel| format!("file://{}/", root.join(channel).display())).collect();
        json!({
            "channels": channels, "subdir": subdir, "specs": texts(&self.specs), "constraints": texts(&self.constraints),
            "virtual_packages": virtual_packages, "channel_priority": self.priority, "strategy": self.strategy,
        })
    }
}

fn py_rattler(directory: &Path, problems: &[Value]) -> Vec<Option<BTreeSet<String>>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/solve-with-py-rattler");
    let mut child = Command::new("python3")
        .arg(script)
        .env("PYTHONPATH", directory.join("lib"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(Value::from(problems).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Environment and subdir to the URLs of the packages.
fn locked(root: &Path) -> BTreeMap<(String, String), BTreeSet<String>> {
    let lock = LockFile::from_path(&root.join("pixi.lock")).unwrap();
    let mut all = BTreeMap::new();
    for (name, environment) in lock.environments() {
        for platform in environment.platforms() {
            let packages = environment.packages(platform).into_iter().flatten();
            let urls = packages.map(|package| format!("file://{}", package.location())).collect();
            all.insert((name.to_owned(), platform.subdir().to_string()), urls);
        }
    }
    all
}

const MANIFEST: &str = "[workspace]\nname = \"cases\"\nchannels = []\nplatforms = [\"linux-64\", \"linux-aarch64\"]\n";

#[test]
fn the_same_packages_as_py_rattler_chooses() {
    // Its wheel is pinned for one architecture.
    let from = if cfg!(target_arch = "x86_64") { From::Debian } else { From::Machine };
    let Some(oracle) = pixi_oci_test_need::path("PIXI_OCI_PY_RATTLER", from) else { return };
    let sandbox = Sandbox::new();
    let root = fs::canonicalize(sandbox.path("")).unwrap();
    let mut random = Random(20_261_121);
    for (name, share) in CHANNELS.into_iter().zip([7, 8, 9]) {
        channel::write(&root.join(name), &make_channel(&mut random, share));
    }
    let cases: Vec<(String, Case)> = (0..CASES).map(|number| (format!("c{number:02}"), case(&mut random))).collect();
    let subdirs = ["linux-64", "linux-aarch64"];
    let problems: Vec<Value> =
        cases.iter().flat_map(|(_, case)| subdirs.map(|subdir| case.problem(&root, subdir))).collect();
    let answers = py_rattler(Path::new(&oracle), &problems);

    let (mut features, mut environments, mut expected) = (String::new(), String::new(), BTreeMap::new());
    let (mut impossible, mut packages) = (0, 0);
    for ((name, case), answers) in cases.iter().zip(answers.chunks(2)) {
        let (feature, environment) = case.manifest(name);
        if answers.iter().any(Option::is_none) {
            fs::write(root.join("pixi.toml"), format!("{MANIFEST}{feature}[environments]\n{environment}")).unwrap();
            let outcome = sandbox.run(&["lock", "--dry-run"]);
            assert_eq!(outcome.code, Some(1), "{name}: py-rattler finds nothing for\n{feature}\n{outcome:?}");
            impossible += 1;
            continue;
        }
        features.push_str(&feature);
        environments.push_str(&environment);
        for (subdir, answer) in subdirs.into_iter().zip(answers) {
            packages += answer.as_ref().map_or(0, BTreeSet::len);
            expected.insert((name.clone(), subdir.to_owned()), answer.clone().unwrap());
        }
    }
    // Else the cases say nothing.
    assert!((5..=CASES / 2).contains(&impossible) && packages > 200, "{impossible} impossible, {packages} packages");
    fs::write(root.join("pixi.toml"), format!("{MANIFEST}{features}[environments]\n{environments}")).unwrap();
    sandbox.run(&["lock", "-q"]).success();
    let mut found = locked(&root);
    found.retain(|(environment, _), _| environment != "default");
    for (key, answer) in &expected {
        assert_eq!(found.get(key), Some(answer), "{key:?}");
    }
    assert_eq!(found.len(), expected.len());
    // And again with everything preferred that was chosen.
    sandbox.run(&["lock", "--check", "-q"]).success();
}
