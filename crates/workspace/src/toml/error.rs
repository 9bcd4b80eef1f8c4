//! An error in the workspace manifest that knows where in the file it is, so that a caret can be drawn under it.

use std::{fmt, ops::Range, path::PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    pub path: PathBuf,
    /// What is wrong, in one line without the position.
    pub message: String,
    /// The bytes of [`text`](Self::text) it concerns; `None` where the error is about something that is missing.
    pub span: Option<Range<usize>>,
    /// The whole manifest as it was read.
    pub text: String,
    /// What to do about it, where there is one obvious thing.
    pub hint: Option<String>,
}

impl ManifestError {
    /// Line and column of the span's start, both from 1; the column counts characters.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        let start = self.span.as_ref()?.start.min(self.text.len());
        let before = &self.text.as_bytes()[..start];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        Some((line, column))
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.line_and_column() {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ManifestError {}
