//! Several requests at once.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

/// So many at once: as many as a cloud answers without slowing down others.
const AT_ONCE: usize = 8;

/// Does something with each of some items, several at a time, all of them whatever happens. The answers are in the order of the
/// items.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(0..items.len());
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut answers: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            while let Some(index) = take() {
                mine.push((index, work(&items[index])));
            }
            mine
        };
        let workers: Vec<_> = (0..AT_ONCE.min(items.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(joined).collect()
    });
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What a thread has returned; its panic goes on here.
pub(crate) fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
