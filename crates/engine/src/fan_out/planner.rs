//! Who gets an artifact from whom. It knows no machines and no clock, so it can be tried with many orders of events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many machines a machine serves at once.
const PER_MACHINE: usize = 2;

/// How many uploads of this side are under way at once.
const UPLOADS: usize = 5;

/// How often a machine may fail, giving or taking, before it is left out of this.
const PER_MACHINE_FAILURES: usize = 2;

/// How many machines fail before the first success until nobody tries any more: a firewall between all of them.
const FAILURES: usize = 4;

/// After how long an upload is judged by its speed, and how long it may then still take before another one begins: the
/// machine that gets it first may be the one with the bad cable.
const JUDGED_AFTER: Duration = Duration::from_secs(10);
const TOO_LONG: Duration = Duration::from_secs(60);

/// Where something comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// From this side.
    Controller,
    /// From a machine that has it.
    Machine(String),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The machine has it, and keeps it for others or not.
    Arrived { kept: bool },
    /// It did not come, or not all of it.
    Failed,
    /// It was something else.
    Wrong,
    /// Nothing can be said: this side was interrupted, or lost its connection to the machine.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Planner {
    artifacts: HashMap<String, Spread>,
    machines: HashMap<String, Machine>,
    uploads: usize,
    failures: usize,
    worked: bool,
}

/// How far an artifact has spread.
#[derive(Debug, Default)]
struct Spread {
    holders: Vec<String>,
    seeds: Vec<Seed>,
    /// Uploads from this side that have arrived.
    uploaded: usize,
}

/// An upload from this side that is under way.
#[derive(Debug)]
struct Seed {
    to: String,
    since: Duration,
    sent: Arc<AtomicU64>,
    size: u64,
}

impl Seed {
    fn is_slow(&self, now: Duration) -> bool {
        let (elapsed, sent) = (now.saturating_sub(self.since), self.sent.load(Ordering::Relaxed));
        let left = self.size.saturating_sub(sent) as f64 / (sent as f64).max(1.0);
        elapsed > JUDGED_AFTER && elapsed.as_secs_f64() * left > TOO_LONG.as_secs_f64()
    }
}

#[derive(Debug, Default)]
struct Machine {
    serving: usize,
    served: usize,
    failed_giving: usize,
    failed_taking: usize,
    /// It is left out as a source for good.
    out: bool,
}

impl Machine {
    fn gives(&self) -> bool {
        !self.out && self.failed_giving < PER_MACHINE_FAILURES
    }
}

impl Planner {
    /// Whether machines have given up to hand things on to each other.
    pub(super) fn given_up(&self) -> bool {
        !self.worked && self.failures >= FAILURES
    }

    /// Where a machine gets an artifact from now; `None` says to wait for others. What is returned is taken until
    /// [`Planner::end`]. `sent` tells how far an upload from this side is.
    pub(super) fn choose(
        &mut self,
        who: &str,
        artifact: &str,
        (size, sent): (u64, &Arc<AtomicU64>),
        now: Duration,
    ) -> Option<Source> {
        let takes = !self.given_up() && self.machine(who).failed_taking < PER_MACHINE_FAILURES;
        let spread = self.artifacts.entry(artifact.to_owned()).or_default();
        if takes {
            let machines = &self.machines;
            let gives = |name: &&String| *name != who && machines.get(*name).is_none_or(Machine::gives);
            let load = |name: &&String| machines.get(*name).map_or((0, 0), |m| (m.serving, m.served));
            if let Some(source) = spread.holders.iter().filter(gives).min_by_key(load).cloned() {
                let machine = self.machine(&source);
                if machine.serving >= PER_MACHINE {
                    return None;
                }
                machine.serving += 1;
                return Some(Source::Machine(source));
            }
            // One at a time, and the others wait for it: more would only share the uplink. An upload after which nobody
            // can get it from the machine lets one more begin at once.
            let slow = usize::from(spread.seeds.iter().any(|seed| seed.is_slow(now)));
            if spread.seeds.len() > spread.uploaded + slow {
                return None;
            }
        }
        if self.uploads >= UPLOADS {
            return None;
        }
        self.uploads += 1;
        spread.seeds.push(Seed { to: who.to_owned(), since: now, sent: sent.clone(), size });
        Some(Source::Controller)
    }

    /// Gives back what [`Planner::choose`] returned.
    pub(super) fn end(&mut self, who: &str, artifact: &str, source: &Source, end: End) {
        let arrived = matches!(end, End::Arrived { .. });
        let spread = self.artifacts.entry(artifact.to_owned()).or_default();
        if (end == End::Arrived { kept: true }) && !spread.holders.iter().any(|holder| holder == who) {
            spread.holders.push(who.to_owned());
        }
        match source {
            Source::Controller => {
                spread.seeds.retain(|seed| seed.to != who);
                spread.uploaded += usize::from(arrived);
                self.uploads -= 1;
            }
            Source::Machine(source) => {
                let failed = usize::from(end == End::Failed);
                let machine = self.machine(source);
                machine.serving -= 1;
                machine.served += usize::from(arrived);
                machine.failed_giving = if arrived { 0 } else { machine.failed_giving + failed };
                machine.out |= end == End::Wrong;
                self.machine(who).failed_taking += failed;
                self.failures += failed;
                self.worked |= arrived;
            }
        }
    }

    /// Whether a machine has something to give.
    pub(super) fn gives(&self, name: &str) -> bool {
        let has = |spread: &Spread| spread.holders.iter().any(|holder| holder == name);
        self.machines.get(name).is_none_or(Machine::gives) && self.artifacts.values().any(has)
    }

    /// Leaves a machine out as a source: it cannot serve, or does not answer.
    pub(super) fn leave_out(&mut self, name: &str) {
        self.machine(name).out = true;
    }

    fn machine(&mut self, name: &str) -> &mut Machine {
        self.machines.entry(name.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 100 << 20;

    /// Numbers that look random and are the same for the same seed (xorshift64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    /// A run of so many machines that all want one thing, in an order the seed decides.
    struct Game {
        planner: Planner,
        dice: Dice,
        waiting: Vec<String>,
        under_way: Vec<(String, Source)>,
        uploads: usize,
        /// The longest way from this side to a machine.
        depth: HashMap<String, usize>,
    }

    impl Game {
        fn new(machines: usize, seed: u64) -> Self {
            let waiting = (0..machines).map(|n| format!("node{n}")).collect();
            let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            let (planner, under_way, depth) = (Planner::default(), Vec::new(), HashMap::new());
            Self { planner, dice, waiting, under_way, uploads: 0, depth }
        }

        /// Everybody who waits asks once, in any order.
        fn ask(&mut self) {
            let mut asking = std::mem::take(&mut self.waiting);
            while !asking.is_empty() {
                let who = asking.swap_remove(self.dice.below(asking.len()));
                match self.planner.choose(&who, "a", (SIZE, &Arc::default()), Duration::ZERO) {
                    Some(source) => {
                        assert_ne!(source, Source::Machine(who.clone()), "nobody gets it from itself");
                        self.uploads += usize::from(source == Source::Controller);
                        self.under_way.push((who, source));
                    }
                    None => self.waiting.push(who),
                }
            }
            let from_here = self.under_way.iter().filter(|(_, from)| *from == Source::Controller).count();
            assert!(from_here <= UPLOADS);
            for (_, source) in self.under_way.iter().filter(|(_, from)| *from != Source::Controller) {
                let serving = self.under_way.iter().filter(|(_, from)| from == source).count();
                assert!(serving <= PER_MACHINE, "{source:?} serves {serving} at once");
            }
        }

        /// Something that is under way ends as `how` says.
        fn end_one(&mut self, how: impl Fn(&str, &Source, &mut Dice) -> End) {
            let (who, source) = self.under_way.swap_remove(self.dice.below(self.under_way.len()));
            let end = how(&who, &source, &mut self.dice);
            self.planner.end(&who, "a", &source, end);
            if let End::Arrived { .. } = end {
                let before = if let Source::Machine(from) = &source { self.depth[from] } else { 0 };
                self.depth.insert(who, before + 1);
            } else {
                self.waiting.push(who);
            }
        }

        /// Goes on until everybody has it.
        fn play(mut self, how: impl Fn(&str, &Source, &mut Dice) -> End) -> Self {
            for _ in 0..100_000 {
                self.ask();
                if self.under_way.is_empty() {
                    assert!(self.waiting.is_empty(), "{:?} wait for ever", self.waiting);
                    return self;
                }
                self.end_one(&how);
            }
            panic!("no end");
        }
    }

    const KEPT: End = End::Arrived { kept: true };

    #[test]
    fn a_hundred_machines_cost_one_upload_and_a_shallow_tree() {
        for seed in 0..30 {
            let game = Game::new(100, seed).play(|_, _, _| KEPT);
            assert_eq!((game.depth.len(), game.uploads), (100, 1), "seed {seed}");
        }
        // In rounds, as machines of the same speed go: each that has it gives it to two.
        let mut game = Game::new(100, 1);
        for round in 0..6 {
            game.ask();
            assert_eq!(game.under_way.len(), [1, 2, 6, 18, 54, 19][round]);
            while !game.under_way.is_empty() {
                game.end_one(|_, _, _| KEPT);
            }
        }
        assert!(game.waiting.is_empty());
    }

    #[test]
    fn whatever_fails_everybody_gets_it() {
        for seed in 0..150 {
            let game = Game::new(30, seed).play(|_, source, dice| match (source, dice.below(10)) {
                (_, 0) => End::Unknown,
                (Source::Machine(_), 1..4) => End::Failed,
                (Source::Machine(_), 4) => End::Wrong,
                (_, 5..7) => End::Arrived { kept: false },
                _ => KEPT,
            });
            assert_eq!(game.depth.len(), 30, "seed {seed}");
        }
    }

    #[test]
    fn a_firewall_between_all_machines_is_learnt_once() {
        for seed in 0..30 {
            let tried = std::cell::Cell::new(0);
            let game = Game::new(50, seed).play(|_, source, _| match source {
                Source::Controller => KEPT,
                Source::Machine(_) => {
                    tried.set(tried.get() + 1);
                    End::Failed
                }
            });
            assert!(game.planner.given_up() && game.uploads == 50);
            // Those that were under way when the last one failed have tried it, too.
            assert!(tried.get() <= FAILURES + 2 * UPLOADS, "{} tries", tried.get());
        }
    }

    #[test]
    fn a_machine_that_serves_wrong_bytes_is_asked_no_more() {
        for seed in 0..30 {
            let asked = std::cell::RefCell::new(HashMap::new());
            let game = Game::new(40, seed).play(|_, source, _| match source {
                Source::Machine(name) if name.ends_with('7') => {
                    *asked.borrow_mut().entry(name.clone()).or_insert(0) += 1;
                    End::Wrong
                }
                _ => KEPT,
            });
            assert_eq!(game.depth.len(), 40);
            // Both that it serves at once may find out.
            assert!(asked.borrow().values().all(|times| *times <= PER_MACHINE), "{asked:?}");
        }
    }

    #[test]
    fn machines_that_keep_nothing_are_served_side_by_side() {
        let mut game = Game::new(20, 5);
        let mut at_once = Vec::new();
        while at_once.iter().sum::<usize>() < 20 {
            game.ask();
            at_once.push(game.under_way.len());
            while !game.under_way.is_empty() {
                game.end_one(|_, _, _| End::Arrived { kept: false });
            }
        }
        assert_eq!(at_once, [1, 2, 4, 5, 5, 3]);
    }

    #[test]
    fn a_second_upload_begins_where_the_first_is_slow_and_only_then() {
        let choose = |sent: u64, after: u64| {
            let mut planner = Planner::default();
            let progress = Arc::new(AtomicU64::new(0));
            let first = planner.choose("a", "x", (SIZE, &progress), Duration::ZERO);
            assert_eq!(first, Some(Source::Controller));
            progress.store(sent, Ordering::Relaxed);
            let now = Duration::from_secs(after);
            let second = planner.choose("b", "x", (SIZE, &Arc::default()), now);
            assert_eq!(planner.choose("c", "x", (SIZE, &Arc::default()), now), None, "two are enough");
            second
        };
        assert_eq!(choose(0, 9), None, "too early to judge");
        assert_eq!(choose(SIZE / 6, 11), None, "another 55 seconds");
        assert_eq!(choose(SIZE / 8, 11), Some(Source::Controller), "another 77 seconds");
        assert_eq!(choose(0, 11), Some(Source::Controller), "it stands still");
    }
}
