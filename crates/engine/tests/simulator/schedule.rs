//! What happens in a simulation, as it follows from a seed.

use std::time::Duration;

use muster_testkit::model::random::Random;

/// Everything that makes one simulation differ from another.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub seed: u64,
    pub machines: usize,
    /// To which version the machines are brought, from the one before: the third is that everything is taken away.
    pub version: u32,
    pub controllers: Vec<Controller>,
    /// One of so many actions of programs takes its time; 0 for none.
    pub slow: u64,
    /// The longest that a message is on its way, in milliseconds.
    pub latency: u64,
    /// When, after the last controller has ended, the same command is given again.
    pub again: Duration,
    /// Whether that one is told that the earlier ones have ended, so that it need not wait for their locks.
    pub known: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Controller {
    pub begins: Duration,
    /// How long it waits for a lock.
    pub patience: Duration,
    pub faults: Vec<Strike>,
}

/// A fault of an exchange: of which machine, and the how manyth.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub machine: usize,
    pub exchange: usize,
    pub fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is lost before the program arrives.
    Lost,
    /// The login is refused, which is not tried again.
    Refused,
    /// A part of the program arrives: so many thousandths.
    CutShort(u64),
    /// The program arrives so many seconds after the connection was given up.
    Late(u64),
    /// The connection is lost before this action of the program. `deadly`: writing to nobody ends it.
    Cut {
        action: usize,
        deadly: bool,
    },
    /// The program ran, its answer is lost.
    AnswerLost,
    /// The program, or its answer, takes so many seconds.
    Slow {
        there: u64,
        back: u64,
    },
    /// The machine restarts before this action of the program, and is off for so many seconds.
    Restart {
        action: usize,
        down: u64,
    },
    /// The program is killed before this action, as by a machine that has no memory left.
    Ended {
        action: usize,
    },
    /// The controller is killed: before it sends, before this action of the program, after the answer.
    KilledBefore,
    Killed {
        action: usize,
        deadly: bool,
    },
    KilledAfter,
    /// The controller is stopped for so many seconds before it sends, or when the answer comes.
    Stopped {
        seconds: u64,
        after: bool,
    },
}

impl Schedule {
    /// `exchanges`: how many an undisturbed run has with each machine.
    pub(crate) fn of(seed: u64, exchanges: impl Fn(usize, u32) -> usize) -> Self {
        let mut random = Random::of(seed, &[0]);
        let (machines, version) = (2 + random.below(3) as usize, 1 + random.below(3) as u32);
        let exchanges = exchanges(machines, version) as u64;
        // Also without any fault machines are slow, and things happen in another order.
        let quiet = random.one_in(8);
        let others = usize::from(random.one_in(3)) + usize::from(random.one_in(12));
        let controllers = if quiet { 1 } else { 1 + others };
        let controllers = (0..controllers)
            .map(|number| Controller {
                begins: Duration::from_millis(if number == 0 { 0 } else { random.below(100_000) }),
                patience: Duration::from_secs(random.pick(&[0, 20, 200])),
                faults: (0..random.pick(&[0, 1, 1, 1, 2, 2, 3, 5]).max(usize::from(number == 0)))
                    .filter(|_| !quiet)
                    .map(|_| Strike {
                        machine: random.below(machines as u64) as usize,
                        exchange: random.below(exchanges + 2) as usize,
                        fault: Fault::of(&mut random),
                    })
                    .collect(),
            })
            .collect();
        Self {
            seed,
            machines,
            version,
            controllers,
            slow: random.pick(&[0, 0, 30, 4]),
            latency: random.pick(&[1, 1, 100, 3000]),
            again: Duration::from_millis(random.pick(&[0, 50, 7_000, 100_000])),
            known: random.one_in(2),
        }
    }
}

impl Schedule {
    /// The controller is killed at one exchange, and nothing else happens.
    pub(crate) fn crash(machines: usize, version: u32, strike: Strike) -> Self {
        // The next run knows of every other that it has ended; it must not make a difference.
        let known = strike.exchange.is_multiple_of(2);
        let controller =
            Controller { begins: Duration::ZERO, patience: Duration::ZERO, faults: vec![strike] };
        let controllers = vec![controller];
        Self { seed: 0, machines, version, controllers, slow: 0, latency: 1, again: Duration::ZERO, known }
    }
}

impl Fault {
    fn of(random: &mut Random) -> Self {
        // Most programs have few actions, and what comes first in them matters most.
        let limit = random.pick(&[4, 20, 120]);
        let action = random.below(limit) as usize;
        let deadly = random.one_in(2);
        let seconds = random.pick(&[1, 5, 25, 61, 130]);
        match random.below(16) {
            0 => Self::Lost,
            1 => Self::CutShort(random.below(1000)),
            2 => Self::Late(seconds),
            3 | 4 => Self::Cut { action, deadly },
            5 => Self::AnswerLost,
            6 => Self::Slow { there: random.pick(&[0, seconds]), back: random.pick(&[0, seconds]) },
            7 | 8 => Self::Restart { action, down: random.pick(&[0, 1, 10, 60]) },
            9 => Self::KilledBefore,
            10 | 11 => Self::Killed { action, deadly },
            12 => Self::KilledAfter,
            13 => Self::Refused,
            14 => Self::Ended { action },
            _ => Self::Stopped { seconds: random.pick(&[20, 61, 90, 200]), after: deadly },
        }
    }
}
