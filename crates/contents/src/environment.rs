//! The environment layer: what is computed from several packages.

use pixi_oci_layer::{Content, File, FileTree, Mode, Node, PathError, TreeError, TreePath};

pub struct EnvironmentInput<'a> {
    /// Where packages live, without the leading slash.
    pub prefix: &'a TreePath,
    /// The working directory, absolute.
    pub workdir: &'a str,
    pub environment: &'a str,
    pub apptainer: String,
    /// The entrypoint, if there are activation scripts.
    pub entrypoint: Option<String>,
    /// The [table of package layers](pixi_oci_formats::layer_table).
    pub table: Vec<u8>,
    pub scratch: bool,
}

/// Where the entrypoint script is in the image.
pub const ENTRYPOINT: &str = "/opt/pixi/entrypoint";

/// Why the layer cannot be made: a working directory that is no path, or in the way of the prefix.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("the working directory {workdir} or the environment's name cannot be a path in the image")]
    Path { workdir: String, source: PathError },
    #[error("the working directory and the prefix are in each other's way")]
    Tree(#[from] TreeError),
}

pub fn environment_tree(mut input: EnvironmentInput<'_>) -> Result<FileTree, EnvironmentError> {
    let path = |text: &str| {
        TreePath::new(text.trim_matches('/'))
            .map_err(|source| EnvironmentError::Path { workdir: input.workdir.into(), source })
    };
    let mut tree = table_tree(std::mem::take(&mut input.table))?;
    // `conda run` and mamba take a directory without it for no environment.
    tree.insert(path(&format!("{}/conda-meta/history", input.prefix))?, file("", Mode::FILE))?;
    tree.insert(path("/.singularity.d/env/91-pixi-oci.sh")?, file(&input.apptainer, Mode::EXECUTABLE))?;
    if !matches!(input.workdir, "" | "/") {
        tree.insert(path(input.workdir)?, Node::Directory { mode: Mode::GROUP_WRITABLE_DIRECTORY })?;
    }
    let in_workdir = |rest: &str| path(&format!("{}/{rest}", input.workdir.trim_end_matches('/')));
    // pixi makes these two at every run where they are missing, and fails on a directory that it may not write to.
    tree.insert(in_workdir(".pixi/.gitignore")?, file("*\n!config.toml\n", Mode::FILE))?;
    tree.insert(in_workdir(".pixi/.condapackageignore")?, file(".pixi\n!.pixi/config.toml\n", Mode::FILE))?;
    // Where pixi writes after a task with inputs or outputs: with any user id, and on a read-only root, that is /tmp.
    tree.insert(in_workdir(".pixi/task-cache-v0")?, link("/tmp"))?;
    tree.insert(in_workdir(&format!(".pixi/envs/{}", input.environment))?, link(&format!("/{}", input.prefix)))?;
    if let Some(script) = &input.entrypoint {
        tree.insert(path(ENTRYPOINT)?, file(script, Mode::EXECUTABLE))?;
        tree.insert(in_workdir("entrypoint.sh")?, link(ENTRYPOINT))?;
    }
    if input.scratch {
        tree.insert(
            path("/etc/passwd")?,
            file("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n", Mode::FILE),
        )?;
        tree.insert(path("/etc/group")?, file("root:x:0:\nnobody:x:65534:\n", Mode::FILE))?;
        tree.insert(path("/tmp")?, Node::Directory { mode: Mode::STICKY_DIRECTORY })?;
    }
    Ok(tree)
}

/// The [table of package layers](pixi_oci_formats::layer_table) in its place.
pub fn table_tree(table: Vec<u8>) -> Result<FileTree, EnvironmentError> {
    let place = pixi_oci_formats::layer_table::PLACE;
    let path = TreePath::new(place).map_err(|source| EnvironmentError::Path { workdir: String::new(), source })?;
    let mut tree = FileTree::new();
    let table = File { content: Content::from_bytes(table), mode: Mode::FILE, mtime: None };
    tree.insert(path, Node::File(table))?;
    Ok(tree)
}

fn file(text: &str, mode: Mode) -> Node {
    Node::File(File { content: Content::from_bytes(text), mode, mtime: None })
}

fn link(target: &str) -> Node {
    Node::Symlink { target: target.into(), mtime: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_layer() {
        let tree = environment_tree(EnvironmentInput {
            prefix: &TreePath::new("opt/pixi/env").unwrap(),
            workdir: "/app",
            environment: "prod",
            apptainer: "A".into(),
            entrypoint: Some("E".into()),
            table: b"{}".to_vec(),
            scratch: true,
        })
        .unwrap();
        let lines: Vec<String> = pixi_oci_layer::dump(&tree)
            .lines()
            .map(|line| line.split(" sha256:").next().unwrap_or_default().to_string())
            .collect();
        assert_eq!(
            lines,
            [
                "f 0755 - .singularity.d/env/91-pixi-oci.sh 1",
                "d 0775 - app",
                "f 0644 - app/.pixi/.condapackageignore 25",
                "f 0644 - app/.pixi/.gitignore 15",
                "l 0777 - app/.pixi/envs/prod -> \"/opt/pixi/env\"",
                "l 0777 - app/.pixi/task-cache-v0 -> \"/tmp\"",
                "l 0777 - app/entrypoint.sh -> \"/opt/pixi/entrypoint\"",
                "f 0644 - etc/group 26",
                "f 0644 - etc/passwd 80",
                "f 0755 - opt/pixi/entrypoint 1",
                "f 0644 - opt/pixi/env/conda-meta/history 0",
                "f 0644 - opt/pixi/layers.json 2",
                "d 1777 - tmp",
            ]
        );
    }
}
