//! Events as JSON, one object each. `docs/events.md` describes the form; it follows from the types, so what was written is
//! read as the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::advice::Advice;
use crate::event::Event;
use crate::failure::Failure;
use crate::seconds;

/// The number that `v` has. It changes when something that was there is removed or means something else; new fields and
/// new events may come without a change.
pub const VERSION: u32 = 1;

/// The words in which the program that hosts the engine tells an advice.
pub type Words = fn(&Advice) -> String;

/// What every object has, with the fields of what happened.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    v: u32,
    #[serde(with = "seconds")]
    t: Duration,
    #[serde(flatten)]
    what: T,
}

/// Something that happened so long after the run began. `what` has the field `event`.
pub fn line(time: Duration, what: impl Serialize) -> Value {
    to_value(&Line { v: VERSION, t: time, what })
}

/// An event, so long after the run began.
pub fn write(event: &Event, time: Duration, words: Words) -> Value {
    let mut object = line(time, event);
    if let Event::HostFailed { failure: failed, .. } = event {
        object["failure"] = failure(failed, words);
    }
    object
}

/// A failure, as it is in the event that tells it. `remedy` is in words, whatever the advice is.
pub fn failure(failure: &Failure, words: Words) -> Value {
    let mut object = to_value(failure);
    if let Some(advice) = failure.remedy() {
        object["remedy"] = words(advice).into();
    }
    object
}

/// What an object says: how long after the beginning of the run, and the event. `None` for objects that are no events of the
/// engine, for those of another version, and for events that a newer engine may have written.
pub fn read(object: &Value) -> Option<(Duration, Event)> {
    let line = Line::<Event>::deserialize(object).ok()?;
    (line.v == VERSION).then_some((line.t, line.what))
}

#[expect(
    clippy::expect_used,
    reason = "neither fails: the keys are text, and no implementation of ours fails"
)]
fn to_value(what: &impl Serialize) -> Value {
    serde_json::to_value(what).expect("events are JSON")
}

#[cfg(test)]
mod tests;
