//! The only writer to stdout and stderr. stdout is the result; everything else goes to stderr.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings and progress.
    Normal,
    /// What is done, step by step.
    Verbose,
}

/// Where text goes, and what of it.
#[derive(Clone)]
pub struct Output {
    verbosity: Verbosity,
    color: bool,
    bars: Option<MultiProgress>,
}

impl Output {
    /// `progress` asks for bars, which are drawn on a terminal only.
    pub fn new(verbosity: Verbosity, color: bool, progress: bool) -> Self {
        let draw = progress && verbosity > Verbosity::Quiet && io::stderr().is_terminal();
        Self { verbosity, color, bars: draw.then(MultiProgress::new) }
    }

    /// The bars' owner, if there are bars.
    pub fn bars(&self) -> Option<&MultiProgress> {
        self.bars.as_ref()
    }

    /// The result, and a newline. A reader that has gone away is not our problem (`pixi-oci plan | head`).
    pub fn result(&self, text: &str) -> io::Result<()> {
        match writeln!(io::stdout().lock(), "{text}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// A line about what is being done.
    pub fn note(&self, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.line(text);
        }
    }

    /// A line that everybody should see who did not ask for silence.
    pub fn say(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.line(&printable(text));
        }
    }

    /// A refusal by its name, in one line that pipelines look for: no colours, and nothing before it.
    pub fn blocker(&self, name: &str, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.line(&format!("BLOCKER({name}): {}", printable(&text)));
    }

    /// What to do about what was just said.
    pub fn hint(&self, text: &str) {
        let label = self.paint("hint:", "1;36");
        self.line(&format!("{label} {text}"));
    }

    /// Something the user should know, though the work goes on.
    pub fn warning(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            let label = self.paint("warning:", "1;33");
            self.line(&format!("{label} {}", printable(text)));
        }
    }

    /// What went wrong, with the chain of causes.
    pub fn error(&self, error: &(dyn std::error::Error + 'static)) {
        let label = self.paint("error:", "1;31");
        let mut said = error.to_string();
        self.line(&format!("{label} {}", printable(&said)));
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors show their source in their own text.
            if !said.contains(&text) {
                self.line(&format!("  because: {}", printable(&text)));
            }
            said = text;
            source = cause.source();
        }
    }

    /// One of several things that are wrong.
    pub fn failure(&self, text: &str) {
        let label = self.paint("error:", "1;31");
        self.line(&format!("{label} {}", printable(text)));
    }

    /// Text that is ready to be shown, as it is.
    pub fn raw(&self, text: &str) {
        self.line(text);
    }

    /// Whether colours may be used.
    pub fn color(&self) -> bool {
        self.color
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn line(&self, text: &str) {
        let write = || writeln!(io::stderr().lock(), "{text}");
        // Nobody is left to hear that stderr is gone.
        let _ = match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
    }
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
