//! How long steps usually take, learnt from the records of earlier runs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::record::Records;

/// From how many runs, the last ones, it is learnt.
const RUNS: usize = 8;

/// How many bytes of a record are read: with very many hosts the first of them tell enough.
const MOST_READ: u64 = 4 << 20;

/// What takes less is over before anybody asks.
const SHORTEST: f64 = 1.0;

/// How long steps usually take, by role and name: of those that changed something.
#[derive(Debug, Clone, Default)]
pub struct Usual(HashMap<(String, String), Duration>);

/// What matters here of the end of a step.
#[derive(Deserialize)]
struct Ended {
    role: String,
    step: String,
    changes: Vec<Value>,
    elapsed: f64,
}

impl Usual {
    /// Learns from what is recorded. What cannot be read teaches nothing.
    pub fn of(records: &Records) -> Self {
        let mut times: HashMap<(String, String), Vec<f64>> = HashMap::new();
        for id in records.ids().iter().rev().take(RUNS) {
            let Ok(file) = File::open(records.path(id)) else { continue };
            let lines = BufReader::new(file.take(MOST_READ)).lines().map_while(Result::ok);
            for line in lines.filter(|line| line.contains("\"step_ended\"")) {
                let Ok(ended) = serde_json::from_str::<Ended>(&line) else { continue };
                if ended.elapsed >= SHORTEST && !ended.changes.is_empty() {
                    times.entry((ended.role, ended.step)).or_default().push(ended.elapsed);
                }
            }
        }
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            Duration::try_from_secs_f64(times[times.len() / 2]).unwrap_or_default()
        };
        times.into_iter().map(|(step, times)| (step, median(times))).collect()
    }

    /// How long a step usually takes, where that is known and worth a word.
    pub fn step(&self, role: &str, step: &str) -> Option<Duration> {
        // Keys of a map cannot be borrowed in parts; steps are looked up some times a second.
        self.0.get(&(role.to_owned(), step.to_owned())).copied()
    }
}

impl FromIterator<((String, String), Duration)> for Usual {
    fn from_iter<I: IntoIterator<Item = ((String, String), Duration)>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[test]
    fn what_steps_took_that_changed_something_is_learnt() {
        let root = tempfile::tempdir().unwrap();
        let records = Records::of(&Project::at(root.path()));
        std::fs::create_dir_all(records.path("x").parent().unwrap()).unwrap();
        let ended = |changes: &str, elapsed: f64| {
            format!(
                r#"{{"event":"step_ended","role":"etcd","step":"Start","changes":[{changes}],"elapsed":{elapsed}}}"#
            )
        };
        // Times that would change the median: of a step that changed nothing, of a short one, of half a line.
        let lines =
            [ended("{}", 3.0), ended("", 90.0), ended("{}", 0.2), "{\"event\":\"step_ended\",\"ro".into()];
        std::fs::write(records.path("20260101-000000"), lines.join("\n")).unwrap();
        std::fs::write(records.path("20260101-000001"), [ended("{}", 5.0), ended("{}", 60.0)].join("\n"))
            .unwrap();
        let usual = Usual::of(&records);
        assert_eq!(usual.step("etcd", "Start"), Some(Duration::from_secs(5)));
        assert_eq!((usual.step("etcd", "Stop"), usual.0.len()), (None, 1));
    }
}
