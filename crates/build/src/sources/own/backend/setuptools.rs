//! setuptools without code and with settings in `pyproject.toml` only
//! (<https://setuptools.pypa.io/en/latest/userguide/package_discovery.html>, `setuptools/{discovery,command/build_py}.py` 80).

mod discovery;

use std::collections::BTreeSet;

use globset::GlobBuilder;
use serde_json::Value;

use super::{LICENSES, Selection, Source, check_keys, clean, strings};
use crate::sources::own::{NotStatic, literal::assigned};

/// Packages and modules by their dotted names, and the directory that they are in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layout {
    root: String,
    packages: Vec<String>,
    modules: Vec<String>,
}

pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    source.check_dynamic(&["version"])?;
    let listing = source.listing;
    for file in ["setup.py", "setup.cfg", "MANIFEST.in"] {
        if listing.is_file(file) {
            return Err(NotStatic::new(format!("what its {file} means is only known to setuptools")));
        }
    }
    let settings = source.pyproject.tool("setuptools");
    let known =
        ["packages", "py-modules", "package-dir", "package-data", "include-package-data", "zip-safe", "dynamic"];
    check_keys(settings, "tool.setuptools", &known)?;
    let layout = layout(source, settings)?;

    let mut selection = Selection { license_patterns: LICENSES, drops_modes: true, ..Selection::default() };
    for module in &layout.modules {
        selection.add_file(listing, &layout.path(&format!("{}.py", module.replace('.', "/"))), &layout.root)?;
    }
    for package in &layout.packages {
        let directory = layout.path(&package.replace('.', "/"));
        let data = data_patterns(&settings["package-data"], package)?;
        selection.add_directory(listing, &directory, &layout.root, |path| {
            let inside = path[directory.len()..].trim_start_matches('/');
            let direct = !inside.contains('/') && !inside.starts_with('.');
            let module = [".py", ".pyi"].iter().any(|end| inside.ends_with(end)) || inside == "py.typed";
            (direct && module) || data.iter().any(|pattern| matches(pattern, inside))
        })?;
    }
    if selection.files.is_empty() {
        return Err(NotStatic::new("setuptools would find no modules"));
    }
    let top = layout.packages.iter().chain(&layout.modules).filter_map(|name| name.split('.').next());
    let top: BTreeSet<String> = top.map(str::to_owned).collect();
    selection.top_level = Some(top.into_iter().collect());
    if source.dynamic_version() {
        selection.version = Some(version(source, &settings["dynamic"], &layout.root)?);
    }
    Ok(selection)
}

impl Layout {
    fn path(&self, below: &str) -> String {
        if self.root.is_empty() { below.to_owned() } else { format!("{}/{below}", self.root) }
    }
}

fn layout(source: &Source<'_>, settings: &Value) -> Result<Layout, NotStatic> {
    check_keys(&settings["package-dir"], "tool.setuptools.package-dir", &[""])?;
    let directory = match &settings["package-dir"][""] {
        Value::Null => None,
        value => Some(clean(value.as_str().ok_or_else(|| NotStatic::new("`package-dir` is not a text"))?)?),
    };
    let modules = strings(&settings["py-modules"], "tool.setuptools.py-modules")?;
    let packages = &settings["packages"];
    if packages.is_null() && modules.is_none() {
        return discovery::discover(source.listing, directory);
    }
    let mut layout =
        Layout { root: directory.unwrap_or_default(), modules: modules.unwrap_or_default(), packages: Vec::new() };
    match packages {
        Value::Null => {}
        Value::Array(_) => layout.packages = strings(packages, "tool.setuptools.packages")?.unwrap_or_default(),
        _ => {
            check_keys(packages, "tool.setuptools.packages", &["find"])?;
            let find = &packages["find"];
            check_keys(find, "tool.setuptools.packages.find", &["where", "include", "exclude", "namespaces"])?;
            let where_ = strings(&find["where"], "where")?.unwrap_or_else(|| vec![".".into()]);
            let [root] = &where_[..] else {
                return Err(NotStatic::new("`tool.setuptools.packages.find.where` names several directories"));
            };
            let root = clean(root)?;
            if !layout.root.is_empty() && layout.root != root {
                return Err(NotStatic::new("`package-dir` and `packages.find.where` are different directories"));
            }
            let namespaces = find["namespaces"].as_bool().unwrap_or(true);
            let include = strings(&find["include"], "include")?.unwrap_or_else(|| vec!["*".into()]);
            let exclude = strings(&find["exclude"], "exclude")?.unwrap_or_default();
            layout.packages = discovery::find(source.listing, &root, &include, &exclude, namespaces)?;
            layout.root = root;
        }
    }
    Ok(layout)
}

/// The patterns for all packages and for this one.
fn data_patterns(settings: &Value, package: &str) -> Result<Vec<String>, NotStatic> {
    super::table(settings, "tool.setuptools.package-data")?;
    let mut patterns = Vec::new();
    for key in ["*", "", package] {
        patterns.extend(strings(&settings[key], "tool.setuptools.package-data")?.unwrap_or_default());
    }
    for pattern in &patterns {
        clean(pattern)?;
        glob(pattern).ok_or_else(|| NotStatic::new(format!("{pattern:?} is not a pattern of paths")))?;
    }
    Ok(patterns)
}

fn glob(pattern: &str) -> Option<globset::GlobMatcher> {
    let builder = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(false).build();
    builder.ok().map(|glob| glob.compile_matcher())
}

/// As Python's `glob`: wild cards match no name that begins with a dot.
fn matches(pattern: &str, path: &str) -> bool {
    let hidden = path.split('/').any(|name| name.starts_with('.'));
    (!hidden || pattern.split('/').any(|part| part.starts_with('.')))
        && glob(pattern).is_some_and(|glob| glob.is_match(path))
}

fn version(source: &Source<'_>, dynamic: &Value, root: &str) -> Result<String, NotStatic> {
    check_keys(dynamic, "tool.setuptools.dynamic", &["version"])?;
    let settings = &dynamic["version"];
    let listing = source.listing;
    if let (Some(file), None) = (settings["file"].as_str(), settings["attr"].as_str()) {
        return Ok(listing.text(&clean(file)?)?.trim().to_owned());
    }
    let attribute = settings["attr"].as_str().filter(|_| settings["file"].is_null());
    let attribute = attribute.ok_or_else(|| NotStatic::new("its version is dynamic and neither `attr` nor `file`"))?;
    let (module, name) = attribute.rsplit_once('.').unwrap_or(("__init__", attribute));
    let path = module.replace('.', "/");
    let path = if root.is_empty() { path } else { format!("{root}/{path}") };
    let candidates = [format!("{path}.py"), format!("{path}/__init__.py")];
    let mut found = candidates.iter().filter(|path| listing.is_file(path));
    let (Some(file), None) = (found.next(), found.next()) else {
        return Err(NotStatic::new(format!("no file is the module {module} of its version")));
    };
    let text = listing.text(file)?;
    let none = || NotStatic::new(format!("{file} does not assign `{name}` as a plain text"));
    Ok(assigned(&text, &[name]).ok_or_else(none)?.to_owned())
}
