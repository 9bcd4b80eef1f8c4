//! Which packages share a layer, and in which order the layers lie.
//!
//! Big packages have a layer of their own; the small rest is hashed *by name* into a fixed number of buckets, so that
//! a change of one package moves no other. Layers lie by size, biggest at the bottom, because some clients reuse a
//! layer only when all below it are unchanged. The measurements behind this are in `docs/layering.md`.
//!
//! **Invariant:** a pure function of names, sizes and the number of layers. Not of the order of the input, the
//! dependencies, or an earlier image: same lock file, same layers.

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedPackage {
    /// The conda name, or `pypi:` and the normalised name. Unique.
    pub name: String,
    /// The length of the compressed archive in bytes.
    pub size: u64,
    /// Over how many layers it goes at most, if there is room; 1 for most.
    pub parts: usize,
}

impl SizedPackage {
    /// A package that is split if it is longer than `split_above` bytes.
    pub fn new(name: String, size: u64, split_above: u64) -> Self {
        let parts = size.div_ceil(split_above).clamp(1, MAX_PARTS);
        Self { name, size, parts: parts as usize }
    }
}

/// One of several layers that a package goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LayerPart {
    /// From 1.
    pub index: usize,
    /// How many there are at most: a package of few files has fewer.
    pub of: usize,
}

impl fmt::Display for LayerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Packages that share a layer, by name. Groups are listed from the bottom of the image up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerGroup {
    /// Indices into the packages given, in the order of their names.
    pub packages: Vec<usize>,
    pub size: u64,
    /// Over how many layers its one package goes; 1 for most.
    pub parts: usize,
}

impl LayerGroup {
    /// Its layers, bottom first: which part of a package each holds, and its share of the archive.
    pub fn layers(&self) -> impl Iterator<Item = (Option<LayerPart>, u64)> {
        let (of, size) = (self.parts, self.size);
        let share = move |index: usize| size / of as u64 + u64::from((index as u64) <= size % of as u64);
        (1..=of).map(move |index| if of == 1 { (None, size) } else { (Some(LayerPart { index, of }), share(index)) })
    }
}

/// More layers are wanted for other things than there are.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{max_layers} layers leave {left} for packages beside a base image of {base_layers} layers; at least {MIN_PACKAGE_LAYERS} are needed: raise `max-layers` to {needed} or more"
)]
pub struct TooFewLayers {
    max_layers: usize,
    base_layers: usize,
    left: usize,
    needed: usize,
}

/// Below this, packages have no layer of their own: they would only multiply requests.
const TINY: u64 = 64 * 1024;
const TINY_BUCKETS: usize = 4;
/// A base of up to three layers, the environment layer and the application layer.
const RESERVED: usize = 5;
const RESERVED_FOR_BASE: usize = 3;
const MIN_PACKAGE_LAYERS: usize = 10;
/// More parts of one package are unpacked no faster: clients take three to ten layers at a time.
const MAX_PARTS: u64 = 16;

/// How many layers packages may have. A base of more than three layers takes from them.
pub fn package_layers(max_layers: usize, base_layers: usize) -> Result<usize, TooFewLayers> {
    let taken = RESERVED + base_layers.saturating_sub(RESERVED_FOR_BASE);
    let left = max_layers.saturating_sub(taken);
    if left < MIN_PACKAGE_LAYERS {
        return Err(TooFewLayers { max_layers, base_layers, left, needed: taken + MIN_PACKAGE_LAYERS });
    }
    Ok(left)
}

/// Divides `packages` into at most `layers` groups.
pub fn group(packages: &[SizedPackage], layers: usize) -> Vec<LayerGroup> {
    let buckets = layers / 5;
    let room = layers - TINY_BUCKETS;
    let name = |i: &usize| packages[*i].name.as_str();

    let (mut big, mut tiny): (Vec<usize>, Vec<usize>) = (0..packages.len()).partition(|&i| packages[i].size >= TINY);
    big.sort_by(|a, b| packages[*b].size.cmp(&packages[*a].size).then_with(|| name(a).cmp(name(b))));
    tiny.sort_by(|a, b| name(a).cmp(name(b)));
    let split = split(packages, &big, (room - buckets) / 2);
    let room = room - split.iter().map(|&i| packages[i].parts - 1).sum::<usize>();
    let rest = if big.len() <= room { Vec::new() } else { big.split_off(room - buckets) };
    let parts = |i: usize| if split.contains(&i) && !rest.contains(&i) { packages[i].parts } else { 1 };

    let mut groups: Vec<Vec<usize>> = big.into_iter().map(|package| vec![package]).collect();
    groups.extend(into_buckets(packages, &rest, buckets));
    if tiny.len() <= TINY_BUCKETS {
        groups.extend(tiny.into_iter().map(|package| vec![package]));
    } else {
        groups.extend(into_buckets(packages, &tiny, TINY_BUCKETS));
    }

    let mut groups: Vec<LayerGroup> = groups
        .into_iter()
        .map(|mut group| {
            group.sort_by(|a, b| name(a).cmp(name(b)));
            let parts = if let [only] = group[..] { parts(only) } else { 1 };
            LayerGroup { size: group.iter().map(|&i| packages[i].size).sum(), packages: group, parts }
        })
        .collect();
    // A bucket that holds one package is ordered as one: only what it holds counts, not how it came to.
    groups.sort_by(|a, b| {
        let alone = |g: &LayerGroup| g.packages.len() == 1;
        let last = |g: &LayerGroup| g.packages.last().map(|&i| packages[i].name.as_str());
        (alone(b).cmp(&alone(a))).then(b.size.cmp(&a.size)).then_with(|| last(a).cmp(&last(b)))
    });
    groups
}

/// The packages that are split, biggest first, as long as that takes no more than `spare` layers: with few layers, large
/// packages stay whole, and the others keep theirs.
fn split(packages: &[SizedPackage], big: &[usize], mut spare: usize) -> Vec<usize> {
    let more = |i: usize| packages[i].parts - 1;
    let mut fits = |i: usize| {
        let left = spare.checked_sub(more(i));
        spare = left.unwrap_or(spare);
        left.is_some()
    };
    big.iter().copied().filter(|&i| more(i) > 0 && fits(i)).collect()
}

fn into_buckets(packages: &[SizedPackage], members: &[usize], count: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut buckets = vec![Vec::new(); count];
    for &package in members {
        buckets[(name_hash(&packages[package].name) % count as u64) as usize].push(package);
    }
    buckets.into_iter().filter(|bucket| !bucket.is_empty())
}

/// The first eight bytes of the SHA-256 of the name, big endian.
fn name_hash(name: &str) -> u64 {
    let digest = Sha256::digest(name);
    digest[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(sizes: impl IntoIterator<Item = (String, u64)>) -> Vec<SizedPackage> {
        sizes.into_iter().map(|(name, size)| SizedPackage::new(name, size, 1 << 28)).collect()
    }

    fn names(packages: &[SizedPackage], groups: &[LayerGroup]) -> Vec<Vec<String>> {
        groups.iter().map(|g| g.packages.iter().map(|&i| packages[i].name.clone()).collect()).collect()
    }

    #[test]
    fn names_hash_to_the_published_check_values() {
        for (name, hash, mod19, mod4) in [
            ("numpy", 8_348_842_132_849_834_202, 2, 2),
            ("ca-certificates", 10_946_119_792_181_983_327, 16, 3),
            ("pypi:rich", 2_572_474_541_912_237_818, 16, 2),
        ] {
            assert_eq!(name_hash(name), hash);
            assert_eq!((hash % 19, hash % 4), (mod19, mod4));
        }
    }

    #[test]
    fn few_packages_have_a_layer_each_biggest_first() {
        let packages = packages([("a".into(), 70_000), ("b".into(), 90_000), ("c".into(), 10), ("d".into(), 70_000)]);
        assert_eq!(names(&packages, &group(&packages, 95)), [["b"], ["a"], ["d"], ["c"]]);
    }

    #[test]
    fn many_packages_fill_own_layers_then_buckets_and_stay_within_the_cap() {
        let many = packages((0..300).map(|i| (format!("p{i:03}"), if i < 250 { 100_000 + i } else { i })));
        let groups = group(&many, 95);
        assert!(groups.len() <= 95);
        assert_eq!(groups.iter().filter(|g| g.packages.len() == 1).count(), 72);
        assert!(groups[..72].is_sorted_by(|a, b| a.size >= b.size));
        let mut all: Vec<usize> = groups.iter().flat_map(|g| g.packages.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());

        let mut shuffled = many.clone();
        shuffled.reverse();
        shuffled.swap(3, 70);
        assert_eq!(names(&shuffled, &group(&shuffled, 95)), names(&many, &groups));
    }

    #[test]
    fn one_new_small_package_changes_one_bucket() {
        let many = packages((0..300).map(|i| (format!("p{i:03}"), 100_000 + i)));
        let mut more = many.clone();
        more.push(SizedPackage::new("small".into(), 70_000, 1 << 28));
        let (before, after) = (names(&many, &group(&many, 95)), names(&more, &group(&more, 95)));
        assert_eq!(after.iter().filter(|g| !before.contains(g)).count(), 1);
    }

    #[test]
    fn giants_go_over_several_layers_which_count() {
        const MIB: u64 = 1 << 20;
        let giants = [("just".to_owned(), 256 * MIB), ("two".into(), 256 * MIB + 1), ("four".into(), 900 * MIB)];
        let few = packages(giants.clone().into_iter().chain((0..20).map(|i| (format!("p{i}"), MIB))));
        let parts = |packages: &[SizedPackage], layers: usize| -> Vec<(String, usize)> {
            let groups = group(packages, layers);
            assert!(groups.iter().map(|group| group.parts).sum::<usize>() <= layers);
            let giants = groups.iter().filter(|group| group.parts > 1);
            giants.map(|group| (packages[group.packages[0]].name.clone(), group.parts)).collect()
        };
        assert_eq!(parts(&few, 95), [("four".into(), 4), ("two".into(), 2)]);
        let shares: Vec<_> = group(&few, 95)[0].layers().collect();
        assert_eq!(shares, (1..=4).map(|index| (Some(LayerPart { index, of: 4 }), 225 * MIB)).collect::<Vec<_>>());
        assert_eq!(group(&few, 95)[2].layers().collect::<Vec<_>>(), [(None, 256 * MIB)]);
        // Too few layers for the four, so that others keep theirs.
        assert_eq!(parts(&few, 10), [("two".into(), 2)]);
        // Where there are more packages than layers, fewer have one of their own.
        let many = packages(giants.into_iter().chain((0..300).map(|i| (format!("p{i}"), MIB + i))));
        let alone = group(&many, 95).iter().filter(|group| group.packages.len() == 1).count();
        assert_eq!((parts(&many, 95).len(), alone), (2, 72 - 4));
        // One that is longer than any is in no more parts, and many giants leave layers to the rest.
        let huge = packages((0..40).map(|i| (format!("p{i:02}"), 100_000 * MIB)));
        assert_eq!(parts(&huge, 95), [("p00".into(), 16), ("p01".into(), 16)]);
    }

    #[test]
    fn a_big_base_takes_package_layers() {
        assert_eq!(package_layers(100, 0), Ok(95));
        assert_eq!(package_layers(100, 3), Ok(95));
        assert_eq!(package_layers(100, 10), Ok(88));
        assert_eq!(package_layers(15, 1), Ok(10));
        assert!(package_layers(14, 1).unwrap_err().to_string().contains("raise `max-layers` to 15"));
    }
}
