//! What `--progress json` writes, one line an event. The names are promises: docs/events.md lists them all.
//!
//! A new event or field does not change the version; one that goes away or means something else does.

use std::path::Path;

use serde::Serialize;

use crate::output::text::harmful;

/// The version of everything here.
pub const VERSION: u32 = 1;

/// An event. Bytes are bytes; digests are `sha256:…`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Line<'a> {
    /// The first one.
    Started { version: u32, release: &'a str, command: &'a str },
    /// There is no lock file, and one is going to be made.
    Locking { path: &'a Path },
    /// Packages are going to be chosen.
    Solving { environment: &'a str, platform: &'a str },
    /// Archives are going to be fetched or found in the cache.
    FetchStarted { archives: usize, bytes: u64 },
    /// So many bytes of them are here. At most five a second, and the last one.
    FetchProgress { done: u64, total: u64 },
    /// An archive is here.
    FetchFinished { package: &'a str, cached: bool },
    /// A base image is going to be looked at.
    BaseStarted { base: &'a str, architecture: &'a str },
    /// A blob is being fetched. At most five a second of each, and the last one.
    DownloadProgress { blob: &'a str, received: u64, size: u64 },
    /// A source is going to be built, which runs its code.
    SourceStarted { package: &'a str, platform: &'a str },
    /// A source was built.
    SourceFinished { package: &'a str, platform: &'a str, wheel: &'a str },
    /// A published image was read whose layers are taken where they fit.
    LayersFrom { image: &'a str },
    /// A published image has layers of a release, which is made anew unless `--cache-from` names it.
    LayersThere { image: &'a str, layers: usize, of: usize, bytes: u64 },
    /// The package layers of a platform are going to be made, but for those that are there.
    LayersStarted { platform: &'a str, layers: usize, bytes: u64, reused: usize, reused_bytes: u64 },
    /// A package layer was made.
    LayerFinished { platform: &'a str, digest: &'a str, size: u64, bytes: u64, packages: &'a [String] },
    /// Packages are going to be written to a product.
    PackagesStarted { environment: &'a str, platform: &'a str, packages: usize, bytes: u64 },
    /// A package was.
    PackageWritten { package: &'a str, bytes: u64 },
    /// Layers are sent to a repository, each as soon as it is there.
    SendingStarted { repository: &'a str },
    /// A repository is going to be served.
    PublishStarted { repository: &'a str, dry_run: bool, blobs: usize, bytes: u64 },
    /// A blob is being sent. At most five a second of each, and the last one.
    UploadProgress { repository: &'a str, blob: &'a str, sent: u64, size: u64 },
    /// A blob is in the repository: `present`, `mounted` or `uploaded`.
    BlobFinished { repository: &'a str, blob: &'a str, size: u64, how: &'a str },
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
struct Stamped<'a> {
    #[serde(flatten)]
    line: &'a Line<'a>,
    /// Since the command began.
    ms: u64,
}

/// The event as it is written, without a newline.
pub fn text(line: &Line<'_>, ms: u64) -> String {
    let Ok(json) = serde_json::to_string(&Stamped { line, ms }) else { return String::new() };
    // JSON leaves characters alone that move text about on a terminal. They are in its strings only.
    json.chars().map(|c| if harmful(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let line = Line::UploadProgress { repository: "r/a", blob: "sha256:0", sent: 1, size: 2 };
        let expected = r#"{"event":"upload-progress","repository":"r/a","blob":"sha256:0","sent":1,"size":2,"ms":7}"#;
        assert_eq!(text(&line, 7), expected);
        let refusal = text(&Line::Error { blocker: Some("tag-exists"), message: "a\nb", causes: &[] }, 0);
        assert_eq!(refusal, r#"{"event":"error","blocker":"tag-exists","message":"a\nb","causes":[],"ms":0}"#);
    }

    #[test]
    fn nothing_in_it_moves_the_cursor_and_it_is_json_all_the_same() {
        let written = text(&Line::Warning { text: "\u{1b}[2J\u{9b}1m\u{202e}\u{7f}ü\n" }, 0);
        assert!(!written.chars().any(harmful) && !written.contains('\n') && written.contains('ü'), "{written}");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["text"], "\u{1b}[2J\u{9b}1m\u{202e}\u{7f}ü\n");
    }
}
