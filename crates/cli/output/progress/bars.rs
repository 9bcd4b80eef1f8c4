//! Progress on a terminal: a bar for what is being done, redrawn in its place, with bytes, rate and the time that is left.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{QUIET, phase::Phase};

/// The bar that is drawn, if any.
pub struct Bars {
    bars: MultiProgress,
    shown: Option<(usize, ProgressBar)>,
}

impl Bars {
    /// Nothing is drawn yet.
    pub fn new(bars: MultiProgress) -> Self {
        Self { bars, shown: None }
    }

    /// Draws what is being done now, once it takes long enough to be seen.
    pub fn draw(&mut self, now: Duration, phase: Option<&Phase>) {
        if let Some((number, bar)) = &self.shown
            && phase.is_none_or(|phase| phase.number != *number)
        {
            bar.finish_and_clear();
            self.bars.remove(bar);
            self.shown = None;
        }
        let Some(phase) = phase else { return };
        match &self.shown {
            // It would only flicker.
            None if now.saturating_sub(phase.began) < QUIET => {}
            None => {
                let bar = bar(phase);
                self.shown = Some((phase.number, self.bars.add(bar.clone())));
                bar.tick();
            }
            Some((_, bar)) => {
                bar.set_length(phase.total);
                bar.set_position(phase.done);
                bar.tick();
            }
        }
    }
}

fn bar(phase: &Phase) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(phase.total), ProgressDrawTarget::hidden());
    // What is built in a container has no bytes to count.
    let template = match phase.total {
        0 => "{spinner} {prefix} {elapsed:>4}",
        _ => "{prefix} {bar:24} {bytes:>10}/{total_bytes} {bytes_per_sec:>12} {eta:>4}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_prefix(crate::output::text::printable(&format!("{} {}", phase.verb, phase.what)));
    bar.set_position(phase.done);
    bar
}
