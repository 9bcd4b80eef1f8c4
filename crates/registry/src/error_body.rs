//! What registries answer when they refuse, made safe to repeat.

use pixi_oci_platform::is_harmful;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::credentials::Secrets;

/// How much of a registry's words an error repeats, in characters.
const MAX_TEXT: usize = 500;

/// Text from outside on one line, without what a terminal would obey (CVE-2023-40030) or show in another order
/// (CVE-2021-42574), without secrets, and not longer than a reader bears.
pub(crate) fn sanitise(text: &str, secrets: &Secrets) -> String {
    let visible =
        |c: &char| !is_harmful(*c) && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let spaced = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
    let text = secrets.mask(spaced.filter(visible).collect::<String>().trim());
    text.chars().take(MAX_TEXT).collect()
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    /// The codes of the distribution-spec, and those that registries made up.
    pub(crate) codes: Vec<String>,
    /// For people.
    pub(crate) text: String,
    /// Whether it is a web page, which comes from a proxy and not from a registry.
    pub(crate) is_page: bool,
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    message: Option<String>,
}

impl ErrorBody {
    /// Reads a body, whatever it is.
    pub(crate) fn of(body: &[u8], secrets: &Secrets) -> Self {
        if let Ok(envelope) = serde_json::from_slice::<Envelope>(body) {
            let line = |entry: &ErrorItem| match entry.message.as_deref().unwrap_or_default() {
                "" => entry.code.clone(),
                message if entry.code.is_empty() => message.to_owned(),
                message => format!("{}: {message}", entry.code),
            };
            let text = envelope.errors.iter().take(5).map(line).collect::<Vec<_>>().join("; ");
            let codes = envelope.errors.into_iter().take(5).map(|entry| sanitise(&entry.code, secrets)).collect();
            return Self { codes, text: sanitise(&text, secrets), is_page: false };
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
        let is_page = looks_like_page(&text);
        let text = if is_page { format!("a web page, {}", title(&text)) } else { text.into_owned() };
        Self { codes: Vec::new(), text: sanitise(&text, secrets), is_page }
    }

    /// What to repeat; never nothing.
    pub(crate) fn text(&self) -> &str {
        if self.text.is_empty() { "it gives no reason" } else { &self.text }
    }

    /// The text behind the status that it came with.
    pub(crate) fn with_status(&self, status: StatusCode) -> String {
        format!("status {}: {}", status.as_u16(), self.text())
    }

    pub(crate) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|found| found == code)
    }

    /// Whether the words are about too many requests: some registries say that with status 403.
    pub(crate) fn is_rate_limit(&self) -> bool {
        let text = self.text.to_lowercase();
        self.has("TOOMANYREQUESTS")
            || ["rate limit", "ratelimit", "secondary limit", "too many request"]
                .iter()
                .any(|words| text.contains(words))
    }

    /// Whether the words are about storage that is used up.
    pub(crate) fn is_quota(&self) -> bool {
        let text = self.text.to_lowercase();
        text.contains("quota") || text.contains("storage limit") || text.contains("no space left")
    }
}

/// Whether this begins as HTML does.
pub(crate) fn looks_like_page(text: &str) -> bool {
    let begin: String = text.trim_start().chars().take(15).collect::<String>().to_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html") || begin.starts_with("<head")
}

fn title(page: &str) -> String {
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once('<')).map(|(title, _)| title.trim());
    title.filter(|title| !title.is_empty()).map_or_else(|| "without a title".to_owned(), |title| format!("{title:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8]) -> ErrorBody {
        ErrorBody::of(bytes, &Secrets::default())
    }

    fn clean(text: &str) -> String {
        sanitise(text, &Secrets::default())
    }

    #[test]
    fn secrets_that_a_server_repeats_are_not_shown() {
        let secrets = Secrets::default();
        for secret in ["p+ss word", "dXNlcjpwK3NzIHdvcmQ=", "abc"] {
            secrets.add(secret);
        }
        let text = r#"{"errors":[{"code":"p+ss word","message":"no: p+ss\u200b word, p%2Bss+word, dXNlcjpwK3NzIHdvcmQ= abc"}]}"#;
        let found = ErrorBody::of(text.as_bytes(), &secrets);
        // Three letters are not a secret.
        assert_eq!((found.text(), &found.codes[..]), ("***: no: ***, ***, *** abc", &["***".to_owned()][..]));
        let cut = format!("{}{}", "x".repeat(MAX_TEXT - 3), "p+ss word");
        assert!(sanitise(&cut, &secrets).ends_with("x***"));
    }

    #[test]
    fn errors_are_read_in_every_form() {
        let error = body(br#"{"errors":[{"code":"DENIED","message":"no","detail":[1]},{"code":"X","message":null}]}"#);
        assert_eq!((error.text(), error.has("DENIED"), error.has("X")), ("DENIED: no; X", true, true));
        let page = body(b"\n<!DOCTYPE HTML><head><title>413 Too \x1b[1mLarge</title>");
        assert_eq!((page.text(), page.is_page), (r#"a web page, "413 Too \u{1b}[1mLarge""#, true));
        assert_eq!(
            body(b"retry-after: 10.48ms, allowed: 2000/minute").text(),
            "retry-after: 10.48ms, allowed: 2000/minute"
        );
        assert_eq!(body(b"").text(), "it gives no reason");
        assert!(body(b"You have exceeded a secondary rate limit").is_rate_limit());
        assert!(body(br#"{"errors":[{"code":"DENIED","message":"adding 5 MiB will exceed the quota"}]}"#).is_quota());
        let deep = body("[".repeat(100_000).as_bytes());
        assert_eq!(deep.text().len(), MAX_TEXT);
    }

    #[test]
    fn cve_2023_40030_and_cve_2021_42574_nothing_a_terminal_would_obey_is_repeated() {
        assert_eq!(clean("a\u{1b}[2Jb\u{9b}c\u{202e}d\ne\u{feff}"), "a[2Jbcd e");
        assert_eq!(clean(&"x".repeat(10_000)).len(), MAX_TEXT);
    }
}
