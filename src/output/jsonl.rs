//! One JSON object a line for each thing that happens, for programs (docs/events.md).

use std::io::Write;
use std::time::{Duration, Instant};

use muster_engine::event::Event;
use muster_engine::event_json;
use muster_engine::failure::Failure;
use serde_json::Value;

use crate::output::advice;
use crate::output::show::Sink;
use crate::output::view::View;

/// JSON lines.
pub(crate) struct Jsonl;

impl Sink for Jsonl {
    fn event(&mut self, event: &Event, _ended: &[usize], view: &View, now: Instant) {
        print(&line(event, now.saturating_duration_since(view.begun)));
    }

    fn tick(&mut self, _view: &View, _now: Instant) {}

    fn end(&mut self) {}
}

/// Prints one object. When nobody reads any more the run must go on all the same.
pub(crate) fn print(object: &Value) {
    writeln!(std::io::stdout().lock(), "{object}").ok();
}

/// One event, so long after the run began.
pub(crate) fn line(event: &Event, time: Duration) -> Value {
    event_json::write(event, time, advice::words)
}

/// A failure, as it is in `host_failed` and in `recap`.
pub(crate) fn failure(failure: &Failure) -> Value {
    event_json::failure(failure, advice::words)
}
