//! What a container of the base image would see: all layers on top of one another, whiteouts and links applied.
//!
//! Only names, kinds and link targets are kept. Links are followed inside the image, as a runtime that unpacks the
//! layers one over the other does it (containerd, Docker).

use std::sync::Arc;

use oci_read::tree::{Id, Node, ROOT};
use pixi_oci_cachedir::Root;
use pixi_oci_image::Architecture;
use pixi_oci_layer::{DirectoryAttributes, Mode};

use super::{
    BaseError, BaseImage, BaseLayer, Problem,
    listing::{Attributes, Listing},
    store::Store,
    tree::{self, NodeKind, Tree},
};

#[derive(Debug)]
pub struct BaseFiles {
    tree: Tree,
    architecture: Architecture,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseEntry {
    Directory,
    /// A regular file, or a device or pipe.
    File,
    Symlink(String),
}

/// Where the dynamic loaders of distributions look for glibc; `{}` stands for the multiarch name.
const LIBC_PLACES: [&str; 6] = ["/lib64", "/lib/{}", "/usr/lib64", "/usr/lib/{}", "/lib", "/usr/lib"];

impl BaseFiles {
    /// Puts the layers of an image together. What is in each layer is known from
    /// [`resolve_base`](super::resolve_base); if somebody has emptied the cache since, the layers are read again.
    ///
    /// # Errors
    ///
    /// A layer that cannot be read or whose links make no sense; the cache cannot be read.
    pub fn read(image: &BaseImage, cache: &Root) -> Result<Self, BaseError> {
        let of = |problem: Problem| problem.of(&image.reference);
        let store = Store::open(cache).map_err(|error| of(error.into()))?;
        let budget = Arc::default();
        let listing = |layer: &BaseLayer| match store.listing(&layer.entry.descriptor.digest) {
            Some(listing) => Ok(listing),
            None => Listing::read(&layer.path, &budget),
        };
        Ok(Self { tree: tree::stack(image, listing).map_err(of)?, architecture: image.architecture })
    }

    /// What is at an absolute path. Links on the way to it are followed, it itself is not.
    pub fn lookup(&self, path: &str) -> Option<BaseEntry> {
        Some(self.entry(self.tree.walk(path.as_bytes(), false)?))
    }

    /// What is at an absolute path when all links are followed, and the path without links where it really is. Never a
    /// link; `None` also for links that lead nowhere.
    pub fn resolve(&self, path: &str) -> Option<(String, BaseEntry)> {
        let real = self.tree.walk(path.as_bytes(), true)?;
        Some((format!("/{}", self.path(real)), self.entry(real)))
    }

    fn entry(&self, id: Id) -> BaseEntry {
        match self.tree.node(id) {
            Node::Directory(_) => BaseEntry::Directory,
            Node::File(_) => BaseEntry::File,
            Node::Symlink(_, target) => BaseEntry::Symlink(String::from_utf8_lossy(target).into_owned()),
        }
    }

    /// Paths of listings are UTF-8.
    fn path(&self, id: Id) -> String {
        String::from_utf8_lossy(&self.tree.path(id)).into_owned()
    }

    /// The first path below a directory, in the order of paths; all without the slash before them. Links are not followed.
    pub fn first_below(&self, directory: &str) -> Option<String> {
        let found = self.tree.walk(directory.as_bytes(), false)?;
        // A link on the way to it would make it another directory's.
        let (_, first) = self.tree.children(found).next().filter(|_| self.path(found) == directory)?;
        Some(self.path(first))
    }

    /// The directories that are not root's or that not everybody may read, or everybody may write to; without the slash
    /// before their paths.
    pub fn special_directories(&self) -> impl Iterator<Item = (String, DirectoryAttributes)> {
        self.tree.below(ROOT).filter_map(|(path, id)| {
            let NodeKind::Directory(Some(Attributes { mode, uid, gid })) = self.tree.node(id).value() else {
                return None;
            };
            let mode = Mode::new(*mode)?;
            let path = String::from_utf8_lossy(&path).into_owned();
            Some((path, DirectoryAttributes { mode, owner: *uid, group: *gid }))
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
            match self.tree.node(self.tree.walk(path.as_bytes(), true)?).value() {
                NodeKind::File(file) => {
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
        let mut tree = tree::empty();
        layers.iter().for_each(|layer| tree::apply(&mut tree, &items(layer), 0).unwrap());
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
        let dash = Some(("/usr/bin/dash".to_owned(), BaseEntry::File));
        for path in ["/bin/sh", "/usr/bin/dash", "/out/sh", "/abs", "bin/../bin/./sh", "/../bin/sh"] {
            assert_eq!(files.resolve(path), dash, "{path}");
        }
        assert_eq!(files.resolve("/out"), Some(("/usr/bin".into(), BaseEntry::Directory)));
        assert_eq!(files.resolve("/"), Some(("/".into(), BaseEntry::Directory)));
        assert_eq!(files.lookup("/out/sh"), Some(BaseEntry::Symlink("dash".into())));
        assert_eq!(files.lookup("/bin"), Some(BaseEntry::Symlink("usr/bin".into())));
        assert_eq!(files.lookup("/usr"), Some(BaseEntry::Directory), "implied");
        for none in ["/loop", "/a", "/dangling", "/none", "/bin/sh/x", "/loop/x"] {
            assert_eq!(files.resolve(none), None, "{none}");
        }
        assert_eq!(files.lookup("/loop"), Some(BaseEntry::Symlink("loop".into())));
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
        assert_eq!(files.lookup("/usr/lib/b"), Some(BaseEntry::File));
        assert_eq!(files.lookup("/f"), Some(BaseEntry::Directory));
        assert_eq!(files.lookup("/d"), Some(BaseEntry::File));
        assert_eq!(files.lookup("/d/x"), None);
        assert_eq!(files.lookup("/made/here/c"), Some(BaseEntry::File));
        assert_eq!(files.lookup("/hard"), Some(BaseEntry::File));
        assert_eq!(files.lookup("/hardlink"), Some(BaseEntry::Symlink("usr/lib".into())));
        assert_eq!(files.lookup("/lib"), Some(BaseEntry::Directory));
        assert_eq!(files.lookup("/lib/a"), None);
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
