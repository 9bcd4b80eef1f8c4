//! Names that were meant, for errors.

/// "did you mean `x`?", for the nearest name if it is near enough to be meant.
pub fn suggestion<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let given = given.to_lowercase().replace('_', "-");
    known
        .map(|name| (strsim::jaro_winkler(&given, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// "did you mean `x`? ", if a name is near enough to be meant; else nothing.
pub fn meant(name: &str, known: &[String]) -> String {
    let suggestion = suggestion(name, known.iter().map(String::as_str));
    suggestion.map(|suggestion| format!("{suggestion} ")).unwrap_or_default()
}

/// "it has `a`, `b`", or "… none".
pub fn listed(verb: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("{verb} none");
    }
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    format!("{verb} {}", quoted.join(", "))
}
