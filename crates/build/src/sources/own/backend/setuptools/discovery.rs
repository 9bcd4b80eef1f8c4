//! Where setuptools looks for packages when it is not told.

use std::collections::BTreeSet;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{super::is_identifier, Layout};
use crate::sources::own::{NotStatic, listing::Listing};

/// Directories beside a package that are none (`FlatLayoutPackageFinder`).
const NO_PACKAGES: [&str; 34] = [
    "ci",
    "bin",
    "debian",
    "doc",
    "docs",
    "documentation",
    "manpages",
    "news",
    "newsfragments",
    "changelog",
    "test",
    "tests",
    "unit_test",
    "unit_tests",
    "example",
    "examples",
    "scripts",
    "tools",
    "util",
    "utils",
    "python",
    "build",
    "dist",
    "venv",
    "env",
    "requirements",
    "tasks",
    "fabfile",
    "site_scons",
    "benchmark",
    "benchmarks",
    "exercise",
    "exercises",
    "htmlcov",
];
/// Files beside a module that are none (`FlatLayoutModuleFinder`).
const NO_MODULES: [&str; 21] = [
    "setup",
    "conftest",
    "test",
    "tests",
    "example",
    "examples",
    "build",
    "toxfile",
    "noxfile",
    "pavement",
    "dodo",
    "tasks",
    "fabfile",
    "SConstruct",
    "sconstruct",
    "conanfile",
    "manage",
    "benchmark",
    "benchmarks",
    "exercise",
    "exercises",
];

/// The layout with `src`, else the flat one.
pub fn discover(listing: &Listing, directory: Option<String>) -> Result<Layout, NotStatic> {
    let source_root = directory.clone().unwrap_or_else(|| "src".into());
    if !source_root.is_empty() && listing.is_directory(&source_root) {
        return Ok(Layout {
            packages: find(listing, &source_root, &["*".into()], &[], true)?,
            modules: modules(listing, &source_root),
            root: source_root,
        });
    }
    if directory.is_some_and(|directory| !directory.is_empty()) {
        return Err(NotStatic::new(format!("`package-dir` {source_root:?} has no files")));
    }
    let top = |name: &str| -> bool {
        let stubs = name.strip_suffix("-stubs").is_some_and(|name| !name.is_empty());
        (is_identifier(name) || stubs) && !name.starts_with(['.', '_']) && !NO_PACKAGES.contains(&name)
    };
    let packages: Vec<String> = find(listing, "", &["*".into()], &[], true)?
        .into_iter()
        .filter(|package| {
            let mut names = package.split('.');
            names.next().is_some_and(top) && names.all(is_identifier)
        })
        .collect();
    let roots: BTreeSet<&str> = packages.iter().filter_map(|package| package.split('.').next()).collect();
    let roots: Vec<&str> = roots.into_iter().filter(|name| !name.ends_with("-stubs")).collect();
    match roots[..] {
        [_] => Ok(Layout { root: String::new(), packages, modules: Vec::new() }),
        [] => {
            let mut modules = modules(listing, "");
            modules.retain(|name| !NO_MODULES.contains(&name.as_str()) && !name.starts_with('_'));
            match modules.len() {
                0 | 1 => Ok(Layout { root: String::new(), packages, modules }),
                _ => Err(NotStatic::new(format!("setuptools would find several modules: {}", modules.join(", ")))),
            }
        }
        _ => Err(NotStatic::new(format!("setuptools would find several packages: {}", roots.join(", ")))),
    }
}

/// The packages below `root`: all directories, or those with an `__init__.py`, by dotted names (`PackageFinder`).
pub fn find(
    listing: &Listing,
    root: &str,
    include: &[String],
    exclude: &[String],
    namespaces: bool,
) -> Result<Vec<String>, NotStatic> {
    let (include, exclude) = (patterns(include)?, patterns(exclude)?);
    let mut directories = BTreeSet::new();
    for path in listing.below(root) {
        let inside = path[root.len()..].trim_start_matches('/');
        directories.extend(inside.match_indices('/').map(|(at, _)| inside[..at].to_owned()));
        // setuptools follows links to directories.
        if !listing.is_file(path) {
            return Err(NotStatic::new(format!("{path} is a link to a directory")));
        }
    }
    let has_init = |directory: &str| {
        let init = format!("{directory}/__init__.py");
        listing.is_file(&if root.is_empty() { init } else { format!("{root}/{init}") })
    };
    let is_package = |directory: &str| {
        let last = directory.rsplit('/').next().unwrap_or(directory);
        !last.contains('.') && (namespaces || has_init(directory))
    };
    let found = directories.iter().filter(|directory| {
        let mut above = directory.match_indices('/').map(|(at, _)| &directory[..at]);
        above.all(is_package) && is_package(directory)
    });
    let names = found.map(|directory| directory.replace('/', "."));
    Ok(names.filter(|name| include.is_match(name) && !exclude.is_match(name)).collect())
}

/// As `fnmatch`: a star matches dots, too.
fn patterns(patterns: &[String]) -> Result<GlobSet, NotStatic> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|error| NotStatic::new(error.to_string()))?);
    }
    set.build().map_err(|error| NotStatic::new(error.to_string()))
}

fn modules(listing: &Listing, root: &str) -> Vec<String> {
    let inside = listing.below(root).map(|path| path[root.len()..].trim_start_matches('/'));
    let names = inside.filter(|path| !path.contains('/')).filter_map(|path| path.strip_suffix(".py"));
    names.filter(|name| is_identifier(name)).map(str::to_owned).collect()
}
