//! A finished run as a picture: hosts over time. Read from the events of `docs/events.md`, written as one page of HTML that
//! needs nothing else.

mod page;
mod tables;

use std::io::BufRead;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use crate::error::CommandError;

pub(crate) use page::page;

/// The schema that is understood, as `docs/events.md` numbers it.
const VERSION: u64 = 1;

/// What happened to each host of a run, and when. Times are in seconds since the run began.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// In inventory order.
    hosts: IndexMap<String, Lane>,
    /// In the order in which they first began.
    roles: Vec<String>,
    check: bool,
    /// What was typed, and when (UTC), where that is known.
    command: Option<(String, String)>,
    /// Where the run's first event stands on the clock of what is read.
    begin: f64,
    /// When the last thing happened that is known of.
    end: f64,
    /// Whether the run came to its end; otherwise it was killed, or is still going on.
    ended: bool,
    exit_code: Option<i64>,
}

/// One host's way through the run.
#[derive(Debug, Default)]
struct Lane {
    /// When the connection stood and the facts were known.
    connected: Option<f64>,
    roles: Vec<Span>,
    steps: Vec<Step>,
    waits: Vec<Wait>,
    retries: Vec<Retry>,
    end: Option<(f64, End)>,
}

/// A stretch of time with a name.
#[derive(Debug)]
struct Span {
    name: String,
    begin: f64,
    /// `None` where it did not come to its end.
    end: Option<f64>,
    changed: u64,
}

#[derive(Debug)]
struct Step {
    role: String,
    span: Span,
    exchanges: u64,
}

#[derive(Debug)]
struct Wait {
    what: String,
    begin: f64,
    end: f64,
    /// Whether nothing else has happened to the host since it was last told.
    open: bool,
}

#[derive(Debug)]
struct Retry {
    at: f64,
    text: String,
}

/// How a host ended.
#[derive(Debug)]
enum End {
    Done,
    Failed { place: String, failure: Failure },
}

#[derive(Debug, Deserialize)]
struct Failure {
    message: String,
    unreachable: bool,
    /// Whether it was because of others.
    #[serde(default)]
    stopped: bool,
    remedy: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    changed: u64,
}

/// The events that matter here. Fields that do not are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Command {
        command: String,
        time: String,
    },
    RunStarted {
        hosts: Vec<String>,
        check: bool,
    },
    Connected {
        host: String,
    },
    RoleStarted {
        host: String,
        role: String,
    },
    RoleEnded {
        host: String,
        role: String,
        counts: Counts,
    },
    StepStarted {
        host: String,
        role: String,
        step: String,
    },
    StepEnded {
        host: String,
        role: String,
        step: String,
        counts: Counts,
        exchanges: u64,
        elapsed: f64,
    },
    Waiting {
        host: String,
        what: String,
        elapsed: f64,
    },
    Retrying {
        host: String,
        what: String,
        reason: String,
        attempt: u64,
        attempts: u64,
    },
    HostFailed {
        host: String,
        role: Option<String>,
        step: Option<String>,
        failure: Failure,
    },
    HostDone {
        host: String,
    },
    RunEnded {},
    Recap {
        exit_code: i64,
    },
    #[serde(other)]
    Other,
}

/// What every line has.
#[derive(Debug, Deserialize)]
struct Stamp {
    v: u64,
    t: f64,
}

impl Timeline {
    /// Reads the events of one run, one a line; of several, such as `muster apply` tells, the last one. `name` is what is read, for messages.
    ///
    /// # Errors
    /// It cannot be read, is something else, or holds no run. A last line that was cut off in the middle is left out: that
    /// is how the record of a killed run ends.
    pub(crate) fn read(reader: impl BufRead, name: &str) -> Result<Self, CommandError> {
        let mut timeline = Self::default();
        let mut cut: Option<CommandError> = None;
        for (number, line) in reader.split(b'\n').enumerate() {
            let line = line.map_err(|error| CommandError::failed(format!("{name}: {error}")))?;
            if let Some(error) = cut {
                return Err(error);
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match parse(&line) {
                Ok((time, event)) => timeline.take(time, event),
                Err(reason) => {
                    let message = format!("{name}:{}: {reason}", number + 1);
                    cut = Some(CommandError::written(message).hint(
                        "a timeline is made from the events of a run: setup-cluster --output jsonl >run.jsonl",
                    ));
                }
            }
        }
        match cut {
            _ if !timeline.hosts.is_empty() => Ok(timeline),
            Some(error) => Err(error),
            None => Err(CommandError::written(format!("{name}: there is no run in it"))
                .hint("the first event of a run is run_started: setup-cluster --output jsonl >run.jsonl")),
        }
    }

    fn take(&mut self, time: f64, event: Event) {
        let time = time - self.begin;
        self.end = self.end.max(time);
        match event {
            Event::Command { command, time } => self.command = Some((command, time)),
            Event::RunStarted { hosts, check } => {
                let (begin, command) = (self.begin + time, self.command.take());
                let hosts = hosts.into_iter().map(|host| (host, Lane::default())).collect();
                *self = Self { hosts, check, command, begin, ..Self::default() };
            }
            Event::RunEnded {} => self.ended = true,
            Event::Recap { exit_code } => self.exit_code = Some(exit_code),
            Event::Connected { host } => self.lane(host, time).connected = Some(time),
            Event::RoleStarted { host, role } => {
                if !self.roles.contains(&role) {
                    self.roles.push(role.clone());
                }
                self.lane(host, time).roles.push(Span { name: role, begin: time, end: None, changed: 0 });
            }
            Event::RoleEnded { host, role, counts } => {
                let lane = self.lane(host, time);
                if let Some(span) = lane.roles.iter_mut().rfind(|span| span.name == role) {
                    (span.end, span.changed) = (Some(time), counts.changed);
                }
            }
            Event::StepStarted { host, role, step } => {
                let span = Span { name: step, begin: time, end: None, changed: 0 };
                self.lane(host, time).steps.push(Step { role, span, exchanges: 0 });
            }
            Event::StepEnded { host, role, step, counts, exchanges, elapsed } => {
                let lane = self.lane(host, time);
                let open = |s: &&mut Step| s.span.end.is_none() && s.role == role && s.span.name == step;
                let end = |span: &mut Span| (span.end, span.changed) = (Some(time), counts.changed);
                if let Some(known) = lane.steps.iter_mut().rfind(open) {
                    end(&mut known.span);
                    known.exchanges = exchanges;
                } else {
                    // What is done on the controller ends without having begun.
                    let mut span = Span { name: step, begin: time - elapsed, end: None, changed: 0 };
                    end(&mut span);
                    lane.steps.push(Step { role, span, exchanges });
                }
            }
            Event::Waiting { host, what, elapsed } => self.wait(host, what, time - elapsed, time),
            Event::Retrying { host, what, reason, attempt, attempts } => {
                let text = format!("{what} is tried again ({attempt} of {attempts}): {reason}");
                self.lane(host, time).retries.push(Retry { at: time, text });
            }
            Event::HostFailed { host, role, step, failure } => {
                let place = role.into_iter().chain(step).collect::<Vec<_>>().join(": ");
                self.lane(host, time).end = Some((time, End::Failed { place, failure }));
            }
            Event::HostDone { host } => self.lane(host, time).end = Some((time, End::Done)),
            Event::Other => {}
        }
    }

    /// The lane of a host to which something happens, so that it waits no longer.
    fn lane(&mut self, host: String, time: f64) -> &mut Lane {
        let lane = self.hosts.entry(host).or_default();
        if let Some(wait) = lane.waits.last_mut().filter(|wait| wait.open) {
            (wait.end, wait.open) = (time, false);
        }
        lane
    }

    /// Waiting is told again and again while it lasts.
    fn wait(&mut self, host: String, what: String, begin: f64, now: f64) {
        let waits = &mut self.hosts.entry(host).or_default().waits;
        match waits.last_mut().filter(|wait| wait.open && wait.what == what) {
            Some(wait) => wait.end = now,
            None => waits.push(Wait { what, begin: begin.max(0.0), end: now, open: true }),
        }
    }
}

fn parse(line: &[u8]) -> Result<(f64, Event), String> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| format!("this is no event of a run: {error}"))?;
    let stamp = Stamp::deserialize(&value).map_err(|error| format!("this is no event of a run: {error}"))?;
    if stamp.v != VERSION {
        return Err(format!("events of version {} were found; this muster reads version {VERSION}", stamp.v));
    }
    let event = Event::deserialize(&value).map_err(|error| format!("an event lacks something: {error}"))?;
    Ok((stamp.t, event))
}

impl Failure {
    /// What kind it is, in a word.
    fn word(&self) -> &'static str {
        match (self.unreachable, self.stopped) {
            (true, _) => "unreachable",
            (false, true) => "stopped",
            (false, false) => "failed",
        }
    }
}

impl Lane {
    /// How long the host took, as far as is known.
    fn time(&self, run: f64) -> f64 {
        self.end.as_ref().map_or(run, |(time, _)| *time)
    }

    fn failed(&self) -> Option<(f64, &str, &Failure)> {
        match &self.end {
            Some((time, End::Failed { place, failure })) => Some((*time, place, failure)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
