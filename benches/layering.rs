//! How many bytes the layering pushes over the history of a lock file, against the least possible.
//!
//! `cargo run --locked --example layering -- HISTORY.json.gz...`
//!
//! A history is gzip'd JSON, `{repo, path, packages, versions}`: `packages` has
//! `[key, name, version, build, kind, size, est, ts, flags, deps]` with `kind` `c` for conda packages and `flags` `y` for
//! `noarch: python`; `versions` has `{commit, date, lockver, envs: {ENVIRONMENT: {PLATFORM: [index into packages]}}}`.
//!
//! For each environment on linux-64 that ever changed it prints one line: the bytes of new layers over all
//! updates, divided by the bytes of new packages (the least possible), by those of all packages (one layer for
//! everything), and what a client fetches that reuses a layer only when all below it are the same. The exit status is 1
//! when a goal is missed: no more than 100 layers; 1.05 times the least possible with ten versions or more, else 1.9; and on
//! average over environments of ten versions and more than 95 packages 1.12, and 0.65 of all for such a client.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    process::ExitCode,
};

use pixi_oci_pipeline::{LayerPart, SizedPackage, group, package_layers};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

const MAX_LAYERS: usize = 100;
const SPLIT_ABOVE: u64 = 256 << 20;
const PLATFORM: &str = "linux-64";

#[derive(Deserialize)]
struct History {
    repo: String,
    packages: Vec<Package>,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the fields have their places in a list")]
struct Package(String, String, String, String, String, Option<u64>, u8, Option<i64>, String, serde::de::IgnoredAny);

#[derive(Deserialize)]
struct Version {
    envs: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

/// The packages of one version, by name: what tells whether their bytes changed, and their size.
type Packages = BTreeMap<String, (String, u64)>;

/// A layer, bottom first: what is in it, and the bytes of the archives, or of the part of one.
type Layers = Vec<(BTreeSet<String>, Option<LayerPart>, u64)>;

#[derive(Default)]
struct Sums {
    updates: usize,
    optimum: u64,
    pushed: u64,
    full: u64,
    chained: u64,
    ratios: Vec<f64>,
    most_layers: usize,
    counts: Vec<usize>,
}

fn main() -> ExitCode {
    let mut missed = Vec::new();
    let mut big = Vec::new();
    println!(
        "| history | environment | packages | updates | / least | / least, p90 of updates | / all | chained / all | layers |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    for path in std::env::args().skip(1) {
        let file = File::open(&path).expect("a history");
        let history: History = serde_json::from_reader(flate2::read::MultiGzDecoder::new(file)).expect("a history");
        let environments: BTreeSet<&String> = history.versions.iter().flat_map(|version| version.envs.keys()).collect();
        for environment in environments {
            let series: Vec<Packages> =
                history.versions.iter().filter_map(|v| packages(&history, v, environment)).collect();
            let sums = replay(&series);
            if sums.updates == 0 {
                continue;
            }
            let name = format!("{} {environment}", history.repo);
            let (ratio, chained) = (part(sums.pushed, sums.optimum), part(sums.chained, sums.full));
            let packages = middle(&sums.counts);
            println!(
                "| {} | {environment} | {packages} | {} | {ratio:.3} | {:.2} | {:.1} % | {:.1} % | {} |",
                history.repo,
                sums.updates,
                percentile(&sums.ratios, 90),
                100.0 * part(sums.pushed, sums.full),
                100.0 * chained,
                sums.most_layers
            );
            if sums.most_layers + 5 > MAX_LAYERS {
                missed.push(format!("{name}: {} package layers", sums.most_layers));
            }
            let enough = sums.counts.len() >= 10;
            let goal = if enough { 1.05 } else { 1.9 };
            if ratio > goal {
                missed.push(format!("{name}: {ratio:.3} times the least possible, {goal} is the goal"));
            }
            if enough && packages > 95 {
                big.push((ratio, chained));
            }
        }
    }
    if !big.is_empty() {
        let mean = |of: fn(&(f64, f64)) -> f64| big.iter().map(of).sum::<f64>() / big.len() as f64;
        let (ratio, chained) = (mean(|b| b.0), mean(|b| b.1));
        println!(
            "\n{} environments of ten versions and more than 95 packages: {ratio:.3} times the least possible, chained {:.1} % of all",
            big.len(),
            100.0 * chained
        );
        if ratio > 1.12 {
            missed.push(format!("{ratio:.3} times the least possible on average, 1.12 is the goal"));
        }
        if chained > 0.65 {
            missed.push(format!("chained {chained:.3} of all on average, 0.65 is the goal"));
        }
    }
    missed.iter().for_each(|what| eprintln!("missed: {what}"));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The conda packages of an environment. A `noarch: python` package is another one with another Python.
fn packages(history: &History, version: &Version, environment: &str) -> Option<Packages> {
    let all: Vec<&Package> =
        version.envs.get(environment)?.get(PLATFORM)?.iter().map(|&index| &history.packages[index]).collect();
    let minor = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    let python = all.iter().find(|package| package.1 == "python").map(|package| minor(&package.2)).unwrap_or_default();
    let conda = all.into_iter().filter(|package| package.4 == "c");
    Some(
        conda
            .map(|package| {
                let suffix = if package.8.contains('y') { &python } else { "" };
                (package.1.clone(), (format!("{} {suffix}", package.0), package.5.unwrap_or(0)))
            })
            .collect(),
    )
}

fn replay(series: &[Packages]) -> Sums {
    let mut sums = Sums::default();
    let mut before: Option<(&Packages, Layers)> = None;
    for packages in series {
        if before.as_ref().is_some_and(|(known, _)| *known == packages) {
            continue;
        }
        let layers = layers(packages);
        sums.counts.push(packages.len());
        sums.most_layers = sums.most_layers.max(layers.len());
        if let Some((known, below)) = &before {
            let known: HashSet<&String> = known.values().map(|(key, _)| key).collect();
            let optimum = packages.values().filter(|(key, _)| !known.contains(key)).map(|(_, size)| size).sum::<u64>();
            let pushed = layers.iter().filter(|layer| !below.contains(layer)).map(|(.., size)| size).sum::<u64>();
            let same = layers.iter().zip(below).take_while(|(a, b)| a == b).count();
            sums.updates += 1;
            sums.optimum += optimum;
            sums.pushed += pushed;
            sums.full += packages.values().map(|(_, size)| size).sum::<u64>();
            sums.chained += layers[same..].iter().map(|(.., size)| size).sum::<u64>();
            if optimum >= 100_000 {
                sums.ratios.push(part(pushed, optimum));
            }
        }
        before = Some((packages, layers));
    }
    sums
}

/// What the build makes of the packages, and a check that it is the same whatever their order.
fn layers(packages: &Packages) -> Layers {
    let names: Vec<&String> = packages.keys().collect();
    let sized = |names: &[&String]| -> Vec<SizedPackage> {
        names.iter().map(|name| SizedPackage::new((*name).clone(), packages[*name].1, SPLIT_ABOVE)).collect()
    };
    let grouped = |names: &[&String]| -> Layers {
        let groups = group(&sized(names), package_layers(MAX_LAYERS, 3).expect("enough layers"));
        let keys = |group: &pixi_oci_pipeline::LayerGroup| {
            group.packages.iter().map(|&i| packages[names[i]].0.clone()).collect()
        };
        let layers = groups.iter().flat_map(|group| group.layers().map(|(part, size)| (keys(group), part, size)));
        layers.collect()
    };
    let mut shuffled = names.clone();
    shuffled.sort_by_key(|name| Sha256::digest(name.as_bytes()));
    let layers = grouped(&names);
    assert_eq!(layers, grouped(&shuffled), "the plan depends on the order of its input");
    let together: usize =
        layers.iter().filter(|(_, part, _)| part.is_none_or(|part| part.index == 1)).map(|(keys, ..)| keys.len()).sum();
    assert_eq!(together, packages.len(), "a package is in no layer or in two");
    layers
}

fn part(some: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { some as f64 / all as f64 }
}

fn middle(counts: &[usize]) -> usize {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn percentile(ratios: &[f64], percent: usize) -> f64 {
    let mut ratios = ratios.to_vec();
    ratios.sort_by(f64::total_cmp);
    ratios.get((ratios.len() * percent / 100).min(ratios.len().saturating_sub(1))).copied().unwrap_or(1.0)
}
