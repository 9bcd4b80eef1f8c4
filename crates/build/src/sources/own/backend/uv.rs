//! uv's backend (<https://docs.astral.sh/uv/concepts/build-backend/>).

use super::{Selection, Source, check_keys, clean, is_bytecode};
use crate::sources::own::NotStatic;

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&[])?;
    let settings = &source.pyproject.tool("uv")["build-backend"];
    check_keys(settings, "tool.uv.build-backend", &["module-name", "module-root", "source-include", "source-exclude"])?;
    let text = |key: &str, default: String| match &settings[key] {
        serde_json::Value::Null => Ok(default),
        value => value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| NotStatic::new(format!("`tool.uv.build-backend.{key}` is not a text"))),
    };
    let name = text("module-name", source.module_name())?;
    let root = clean(&text("module-root", "src".into())?)?;
    // It excludes the same from wheels as from source distributions.
    if !settings["source-exclude"].is_null() {
        return Err(NotStatic::new("what `tool.uv.build-backend.source-exclude` means is only known to uv"));
    }
    let module = name.replace('.', "/");
    let directory = if root.is_empty() { module } else { format!("{root}/{module}") };
    if !source.listing.is_file(&format!("{directory}/__init__.py")) {
        return Err(NotStatic::new(format!("uv would look for {directory}/__init__.py, which is not there")));
    }
    let mut selection = Selection::default();
    selection.add_directory(source.listing, &directory, &root, |path| !is_bytecode(path))?;
    Ok(selection)
}
