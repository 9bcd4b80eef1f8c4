//! The only writer to stdout and stderr. stdout is the result; everything else goes to stderr.

pub mod blockers;
pub mod events;
pub mod progress;
pub mod text;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use indicatif::MultiProgress;
use pixi_oci_net::redact_text;
use serde::Serialize;

use self::{
    events::Line,
    text::{causes, printable},
};
use crate::habits;

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

/// What stderr is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Lines, and bars below them that are redrawn.
    Bars,
    /// Lines, also about progress.
    Plain,
    /// Lines, but none about progress.
    Silent,
    /// JSON documents, one a line, and nothing else.
    Json,
}

/// Where text goes, and what of it.
#[derive(Clone)]
pub struct Output {
    verbosity: Verbosity,
    pub color: bool,
    pub shape: Shape,
    started: Instant,
    pub bars: Option<MultiProgress>,
}

impl Output {
    /// Nobody who wants silence wants progress, but for what a program reads.
    pub fn new(verbosity: Verbosity, color: bool, shape: Shape) -> Self {
        let shape = match (verbosity, shape) {
            (Verbosity::Quiet, Shape::Bars | Shape::Plain) => Shape::Silent,
            (_, shape) => shape,
        };
        let bars = (shape == Shape::Bars).then(MultiProgress::new);
        Self { verbosity, color, shape, started: Instant::now(), bars }
    }

    /// An event, if somebody reads events.
    pub fn event(&self, event: &impl Serialize) {
        if self.shape == Shape::Json {
            let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.line(&events::text(event, ms));
        }
    }

    /// Leaves the terminal as it was, for whoever ends the program at once.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone needs no clearing.
            let _ = bars.clear();
        }
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
            self.text(text);
        }
    }

    /// A line that everybody should see who did not ask for silence.
    pub fn say(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.text(&printable(text));
        }
    }

    /// A refusal by its name, in one line that pipelines look for: no colours, and nothing before it.
    pub fn blocker(&self, name: &str, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.shape == Shape::Json {
            return self.event(&Line::Error { blocker: Some(name), message: &text, causes: &[] });
        }
        self.line(&format!("BLOCKER({name}): {}", printable(&text)));
    }

    /// What to do about what was just said.
    pub fn hint(&self, text: &str) {
        if self.shape == Shape::Json {
            return self.event(&Line::Hint { text });
        }
        let label = self.paint("hint:", "1;36");
        self.line(&format!("{label} {text}"));
    }

    /// Something the user should know, though the work goes on.
    pub fn warning(&self, text: &str) {
        if self.shape == Shape::Json {
            return self.event(&Line::Warning { text });
        }
        if self.verbosity >= Verbosity::Normal {
            let label = self.paint("warning:", "1;33");
            self.line(&format!("{label} {}", printable(text)));
        }
    }

    /// What went wrong, with the chain of causes.
    pub fn error(&self, error: &(dyn std::error::Error + 'static)) {
        self.wrong(&error.to_string(), &causes(error));
    }

    /// One of several things that are wrong.
    pub fn failure(&self, text: &str) {
        self.wrong(text, &[]);
    }

    fn wrong(&self, message: &str, causes: &[String]) {
        if self.shape == Shape::Json {
            return self.event(&Line::Error { blocker: None, message, causes });
        }
        let label = self.paint("error:", "1;31");
        self.line(&format!("{label} {}", printable(message)));
        for cause in causes {
            self.line(&format!("  caused by: {}", printable(cause)));
        }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn text(&self, text: &str) {
        match self.shape {
            Shape::Json => self.event(&Line::Message { text }),
            _ => self.line(text),
        }
    }

    /// Text that is safe to show, as it is.
    pub fn line(&self, text: &str) {
        let write = || writeln!(io::stderr().lock(), "{text}");
        // Nobody is left to hear that stderr is gone.
        let _ = match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
    }
}

/// Help, the version, or what is wrong with the arguments: they are repeated, but not the logins in them.
pub fn parsing_failed(error: &clap::Error) -> ExitCode {
    let said = error.render().to_string();
    let mut shown = redact_text(&said);
    if let Some(hint) = habits::hint(error) {
        // clap's own guesses are of no use then.
        shown = format!("{}\nhint: {hint}\n", shown.lines().next().unwrap_or_default());
    }
    // Nobody is left to hear that a stream is gone.
    let _ = if shown == said { error.print() } else { write!(io::stderr().lock(), "{shown}") };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
