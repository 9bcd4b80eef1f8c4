//! flit (<https://flit.pypa.io/en/stable/pyproject_toml.html>, `flit_core/common.py` 3.12).

use super::{Selection, Source, check_keys};
use crate::sources::own::{NotStatic, literal::assigned};

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&["version", "description"])?;
    let flit = source.pyproject.tool("flit");
    check_keys(flit, "tool.flit", &["module", "sdist"])?;
    check_keys(&flit["module"], "tool.flit.module", &["name"])?;
    let name = match &flit["module"]["name"] {
        serde_json::Value::Null => source.project.name.replace('-', "_"),
        name => name.as_str().ok_or_else(|| NotStatic::new("`tool.flit.module.name` is not a text"))?.to_owned(),
    };
    let listing = source.listing;
    let path = name.replace('.', "/");
    let mut places = ["", "src"].into_iter().flat_map(|strip| {
        let path = if strip.is_empty() { path.clone() } else { format!("{strip}/{path}") };
        let module = format!("{path}.py");
        let package = listing.is_directory(&path).then_some((path, true, strip));
        let module = listing.is_file(&module).then_some((module, false, strip));
        package.into_iter().chain(module)
    });
    let (Some((place, is_package, strip)), None) = (places.next(), places.next()) else {
        return Err(NotStatic::new(format!("flit would find no module {name}, or several")));
    };

    let mut selection = Selection { license_patterns: &["COPYING*", "LICEN[CS]E*"], ..Selection::default() };
    if is_package {
        selection.add_directory(listing, &place, strip, |path| !path.ends_with(".pyc"))?;
    } else {
        selection.add_file(listing, &place, strip)?;
    }
    let main = if is_package { format!("{place}/__init__.py") } else { place.clone() };
    if source.dynamic_version() {
        if ["version", "_version", "__version__"].iter().any(|name| listing.is_file(&format!("{place}/{name}.py"))) {
            return Err(NotStatic::new("flit would look for its version in several files"));
        }
        let text = listing.text(&main)?;
        let version = assigned(&text, &["__version__"]);
        let none = || NotStatic::new(format!("{main} does not assign `__version__` as a plain text"));
        selection.version = Some(version.ok_or_else(none)?.to_owned());
    }
    if source.project.dynamic.iter().any(|field| field == "description") {
        let text = listing.text(&main)?;
        let none = || NotStatic::new(format!("{main} does not begin with a docstring"));
        selection.summary = Some(summary(&text).ok_or_else(none)?.to_owned());
    }
    Ok(selection)
}

/// The first line of the docstring that a module begins with.
fn summary(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while rest.starts_with('#') {
        rest = rest.split_once('\n')?.1.trim_start();
    }
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| rest.starts_with(quotes))?;
    let (docstring, _) = rest[quotes.len()..].split_once(quotes)?;
    let line = docstring.trim_start().lines().next()?;
    (!line.is_empty() && !docstring.contains('\\')).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn summaries_are_first_lines() {
        assert_eq!(summary("#!/usr/bin/python\n# c\n\"\"\"\nDoes it.\n\nMore.\"\"\"\n"), Some("Does it."));
        assert_eq!(summary("'one'\n"), Some("one"));
        for text in ["", "x = 1\n'doc'", "\"\"\"\"\"\"", "r'''x'''", "'a\\n'"] {
            assert_eq!(summary(text), None, "{text}");
        }
    }
}
