//! `METADATA`, `WHEEL` and `entry_points.txt` of a project whose metadata is static
//! (<https://packaging.python.org/en/latest/specifications/core-metadata/>).

use std::fmt::Write;

use globset::GlobBuilder;
use pep508_rs::{PackageName, Requirement, VerbatimUrl, VersionOrUrl, pep440_rs::Version};

use super::{
    NotStatic,
    listing::Listing,
    pyproject::{License, Person, Project, Readme},
};

/// What a wheel says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The PEP 503 name.
    pub name: String,
    /// `NAME-VERSION` of file names.
    pub stem: String,
    /// The version, normalised.
    pub version: String,
    /// The content of `METADATA`.
    pub metadata: String,
    /// The content of `entry_points.txt`, if there are any.
    pub entry_points: Option<String>,
    /// Paths of licence texts in the project.
    pub license_files: Vec<String>,
}

/// The content of `WHEEL` of a wheel for any Python 3.
pub const WHEEL: &str = "Wheel-Version: 1.0\nGenerator: pixi-oci\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// Describes a project with this version and, where its description is dynamic, this summary.
///
/// # Errors
/// Something is not static, or not what its key may be.
pub fn describe(
    project: &Project,
    version: &str,
    summary: Option<&str>,
    license_patterns: &[&str],
    listing: &Listing,
) -> Result<Described, NotStatic> {
    let name: PackageName =
        project.name.parse().map_err(|_| NotStatic::new(format!("{:?} is no name of a package", project.name)))?;
    let version: Version =
        version.trim().parse().map_err(|_| NotStatic::new(format!("{version:?} is no version of PEP 440")))?;
    let version = version.to_string();
    let license_files = license_files(project, license_patterns, listing)?;

    let mut headers = Headers::default();
    headers.add("Metadata-Version", "2.4")?;
    headers.add("Name", &project.name)?;
    headers.add("Version", &version)?;
    headers.add_some("Summary", project.description.as_deref().or(summary))?;
    for (label, url) in &project.urls {
        headers.add("Project-URL", &format!("{label}, {url}"))?;
    }
    people(&mut headers, "Author", &project.authors)?;
    people(&mut headers, "Maintainer", &project.maintainers)?;
    match &project.license {
        Some(License::Expression(expression)) => headers.add("License-Expression", expression)?,
        // A whole licence as a header is of no use to anybody: it is among the licence files.
        Some(License::Table { text: Some(text), .. }) if !text.trim().contains('\n') => {
            headers.add("License", text.trim())?;
        }
        Some(License::Table { .. }) | None => {}
    }
    for file in &license_files {
        headers.add("License-File", file)?;
    }
    if !project.keywords.is_empty() {
        headers.add("Keywords", &project.keywords.join(","))?;
    }
    for classifier in &project.classifiers {
        headers.add("Classifier", classifier)?;
    }
    headers.add_some("Requires-Python", project.requires_python.as_deref())?;
    for dependency in &project.dependencies {
        check_requirement(dependency)?;
        headers.add("Requires-Dist", dependency.trim())?;
    }
    for (extra, dependencies) in &project.optional_dependencies {
        let extra = extra
            .parse::<pep508_rs::ExtraName>()
            .map_err(|_| NotStatic::new(format!("{extra:?} is no name of an extra")))?;
        headers.add("Provides-Extra", extra.as_ref())?;
        for dependency in dependencies {
            check_requirement(dependency)?;
            headers.add("Requires-Dist", &of_extra(dependency, extra.as_ref()))?;
        }
    }
    let metadata = match readme(project, listing)? {
        Some((content_type, body)) => {
            headers.add("Description-Content-Type", &content_type)?;
            format!("{}\n{body}", headers.0)
        }
        None => headers.0,
    };
    Ok(Described {
        stem: format!("{}-{version}", name.as_ref().replace('-', "_")),
        name: name.to_string(),
        version,
        metadata,
        entry_points: entry_points(project)?,
        license_files,
    })
}

#[derive(Default)]
struct Headers(String);

impl Headers {
    /// A value with a line break would be further headers, or a body.
    fn add(&mut self, name: &str, value: &str) -> Result<(), NotStatic> {
        if value.chars().any(char::is_control) {
            return Err(NotStatic::new(format!("its `{name}` has a line break or another control character")));
        }
        let _ = writeln!(self.0, "{name}: {value}");
        Ok(())
    }

    fn add_some(&mut self, name: &str, value: Option<&str>) -> Result<(), NotStatic> {
        value.map_or(Ok(()), |value| self.add(name, value))
    }
}

fn people(headers: &mut Headers, role: &str, people: &[Person]) -> Result<(), NotStatic> {
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for person in people {
        match (&person.name, &person.email) {
            (Some(name), Some(email)) => addresses.push(format!("{name} <{email}>")),
            (None, Some(email)) => addresses.push(email.clone()),
            (Some(name), None) => names.push(name.clone()),
            (None, None) => {}
        }
    }
    for (header, values) in [(role.to_string(), names), (format!("{role}-email"), addresses)] {
        if !values.is_empty() {
            headers.add(&header, &values.join(", "))?;
        }
    }
    Ok(())
}

fn check_requirement(text: &str) -> Result<(), NotStatic> {
    let requirement: Requirement<VerbatimUrl> =
        text.parse().map_err(|_| NotStatic::new(format!("dependency {text:?} is not understood")))?;
    // Such as `{root:uri}/lib`, which a backend expands.
    match &requirement.version_or_url {
        Some(VersionOrUrl::Url(url)) if url.scheme() == "file" => {
            Err(NotStatic::new(format!("dependency {text:?} names a file of this machine")))
        }
        _ => Ok(()),
    }
}

/// A requirement that holds if an extra is wanted. It is kept as it is written: parsers rewrite markers.
fn of_extra(text: &str, extra: &str) -> String {
    // A URL may have a semicolon; then the marker's has a space before it.
    let separator = if text.contains('@') { " ;" } else { ";" };
    match text.split_once(separator) {
        Some((what, marker)) => format!("{} ; ({}) and extra == '{extra}'", what.trim(), marker.trim()),
        None => format!("{} ; extra == '{extra}'", text.trim()),
    }
}

fn readme(project: &Project, listing: &Listing) -> Result<Option<(String, String)>, NotStatic> {
    let (file, content_type) = match &project.readme {
        None => return Ok(None),
        Some(Readme::Table { text: Some(text), file: None, content_type }) => {
            return Ok(Some((content_type.clone(), text.clone())));
        }
        Some(Readme::Table { file: Some(file), text: None, content_type }) => (file, content_type.clone()),
        Some(Readme::Table { .. }) => return Err(NotStatic::new("its `readme` has neither or both of file and text")),
        Some(Readme::Path(file)) => {
            let lower = file.to_ascii_lowercase();
            let content_type = match lower.rsplit_once('.') {
                Some((_, "md")) => "text/markdown",
                Some((_, "rst")) => "text/x-rst",
                Some((_, "txt")) => "text/plain",
                _ => return Err(NotStatic::new(format!("the type of the readme {file:?} is not known"))),
            };
            (file, content_type.to_string())
        }
    };
    Ok(Some((content_type, listing.text(file.trim_start_matches("./"))?)))
}

fn license_files(project: &Project, defaults: &[&str], listing: &Listing) -> Result<Vec<String>, NotStatic> {
    let configured: Option<Vec<&str>> =
        project.license_files.as_ref().map(|files| files.iter().map(String::as_str).collect());
    let mut patterns = configured.unwrap_or_else(|| defaults.to_vec());
    if let Some(License::Table { file: Some(file), .. }) = &project.license {
        patterns.push(file);
    }
    let mut found = Vec::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern.trim_start_matches("./")).literal_separator(true).build();
        let glob = glob.map_err(|error| NotStatic::new(error.to_string()))?.compile_matcher();
        let matches = listing.iter().filter(|path| listing.is_file(path) && glob.is_match(path));
        found.extend(matches.map(str::to_owned));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn entry_points(project: &Project) -> Result<Option<String>, NotStatic> {
    let mut groups = vec![("console_scripts", &project.scripts), ("gui_scripts", &project.gui_scripts)];
    groups.extend(project.entry_points.iter().map(|(group, points)| (group.as_str(), points)));
    let mut text = String::new();
    for (group, points) in groups.into_iter().filter(|(_, points)| !points.is_empty()) {
        let _ = writeln!(text, "{}[{group}]", if text.is_empty() { "" } else { "\n" });
        for (name, target) in points {
            if [group, name, target].iter().any(|part| part.chars().any(char::is_control)) {
                return Err(NotStatic::new(format!("entry point {name:?} has a control character")));
            }
            let _ = writeln!(text, "{name} = {target}");
        }
    }
    Ok((!text.is_empty()).then_some(text))
}
