//! A run is played again and again, its controller killed at another exchange each time.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::line::{Controller, Kill};
use crate::{MACHINES, World};

/// Where a controller is killed.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Before anything is sent, and when the answer is there.
    BothSides,
    /// The same where a run is a long one of which most is killed elsewhere, too: unless all are asked for, at each fifteenth of these.
    Sparse,
    /// When the answer is there.
    After,
    /// On one side of each exchange.
    OneSide,
    /// On one side of each third exchange, where a run is a long one, or others are killed in the same roles.
    Seldom,
}

impl At {
    /// The kills of a run with so many exchanges with each machine: all of them where `MUSTER_KILLS` is `all` (`./test --all`),
    /// else each fifth one, because each takes as long as two runs.
    pub(crate) fn of(self, exchanges: &[usize]) -> Vec<Kill> {
        let all = std::env::var_os("MUSTER_KILLS").is_some_and(|which| which == "all");
        let sides = |exchange: usize| match self {
            Self::BothSides | Self::Sparse => vec![false, true],
            Self::After => vec![true],
            Self::OneSide => vec![exchange.is_multiple_of(2)],
            Self::Seldom if exchange.is_multiple_of(3) => vec![exchange.is_multiple_of(2)],
            Self::Seldom => Vec::new(),
        };
        let step = match self {
            _ if all => 1,
            Self::Sparse => 15,
            _ => 5,
        };
        let each = exchanges.iter().enumerate();
        each.flat_map(|(machine, count)| (0..*count).map(move |exchange| (machine, exchange)))
            .flat_map(|(machine, exchange)| {
                sides(exchange).into_iter().map(move |after| Kill { machine, exchange, after })
            })
            .step_by(step)
            .collect()
    }
}

impl World {
    /// The run that may be killed: how many exchanges there were with each machine, and what was wrong.
    pub(crate) async fn disturbed(&self, kill: Option<Kill>) -> (Vec<usize>, Vec<String>) {
        let controller = Controller::new(2, MACHINES, kill);
        let ran = self.run(&controller).await;
        let exchanges = controller.exchanges.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let is_as_planned = kill.is_some() == ran.is_none();
        let wrong = (!is_as_planned).then(|| "the controller was not killed, or was".to_owned());
        (exchanges, wrong.into_iter().collect())
    }
}

impl World {
    /// What is wrong at the end of a play: the cluster is another one, or one more run changes something.
    pub(crate) async fn not_settled(&self, identity: &str, controller: u32) -> Vec<String> {
        let (_, ran, mut wrong) = self.calm(controller).await;
        if self.cluster.identity() != identity {
            wrong.push(format!("another cluster: {} was {identity}", self.cluster.identity()));
        }
        if !ran.changes.is_empty() {
            wrong.push(format!("the run after changes something: {:?}", ran.changes));
        }
        wrong
    }
}

/// Plays something without a kill, which says how many exchanges its run has, and then with each of the kills. Returns how many
/// there were, and fails with what was wrong.
pub(crate) fn killed_everywhere(
    name: &str,
    at: At,
    play: impl Fn(Option<Kill>) -> (Vec<usize>, Vec<String>) + Sync,
) -> usize {
    let (exchanges, wrong) = play(None);
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    let kills = at.of(&exchanges);
    assert!(exchanges.iter().sum::<usize>() > 10, "{name}: {exchanges:?}");
    in_parallel(&kills, |kill| play(Some(*kill)).1);
    kills.len()
}

/// Plays all of these, as many at once as there are processors, and fails with what was wrong.
pub(crate) fn in_parallel<T: Debug + Sync>(all: &[T], play: impl Fn(&T) -> Vec<String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let wrong = play(one);
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push(format!("{one:?}\n{}", wrong.join("\n")));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let shown = failures[..failures.len().min(3)].join("\n\n");
    assert!(failures.is_empty(), "{} of {}:\n{shown}", failures.len(), all.len());
}
