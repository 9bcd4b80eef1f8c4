//! What a build refuses of a package is refused of a layer, with the same words: an image that is built is one that `verify`
//! takes, and one that `verify` takes could have been built.

use tar::EntryType;

use crate::{
    common::{
        packages::{self, *},
        poison::forge,
        sandbox::{Outcome, Sandbox, copy_tree},
        workspace::workspace,
    },
    hostile::evil,
};

const PREFIX: &str = "opt/pixi/env";

/// A layout with one package, whose layer is forged.
struct Layout(Sandbox);

impl Layout {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        workspace([package("good", [file("share/good", "x")])]).platforms(&["linux-64"]).write(&sandbox.path("good"));
        sandbox.build("good", "oci:good-layout:x");
        Self(sandbox)
    }

    fn build(&self, package: &Package) -> Outcome {
        workspace([package.clone()]).platforms(&["linux-64"]).write(&self.0.path("ws"));
        self.0.run(&["build", "ws", "-o", "oci:built:x"])
    }

    /// Verifies an image that has these entries in the package's layer.
    fn verify(&self, items: &[Item]) -> Outcome {
        let _ = std::fs::remove_dir_all(self.0.path("forged"));
        copy_tree(&self.0.path("good-layout"), &self.0.path("forged"), |_| ());
        forge(&self.0.path("forged"), "good 1.0 h1234567_0", |tar| {
            // Without the two blocks that end it.
            tar.truncate(tar.len() - 1024);
            tar.extend(packages::tar(items));
        });
        self.0.run(&["verify", "image", "oci:forged:x"])
    }
}

/// Below the prefix, as the entries of a layer are; a path from the root stays one.
fn in_layer(item: &Item) -> Item {
    let below = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{PREFIX}/{path}") };
    let target = if item.kind == EntryType::Link { below(&item.target) } else { item.target.clone() };
    Item { path: below(&item.path), target, ..item.clone() }
}

#[test]
fn hostile_trees_are_refused_by_build_and_verify_with_the_same_words() {
    let layout = Layout::new();
    let special = |kind| vec![file("share/x", "").really(kind).unlisted()];
    let directories = |levels: usize| "d/".repeat(levels) + "x";
    // In the image its path is longer by the prefix.
    let longest = ["n".repeat(255).as_str(); 15].join("/") + "/" + &"n".repeat(255);
    let rows: Vec<(Vec<Item>, &str)> = vec![
        (vec![file("share/../../x", "x")], "has a `..` component"),
        (vec![file("/etc/x", "x")], "is an absolute path"),
        (vec![file("share/.wh.x", "x")], "has a component that begins with `.wh.`"),
        (vec![file("share/x", "1").unlisted(), file("share/x", "2").unlisted()], "is there twice"),
        (vec![symlink("d", "share"), file("d/x", "x")], "is below"),
        (vec![hard_link("share/h", &file("share/nothing", ""))], "is a hard link to"),
        (special(EntryType::Char), "is a character device"),
        (special(EntryType::Block), "is a block device"),
        (special(EntryType::Fifo), "is a named pipe"),
        (vec![file(&directories(253), "x")], "a path of 257 components; at most 256 are accepted"),
        (vec![file(&longest, "x")], "a path of 4108 bytes; at most 4096 are accepted"),
        (vec![file(&"n".repeat(256), "x")], "a path with a name of 256 bytes; at most 255 are accepted"),
        (vec![symlink("l", &"../".repeat(300))], "a path of 301 components; at most 256 are accepted"),
        (vec![symlink("l", &"d/".repeat(2049))], "a path of 4098 bytes; at most 4096 are accepted"),
    ];
    for (items, words) in rows {
        for package in [evil(items.clone()), evil(items.clone()).tar_bz2()] {
            let outcome = layout.build(&package);
            assert_ne!(outcome.code, Some(0), "{words}");
            outcome.refused(1, &["evil", words]);
        }
        let layer: Vec<Item> = items.iter().map(in_layer).collect();
        let outcome = layout.verify(&layer).refused_with(3);
        let said = [&*outcome.stdout, &*outcome.stderr].concat();
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}

/// What is just within the limits is built and verified; and where a build puts right what a package has, there is nothing to refuse.
#[test]
fn what_is_built_is_verified() {
    let layout = Layout::new();
    // Three components of the prefix, and the file's name.
    let deep = "d/".repeat(252) + "x";
    let longest = ["n".repeat(255).as_str(); 15].join("/") + "/" + &"n".repeat(4096 - 15 * 256 - PREFIX.len() - 1);
    let set_id = file("bin/set-id", "x").mode(0o6755);
    let lying = file("share/lying", "x").list("sha256", "0".repeat(64)).list("size_in_bytes", 7);
    for item in [file(&deep, "x"), file(&longest, "x"), symlink("l", &"../".repeat(255)), set_id, lying] {
        layout.build(&evil([item])).success();
        layout.0.run(&["verify", "image", "oci:built:x"]).success();
    }
    // A base image that is compressed otherwise.
    workspace([]).platforms(&["linux-64"]).write(&layout.0.path("base"));
    layout.0.run(&["build", "base", "-o", "oci:zstd:x", "--compression", "zstd"]).success();
    let base = format!("base = \"oci:{}:x\"\nprefix = \"/usr/more\"", layout.0.path("zstd").display());
    workspace([package("more", [])]).platforms(&["linux-64"]).oci_only(&base).write(&layout.0.path("ws"));
    layout.0.build("ws", "oci:on-zstd:x");
    layout.0.run(&["verify", "image", "oci:on-zstd:x"]).success();
}
