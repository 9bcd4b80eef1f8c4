//! poetry-core with a `[project]` table (`poetry/core/masonry/builders/builder.py` 2.5).

use ignore::gitignore::GitignoreBuilder;

use super::{Selection, Source, check_keys};
use crate::sources::own::NotStatic;

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&[])?;
    let known = ["group", "requires-poetry", "requires-plugins", "source"];
    check_keys(source.pyproject.tool("poetry"), "tool.poetry", &known)?;
    let listing = source.listing;
    let name = source.module_name();
    let place = |strip: &str| {
        let path = if strip.is_empty() { name.clone() } else { format!("{strip}/{name}") };
        let module = format!("{path}.py");
        match (listing.is_directory(&path), listing.is_file(&module)) {
            (true, true) => Err(NotStatic::new(format!("poetry would find both {path} and {module}"))),
            (true, false) => Ok(Some((path, true))),
            (false, true) => Ok(Some((module, false))),
            (false, false) => Ok(None),
        }
    };
    let mut selection = Selection {
        license_patterns: &["LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*", "LICENSES/**"],
        ..Selection::default()
    };
    for strip in ["", "src"] {
        let Some((path, is_package)) = place(strip)? else { continue };
        if is_package {
            selection.add_directory(listing, &path, strip, |path| !super::is_bytecode(path))?;
        } else {
            selection.add_file(listing, &path, strip)?;
        }
        check_ignored(source, &selection)?;
        return Ok(selection);
    }
    Err(NotStatic::new(format!("poetry would find no module {name}")))
}

/// Poetry leaves out what git ignores and does not know: only git's index could tell.
fn check_ignored(source: &Source<'_>, selection: &Selection) -> Result<(), NotStatic> {
    for directory in source.listing.root.ancestors() {
        let mut builder = GitignoreBuilder::new(directory);
        builder.add(directory.join(".gitignore"));
        let ignored = builder.build().map_err(|error| NotStatic::new(error.to_string()))?;
        let hit = selection.files.values().find(|path| {
            ignored.matched_path_or_any_parents(source.listing.root.join(path.as_str()), false).is_ignore()
        });
        if let Some(path) = hit {
            return Err(NotStatic::new(format!(
                "git ignores {path}, and only git knows whether it has it all the same"
            )));
        }
        if fs_err::metadata(directory.join(".git")).is_ok() {
            break;
        }
    }
    Ok(())
}
