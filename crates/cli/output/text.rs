//! Errors and names as text that is safe to show.

/// What led to an error, from the nearest to the first.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Many errors show their source in their own text.
        if !said.contains(&text) {
            causes.push(text.clone());
        }
        said = text;
        source = cause.source();
    }
    causes
}

/// An error with what led to it, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<String> = std::iter::once(error.to_string()).chain(causes(error)).collect();
    texts.join(": ")
}

/// Whether a terminal would act on the character.
pub fn harmful(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes what could move the cursor or reorder text: names come from packages and servers (CVE-2021-42574).
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if harmful(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_reaches_the_terminal_that_moves_the_cursor() {
        assert_eq!(super::printable("a\x1b[2Jb\u{202e}c\nd"), "a\\u{1b}[2Jb\\u{202e}c\nd");
    }
}
