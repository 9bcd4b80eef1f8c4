//! Text from outside on its way to a terminal or a shell.

/// Whether a terminal would act on the character, show others in another order for it (CVE-2021-42574), or begin a line.
pub fn is_harmful(c: char) -> bool {
    let orders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || orders || matches!(c, '\u{2028}' | '\u{2029}')
}

/// What a program said, in its lines, without what is harmful.
pub fn stripped(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).chars().filter(|c| *c == '\n' || !is_harmful(*c)).collect()
}

/// A name in which what is harmful can be seen.
pub fn escape(name: &str) -> String {
    escape_but("", name)
}

/// As [`escape`], but for the characters in `kept`.
pub fn escape_but(kept: &str, text: &str) -> String {
    let is_shown = |c: char| !is_harmful(c) || kept.contains(c);
    text.chars().map(|c| if is_shown(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// In single quotes, where only the single quote itself needs help (POSIX shell, 2.2.2).
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_moves_the_cursor_or_other_text() {
        assert_eq!(stripped(b"a\x1b[31m\xff\n\tb\xe2\x80\xae"), "a[31m\u{fffd}\nb");
        assert_eq!(escape("a\u{1b}[31m \"b\"\n\u{9b}\u{202e}é\t"), "a\\u{1b}[31m \"b\"\\n\\u{9b}\\u{202e}é\\t");
        assert_eq!(escape("a\u{200f}b\u{2028}c\u{61c}"), "a\\u{200f}b\\u{2028}c\\u{61c}");
        assert_eq!(escape_but("\n\t", "a\x1b[2Jb\u{2066}c\nd"), "a\\u{1b}[2Jb\\u{2066}c\nd");
    }

    #[test]
    fn a_quoted_word_is_that_word_to_a_shell() {
        assert_eq!(quote("it's $X"), r"'it'\''s $X'");
    }
}
