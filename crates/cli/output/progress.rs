//! Shows what happens while a command works: bars on a terminal, lines in logs, or JSON.

mod bars;
mod json;
mod notes;
mod phase;
mod plain;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use pixi_oci_project::{Event, OnEvent};
use pixi_oci_registry::{Event as RegistryEvent, Events};

use self::{bars::Bars, json::Json, phase::Phases, plain::Plain};
use crate::output::{Output, Shape};

/// Work that ends sooner than this is not shown.
const QUIET: Duration = Duration::from_millis(250);
/// Waiting for longer than this is worth a line.
const LONG: Duration = Duration::from_secs(5);
/// So often it is looked what is due, also while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// Takes events, from several threads.
pub struct Progress {
    shown: Arc<Shown>,
    /// Ends the thread that looks what is due, when it is dropped.
    ticks: Mutex<Option<mpsc::Sender<()>>>,
}

struct Shown {
    output: Output,
    started: Instant,
    state: Mutex<State>,
    warnings: Mutex<Vec<String>>,
}

struct State {
    phases: Phases,
    form: Form,
}

enum Form {
    Bars(Bars),
    Plain(Plain),
    Json(Json),
    Silent,
}

impl Progress {
    /// Progress that goes to `output`, in the shape that it has.
    pub fn new(output: &Output) -> Self {
        let form = match (output.shape, &output.bars) {
            (Shape::Bars, Some(bars)) => Form::Bars(Bars::new(bars.clone())),
            (Shape::Plain, _) => Form::Plain(Plain::default()),
            (Shape::Json, _) => Form::Json(Json::default()),
            _ => Form::Silent,
        };
        let moves = matches!(form, Form::Bars(_) | Form::Plain(_));
        let state = Mutex::new(State { phases: Phases::default(), form });
        let shown =
            Arc::new(Shown { output: output.clone(), started: Instant::now(), state, warnings: Mutex::default() });
        let ticks = Mutex::new(moves.then(|| tick(shown.clone())));
        Self { shown, ticks }
    }

    /// Takes the events of a session.
    pub fn listener(&self) -> OnEvent {
        let shown = self.shown.clone();
        Arc::new(move |event| shown.on_event(event))
    }

    /// For what only speaks with a registry.
    pub fn registry_events(&self) -> Events {
        let shown = self.shown.clone();
        Arc::new(move |event| shown.on_event(Event::Registry(event)))
    }

    /// Says how the last work ended, and takes the bar away.
    pub fn finish(&self) {
        drop(self.ticks.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut state = self.shown.state();
        state.phases.end();
        state.show(self.shown.started.elapsed(), &self.shown.output);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Rates and lines are due while nothing happens, too.
fn tick(shown: Arc<Shown>) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    // Without this thread, progress is only shown when something happens.
    let _ = thread::Builder::new().name("progress".into()).spawn(move || {
        while receiver.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
            shown.state().show(shown.started.elapsed(), &shown.output);
        }
    });
    sender
}

impl Shown {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_event(&self, event: Event) {
        let now = self.started.elapsed();
        let event = match event {
            Event::Warning(text)
            | Event::Registry(RegistryEvent::Warning(text))
            | Event::Upload { event: RegistryEvent::Warning(text), .. } => return self.warn(text),
            event => event,
        };
        let mut state = self.state();
        if let Form::Json(json) = &mut state.form {
            return json.write(now, &event, &self.output);
        }
        state.phases.on_event(now, &event);
        state.show(now, &self.output);
        notes::say(&event, &self.output);
    }

    /// One architecture or registry says what the other has said.
    fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&text) {
            self.output.warning(&text);
            warnings.push(text);
        }
    }
}

impl State {
    fn show(&mut self, now: Duration, output: &Output) {
        match &mut self.form {
            Form::Bars(bars) => bars.draw(now, self.phases.current()),
            Form::Plain(plain) => {
                plain.lines(now, self.phases.current()).iter().for_each(|line| output.say(line));
            }
            Form::Json(_) | Form::Silent => {}
        }
    }
}
