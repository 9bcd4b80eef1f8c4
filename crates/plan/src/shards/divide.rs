//! Divides layers among machines that know nothing of one another: each computes the same.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// A layer, by its key, and the archives that it is made of, with their lengths. Parts of one package have one archive in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareableLayer {
    pub key: String,
    pub archives: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// By their keys.
    pub layers: BTreeSet<String>,
    /// The sum of the lengths of their archives.
    pub bytes: u64,
}

/// Divides layers into so many shares of about the same bytes. Layers that have an archive in common stay together, so that
/// no archive is fetched twice. The order of the layers does not matter, nor how often one is there.
pub fn divide(layers: &[ShareableLayer], count: usize) -> Vec<Share> {
    let mut units: Vec<(Share, BTreeMap<&str, u64>)> = Vec::new();
    let mut known = BTreeSet::new();
    for layer in layers.iter().filter(|layer| known.insert(&layer.key)) {
        let (mut share, mut archives) = (Share::default(), BTreeMap::new());
        share.layers.insert(layer.key.clone());
        archives.extend(layer.archives.iter().map(|(archive, bytes)| (archive.as_str(), *bytes)));
        // It joins all those that it has something in common with.
        units.retain_mut(|(other, of_other)| {
            let meets = of_other.keys().any(|archive| archives.contains_key(archive));
            if meets {
                share.layers.append(&mut other.layers);
                archives.append(of_other);
            }
            !meets
        });
        units.push((share, archives));
    }
    for (share, archives) in &mut units {
        share.bytes = archives.values().sum();
    }
    units.sort_by_cached_key(|(share, _)| (Reverse(share.bytes), share.layers.first().cloned()));
    let mut shares = vec![Share::default(); count];
    for (unit, _) in units {
        // The first of the smallest; with layers of nothing, the one that has the fewest.
        if let Some(smallest) = shares.iter_mut().min_by_key(|share| (share.bytes, share.layers.len())) {
            smallest.bytes += unit.bytes;
            smallest.layers.extend(unit.layers);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(key: &str, archives: &[(&str, u64)]) -> ShareableLayer {
        let archives = archives.iter().map(|(archive, bytes)| ((*archive).to_owned(), *bytes)).collect();
        ShareableLayer { key: key.into(), archives }
    }

    fn keys(share: &Share) -> Vec<&str> {
        share.layers.iter().map(String::as_str).collect()
    }

    #[test]
    fn every_layer_is_in_one_share_whatever_the_order() {
        let mut layers: Vec<ShareableLayer> =
            (1..=60u64).map(|n| layer(&format!("k{n:02}"), &[(&format!("a{n}"), n * n % 97 + 1)])).collect();
        let shares = divide(&layers, 4);
        layers.reverse();
        layers.push(layers[7].clone());
        assert_eq!(divide(&layers, 4), shares);
        let all: Vec<&str> = shares.iter().flat_map(keys).collect();
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (60, 60));
        let bytes: Vec<u64> = shares.iter().map(|share| share.bytes).collect();
        let (most, mean) = (bytes.iter().max().unwrap(), bytes.iter().sum::<u64>() / 4);
        assert!(most * 100 <= mean * 110, "{bytes:?}");
    }

    #[test]
    fn what_has_an_archive_in_common_stays_together() {
        let layers = [
            layer("1", &[("big", 100)]),
            layer("2", &[("a", 5), ("b", 5)]),
            layer("3", &[("c", 5)]),
            // Joins the two before.
            layer("4", &[("b", 5), ("c", 5), ("d", 30)]),
            layer("5", &[("e", 20)]),
            // Another part of the same package.
            layer("6", &[("big", 100)]),
        ];
        let shares = divide(&layers, 3);
        assert_eq!(shares.iter().map(keys).collect::<Vec<_>>(), [vec!["1", "6"], vec!["2", "3", "4"], vec!["5"]]);
        assert_eq!(shares.iter().map(|share| share.bytes).collect::<Vec<_>>(), [100, 45, 20]);
    }

    #[test]
    fn there_may_be_more_shares_than_layers_and_layers_of_nothing() {
        let shares = divide(&[layer("1", &[("a", 1)])], 3);
        assert_eq!(shares.iter().map(|share| share.layers.len()).collect::<Vec<_>>(), [1, 0, 0]);
        let empty = [layer("1", &[("a", 0)]), layer("2", &[("b", 0)])];
        assert_eq!(divide(&empty, 2).iter().map(|share| share.layers.len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(divide(&[], 2), [Share::default(), Share::default()]);
    }
}
