//! How something is waited for on a machine, and for how long: as long as something moves there.

use std::time::Duration;

use tokio::time::Instant;

use crate::script::Script;

/// A wait lasts at most so many times as long as its limit, whatever moves.
const MOST: u32 = 10;

/// How often it is looked within a limit whether something moves. What comes about sooner than that costs no look.
const LOOKS: u32 = 8;

/// Something that is waited for on a machine.
#[derive(Debug, Clone)]
pub struct Wait {
    pub(crate) what: String,
    pub(crate) until: Script,
    pub(crate) every: Duration,
    pub(crate) limit: Duration,
    moves: Option<Script>,
}

impl Wait {
    /// Asks every `every` until the snippet, which only looks, succeeds; for at most `limit`. `what` says what is so then.
    pub fn new(what: impl Into<String>, until: Script, every: Duration, limit: Duration) -> Self {
        Self { what: what.into(), until, every, limit, moves: None }
    }

    /// The limit counts from when something last moved: when this snippet, which only looks, printed something else than before.
    /// Ten limits are the most that is waited in all.
    #[must_use]
    pub fn while_moving(mut self, moves: Script) -> Self {
        self.moves = Some(moves);
        self
    }
}

/// When something was last seen to move.
pub(crate) struct Motion<'w> {
    wait: &'w Wait,
    begun: Instant,
    moved: Instant,
    looked: Instant,
    seen: Option<String>,
}

impl<'w> Motion<'w> {
    pub(crate) fn new(wait: &'w Wait) -> Self {
        let begun = Instant::now();
        Self { wait, begun, moved: begun, looked: begun, seen: None }
    }

    /// What prints how things are, where it is time to look.
    pub(crate) fn to_be_looked_at(&self) -> Option<&'w Script> {
        self.wait.moves.as_ref().filter(|_| self.looked.elapsed() >= self.wait.limit / LOOKS)
    }

    /// How things were found; `None` where that could not be seen.
    pub(crate) fn saw(&mut self, seen: Option<String>) {
        self.looked = Instant::now();
        if seen.is_none() {
            return;
        }
        if self.seen.is_some() && self.seen != seen {
            self.moved = self.looked;
        }
        self.seen = seen;
    }

    /// For how long it was waited, where that is enough.
    pub(crate) fn over(&self) -> Option<Duration> {
        let Wait { every, limit, .. } = *self.wait;
        let stands = self.moved.elapsed() + every > limit;
        if !stands && self.begun.elapsed() + every <= limit * MOST {
            return None;
        }
        Some(if self.moved == self.begun { limit } else { self.begun.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::sh0;

    /// How long it is waited where things look so at the next look, in steps of a second.
    async fn waited(limit: u64, look: impl Fn(u64) -> Option<String>) -> u64 {
        let wait = Wait::new("x", sh0("false"), Duration::from_secs(1), Duration::from_secs(limit));
        let wait = wait.while_moving(sh0("moves"));
        let mut motion = Motion::new(&wait);
        let begun = Instant::now();
        loop {
            if motion.to_be_looked_at().is_some() {
                motion.saw(look(begun.elapsed().as_secs()));
            }
            if let Some(told) = motion.over() {
                assert!(told >= begun.elapsed(), "what is told is no less than what was waited");
                return begun.elapsed().as_secs();
            }
            tokio::time::sleep(wait.every).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nothing_has_moved_for_its_limit_and_always_at_ten_limits() {
        let still = waited(80, |_| Some("one pod".into())).await;
        assert_eq!(still, 80);
        let blind = waited(80, |_| None).await;
        assert_eq!(blind, 80);
        // Until 200 s a pod more is seen at each look, the last of them at 200.
        let slow = waited(80, |now| Some(now.min(200).to_string())).await;
        assert_eq!(slow, 280);
        let for_ever = waited(80, |now| Some(now.to_string())).await;
        assert_eq!(for_ever, 800);
    }
}
