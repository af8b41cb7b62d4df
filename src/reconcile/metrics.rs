//! What Prometheus reads (<https://prometheus.io/docs/instrumenting/exposition_formats/>): one text, for whoever asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::reconcile::decide::CLUSTER;
use crate::reconcile::memory::Memory;

/// Whoever says nothing for so long is not answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than this nobody asks.
const LONGEST_REQUEST: u64 = 8 << 10;

/// The text that is served, which another one takes the place of after each round. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<String>>);

impl Metrics {
    /// Begins to serve it at an address, for as long as the process lives. Returns where that is.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub(crate) fn serve(&self, address: &str) -> io::Result<std::net::SocketAddr> {
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

    fn answer(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
        let asked = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = asked.split(' ');
        let (status, text) = match (words.next(), words.next()) {
            (Some("GET"), Some("/metrics")) => {
                ("200 OK", self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
            _ => ("404 Not Found", "see /metrics\n".to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all((head + &text).as_bytes())
    }

    /// Tells of a round that has ended, and how long it took.
    pub(crate) fn tell(&self, memory: &Memory, frozen: bool, took: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text(memory, frozen, took);
    }
}

/// After the system has refused to hand over who asks.
const PAUSE: Duration = Duration::from_millis(100);

fn text(memory: &Memory, frozen: bool, took: Duration) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, values: Vec<(String, f64)>| {
        text.push_str(&format!(
            "# HELP muster_reconcile_{name} {help}\n# TYPE muster_reconcile_{name} {kind}\n"
        ));
        for (labels, value) in values {
            text.push_str(&format!("muster_reconcile_{name}{labels} {value}\n"));
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    let number = |value: u64| value as f64;
    metric(
        "last_round_timestamp_seconds",
        "gauge",
        "When the machines were looked at last.",
        one(number(memory.looked)),
    );
    metric("round_seconds", "gauge", "How long the last round took.", one(took.as_secs_f64()));
    metric(
        "frozen",
        "gauge",
        "Whether nothing is done, because somebody has said so.",
        one(f64::from(u8::from(frozen))),
    );
    metric(
        "drift",
        "gauge",
        "Whether setup-cluster would change something.",
        one(f64::from(u8::from(!memory.drift.is_empty()))),
    );
    let machines = || memory.cases.iter().filter(|(name, _)| *name != CLUSTER);
    let of_each = |value: &dyn Fn(&crate::reconcile::decide::Case) -> f64| {
        machines().map(|(name, case)| (format!("{{machine=\"{name}\"}}"), value(case))).collect()
    };
    let ill = of_each(&|case| f64::from(u8::from(case.trouble.is_some())));
    metric("machine_ill", "gauge", "Whether something is wrong with a machine.", ill);
    let tries = of_each(&|case| number(case.tries.len() as u64));
    metric("machine_tries", "gauge", "How much was tried on a machine since it was well for long.", tries);
    let steps = memory.steps.iter().flat_map(|(step, (done, failed))| {
        [("done", done), ("failed", failed)]
            .map(|(outcome, count)| (format!("{{step=\"{step}\",outcome=\"{outcome}\"}}"), number(*count)))
    });
    metric("steps_total", "counter", "What was done to machines.", steps.collect());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::decide::Case;

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
        metrics.tell(&memory, true, Duration::from_millis(1500));
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
}
