//! Waiting for something with a limit of time, and never in silence.

use std::thread;
use std::time::{Duration, Instant};

/// How often somebody who waits is told so.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A wait that has begun.
#[derive(Debug)]
pub(crate) struct Wait {
    begin: Instant,
    last_news: Option<Instant>,
    limit: Duration,
    pause: Duration,
}

impl Wait {
    /// Begins one of so long at most, with a pause between attempts.
    pub(crate) fn new(limit: Duration, pause: Duration) -> Self {
        Self { begin: Instant::now(), last_news: None, limit, pause }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Whether the limit is over.
    pub(crate) fn is_over(&self) -> bool {
        self.begin.elapsed() > self.limit
    }

    /// Calls `say` if nothing was said for some seconds.
    pub(crate) fn tell(&mut self, say: impl FnOnce(Duration)) {
        if self.last_news.is_none_or(|news| news.elapsed() >= HEARTBEAT) {
            say(self.elapsed());
            self.last_news = Some(Instant::now());
        }
    }

    /// Makes the pause before the next attempt.
    pub(crate) fn pause(&self) {
        thread::sleep(self.pause);
    }

    /// Tries until it is done; `None` when the limit is over first. There is at least one attempt.
    pub(crate) fn until<T, E>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            match attempt(self)? {
                Some(done) => return Ok(Some(done)),
                None if self.is_over() => return Ok(None),
                None => self.pause(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(limit: u64) -> Wait {
        Wait::new(Duration::from_millis(limit), Duration::from_millis(5))
    }

    #[test]
    fn it_ends_when_it_is_done_or_its_limit_is_over() {
        let mut attempts = 0;
        let done = moment(10_000).until(|_| {
            attempts += 1;
            Ok::<_, ()>((attempts == 3).then_some("done"))
        });
        assert_eq!((done, attempts), (Ok(Some("done")), 3));
        assert_eq!(moment(0).until(|_| Err::<Option<()>, _>("broken")), Err("broken"));
        assert_eq!(moment(20).until(|_| Ok::<Option<()>, ()>(None)), Ok(None));
    }

    #[test]
    fn news_come_at_once_and_then_seldom() {
        let (mut wait, mut news) = (moment(0), 0);
        for _ in 0..3 {
            wait.tell(|_| news += 1);
        }
        assert_eq!(news, 1);
    }
}
