//! pdm-backend (<https://backend.pdm-project.org/build_config/>, `pdm/backend/{base,config}.py` 2.5).

use super::{Selection, Source, check_keys, clean, is_identifier};
use crate::sources::own::{NotStatic, literal::assigned};

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&["version"])?;
    let pdm = source.pyproject.tool("pdm");
    check_keys(pdm, "tool.pdm", &["version", "distribution", "dev-dependencies", "scripts", "source", "resolution"])?;
    let listing = source.listing;
    let mut selection = Selection { license_patterns: &["LICEN[CS]E*", "COPYING*", "NOTICE*"], ..Selection::default() };
    if source.dynamic_version() {
        let settings = &pdm["version"];
        check_keys(settings, "tool.pdm.version", &["source", "path"])?;
        let path = settings["path"].as_str().filter(|_| settings["source"].as_str() == Some("file"));
        let path = clean(path.ok_or_else(|| NotStatic::new("its version is dynamic and not in a file"))?)?;
        let text = listing.text(&path)?;
        let none = || NotStatic::new(format!("{path} does not assign `__version__` as a plain text"));
        selection.version = Some(assigned(&text, &["__version__"]).ok_or_else(none)?.to_owned());
    }
    let root = if listing.is_directory("src") { "src" } else { "" };
    let inside = |path: &str| path.strip_prefix(root).map(|rest| rest.trim_start_matches('/').to_owned());
    let mut packages: Vec<String> = listing
        .below(root)
        .filter_map(|path| {
            let (name, rest) = inside(path)?.split_once('/').map(|(name, rest)| (name.to_owned(), rest.to_owned()))?;
            let stubs = name.ends_with("-stubs") && rest == "__init__.pyi";
            (rest == "__init__.py" || stubs).then_some(name)
        })
        .filter(|name| name != "__pypackages__")
        .collect();
    packages.dedup();
    for name in packages {
        let directory = if root.is_empty() { name.clone() } else { format!("{root}/{name}") };
        // `tests` of the project itself belongs to the source distribution only.
        if directory != "tests" {
            selection.add_directory(listing, &directory, root, |path| !path.ends_with(".pyc"))?;
        }
    }
    if selection.files.is_empty() {
        let modules = listing
            .below(root)
            .filter(|path| inside(path).is_some_and(|name| name.strip_suffix(".py").is_some_and(is_identifier)));
        modules.map(str::to_owned).try_for_each(|path| selection.add_file(listing, &path, root))?;
    }
    Ok(selection)
}
