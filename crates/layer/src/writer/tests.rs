//! The writer's output is read back by other people's code: `tar` and `flate2`.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::*;
use crate::{ContentStore, File, MemoryBudget};

const TIME: i64 = 1_000_000_000;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn file(bytes: &[u8], mtime: Option<i64>) -> Node {
    Node::File(File { content: Content::from_bytes(bytes), mode: Mode::FILE, mtime })
}

fn tree(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> FileTree {
    let mut tree = FileTree::new();
    nodes.into_iter().for_each(|(p, node)| tree.insert(path(p), node).unwrap());
    tree
}

fn write(compression: Compression, trees: &[FileTree]) -> Result<(Layer, Vec<u8>), Error> {
    let mut writer = LayerWriter::new(Vec::new(), compression, TIME);
    trees.iter().try_for_each(|tree| writer.add(tree))?;
    writer.finish()
}

fn listing(tar: &[u8]) -> Vec<String> {
    ::tar::Archive::new(tar)
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let link = entry.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            format!(
                "{:?} {:04o} {} {name} {link:?} {}",
                header.entry_type(),
                header.mode().unwrap(),
                header.mtime().unwrap(),
                String::from_utf8_lossy(&content)
            )
        })
        .collect()
}

#[test]
fn writes_parents_sorted_nodes_and_both_digests() {
    let trees = [
        tree([
            ("p/b", file(b"beta", Some(7))),
            ("p/a", Node::Symlink { target: "b".into(), mtime: None }),
            ("p/c", Node::HardLink { target: path("p/b") }),
        ]),
        tree([("p/d/e", file(b"", None)), ("q", Node::Directory { mode: Mode::STICKY_DIRECTORY })]),
    ];
    let (layer, blob) = write(Compression::default(), &trees).unwrap();
    let mut tar = Vec::new();
    MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(
        listing(&tar),
        [
            "Directory 0755 1000000000 p/ None ",
            "Symlink 0777 1000000000 p/a Some(\"b\") ",
            "Regular 0644 7 p/b None beta",
            "Link 0644 1000000000 p/c Some(\"p/b\") ",
            "Directory 0755 1000000000 p/d/ None ",
            "Regular 0644 1000000000 p/d/e None ",
            "Directory 1777 1000000000 q/ None ",
        ]
    );
    assert_eq!(layer.digest, Digest::of(&blob));
    assert_eq!(layer.size, blob.len() as u64);
    assert_eq!(layer.diff_id, DiffId(Digest::of(&tar)));
    assert_eq!(layer.tar_size, tar.len() as u64);
    // Golden: a change means a new LAYER_FORMAT_VERSION and a line in the changelog.
    assert_eq!(layer.diff_id.to_string(), "sha256:a5f379db706df8191b67789f4ca765d48bdee60e36b608fed4a6d66fd2189628");
}

#[test]
fn the_diff_id_of_a_tree_is_known_without_compressing_it() {
    let large = vec![7; 3 << 20];
    let tree = tree([
        ("a/b", file(&large, Some(7))),
        ("a/c", file(b"", None)),
        ("d", Node::Directory { mode: Mode::DIRECTORY }),
    ]);
    for compression in ["gzip", "zstd"] {
        let (layer, _) = write(compression.parse().unwrap(), std::slice::from_ref(&tree)).unwrap();
        assert_eq!(diff_id(&tree, TIME).unwrap(), layer.diff_id);
        assert_ne!(diff_id(&tree, TIME + 1).unwrap(), layer.diff_id);
    }
}

#[test]
fn long_names_and_targets_come_back_whole() {
    for (directory, len) in [("", 99), ("", 100), ("", 101), ("", 254), ("d".repeat(200).as_str(), 99)] {
        let name = "ä".repeat(len / 2) + &"x".repeat(len % 2);
        let name = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        let mut tree = FileTree::new();
        tree.insert(path(&name), file(b"1", None)).unwrap();
        tree.insert(path(&format!("{name}z")), Node::Symlink { target: name.clone(), mtime: None }).unwrap();
        let (_, blob) = write(Compression::Zstd { level: 3 }, &[tree]).unwrap();
        let listing = listing(&zstd::decode_all(&blob[..]).unwrap());
        let [.., first, second] = &listing[..] else { panic!("{listing:?}") };
        assert!(first.contains(&format!(" {name} ")), "{len}");
        assert!(second.contains(&format!("Some(\"{name}\")")), "{len}");
    }
}

#[test]
fn what_no_reader_takes_is_not_written() {
    let refused = |name: &str, target: Option<&str>| {
        let mut tree = FileTree::new();
        let node = target.map_or(file(b"1", None), |target| Node::Symlink { target: target.into(), mtime: None });
        tree.insert(path(name), node).unwrap();
        write(Compression::Zstd { level: 3 }, &[tree]).err().map(|error| error.to_string())
    };
    for (name, target, words) in [
        (vec!["n".repeat(255); 17].join("/"), None, "a path of 4351 bytes; at most 4096 are accepted"),
        ("n".repeat(256), None, "a path with a name of 256 bytes; at most 255 are accepted"),
        ("d/".repeat(257) + "x", None, "a path of 257 components; at most 256 are accepted"),
        ("l".into(), Some("../".repeat(256)), "a path of 257 components; at most 256 are accepted"),
    ] {
        let error = refused(&name, target.as_deref()).unwrap();
        assert!(error.ends_with(words), "{error}");
    }
}

#[test]
fn bytes_do_not_depend_on_threads_or_on_where_contents_are() {
    let mut bytes = vec![0; 9 << 20];
    let mut state = 1_u32;
    bytes.iter_mut().for_each(|b| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *b = (state >> 28) as u8;
    });
    for compression in [Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }] {
        let make = |threads, budget| {
            let mut store = ContentStore::new(&MemoryBudget::new(budget), &std::env::temp_dir());
            let content = store.put(&mut &bytes[..], bytes.len() as u64).unwrap();
            let tree = tree([("big", Node::File(File { content, mode: Mode::EXECUTABLE, mtime: None }))]);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| write(compression, &[tree]).unwrap())
        };
        let first = make(1, 0);
        assert_eq!(first, make(2, usize::MAX >> 1));
        assert_eq!(first, make(5, 1 << 20));
        assert_eq!(first.0.digest, Digest::of(&first.1));
        let mut stream = Vec::new();
        crate::compress(&bytes[..], &mut stream, compression).unwrap();
        let plain = match compression {
            Compression::Zstd { .. } => zstd::decode_all(&stream[..]).unwrap(),
            Compression::Gzip { .. } => {
                let mut plain = Vec::new();
                MultiGzDecoder::new(&stream[..]).read_to_end(&mut plain).unwrap();
                plain
            }
        };
        assert!(plain == bytes);
    }
}

#[test]
fn trees_that_contradict_each_other_are_refused() {
    let one = || tree([("a/b", file(b"", None))]);
    let message = |trees: &[FileTree]| write(Compression::default(), trees).unwrap_err().to_string();
    assert_eq!(message(&[one(), one()]), "a/b is in the layer twice");
    assert_eq!(message(&[one(), tree([("a/b/c", file(b"", None))])]), "a/b is not a directory, but a/b/c is in it");
    let link = tree([("a/a", Node::HardLink { target: path("a/b") }), ("a/b", file(b"", None))]);
    assert_eq!(message(&[link]), "hard link a/a points to a/b, which is not a file earlier in the layer");
    let sticky = tree([("a", Node::Directory { mode: Mode::STICKY_DIRECTORY })]);
    assert_eq!(message(&[one(), sticky]), "a is in the layer twice");
}

#[test]
fn gzip_and_zstd_text_round_trips() {
    for text in ["gzip:6", "gzip:12", "zstd:3", "zstd:19"] {
        assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
    }
    for bad in ["", "gzip:0", "gzip:13", "zstd:20", "xz", "gzip:", "gzip:-1"] {
        assert!(bad.parse::<Compression>().is_err(), "{bad}");
    }
}
