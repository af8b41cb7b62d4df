//! The one listener to the events of a run: it keeps the view and has a sink show what happened.

use std::time::{Duration, Instant};

use muster_engine::event::Event;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::args::Form;
use crate::output::jsonl::Jsonl;
use crate::output::plain::Plain;
use crate::output::screen::Screen;
use crate::output::sentence::Detail;
use crate::output::terminal::Terminal;
use crate::output::view::View;

/// Shows what happens.
pub(crate) trait Sink: Send {
    /// Something happened; `ended` are the stages that came to their end by it.
    fn event(&mut self, event: &Event, ended: &[usize], view: &View, now: Instant);

    /// A little time passed.
    fn tick(&mut self, view: &View, now: Instant);

    /// Nothing more will happen.
    fn end(&mut self);
}

/// How often sinks get to show that time passes.
const TICK: Duration = Duration::from_millis(100);

/// Chooses the sink for a form of output.
pub(crate) fn sink(form: Form, screen: &Screen, detail: Detail) -> Box<dyn Sink> {
    match form {
        Form::Jsonl => Box::new(Jsonl),
        Form::Auto if screen.is_live() => Box::new(Terminal::new(screen.clone(), detail)),
        Form::Auto | Form::Plain => Box::new(Plain::new(screen.clone(), detail)),
    }
}

/// Shows the events of a run until no more can come. Returns what they told.
pub(crate) async fn show(
    mut events: UnboundedReceiver<Event>,
    mut view: View,
    mut sink: Box<dyn Sink>,
) -> View {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => {
                    let now = Instant::now();
                    let ended = view.apply(&event, now);
                    sink.event(&event, &ended, &view, now);
                }
                None => break,
            },
            _ = ticks.tick() => sink.tick(&view, Instant::now()),
        }
    }
    sink.end();
    view
}
