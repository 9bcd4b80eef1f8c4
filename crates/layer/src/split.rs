//! One tree over several layers, which clients unpack side by side.

use std::collections::HashMap;

use crate::{FileTree, Node, TreePath};

/// What a path costs beside its content: a tar header.
const HEADER: u64 = 512;

/// Divides a tree into at most `most` runs of its sorted paths, so that the largest is as small as it can be; then there
/// are no more of them than that takes. A file is never cut, so that one that is larger than all others together has a
/// run of its own. What `belongs_first` goes into the first run, whatever it weighs; other names of a file go with the file.
///
/// None is empty. The same tree and number give the same runs.
pub fn split(tree: FileTree, most: usize, belongs_first: &dyn Fn(&TreePath) -> bool) -> Vec<FileTree> {
    let weights = || tree.iter().filter(|(path, _)| !belongs_first(path)).filter_map(|(_, node)| weight(node));
    let (mut least, mut enough) = (weights().max().unwrap_or(0), weights().sum());
    while least < enough {
        let middle = least + (enough - least) / 2;
        if Filling::new(middle).count(weights()) <= most { enough = middle } else { least = middle + 1 }
    }
    let mut runs = Filling::new(enough);
    let mut parts = vec![FileTree::new()];
    let mut places: HashMap<TreePath, usize> = HashMap::new();
    for (path, node) in tree {
        let at = match (&node, weight(&node)) {
            // It comes after the file that it names, and cannot name a file of a later layer.
            (Node::HardLink { target }, _) => places.get(target).copied().unwrap_or(0),
            _ if belongs_first(&path) => 0,
            (_, Some(weight)) => runs.place(weight),
            (_, None) => 0,
        };
        if matches!(node, Node::File(_)) {
            places.insert(path.clone(), at);
        }
        if parts.len() <= at {
            parts.resize_with(at + 1, FileTree::new);
        }
        parts[at].put(path, node);
    }
    parts
}

/// `None` for what goes where something else is.
fn weight(node: &Node) -> Option<u64> {
    match node {
        Node::File(file) => Some(HEADER + file.content.len()),
        Node::HardLink { .. } => None,
        Node::Directory { .. } | Node::Inherited(_) | Node::Symlink { .. } => Some(HEADER),
    }
}

/// Filling that are filled one after the other.
struct Filling {
    capacity: u64,
    filled: u64,
    at: usize,
}

impl Filling {
    fn new(capacity: u64) -> Self {
        Self { capacity, filled: 0, at: 0 }
    }

    /// The run that the next weight goes into.
    fn place(&mut self, weight: u64) -> usize {
        if self.filled + weight > self.capacity {
            (self.at, self.filled) = (self.at + 1, 0);
        }
        self.filled += weight;
        self.at
    }

    /// How many runs weights take, none of which is above the capacity.
    fn count(mut self, weights: impl Iterator<Item = u64>) -> usize {
        weights.map(|weight| self.place(weight) + 1).last().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, File, Mode};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn file(len: usize) -> Node {
        Node::File(File { content: Content::from_bytes(vec![0; len]), mode: Mode::FILE, mtime: None })
    }

    fn tree(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> FileTree {
        let mut tree = FileTree::new();
        nodes.into_iter().for_each(|(at, node)| tree.insert(path(at), node).unwrap());
        tree
    }

    fn runs(tree: FileTree, most: usize) -> Vec<Vec<String>> {
        let parts = split(tree, most, &|path| path.as_str().starts_with("meta/"));
        parts.iter().map(|part| part.iter().map(|(path, _)| path.to_string()).collect()).collect()
    }

    #[test]
    fn the_largest_run_is_as_small_as_it_can_be() {
        let even = || tree([("a", file(1000)), ("b", file(1000)), ("c", file(1000)), ("d", file(1000))]);
        assert_eq!(runs(even(), 1), [vec!["a", "b", "c", "d"]]);
        assert_eq!(runs(even(), 2), [["a", "b"], ["c", "d"]]);
        // Three cannot be smaller than two.
        assert_eq!(runs(even(), 3), [["a", "b"], ["c", "d"]]);
        assert_eq!(runs(even(), 4), [["a"], ["b"], ["c"], ["d"]]);
        let uneven = tree([("a", file(5000)), ("b", file(100)), ("c", file(3000)), ("d", file(2500))]);
        assert_eq!(runs(uneven, 2), [vec!["a", "b"], vec!["c", "d"]]);
    }

    #[test]
    fn a_huge_file_is_alone_and_no_run_is_empty() {
        let huge = || tree([("a", file(10)), ("b", file(90_000)), ("c", file(10)), ("d", file(10))]);
        assert_eq!(runs(huge(), 8), [vec!["a"], vec!["b"], vec!["c", "d"]]);
        assert_eq!(runs(tree([("a", file(90_000))]), 8), [["a"]]);
        // Two cannot do without a neighbour.
        assert_eq!(runs(huge(), 2).len(), 2);
        assert_eq!(runs(tree([]), 3), [[""; 0]]);
    }

    #[test]
    fn names_of_a_file_stay_together_and_records_come_first() {
        let link = |target: &str| Node::HardLink { target: path(target) };
        let with_links = tree([
            ("a", file(1000)),
            ("b", file(1000)),
            ("meta/of-b", link("b")),
            ("meta/record.json", file(50_000)),
            ("z/of-a", link("a")),
            ("z/of-b", link("b")),
        ]);
        assert_eq!(runs(with_links, 2), [vec!["a", "meta/record.json", "z/of-a"], vec!["b", "meta/of-b", "z/of-b"]]);
    }

    #[test]
    fn no_node_is_lost_whatever_the_sizes() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        for most in 1..20 {
            let sizes: Vec<usize> = (0..60).map(|_| (next() % 5000) as usize).collect();
            let mut whole = FileTree::new();
            sizes.iter().enumerate().for_each(|(at, len)| whole.insert(path(&format!("{at:02}")), file(*len)).unwrap());
            let together: u64 = sizes.iter().map(|len| HEADER + *len as u64).sum();
            let parts = split(whole, most, &|_| false);
            assert!(parts.len() <= most && parts.iter().all(|part| !part.is_empty()));
            let all: Vec<String> =
                parts.iter().flat_map(|part| part.iter().map(|(path, _)| path.to_string())).collect();
            assert_eq!(all, (0..60).map(|at| format!("{at:02}")).collect::<Vec<_>>());
            let weigh = |part: &FileTree| part.iter().filter_map(|(_, node)| weight(node)).sum::<u64>();
            let largest = parts.iter().map(weigh).max().unwrap();
            assert!(largest <= together / most as u64 + 5000 + HEADER, "{largest} of {together} in {most}");
        }
    }
}
