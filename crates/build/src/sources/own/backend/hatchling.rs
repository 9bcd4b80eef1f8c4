//! hatchling (<https://hatch.pypa.io/latest/plugins/builder/wheel/>, `hatchling/builders/{wheel,config}.py` 1.27).

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::Value;

use super::{LICENSES, Selection, Source, check_keys, clean, strings};
use crate::sources::own::{NotStatic, literal::assigned};

/// What is never packed, wherever it is.
const EXCLUDED: &str = "*.py[cdo]\n/dist\n";

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&["version"])?;
    for file in ["hatch.toml", "hatch_build.py"] {
        if source.listing.is_file(file) {
            return Err(NotStatic::new(format!("what its {file} means is only known to hatchling")));
        }
    }
    let hatch = source.pyproject.tool("hatch");
    check_keys(hatch, "tool.hatch", &["version", "envs", "metadata", "build", "publish", "workspace"])?;
    check_keys(&hatch["metadata"], "tool.hatch.metadata", &["allow-direct-references", "allow-ambiguous-features"])?;
    let build = &hatch["build"];
    check_keys(build, "tool.hatch.build", &["targets", "exclude", "reproducible", "directory"])?;
    let wheel = &build["targets"]["wheel"];
    check_keys(wheel, "tool.hatch.build.targets.wheel", &["packages", "exclude", "reproducible"])?;

    let mut selection = Selection { license_patterns: LICENSES, ..Selection::default() };
    if source.dynamic_version() {
        selection.version = Some(version(source, &hatch["version"])?);
    }
    let packages = match strings(&wheel["packages"], "packages")?.filter(|packages| !packages.is_empty()) {
        Some(packages) => packages.iter().map(|path| clean(path)).collect::<Result<Vec<_>, _>>()?,
        None => vec![default_package(source)?],
    };
    let excluded = match &wheel["exclude"] {
        Value::Null => strings(&build["exclude"], "exclude")?,
        own => strings(own, "exclude")?,
    };
    let excluded = excluded_by(source, &excluded.unwrap_or_default())?;
    for package in packages {
        // What is above a package is not part of its name.
        let strip = package.rsplit_once('/').map_or("", |(above, _)| above);
        if source.listing.is_file(&package) {
            selection.add_file(source.listing, &package, strip)?;
            continue;
        }
        selection.add_directory(source.listing, &package, strip, |path| {
            !path.ends_with(".DS_Store") && !excluded.matched_path_or_any_parents(path, false).is_ignore()
        })?;
    }
    if selection.files.is_empty() {
        return Err(NotStatic::new("the packages that hatchling is told to pack have no files"));
    }
    Ok(selection)
}

/// The first of the places where hatchling looks.
fn default_package(source: &Source<'_>) -> Result<String, NotStatic> {
    let raw: String =
        source.project.name.chars().map(|c| if c.is_alphanumeric() || "._".contains(c) { c } else { '_' }).collect();
    let listing = source.listing;
    for name in [raw, source.module_name()] {
        for candidate in [name.clone(), format!("src/{name}")] {
            if listing.is_file(&format!("{candidate}/__init__.py")) {
                return Ok(candidate);
            }
        }
        let module = format!("{name}.py");
        if listing.is_file(&module) {
            return Ok(module);
        }
        let init = format!("/{name}/__init__.py");
        let mut namespaces = listing
            .iter()
            .filter_map(|path| path.strip_suffix(&init))
            .filter(|above| !above.contains('/') && !above.starts_with('.'));
        if let (Some(namespace), None) = (namespaces.next(), namespaces.next()) {
            return Ok(namespace.to_owned());
        }
    }
    Err(NotStatic::new(format!("hatchling would find no package called {}", source.module_name())))
}

fn version(source: &Source<'_>, settings: &Value) -> Result<String, NotStatic> {
    check_keys(settings, "tool.hatch.version", &["path", "source", "scheme"])?;
    let plain = |key: &str, value: &str| settings[key].is_null() || settings[key].as_str() == Some(value);
    let path = settings["path"].as_str().filter(|_| plain("source", "regex") && plain("scheme", "standard"));
    let Some(path) = path else { return Err(NotStatic::new("its version is dynamic and not in a file")) };
    let text = source.listing.text(&clean(path)?)?;
    let version = assigned(&text, &["__version__", "VERSION"]);
    version
        .map(|version| version.trim_start_matches('v').to_owned())
        .ok_or_else(|| NotStatic::new(format!("{path} does not assign its version as a plain text")))
}

/// Hatchling leaves out what the nearest `.gitignore` names, without asking git.
fn excluded_by(source: &Source<'_>, configured: &[String]) -> Result<Gitignore, NotStatic> {
    let root = &source.listing.root;
    let mut text = EXCLUDED.to_owned();
    for directory in root.ancestors() {
        if let Ok(ignored) = fs_err::read_to_string(directory.join(".gitignore")) {
            let everything = matcher(&ignored)?;
            let root = root.strip_prefix("/").unwrap_or(root);
            if !everything.matched_path_or_any_parents(root, true).is_ignore() {
                text.push_str(&ignored);
            }
            break;
        }
        if fs_err::metadata(directory.join(".git")).is_ok() {
            break;
        }
    }
    text.push('\n');
    text.push_str(&configured.join("\n"));
    matcher(&text)
}

fn matcher(text: &str) -> Result<Gitignore, NotStatic> {
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        builder.add_line(None, line).map_err(|error| NotStatic::new(error.to_string()))?;
    }
    builder.build().map_err(|error| NotStatic::new(error.to_string()))
}
