//! Paths as packages write them, checked.

use pixi_oci_layer::{TreePath, too_long};

use crate::error::{MAX_PATH, Refusal};

/// The directories that the installer itself writes: records of what is installed, and the losers of clobbers.
const RESERVED: [&str; 2] = ["conda-meta", "__clobbers__"];

/// The checked form of a path from an archive or one of its lists: `./a//b/` is `a/b`, as every unpacker has it.
///
/// # Errors
/// It leaves the prefix, belongs to the installer, or cannot be a path on Linux.
pub fn normalise(path: &str) -> Result<TreePath, Refusal> {
    // Next to all of them are written in this form.
    if path.len() <= MAX_PATH
        && too_long(path).is_none()
        && let Ok(path) = TreePath::new(path)
    {
        return unreserved(path);
    }
    if path.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    if let Some(reason) = too_long(path).filter(|_| path.len() > MAX_PATH) {
        return Err(Refusal::TooLong(reason));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(Refusal::Parent),
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    if let Some(reason) = too_long(&path) {
        return Err(Refusal::TooLong(reason));
    }
    unreserved(TreePath::new(&path)?)
}

fn unreserved(path: TreePath) -> Result<TreePath, Refusal> {
    let is_in = |directory: &str| {
        path.as_str().strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match RESERVED.into_iter().find(|reserved| is_in(reserved)) {
        Some(reserved) => Err(Refusal::Reserved(reserved)),
        None => Ok(path),
    }
}

/// Where `target` leads from a link at `link`: components below the root of the tree, without following other links.
/// `None` if it is absolute or leaves the tree.
pub(crate) fn follow<'a>(link: &'a str, target: &'a str) -> Option<Vec<&'a str>> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<_> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_what_is_harmless_and_refuses_the_rest() {
        for (path, normal) in [
            ("a", "a"),
            ("./a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("conda-metal/x", "conda-metal/x"),
            ("a\n/\tb", "a\n/\tb"),
        ] {
            assert_eq!(normalise(path).unwrap().as_str(), normal);
        }
        for (path, refusal) in [
            ("", Refusal::Empty),
            ("./", Refusal::Empty),
            ("/a", Refusal::Absolute),
            ("a/../b", Refusal::Parent),
            ("a\0b", Refusal::Control),
            ("a/.wh.b", Refusal::Whiteout),
            ("conda-meta/a.json", Refusal::Reserved("conda-meta")),
            ("conda-meta", Refusal::Reserved("conda-meta")),
            ("./__clobbers__/p/a", Refusal::Reserved("__clobbers__")),
            (&"x".repeat(256), Refusal::TooLong("a path with a name of 256 bytes; at most 255 are accepted".into())),
            (&"x/".repeat(2049), Refusal::TooLong("a path of 4098 bytes; at most 4096 are accepted".into())),
            (&"x/".repeat(257), Refusal::TooLong("a path of 257 components; at most 256 are accepted".into())),
        ] {
            assert_eq!(normalise(path), Err(refusal), "{path:?}");
        }
    }

    #[test]
    fn follows_links_inside_the_tree() {
        assert_eq!(follow("a/b/l", "../c/./d").unwrap(), ["a", "c", "d"]);
        assert_eq!(follow("l", ".").unwrap(), Vec::<&str>::new());
        assert_eq!(follow("l", "../x"), None);
        assert_eq!(follow("a/l", "/x"), None);
    }
}
