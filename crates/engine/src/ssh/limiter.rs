//! How many handshakes may be under way at once, over all machines.
//!
//! sshd drops connections at random when too many are not yet authenticated (`MaxStartups 10:30:100`, sshd_config(5)),
//! a bastion sees all of ours, and a home router forgets some. What a network can take is not known beforehand, so the
//! number follows what happens, as TCP's window does: one more for each handshake that went well and soon, half when one
//! was cut off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// Handshakes at once before anything is known.
pub const INITIAL_HANDSHAKES: usize = 32;
/// More never help: a controller's two cores do about this many a second.
const MOST: usize = 256;
/// A handshake that took longer is no reason for more of them at once: something on the way, perhaps a computer that all
/// the machines share, has enough to do.
const SOON: Duration = Duration::from_secs(2);

/// The number of handshakes that may be under way, adapting itself.
#[derive(Debug)]
pub(super) struct Handshakes {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: usize,
    busy: usize,
    /// Counts the halvings, so that one burst of refusals halves the limit once and not once for each refusal.
    epoch: u64,
    /// When the last handshake ended that took long.
    slow: Option<Instant>,
}

/// Leave for one handshake. Say how it went with [`Permit::clean`] or [`Permit::choked`]; dropping it says nothing.
#[derive(Debug)]
pub(super) struct Permit {
    of: Arc<Handshakes>,
    epoch: u64,
    since: Instant,
}

impl Handshakes {
    pub(super) fn new(initial: usize) -> Arc<Self> {
        let limit = initial.clamp(1, MOST);
        Arc::new(Self {
            state: Mutex::new(State { limit, busy: 0, epoch: 0, slow: None }),
            freed: Notify::new(),
        })
    }

    /// Waits for leave.
    pub(super) async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            // Registered before looking, so that a permit given back in between is not missed.
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                if state.busy < state.limit {
                    state.busy += 1;
                    return Permit { of: Arc::clone(self), epoch: state.epoch, since: Instant::now() };
                }
            }
            freed.await;
        }
    }

    /// How many may be under way now.
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The handshake went well.
    pub(super) fn clean(self) {
        let mut state = self.of.state();
        if self.since.elapsed() > SOON {
            state.slow = Some(Instant::now());
        } else {
            state.limit = (state.limit + 1).min(MOST);
        }
        drop(state);
        self.of.freed.notify_one();
    }

    /// Whether others that were under way at the same time took long: then all have too much to do, and not this one alone.
    pub(super) fn is_crowded(&self) -> bool {
        self.of.state().slow.is_some_and(|slow| slow >= self.since)
    }

    /// The other side, or something on the way, cut the handshake off.
    pub(super) fn choked(self) {
        let mut state = self.of.state();
        if self.epoch == state.epoch {
            state.limit = (state.limit / 2).max(1);
            state.epoch += 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.state().busy -= 1;
        self.of.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_of_refusals_halves_once_and_each_success_adds_one() {
        let handshakes = Handshakes::new(8);
        let mut permits = Vec::new();
        for _ in 0..8 {
            permits.push(handshakes.acquire().await);
        }
        for permit in permits {
            permit.choked();
        }
        assert_eq!(handshakes.limit(), 4, "eight refusals of one burst are one sign of overload");

        handshakes.acquire().await.clean();
        assert_eq!(handshakes.limit(), 5);
        handshakes.acquire().await.choked();
        assert_eq!(handshakes.limit(), 2);
        drop(handshakes.acquire().await);
        assert_eq!(handshakes.limit(), 2, "a handshake that failed for another reason says nothing");
        for _ in 0..5 {
            handshakes.acquire().await.choked();
        }
        assert_eq!(handshakes.limit(), 1, "never less than one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_took_long_adds_none_and_is_a_sign_to_the_others() {
        let handshakes = Handshakes::new(8);
        let (slow, hangs) = (handshakes.acquire().await, handshakes.acquire().await);
        tokio::time::advance(Duration::from_secs(3)).await;
        let later = handshakes.acquire().await;
        assert!(!hangs.is_crowded(), "it may be this machine alone");
        slow.clean();
        assert_eq!(handshakes.limit(), 8);
        assert!(hangs.is_crowded());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!handshakes.acquire().await.is_crowded(), "that was before it");
        later.clean();
        assert_eq!(handshakes.limit(), 9);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_at_once() {
        let handshakes = Handshakes::new(1);
        let first = handshakes.acquire().await;
        let waiting = tokio::spawn({
            let handshakes = Arc::clone(&handshakes);
            async move { drop(handshakes.acquire().await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        tokio::time::timeout(std::time::Duration::from_secs(5), waiting)
            .await
            .expect("woken")
            .expect("no panic");
    }
}
