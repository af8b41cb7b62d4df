//! The one listener to the events of a run: it keeps the view and has a sink show what happened.

use std::time::{Duration, Instant};

use muster_engine::event::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::args::Form;
use crate::output::jsonl::Jsonl;
use crate::output::plain::Plain;
use crate::output::screen::Screen;
use crate::output::sentence::Detail;
use crate::output::terminal::Terminal;
use crate::output::view::{Outline, View};

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

/// Shows the events of a run until `over` is set and no event is left. Returns what they told, and where those of a further
/// run arrive.
pub(crate) async fn show(
    mut events: UnboundedReceiver<Event>,
    outline: Outline,
    mut sinks: Vec<Box<dyn Sink>>,
    over: CancellationToken,
) -> (View, UnboundedReceiver<Event>) {
    let mut view = View::new(&outline, Instant::now());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => take(&mut view, &mut sinks, &event),
                None => break,
            },
            _ = ticks.tick() => sinks.iter_mut().for_each(|sink| sink.tick(&view, Instant::now())),
            // Checked last: events that were sent before the end are shown first.
            () = over.cancelled() => break,
        }
    }
    sinks.iter_mut().for_each(|sink| sink.end());
    (view, events)
}

fn take(view: &mut View, sinks: &mut [Box<dyn Sink>], event: &Event) {
    let now = Instant::now();
    let ended = view.apply(event, now);
    sinks.iter_mut().for_each(|sink| sink.event(event, &ended, view, now));
}
