//! What Prometheus reads (<https://prometheus.io/docs/instrumenting/exposition_formats/>): one text, for whoever asks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::CommandError;
use crate::output::print;
use crate::reconcile::decide::{CLUSTER, Case};
use crate::reconcile::memory::Memory;

/// Whoever says nothing for so long is not answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than this nobody asks.
const LONGEST_REQUEST: u64 = 8 << 10;

/// A cluster as it was after its last round.
#[derive(Debug)]
struct Sample {
    memory: Memory,
    frozen: bool,
    took: Duration,
}

/// What is known, of which whoever asks gets a text.
#[derive(Debug, Default)]
struct Told {
    /// By their names; the only cluster of a loop has none.
    clusters: BTreeMap<Option<String>, Sample>,
    /// When declarations were taken from their repository last, in seconds since 1970, and whether that fails now.
    pulled: Option<(u64, bool)>,
}

/// What is served. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<Told>>);

impl Metrics {
    /// Begins to serve it at an address, where there is one, and says where that is.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub(crate) fn at(address: Option<&str>) -> Result<Self, CommandError> {
        let metrics = Self::default();
        if let Some(address) = address {
            let at = metrics.serve(address).map_err(|error| {
                CommandError::failed(format!("cannot listen at {address}: {error}"))
                    .hint("say another address or port: --metrics ADDRESS:PORT")
            })?;
            print::note(&format!("metrics at http://{at}/metrics"));
        }
        Ok(metrics)
    }

    /// Serves it for as long as the process lives. Returns where that is.
    fn serve(&self, address: &str) -> io::Result<std::net::SocketAddr> {
        let listener = TcpListener::bind(address)?;
        let (address, metrics) = (listener.local_addr()?, self.clone());
        thread::Builder::new().name("metrics".into()).spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    // Who goes away in the middle comes again.
                    Ok(stream) => drop(metrics.answer(&stream)),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        })?;
        Ok(address)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
        let asked = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = asked.split(' ');
        let (status, text) = match (words.next(), words.next()) {
            (Some("GET"), Some("/metrics")) => ("200 OK", text(&self.told())),
            _ => ("404 Not Found", "see /metrics\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all((head + &text).as_bytes())
    }

    /// Tells of a round that has ended, and how long it took.
    pub(crate) fn tell(&self, cluster: Option<&str>, memory: &Memory, frozen: bool, took: Duration) {
        let sample = Sample { memory: memory.clone(), frozen, took };
        self.told().clusters.insert(cluster.map(str::to_owned), sample);
    }

    /// Tells nothing more of a cluster that is gone.
    pub(crate) fn forget(&self, cluster: &str) {
        self.told().clusters.remove(&Some(cluster.to_owned()));
    }

    /// Tells when declarations were taken from their repository last, in seconds since 1970, and whether that fails now.
    pub(crate) fn tell_pull(&self, at: u64, fails: bool) {
        self.told().pulled = Some((at, fails));
    }
}

/// After the system has refused to hand over who asks.
const PAUSE: Duration = Duration::from_millis(100);

fn text(told: &Told) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, values: Vec<(String, f64)>| {
        text.push_str(&format!(
            "# HELP muster_reconcile_{name} {help}\n# TYPE muster_reconcile_{name} {kind}\n"
        ));
        for (labels, value) in values {
            text.push_str(&format!("muster_reconcile_{name}{labels} {value}\n"));
        }
    };
    // All lines of a metric stand together, so each one goes through all clusters.
    let of_each = |value: &dyn Fn(&Sample) -> f64| -> Vec<(String, f64)> {
        told.clusters.iter().map(|(name, sample)| (labels(name, &[]), value(sample))).collect()
    };
    metric(
        "last_round_timestamp_seconds",
        "gauge",
        "When the machines were looked at last.",
        of_each(&|sample| number(sample.memory.looked)),
    );
    metric(
        "round_seconds",
        "gauge",
        "How long the last round took.",
        of_each(&|sample| sample.took.as_secs_f64()),
    );
    metric(
        "frozen",
        "gauge",
        "Whether nothing is done, because somebody has said so.",
        of_each(&|sample| is(sample.frozen)),
    );
    metric(
        "drift",
        "gauge",
        "Whether setup-cluster would change something.",
        of_each(&|sample| is(!sample.memory.drift.is_empty())),
    );
    metric(
        "declaration_wrong",
        "gauge",
        "Whether the declaration cannot be used.",
        of_each(&|sample| is(sample.memory.declaration.is_some())),
    );
    let of_machines = |value: &dyn Fn(&Case) -> f64| -> Vec<(String, f64)> {
        let of = |(name, sample): (&Option<String>, &Sample)| -> Vec<(String, f64)> {
            let machines = sample.memory.cases.iter().filter(|(machine, _)| *machine != CLUSTER);
            machines
                .map(|(machine, case)| (labels(name, &[("machine", machine.as_str())]), value(case)))
                .collect()
        };
        told.clusters.iter().flat_map(of).collect()
    };
    metric(
        "machine_ill",
        "gauge",
        "Whether something is wrong with a machine.",
        of_machines(&|case| is(case.trouble.is_some())),
    );
    metric(
        "machine_tries",
        "gauge",
        "How much was tried on a machine since it was well for long.",
        of_machines(&|case| number(case.tries.len() as u64)),
    );
    let steps = |(name, sample): (&Option<String>, &Sample)| -> Vec<(String, f64)> {
        let steps = sample.memory.steps.iter().flat_map(|(step, (done, failed))| {
            [("done", done), ("failed", failed)].map(|(outcome, count)| {
                (labels(name, &[("step", step.as_str()), ("outcome", outcome)]), number(*count))
            })
        });
        steps.collect()
    };
    metric(
        "steps_total",
        "counter",
        "What was done to machines.",
        told.clusters.iter().flat_map(steps).collect(),
    );
    if let Some((at, fails)) = told.pulled {
        let one = |value: f64| vec![(String::new(), value)];
        metric(
            "pull_timestamp_seconds",
            "gauge",
            "When declarations were taken from their repository last.",
            one(number(at)),
        );
        metric(
            "pull_fails",
            "gauge",
            "Whether declarations cannot be taken from their repository.",
            one(is(fails)),
        );
    }
    text
}

fn number(value: u64) -> f64 {
    value as f64
}

fn is(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// `{cluster="shop",machine="node1"}`; nothing where there are none. Names of machines and clusters need no escapes.
fn labels(cluster: &Option<String>, others: &[(&str, &str)]) -> String {
    let cluster = cluster.as_deref().map(|name| ("cluster", name));
    let all = cluster.into_iter().chain(others.iter().copied());
    let all: Vec<String> = all.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_and_nothing_else_is() {
        let metrics = Metrics::default();
        let address = metrics.serve("127.0.0.1:0").unwrap();
        let ill = Case { trouble: Some("silent".into()), ..Case::default() };
        let cases = [("node1", Case::default()), ("node2", ill), (CLUSTER, Case::default())];
        let memory = Memory {
            looked: 1_700_000_000,
            cases: cases.map(|(name, case)| (name.to_owned(), case)).into(),
            steps: [("power".to_owned(), (2, 1))].into(),
            ..Memory::default()
        };
        metrics.tell(None, &memory, true, Duration::from_millis(1500));
        let ask = |path: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = ask("/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        for line in [
            "muster_reconcile_last_round_timestamp_seconds 1700000000",
            "muster_reconcile_round_seconds 1.5",
            "muster_reconcile_frozen 1",
            "muster_reconcile_machine_ill{machine=\"node1\"} 0",
            "muster_reconcile_machine_ill{machine=\"node2\"} 1",
            "muster_reconcile_steps_total{step=\"power\",outcome=\"done\"} 2",
            "muster_reconcile_steps_total{step=\"power\",outcome=\"failed\"} 1",
        ] {
            assert!(answer.lines().any(|known| known == line), "{line}: {answer}");
        }
        assert!(!answer.contains(CLUSTER), "{answer}");
        assert!(ask("/").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn each_of_several_clusters_has_its_label_and_a_metric_is_told_once() {
        let metrics = Metrics::default();
        let cases = [("shop-cp-1".to_owned(), Case::default())];
        let memory = Memory {
            looked: 7,
            cases: cases.into(),
            steps: [("apply".to_owned(), (1, 0))].into(),
            declaration: Some("it is broken".into()),
            ..Memory::default()
        };
        metrics.tell(Some("shop"), &memory, false, Duration::ZERO);
        metrics.tell(Some("room"), &Memory::default(), false, Duration::ZERO);
        metrics.tell_pull(9, true);
        let told = text(&metrics.told());
        for line in [
            "muster_reconcile_last_round_timestamp_seconds{cluster=\"shop\"} 7",
            "muster_reconcile_last_round_timestamp_seconds{cluster=\"room\"} 0",
            "muster_reconcile_machine_ill{cluster=\"shop\",machine=\"shop-cp-1\"} 0",
            "muster_reconcile_steps_total{cluster=\"shop\",step=\"apply\",outcome=\"done\"} 1",
            "muster_reconcile_declaration_wrong{cluster=\"shop\"} 1",
            "muster_reconcile_declaration_wrong{cluster=\"room\"} 0",
            "muster_reconcile_pull_timestamp_seconds 9",
            "muster_reconcile_pull_fails 1",
        ] {
            assert!(told.lines().any(|known| known == line), "{line}: {told}");
        }
        assert_eq!(told.matches("# TYPE muster_reconcile_drift gauge").count(), 1, "{told}");
        metrics.forget("room");
        assert!(!text(&metrics.told()).contains("room"));
    }
}
