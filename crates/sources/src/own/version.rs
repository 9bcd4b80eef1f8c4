//! The version of a project that leaves it to its backend, as far as nothing has to run to know it.

use serde_json::Value;

use super::{NotStatic, rule::Package};
use crate::{
    listing::Listing,
    pyproject::{ProjectTable, PyProject},
    vcs,
};

/// The version: static, or git's, or a plain text that a module assigns, or what is locked.
pub fn version(
    project: &ProjectTable,
    pyproject: &PyProject,
    package: &Package,
    listing: &Listing,
    locked: Option<&str>,
) -> Result<String, NotStatic> {
    if let Some(field) = project.dynamic.iter().find(|field| *field != "version") {
        return NotStatic::because(format!("its `{field}` is dynamic"));
    }
    match (&project.version, project.dynamic.is_empty()) {
        (Some(version), true) => return Ok(version.clone()),
        (None, true) => return NotStatic::because("its pyproject.toml has no version"),
        (Some(_), false) => return NotStatic::because("its version is both given and dynamic"),
        (None, false) => {}
    }
    let locked = || locked.map(str::to_owned);
    if vcs::by_default(pyproject) {
        let found = vcs::version(&listing.root, pyproject).map(|found| found.version).or_else(locked);
        return found
            .ok_or_else(|| NotStatic("its version is in git, which has no tag for it, or too few commits".into()));
    }
    let assigned = place(pyproject, package, listing).and_then(|(file, name)| {
        let text = listing.text(&file).ok()?;
        Some(assigned(&text, &[&name, "VERSION"])?.trim_start_matches('v').to_owned())
    });
    assigned.or_else(locked).ok_or_else(|| {
        NotStatic("its version is dynamic, not locked, and not a plain text that its module assigns".to_owned())
    })
}

/// The file and the name in it that settings of the backend name, or else `__version__` of the package.
fn place(pyproject: &PyProject, package: &Package, listing: &Listing) -> Option<(String, String)> {
    let dynamic = &pyproject.tool("setuptools")["dynamic"]["version"];
    let settings = [&pyproject.tool("hatch")["version"], &pyproject.tool("pdm")["version"], dynamic];
    let default = |file: String| Some((file, "__version__".to_owned()));
    let Some(Value::Object(settings)) = settings.into_iter().find(|settings| !settings.is_null()) else {
        return default(format!("{}/__init__.py", package.place));
    };
    let text = |key: &str| settings.get(key).and_then(Value::as_str);
    match (text("path"), text("attr"), text("source").unwrap_or("file"), settings.len()) {
        (Some(path), None, "file" | "regex", 1 | 2) => default(path.trim_start_matches("./").to_owned()),
        (None, Some(attribute), "file", 1) => {
            let (module, name) = attribute.rsplit_once('.')?;
            let root = &package.place[..package.place.len() - package.name.len()];
            let path = format!("{root}{}", module.replace('.', "/"));
            let files = [format!("{path}.py"), format!("{path}/__init__.py")];
            Some((files.into_iter().find(|file| listing.is_file(file))?, name.to_owned()))
        }
        _ => None,
    }
}

/// The text assigned to one of `names` at the beginning of a line: `NAME = "…"`, `NAME: str = '…'`. `None` if there is no
/// such line, or more than one: then only Python knows.
fn assigned<'a>(source: &'a str, names: &[&str]) -> Option<&'a str> {
    let continues = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut found = source.lines().filter_map(|line| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name).filter(|rest| !continues(rest)))?;
        let (annotation, value) = rest.split_once('=')?;
        let plain = annotation.trim().is_empty() || annotation.trim().starts_with(':');
        plain.then(|| literal(value.trim()))
    });
    let only = found.next()??;
    found.next().is_none().then_some(only)
}

/// The text between quotes, with nothing but a comment after it.
fn literal(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (text, rest) = value[1..].split_once(quote)?;
    let rest = rest.trim();
    (!text.is_empty() && !text.contains('\\') && (rest.is_empty() || rest.starts_with('#'))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::assigned;

    #[test]
    fn only_plain_literals_count() {
        let version = |source| assigned(source, &["__version__", "VERSION"]);
        assert_eq!(version("\"\"\"Doc.\"\"\"\n__version__ = \"1.2\"\n"), Some("1.2"));
        assert_eq!(version("VERSION: str='1.2'  # now"), Some("1.2"));
        for source in [
            "",
            "__version__ = get()",
            "__version__ = \"1\" + \"2\"",
            "__version__ = '1'\n__version__ = '2'",
            "__version_info__ = '1'",
            "    __version__ = '1'",
            "__version__ == '1'",
            "__version__ = \"\"\"1\"\"\"",
            "__version__ = f'1'",
        ] {
            assert_eq!(version(source), None, "{source}");
        }
    }
}
