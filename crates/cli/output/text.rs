//! Errors and names as text that is safe to show.

use pixi_oci_platform::escape_but;

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

/// Escapes what could move the cursor or reorder text: names come from packages and servers.
pub fn printable(text: &str) -> String {
    escape_but("\n\t", text)
}
