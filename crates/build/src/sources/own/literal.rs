//! The version that a module assigns as a plain literal, so that nothing has to run to know it.

/// The text assigned to one of `names` at the beginning of a line: `NAME = "…"`, `NAME: str = '…'`. `None` if there is no
/// such line, or more than one: then only Python knows.
pub fn assigned<'a>(source: &'a str, names: &[&str]) -> Option<&'a str> {
    let mut found = source.lines().filter_map(|line| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name).filter(|rest| !continues(rest)))?;
        let (annotation, value) = rest.split_once('=')?;
        let annotation = annotation.trim();
        if !annotation.is_empty() && !annotation.starts_with(':') {
            return None;
        }
        Some(literal(value.trim()))
    });
    let only = found.next()??;
    found.next().is_none().then_some(only)
}

/// Whether the name goes on: `__version__` is not `__version__info`.
fn continues(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
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
