//! The list of what is in the application layer, which is a file of that layer.

use std::{collections::BTreeMap, io};

use pixi_oci_formats::file_list::{FileList, Listed, PLACE};
use pixi_oci_layer::{Content, Digest, DigestWriter, DirectoryAttributes, File, FileTree, Mode, Node, TreePath};

use crate::application::ApplicationError;

/// Adds the list of a layer's nodes to them.
pub fn with_file_list(mut tree: FileTree) -> Result<FileTree, ApplicationError> {
    let files = tree.iter().map(|(path, node)| Ok((path.as_str().to_owned(), listed(node)?)));
    let files: BTreeMap<_, _> = files.collect::<io::Result<_>>().map_err(ApplicationError::Read)?;
    let json = FileList::new(files).to_bytes();
    let place =
        TreePath::new(PLACE).map_err(|source| ApplicationError::Destination { destination: PLACE.into(), source })?;
    let file = File { content: Content::from_bytes(json), mode: Mode::FILE, mtime: None };
    tree.insert(place, Node::File(file)).map_err(ApplicationError::Tree)?;
    Ok(tree)
}

fn listed(node: &Node) -> io::Result<Listed> {
    let mode = |mode: &Mode| Some(format!("{:04o}", mode.bits()));
    let none = Listed::default();
    Ok(match node {
        Node::Directory { mode: bits } => Listed { mode: mode(bits), ..none },
        Node::Inherited(DirectoryAttributes { mode: bits, owner, group }) => {
            let owner = ((*owner, *group) != (0, 0)).then(|| format!("{owner}:{group}"));
            Listed { mode: mode(bits), owner, ..none }
        }
        Node::File(file) => Listed { mode: mode(&file.mode), sha256: Some(digest(&file.content)?.hex()), ..none },
        Node::Symlink { target, .. } => Listed { target: Some(target.clone()), ..none },
        Node::HardLink { target } => Listed { hard_link: Some(target.to_string()), ..none },
    })
}

fn digest(content: &Content) -> io::Result<Digest> {
    let mut writer = DigestWriter::new(io::sink());
    content.copy_to(&mut writer)?;
    Ok(writer.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_listed_but_the_list() {
        let mut tree = FileTree::new();
        let path = |text: &str| TreePath::new(text).unwrap();
        let file = File { content: Content::from_bytes("x"), mode: Mode::EXECUTABLE, mtime: None };
        tree.insert(path("app/run"), Node::File(file)).unwrap();
        tree.insert(path("app/link"), Node::Symlink { target: "run".into(), mtime: None }).unwrap();
        tree.insert(path("data"), Node::Directory { mode: Mode::DIRECTORY }).unwrap();
        let tree = with_file_list(tree).unwrap();
        let Some(Node::File(list)) = tree.get(&path(PLACE)) else { panic!("no list") };
        assert_eq!(
            String::from_utf8(list.content.to_vec().unwrap()).unwrap(),
            r#"{"version":1,"files":{"app/link":{"target":"run"},"app/run":{"mode":"0755","sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},"data":{"mode":"0755"}}}"#
        );
    }
}
