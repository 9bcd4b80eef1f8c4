//! Changing `[tool.pixi-oci]` without touching anything else of the manifest.

use std::{collections::BTreeMap, path::Path};

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::{Error, files};

/// The manifest with other base images, by the present name of each; comments, order and white space stay.
///
/// `default` is the base image of who configures none: where the table has no `base`, one is added for it.
pub fn with_bases(manifest_path: &Path, default: &str, pins: &BTreeMap<String, String>) -> Result<String, Error> {
    let text = files::read_manifest(manifest_path)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| Error::NoWorkspace {
        path: manifest_path.to_owned(),
        message: error.message().to_owned(),
    })?;
    let tool = document.entry("tool").or_insert_with(implicit_table);
    let Some(tool) = tool.as_table_like_mut() else { return Ok(text) };
    let oci = tool.entry("pixi-oci").or_insert_with(|| Item::Table(Table::new()));
    let Some(oci) = oci.as_table_like_mut() else { return Ok(text) };
    if !oci.contains_key("base")
        && let Some(pinned) = pins.get(default)
    {
        oci.insert("base", toml_edit::value(pinned.as_str()));
    }
    repin(oci, pins);
    if let Some(environments) = oci.get_mut("environments").and_then(Item::as_table_like_mut) {
        for (_, environment) in environments.iter_mut() {
            if let Some(environment) = environment.as_table_like_mut() {
                repin(environment, pins);
            }
        }
    }
    Ok(document.to_string())
}

/// Writes the manifest, so that there is always the whole old or the whole new one.
pub fn write_manifest(manifest_path: &Path, text: &str) -> Result<(), Error> {
    files::write_atomically(manifest_path, text).map_err(|source| Error::Io {
        action: "write",
        path: manifest_path.to_owned(),
        source,
    })
}

fn implicit_table() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn repin(table: &mut dyn TableLike, pins: &BTreeMap<String, String>) {
    let Some(value) = table.get_mut("base").and_then(Item::as_value_mut) else { return };
    let Some(pinned) = value.as_str().and_then(|base| pins.get(base)) else { return };
    let decor = value.decor().clone();
    *value = Value::from(pinned.as_str());
    *value.decor_mut() = decor;
}
