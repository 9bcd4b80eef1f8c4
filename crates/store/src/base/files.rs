//! What a container of the base image would see: all layers on top of one another, whiteouts and links applied.
//!
//! Only names, kinds and link targets are kept. Links are followed inside the image, as a runtime that unpacks the
//! layers one over the other does it (containerd, Docker).

use std::path::Path;

use pixi_oci_image::Architecture;
use pixi_oci_layer::{DirectoryAttributes, Mode};

use super::{
    BaseImage, Error, Problem,
    listing::{Attributes, Listing},
    store::Store,
    tree::{Node, Tree},
};

/// The files of a base image.
#[derive(Debug)]
pub struct BaseFiles {
    tree: Tree,
    architecture: Architecture,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file, or a device or pipe.
    File,
    /// A symbolic link to this target.
    Symlink(String),
}

/// Where the dynamic loaders of distributions look for glibc; `{}` stands for the multiarch name.
const LIBC_PLACES: [&str; 6] = ["/lib64", "/lib/{}", "/usr/lib64", "/usr/lib/{}", "/lib", "/usr/lib"];

impl BaseFiles {
    /// Puts the layers of an image together. What is in each layer is known from
    /// [`resolve_base`](super::resolve_base); if somebody has emptied `cache_dir` since, the layers are read again.
    ///
    /// # Errors
    ///
    /// A layer that cannot be read or whose links make no sense; the cache cannot be read.
    pub fn read(image: &BaseImage, cache_dir: &Path) -> Result<Self, Error> {
        let of = |problem: Problem| problem.of(&image.reference);
        let store = Store::open(cache_dir).map_err(|error| of(error.into()))?;
        let mut tree = Tree::default();
        for (number, layer) in (0..).zip(&image.layers) {
            let digest = layer.entry.descriptor.digest;
            let bad = |source| of(Problem::Layer { layer: digest, source });
            let listing = match store.listing::<Listing>(&digest).filter(Listing::is_current) {
                Some(listing) => listing,
                None => Listing::read(&layer.path).map_err(bad)?,
            };
            tree.apply(&listing.items, number)
                .map_err(|reason| bad(std::io::Error::new(std::io::ErrorKind::InvalidData, reason)))?;
        }
        Ok(Self { tree, architecture: image.architecture })
    }

    /// What is at an absolute path. Links on the way to it are followed, it itself is not.
    pub fn lookup(&self, path: &str) -> Option<Entry> {
        self.tree.get(&self.tree.walk(path, false)?)
    }

    /// What is at an absolute path when all links are followed, and the path without links where it really is. Never a
    /// link; `None` also for links that lead nowhere.
    pub fn resolve(&self, path: &str) -> Option<(String, Entry)> {
        let real = self.tree.walk(path, true)?;
        let entry = self.tree.get(&real)?;
        Some((format!("/{real}"), entry))
    }

    /// The first path below a directory, in the order of paths; all without the slash before them. Links are not followed.
    pub fn first_below(&self, directory: &str) -> Option<&str> {
        let below = format!("{directory}/");
        let (path, _) = self.tree.nodes.range(below.clone()..).next()?;
        path.starts_with(&below).then_some(path)
    }

    /// The directories that are not root's or that not everybody may read, or everybody may write to; without the slash
    /// before their paths.
    pub fn special_directories(&self) -> impl Iterator<Item = (&str, DirectoryAttributes)> {
        self.tree.nodes.iter().filter_map(|(path, node)| {
            let Node::Directory(Some(Attributes { mode, uid, gid })) = node else { return None };
            let mode = Mode::new(*mode)?;
            Some((path.as_str(), DirectoryAttributes { mode, owner: *uid, group: *gid }))
        })
    }

    /// The version of the glibc that programs of the image's architecture find, e.g. `(2, 39)`; `None` if there is
    /// none where distributions have it.
    pub fn glibc(&self) -> Option<(u32, u32)> {
        let multiarch = match self.architecture {
            Architecture::Amd64 => "x86_64-linux-gnu",
            Architecture::Arm64 => "aarch64-linux-gnu",
        };
        LIBC_PLACES.iter().find_map(|place| {
            let path = format!("{}/libc.so.6", place.replace("{}", multiarch));
            match self.tree.nodes.get(&self.tree.walk(&path, true)?)? {
                Node::File(file) => {
                    file.glibc.filter(|glibc| glibc.is_for(self.architecture)).map(|glibc| glibc.version)
                }
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{listing::Action, listing::Item},
        *,
    };

    fn items(list: &[(&str, Action)]) -> Vec<Item> {
        let copy = |action: &Action| serde_json::from_value(serde_json::json!(action)).unwrap();
        list.iter().map(|(path, action)| Item { path: (*path).to_owned(), action: copy(action), entry: 0 }).collect()
    }

    fn link(target: &str) -> Action {
        Action::Symlink(target.into())
    }

    fn files(layers: &[&[(&str, Action)]]) -> BaseFiles {
        let mut tree = Tree::default();
        layers.iter().for_each(|layer| tree.apply(&items(layer), 0).unwrap());
        BaseFiles { tree, architecture: Architecture::Amd64 }
    }

    const FILE: Action = Action::File(None);

    #[test]
    fn links_are_followed_inside_the_image() {
        let files = files(&[&[
            ("usr/bin", Action::Directory(None)),
            ("usr/bin/dash", FILE),
            ("usr/bin/sh", link("dash")),
            ("bin", link("usr/bin")),
            ("out", link("../../../bin/../bin")),
            ("abs", link("/usr/./bin//sh")),
            ("loop", link("loop")),
            ("a", link("b/x")),
            ("b", link("a")),
            ("dangling", link("/none")),
        ]]);
        let dash = Some(("/usr/bin/dash".to_owned(), Entry::File));
        for path in ["/bin/sh", "/usr/bin/dash", "/out/sh", "/abs", "bin/../bin/./sh", "/../bin/sh"] {
            assert_eq!(files.resolve(path), dash, "{path}");
        }
        assert_eq!(files.resolve("/out"), Some(("/usr/bin".into(), Entry::Directory)));
        assert_eq!(files.resolve("/"), Some(("/".into(), Entry::Directory)));
        assert_eq!(files.lookup("/out/sh"), Some(Entry::Symlink("dash".into())));
        assert_eq!(files.lookup("/bin"), Some(Entry::Symlink("usr/bin".into())));
        assert_eq!(files.lookup("/usr"), Some(Entry::Directory), "implied");
        for none in ["/loop", "/a", "/dangling", "/none", "/bin/sh/x", "/loop/x"] {
            assert_eq!(files.resolve(none), None, "{none}");
        }
        assert_eq!(files.lookup("/loop"), Some(Entry::Symlink("loop".into())));
    }

    #[test]
    fn whiteouts_hide_lower_layers_only() {
        let lower: &[(&str, Action)] =
            &[("d/a", FILE), ("d/sub/b", FILE), ("d.x", FILE), ("e/f", FILE), ("l", link("e")), ("g", FILE)];
        let upper: &[(&str, Action)] = &[
            ("d/new", FILE),
            ("d", Action::Empty),
            ("l/f", Action::Remove),
            ("g", FILE),
            ("g", Action::Remove),
            ("none/x", Action::Remove),
        ];
        let files = files(&[lower, upper]);
        for there in ["/d", "/d/new", "/d.x", "/e", "/g", "/l"] {
            assert!(files.lookup(there).is_some(), "{there}");
        }
        for hidden in ["/d/a", "/d/sub", "/d/sub/b", "/e/f", "/none"] {
            assert_eq!(files.lookup(hidden), None, "{hidden}");
        }
    }

    #[test]
    fn entries_replace_and_go_through_links() {
        let files = files(&[
            &[("lib", link("usr/lib")), ("usr/lib/a", FILE), ("f", FILE), ("d/x", FILE), ("new", link("made/here"))],
            &[
                ("lib/b", FILE),
                ("f/below", FILE),
                ("d", FILE),
                ("new/c", FILE),
                ("hard", Action::HardLink("lib/b".into())),
                ("hardlink", Action::HardLink("lib".into())),
            ],
            &[("lib", Action::Directory(None)), ("", Action::Directory(None))],
        ]);
        assert_eq!(files.lookup("/usr/lib/b"), Some(Entry::File));
        assert_eq!(files.lookup("/f"), Some(Entry::Directory));
        assert_eq!(files.lookup("/d"), Some(Entry::File));
        assert_eq!(files.lookup("/d/x"), None);
        assert_eq!(files.lookup("/made/here/c"), Some(Entry::File));
        assert_eq!(files.lookup("/hard"), Some(Entry::File));
        assert_eq!(files.lookup("/hardlink"), Some(Entry::Symlink("usr/lib".into())));
        assert_eq!(files.lookup("/lib"), Some(Entry::Directory));
        assert_eq!(files.lookup("/lib/a"), None);
    }

    #[test]
    fn circles_and_floods_are_refused() {
        let mut tree = Tree::default();
        let error = tree.apply(&items(&[("l", link("l")), ("l/x", FILE)]), 0).unwrap_err();
        assert!(error.contains("circle"), "{error}");
        let deep = vec!["a"; 2000].join("/");
        let mut tree = Tree::default();
        let flood = (0..1000).find_map(|n| tree.apply(&items(&[(&format!("{n}/{deep}/x"), FILE)]), 0).err());
        assert!(flood.unwrap().contains("more than"));
    }

    #[test]
    fn glibc_is_found_where_the_distributions_have_it() {
        let glibc = |minor, machine| {
            Action::File(
                serde_json::from_value(serde_json::json!({"machine": machine, "version": [2, minor]})).unwrap(),
            )
        };
        let debian = files(&[
            &[
                ("lib", link("usr/lib")),
                ("usr/lib/x86_64-linux-gnu/libc.so.6", glibc(31, 62)),
                ("usr/lib/i386-linux-gnu/libc.so.6", glibc(31, 3)),
            ],
            &[
                ("lib/x86_64-linux-gnu/libc-2.36.so", glibc(36, 62)),
                ("lib/x86_64-linux-gnu/libc.so.6", link("libc-2.36.so")),
            ],
        ]);
        assert_eq!(debian.glibc(), Some((2, 36)));
        let fedora = files(&[&[("lib64", link("usr/lib64")), ("usr/lib64/libc.so.6", glibc(40, 62))]]);
        assert_eq!(fedora.glibc(), Some((2, 40)));
        let foreign = files(&[&[("lib/libc.so.6", glibc(40, 183))]]);
        assert_eq!(foreign.glibc(), None);
        let alpine = files(&[&[("lib/ld-musl-x86_64.so.1", FILE)]]);
        assert_eq!(alpine.glibc(), None);
    }
}
