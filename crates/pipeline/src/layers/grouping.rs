//! Which packages share a layer, and in which order the layers lie.
//!
//! Big packages have a layer of their own; the small rest is hashed *by name* into a fixed number of buckets, so that
//! a change of one package moves no other. Layers lie by size, biggest at the bottom, because some clients reuse a
//! layer only when all below it are unchanged. The measurements behind this are in `docs/layering.md`.
//!
//! **Invariant:** a pure function of names, sizes and the number of layers. Not of the order of the input, the
//! dependencies, or an earlier image: same lock file, same layers.

use sha2::{Digest as _, Sha256};

/// A package as the grouping sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedPackage {
    /// The conda name, or `pypi:` and the normalised name. Unique.
    pub name: String,
    /// The length of the compressed archive in bytes.
    pub size: u64,
}

/// Packages that share a layer, by name. Groups are listed from the bottom of the image up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerGroup {
    /// Indices into the packages given, in the order of their names.
    pub packages: Vec<usize>,
    /// The sum of the archives' lengths.
    pub size: u64,
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
/// Buckets for tiny packages.
const TINY_BUCKETS: usize = 4;
/// A base of up to three layers, the environment layer and the application layer.
const RESERVED: usize = 5;
const RESERVED_FOR_BASE: usize = 3;
const MIN_PACKAGE_LAYERS: usize = 10;

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
    let rest = if big.len() <= room { Vec::new() } else { big.split_off(room - buckets) };

    let mut groups: Vec<Vec<usize>> = big.into_iter().map(|package| vec![package]).collect();
    groups.extend(into_buckets(packages, rest, buckets));
    if tiny.len() <= TINY_BUCKETS {
        groups.extend(tiny.into_iter().map(|package| vec![package]));
    } else {
        groups.extend(into_buckets(packages, tiny, TINY_BUCKETS));
    }

    let mut groups: Vec<LayerGroup> = groups
        .into_iter()
        .map(|mut group| {
            group.sort_by(|a, b| name(a).cmp(name(b)));
            LayerGroup { size: group.iter().map(|&i| packages[i].size).sum(), packages: group }
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

fn into_buckets(packages: &[SizedPackage], members: Vec<usize>, count: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut buckets = vec![Vec::new(); count];
    for package in members {
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
        sizes.into_iter().map(|(name, size)| SizedPackage { name, size }).collect()
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
        more.push(SizedPackage { name: "small".into(), size: 70_000 });
        let (before, after) = (names(&many, &group(&many, 95)), names(&more, &group(&more, 95)));
        assert_eq!(after.iter().filter(|g| !before.contains(g)).count(), 1);
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
