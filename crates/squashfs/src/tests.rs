//! What is written is read by the two independent readers that Debian has.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read, Seek},
    num::NonZeroUsize,
    path::Path,
    process::Command,
};

use crate::{BLOCK, Compressor, FileData, InodeAttributes, InodeRef, RunWriter, Writer};

const ZLIB: Compressor = Compressor::Zlib { level: 6 };
const ZSTD: Compressor = Compressor::Zstd { level: 3 };

enum Node {
    Directory(BTreeMap<Vec<u8>, Node>),
    File(Vec<u8>),
    Symlink(&'static str),
    /// Another name of the file with this number.
    Link(usize),
}

fn directory(entries: Vec<(&str, Node)>) -> Node {
    Node::Directory(entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect())
}

/// Contents in the order of paths.
fn contents<'a>(node: &'a Node, all: &mut Vec<&'a [u8]>) {
    match node {
        Node::Directory(entries) => entries.values().for_each(|node| contents(node, all)),
        Node::File(bytes) => all.push(bytes),
        _ => {}
    }
}

struct Tree {
    files: Vec<FileData>,
    inodes: Vec<InodeRef>,
    links: Vec<u32>,
    number: u32,
}

fn count_links(node: &Node, links: &mut Vec<u32>) {
    match node {
        Node::Directory(entries) => entries.values().for_each(|node| count_links(node, links)),
        Node::Link(number) => links[*number] += 1,
        _ => {}
    }
}

impl Tree {
    fn write(&mut self, node: &Node, parent: u32, writer: &mut Writer<Cursor<Vec<u8>>>) -> InodeRef {
        if !matches!(node, Node::Link(_)) {
            self.number += 1;
        }
        let attributes = |mode| InodeAttributes { mode, time: 1_700_000_000, number: self.number };
        match node {
            Node::Directory(entries) => {
                let attributes = attributes(0o755);
                let children: Vec<_> =
                    entries.iter().map(|(name, node)| (&**name, self.write(node, attributes.number, writer))).collect();
                writer.directory(attributes, &children, parent).unwrap()
            }
            Node::File(_) => {
                let number = self.inodes.len();
                let inode = writer.file(attributes(0o4711), &self.files[number], self.links[number]).unwrap();
                self.inodes.push(inode);
                inode
            }
            Node::Symlink(target) => writer.symlink(attributes(0o777), target.as_bytes(), 1).unwrap(),
            Node::Link(number) => self.inodes[*number],
        }
    }
}

fn write_with(root: &Node, compressor: Compressor, threads: usize) -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), compressor).unwrap();
    let mut all = Vec::new();
    contents(root, &mut all);
    let mut files = Vec::new();
    // Two runs, as of two layers.
    for half in all.chunks(all.len().div_ceil(2).max(1)) {
        let mut run = RunWriter::new(writer.sink(), compressor, NonZeroUsize::new(threads).unwrap()).unwrap();
        half.iter().for_each(|bytes| run.file(*bytes, bytes.len() as u64).unwrap());
        let run = run.finish().unwrap();
        files.extend(writer.place(run));
    }
    let mut links = vec![1; files.len()];
    count_links(root, &mut links);
    let mut tree = Tree { files, inodes: Vec::new(), links, number: 0 };
    let root = tree.write(root, 1, &mut writer);
    let (sink, length) = writer.finish(root, 1_700_000_000).unwrap();
    assert_eq!(sink.get_ref().len() as u64, length);
    sink.into_inner()
}

/// Bytes that do not compress.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn sample() -> Node {
    let text = b"the quick brown fox ".repeat(10_000);
    let mut sparse = vec![0; 3 * BLOCK];
    sparse.extend_from_slice(b"end");
    let mut holes = noise(2 * BLOCK, 7);
    holes.resize(5 * BLOCK, 0);
    holes.extend(noise(BLOCK, 8));
    let long = "n".repeat(255);
    directory(vec![
        (
            "a",
            directory(vec![
                ("empty", Node::File(Vec::new())),
                ("exactly", Node::File(noise(BLOCK, 1))),
                ("hidden", directory(Vec::new())),
                ("one", Node::File(b"x".to_vec())),
            ]),
        ),
        ("holes", Node::File(holes)),
        (&long, Node::File(text.clone())),
        ("link", Node::Symlink("a/one")),
        ("same-as-one", Node::Link(2)),
        ("sparse", Node::File(sparse)),
        ("text", Node::File([text, noise(70_000, 3)].concat())),
        ("z\u{e9} \t\\", Node::File(noise(1000, 2))),
    ])
}

/// What a reader unpacked is what was written.
fn assert_same(node: &Node, at: &Path) {
    let metadata = fs::symlink_metadata(at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
    match node {
        Node::Directory(entries) => {
            assert!(metadata.is_dir(), "{}", at.display());
            assert_eq!(fs::read_dir(at).unwrap().count(), entries.len(), "{}", at.display());
            for (name, node) in entries {
                assert_same(node, &at.join(String::from_utf8(name.clone()).unwrap()));
            }
        }
        Node::File(bytes) => assert!(fs::read(at).unwrap() == *bytes, "{}", at.display()),
        Node::Symlink(target) => assert_eq!(fs::read_link(at).unwrap(), Path::new(target)),
        Node::Link(_) => assert!(metadata.is_file()),
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn unpacked_by_both(root: &Node, image: &[u8], by: &dyn Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    fs::write(&file, image).unwrap();
    let file = file.to_str().unwrap();
    for (program, option, flags) in
        [("unsquashfs", "-d", &["-no-progress", "-no-xattrs"][..]), ("rdsquashfs", "--unpack-root", &["-q", "-u", "/"])]
    {
        let to = dir.path().join(program);
        fs::create_dir(&to).unwrap();
        let to = to.join("root");
        if program == "rdsquashfs" {
            fs::create_dir(&to).unwrap();
        }
        run(program, &[flags, &[option, to.to_str().unwrap(), file]].concat());
        assert_same(root, &to);
        by(&to);
    }
}

#[test]
fn two_readers_unpack_what_was_written() {
    let root = sample();
    for compressor in [ZLIB, ZSTD] {
        let image = write_with(&root, compressor, 2);
        assert!(image == write_with(&root, compressor, 1), "the number of threads shows");
        unpacked_by_both(&root, &image, &|to| {
            use std::os::unix::fs::MetadataExt;
            let [one, same] = ["a/one", "same-as-one"].map(|path| fs::metadata(to.join(path)).unwrap());
            if to.parent().unwrap().ends_with("unsquashfs") {
                assert_eq!((one.ino(), one.nlink()), (same.ino(), 2));
                assert_eq!((one.mode() & 0o7777, one.mtime()), (0o4711, 1_700_000_000));
            }
        });
    }
}

#[test]
fn the_superblock_says_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    fs::write(&file, write_with(&sample(), ZLIB, 2)).unwrap();
    let said = run("unsquashfs", &["-s", file.to_str().unwrap()]);
    for line in [
        "Found a valid SQUASHFS 4:0 superblock",
        "Compression gzip",
        "Block size 131072",
        "Always-use-fragments option is specified",
        "Xattrs are not stored",
        "Number of ids 1",
        "Number of inodes 12",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let listed = run("unsquashfs", &["-lln", file.to_str().unwrap()]);
    let line = listed.lines().find(|line| line.ends_with("/a/one")).unwrap();
    let words: Vec<&str> = line.split_whitespace().take(3).collect();
    assert_eq!(words, ["-rws--x--x", "0/0", "1"]);
}

#[test]
fn a_large_directory_is_found_its_way_in() {
    let name = |n: usize| format!("{n:06}-{}", "long".repeat(n % 50));
    let entries: Vec<(String, Node)> = (0..100_000).map(|n| (name(n), Node::File(Vec::new()))).collect();
    let root =
        directory(entries.into_iter().map(|(name, node)| (Box::leak(name.into_boxed_str()) as &str, node)).collect());
    let image = write_with(&root, ZSTD, 2);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    fs::write(&file, &image).unwrap();
    let file = file.to_str().unwrap();
    let listed = run("unsquashfs", &["-l", "-no-progress", file]);
    assert_eq!(listed.lines().filter(|line| line.starts_with("squashfs-root/")).count(), 100_000);
    for n in [0, 1, 4_711, 65_536, 99_999] {
        assert_eq!(run("rdsquashfs", &["--cat", &format!("/{}", name(n)), file]), "");
    }
}

#[test]
fn limits_are_errors() {
    let mut writer = Writer::new(Cursor::new(Vec::new()), ZLIB).unwrap();
    let attributes = InodeAttributes { mode: 0o777, time: 0, number: 1 };
    let link = writer.symlink(attributes, b"x", 1).unwrap();
    assert!(writer.symlink(attributes, &[b'x'; 4096], 1).is_err());
    assert!(writer.directory(attributes, &[(&[b'n'; 255], link)], 1).is_ok());
    let error = writer.directory(attributes, &[(&[b'n'; 256], link)], 1).err().unwrap();
    assert_eq!(error.to_string(), "a name of 256; squashfs has at most 255");
    let mut run = RunWriter::new(Vec::new(), ZLIB, NonZeroUsize::MIN).unwrap();
    assert!(run.file(&b"short"[..], 6).is_err());
    assert!(RunWriter::new(Vec::new(), Compressor::Zlib { level: 13 }, NonZeroUsize::MIN).is_err());
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let content = noise(40 * BLOCK, 5);
    let mut run = RunWriter::new(Full(10 * BLOCK), ZLIB, NonZeroUsize::new(2).unwrap()).unwrap();
    let written = run.file(&*content, content.len() as u64).and_then(|()| run.finish().map(drop));
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

/// Longer than 32 bits say, and mostly holes: they are neither kept in memory nor stored.
#[test]
#[ignore = "reads 5 GB of zeros"]
fn a_file_of_five_gigabytes_takes_no_memory() {
    let (size, end) = (5_000_000_000_u64, b"the end");
    let begin = noise(BLOCK, 1);
    let zeros = std::io::repeat(0).take(size - (begin.len() + end.len()) as u64);
    let content = begin.as_slice().chain(zeros).chain(&end[..]);
    let mut writer = Writer::new(Cursor::new(Vec::new()), ZLIB).unwrap();
    let mut contents = RunWriter::new(writer.sink(), ZLIB, NonZeroUsize::MIN).unwrap();
    contents.file(content, size).unwrap();
    contents.file(&b""[..], 0).unwrap();
    let contents = contents.finish().unwrap();
    let files = writer.place(contents);
    let attributes = |number| InodeAttributes { mode: 0o644, time: 0, number };
    let [large, empty] = [0, 1].map(|n| writer.file(attributes(n as u32 + 2), &files[n], 1).unwrap());
    let root = writer.directory(attributes(1), &[(b"empty", empty), (b"large", large)], 1).unwrap();
    let image = writer.finish(root, 0).unwrap().0.into_inner();
    assert!(image.len() < 1 << 20, "{}", image.len());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 500_000, "{peak} kB");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    fs::write(&file, &image).unwrap();
    let to = dir.path().join("unpacked");
    run("unsquashfs", &["-no-progress", "-d", to.to_str().unwrap(), file.to_str().unwrap()]);
    let mut unpacked = fs::File::open(to.join("large")).unwrap();
    let sizes = ["large", "empty"].map(|name| fs::metadata(to.join(name)).unwrap().len());
    assert_eq!(sizes, [size, 0]);
    let mut read = vec![0; BLOCK];
    unpacked.read_exact(&mut read).unwrap();
    assert!(read == begin);
    unpacked.seek(std::io::SeekFrom::End(-10)).unwrap();
    read.clear();
    unpacked.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"\0\0\0the end");
}
