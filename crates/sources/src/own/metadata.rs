//! `METADATA` and `entry_points.txt` of static metadata
//! (<https://packaging.python.org/en/latest/specifications/core-metadata/>).

use std::fmt::Write;

use globset::GlobBuilder;
use pep508_rs::{ExtraName, Requirement, VerbatimUrl, VersionOrUrl};

use super::NotStatic;
use crate::{
    listing::Listing,
    pyproject::{License, Person, ProjectTable, Readme},
};

/// The content of `WHEEL` of a wheel for any Python 3.
pub const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: pixi-oci\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// The content of `METADATA` of a project of this version with these licence texts.
pub fn metadata(
    project: &ProjectTable,
    version: &str,
    licenses: &[String],
    listing: &Listing,
) -> Result<String, NotStatic> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    add("Metadata-Version", "2.4");
    add("Name", &project.name);
    add("Version", version);
    project.description.iter().for_each(|summary| add("Summary", summary));
    project.urls.iter().for_each(|(label, url)| add("Project-URL", &format!("{label}, {url}")));
    people("Author", &project.authors, &mut add);
    people("Maintainer", &project.maintainers, &mut add);
    match &project.license {
        Some(License::Expression(expression)) => add("License-Expression", expression),
        // A whole licence as a header is of no use: it is among the licence files.
        Some(License::Table { text: Some(text), .. }) if !text.trim().contains('\n') => add("License", text.trim()),
        Some(License::Table { .. }) | None => {}
    }
    licenses.iter().for_each(|file| add("License-File", file));
    if !project.keywords.is_empty() {
        add("Keywords", &project.keywords.join(","));
    }
    project.classifiers.iter().for_each(|classifier| add("Classifier", classifier));
    project.requires_python.iter().for_each(|python| add("Requires-Python", python));
    for dependency in &project.dependencies {
        add("Requires-Dist", &requirement(dependency, None)?);
    }
    for (extra, dependencies) in &project.optional_dependencies {
        let name = extra.parse::<ExtraName>();
        let name = name.map_err(|_| NotStatic(format!("{extra:?} is not a valid name of an extra")))?;
        add("Provides-Extra", name.as_ref());
        for dependency in dependencies {
            add("Requires-Dist", &requirement(dependency, Some(name.as_ref()))?);
        }
    }
    let readme = readme(project, listing)?;
    readme.iter().for_each(|(content_type, _)| add("Description-Content-Type", content_type));
    let mut text = String::new();
    for (name, value) in headers {
        // A line break would begin another header, or the body.
        if value.chars().any(char::is_control) {
            return NotStatic::because(format!("its `{name}` has a line break or another control character"));
        }
        let _ = writeln!(text, "{name}: {value}");
    }
    Ok(readme.map_or(text.clone(), |(_, body)| format!("{text}\n{body}")))
}

fn people(role: &str, people: &[Person], add: &mut impl FnMut(&str, &str)) {
    let with_email = |person: &Person| match (&person.name, &person.email) {
        (Some(name), Some(email)) => Some(format!("{name} <{email}>")),
        (None, email) => email.clone(),
        (Some(_), None) => None,
    };
    let names = people.iter().filter(|person| person.email.is_none()).filter_map(|person| person.name.clone());
    let (names, emails): (Vec<_>, Vec<_>) = (names.collect(), people.iter().filter_map(with_email).collect());
    for (header, values) in [(role.to_owned(), names), (format!("{role}-email"), emails)] {
        if !values.is_empty() {
            add(&header, &values.join(", "));
        }
    }
}

/// A requirement that holds if an extra is wanted, if one is given; as it is written, because parsers rewrite markers.
fn requirement(text: &str, extra: Option<&str>) -> Result<String, NotStatic> {
    let parsed: Requirement<VerbatimUrl> =
        text.parse().map_err(|_| NotStatic(format!("dependency {text:?} is not understood")))?;
    // Such as `{root:uri}/lib`, which a backend expands.
    if matches!(&parsed.version_or_url, Some(VersionOrUrl::Url(url)) if url.scheme() == "file") {
        return NotStatic::because(format!("dependency {text:?} names a file of this machine"));
    }
    let Some(extra) = extra else { return Ok(text.trim().to_owned()) };
    // A URL may have a semicolon; then the marker's has a space before it.
    Ok(match text.split_once(if text.contains('@') { " ;" } else { ";" }) {
        Some((what, marker)) => format!("{} ; ({}) and extra == '{extra}'", what.trim(), marker.trim()),
        None => format!("{} ; extra == '{extra}'", text.trim()),
    })
}

fn readme(project: &ProjectTable, listing: &Listing) -> Result<Option<(String, String)>, NotStatic> {
    let (file, content_type) = match &project.readme {
        None => return Ok(None),
        Some(Readme::Table { text: Some(text), file: None, content_type }) => {
            return Ok(Some((content_type.clone(), text.clone())));
        }
        Some(Readme::Table { file: Some(file), text: None, content_type }) => (file, content_type.as_str()),
        Some(Readme::Table { .. }) => return NotStatic::because("its `readme` has neither or both of file and text"),
        Some(Readme::Path(file)) => match file.to_ascii_lowercase().rsplit_once('.') {
            Some((_, "md")) => (file, "text/markdown"),
            Some((_, "rst")) => (file, "text/x-rst"),
            Some((_, "txt")) => (file, "text/plain"),
            _ => return NotStatic::because(format!("the type of the readme {file:?} is not known")),
        },
    };
    Ok(Some((content_type.to_owned(), listing.text(file.trim_start_matches("./"))?)))
}

/// The licence texts of a project: what it names, else what is called like `defaults`.
pub fn license_files(project: &ProjectTable, defaults: &[&str], listing: &Listing) -> Result<Vec<String>, NotStatic> {
    let named = project.license_files.as_ref().map(|files| files.iter().map(String::as_str).collect());
    let mut patterns: Vec<&str> = named.unwrap_or_else(|| defaults.to_vec());
    if let Some(License::Table { file: Some(file), .. }) = &project.license {
        patterns.push(file);
    }
    let mut found = std::collections::BTreeSet::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern.trim_start_matches("./")).literal_separator(true).build();
        let glob = glob.map_err(|error| NotStatic(error.to_string()))?.compile_matcher();
        found.extend(listing.iter().filter(|path| listing.is_file(path) && glob.is_match(path)).map(str::to_owned));
    }
    Ok(found.into_iter().collect())
}

/// The content of `entry_points.txt`, if there are any.
pub fn entry_points(project: &ProjectTable) -> Result<Option<String>, NotStatic> {
    let scripts = [("console_scripts", &project.scripts), ("gui_scripts", &project.gui_scripts)];
    let groups = scripts.into_iter().chain(project.entry_points.iter().map(|(group, points)| (group.as_str(), points)));
    let mut text = String::new();
    for (group, points) in groups.filter(|(_, points)| !points.is_empty()) {
        let _ = writeln!(text, "{}[{group}]", if text.is_empty() { "" } else { "\n" });
        for (name, target) in points {
            if [group, name, target].iter().any(|part| part.chars().any(char::is_control)) {
                return NotStatic::because(format!("entry point {name:?} has a control character"));
            }
            let _ = writeln!(text, "{name} = {target}");
        }
    }
    Ok((!text.is_empty()).then_some(text))
}
