//! The scripts of a product, which are the same for all but for a few words.

use crate::{Error, Product, writer::path};

const ENVS: &str = include_str!("scripts/envs.sh");
const BOOTSTRAP: &str = include_str!("scripts/bootstrap-project.sh");

/// The words.
#[derive(Debug, Clone, Copy)]
pub struct ScriptInput<'a> {
    /// The directory of the project.
    pub name: &'a str,
    /// The workspace manifest's file name.
    pub workspace_manifest: &'a str,
    pub environments: &'a [String],
}

/// The scripts' names and texts.
pub(crate) fn scripts(input: &ScriptInput<'_>) -> [(&'static str, String); 2] {
    let fill = |text: &str| {
        text.replace("@NAME@", &quote(input.name))
            .replace("@MANIFEST@", &quote(input.workspace_manifest))
            .replace("@ENVIRONMENTS@", &quote(&input.environments.join(" ")))
    };
    [("envs.sh", fill(ENVS)), ("bootstrap-project.sh", fill(BOOTSTRAP))]
}

/// Writes the scripts.
///
/// # Errors
/// The disk fails.
pub fn write_scripts(product: &Product, input: &ScriptInput<'_>) -> Result<(), Error> {
    for (name, text) in scripts(input) {
        product.bytes(&path(name)?, name.starts_with("bootstrap"), text.as_bytes())?;
    }
    Ok(())
}

/// In single quotes, where only the single quote itself needs help (POSIX shell, 2.2.2).
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
