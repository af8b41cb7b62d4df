//! A stream that tells how much of it was read: uploads in progress.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::event::{Event, Events};
use crate::transport::Input;

/// What is read goes on, and every 200 ms it is told how much it was.
pub(crate) struct Metered {
    pub(crate) input: Input,
    pub(crate) host: String,
    /// Of what is read.
    pub(crate) name: String,
    pub(crate) events: Events,
    /// How much was read, also by earlier attempts.
    pub(crate) sent: Arc<AtomicU64>,
    /// When it was told last.
    pub(crate) told: Instant,
    pub(crate) total: u64,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.input).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        let sent = self.sent.fetch_add(read, Ordering::Relaxed) + read;
        if self.told.elapsed() > Duration::from_millis(200) {
            self.told = Instant::now();
            let (host, name) = (self.host.clone(), self.name.clone());
            self.events.send(Event::Transfer { host, name, sent, total: self.total });
        }
        poll
    }
}
