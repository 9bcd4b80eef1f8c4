//! What `--progress json` writes, one line an event: [`pixi_oci_project::Event`], and what only the command line says. The names
//! are promises: docs/events.md lists them all.
//!
//! A new event or field does not change the version; one that goes away or means something else does.

use pixi_oci_registry::Arrival;
use serde::Serialize;

use pixi_oci_platform::is_harmful;

/// The version of everything here.
pub const VERSION: u32 = 1;

/// An event. Bytes are bytes; digests are `sha256:…`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Line<'a> {
    /// The first one.
    Started { version: u32, release: &'a str, command: &'a str },
    /// So many bytes of them are here. At most five a second, and the last one.
    FetchProgress { done: u64, total: u64 },
    /// So many blobs are going to be fetched.
    DownloadStarted { blobs: usize, bytes: u64 },
    /// A blob is being fetched. At most five a second of each, and the last one.
    DownloadProgress { blob: &'a str, received: u64, size: u64 },
    /// A blob is being sent. At most five a second of each, and the last one.
    UploadProgress { repository: &'a str, blob: &'a str, sent: u64, size: u64 },
    /// A blob is in the repository: `present`, `mounted` or `uploaded`.
    BlobFinished { repository: &'a str, blob: &'a str, size: u64, how: Arrival },
    /// A tag names its image now.
    Tagged { repository: &'a str, tag: &'a str, digest: &'a str },
    /// An attempt failed for a reason that may pass.
    Retry { what: &'a str, why: &'a str, wait_ms: u64 },
    /// Tokens of a registry come from another host.
    TokenService { registry: &'a str, host: &'a str },
    /// A line for people.
    Message { text: &'a str },
    /// Something the user should know, though the work goes on.
    Warning { text: &'a str },
    /// What went wrong; `causes` from the nearest to the first.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        blocker: Option<&'a str>,
        message: &'a str,
        causes: &'a [String],
    },
    /// What to do about it.
    Hint { text: &'a str },
    /// The last one.
    Finished { exit_code: u8 },
}

#[derive(Serialize)]
struct Stamped<'a, E> {
    #[serde(flatten)]
    event: &'a E,
    /// Since the command began.
    ms: u64,
}

/// The event as it is written, without a newline.
pub fn text(event: &impl Serialize, ms: u64) -> String {
    let Ok(json) = serde_json::to_string(&Stamped { event, ms }) else { return String::new() };
    // JSON leaves characters alone that move text about on a terminal. They are in its strings only.
    json.chars().map(|c| if is_harmful(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use pixi_oci_image::Architecture;
    use pixi_oci_project::Event;

    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let line = Line::UploadProgress { repository: "r/a", blob: "sha256:0", sent: 1, size: 2 };
        let expected = r#"{"event":"upload-progress","repository":"r/a","blob":"sha256:0","sent":1,"size":2,"ms":7}"#;
        assert_eq!(text(&line, 7), expected);
        let base = Event::BaseStarted { base: "ubuntu".into(), architecture: Architecture::Amd64 };
        let expected = r#"{"event":"base-started","base":"ubuntu","architecture":"amd64","ms":7}"#;
        assert_eq!(text(&base, 7), expected);
        let (repository, blobs, bytes) = ("r/a".into(), 2, 30);
        let publish = Event::PublishStarted { repository, blobs, dry_run: false, bytes };
        let expected = r#"{"event":"publish-started","repository":"r/a","dryRun":false,"blobs":2,"bytes":30,"ms":7}"#;
        assert_eq!(text(&publish, 7), expected);
        let refusal = text(&Line::Error { blocker: Some("tag-exists"), message: "a\nb", causes: &[] }, 0);
        assert_eq!(refusal, r#"{"event":"error","blocker":"tag-exists","message":"a\nb","causes":[],"ms":0}"#);
    }

    #[test]
    fn nothing_in_it_moves_the_cursor_and_it_is_json_all_the_same() {
        let written = text(&Line::Warning { text: "\u{1b}[2J\u{9b}1m\u{202e}\u{7f}ü\n" }, 0);
        assert!(!written.chars().any(is_harmful) && !written.contains('\n') && written.contains('ü'), "{written}");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["text"], "\u{1b}[2J\u{9b}1m\u{202e}\u{7f}ü\n");
    }
}
