//! How many programs run at once over all machines, and whose turn it is.
//!
//! Machines that have been begun go before those that have not: a run of 1,000 machines finishes some of them, and closes their
//! connections, before it opens those of others. The limit is on programs and not on machines, because machines wait for each
//! other (a node for its control plane) and must not keep others from their turn meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places for programs that run.
#[derive(Debug)]
pub(crate) struct Forks(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    begun: VecDeque<oneshot::Sender<Place>>,
    fresh: VecDeque<oneshot::Sender<Place>>,
}

/// A program's place, given on when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<Arc<Forks>>);

impl Forks {
    pub(crate) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: number.max(1),
            begun: VecDeque::new(),
            fresh: VecDeque::new(),
        })))
    }

    /// Waits for a place for a machine that has been begun already, or has not.
    pub(crate) async fn acquire(self: &Arc<Self>, begun: bool) -> Place {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(self.clone()));
            }
            let (sender, turn) = oneshot::channel();
            if begun { &mut state.begun } else { &mut state.fresh }.push_back(sender);
            turn
        };
        // A sender leaves its queue only with a place.
        turn.await.unwrap_or(Place(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(forks) = self.0.take() else { return };
        loop {
            let mut state = forks.state();
            let Some(next) = state.begun.pop_front().or_else(|| state.fresh.pop_front()) else {
                state.free += 1;
                return;
            };
            drop(state);
            match next.send(Self(Some(forks.clone()))) {
                Ok(()) => return,
                // It waits no more: the place stays here.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn machines_that_have_been_begun_go_first() {
        let forks = Forks::new(1);
        let place = forks.acquire(false).await;
        let mut fresh = Box::pin(forks.acquire(false));
        let mut begun = Box::pin(forks.acquire(true));
        assert!(fresh.as_mut().now_or_never().is_none() && begun.as_mut().now_or_never().is_none());
        drop(place);
        assert!(fresh.as_mut().now_or_never().is_none(), "a new machine goes before one that has been begun");
        drop(begun.await);
        fresh.await;
    }

    #[tokio::test]
    async fn who_waits_no_more_keeps_no_place() {
        let forks = Forks::new(1);
        let place = forks.acquire(false).await;
        let mut given_up = Box::pin(forks.acquire(true));
        let mut given_late = Box::pin(forks.acquire(true));
        assert!(given_up.as_mut().now_or_never().is_none() && given_late.as_mut().now_or_never().is_none());
        drop(given_up);
        drop(place);
        // It has its place by now, and has not looked.
        drop(given_late);
        assert!(forks.acquire(false).now_or_never().is_some());
    }
}
