//! The bytes under a connection: counted, watched for a peer that stopped taking them, and cut off at will.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How much of what the other side says first is kept, to tell what it is if it is not sshd.
const GREETING: usize = 200;

/// What went over the wire to one machine, over all its connections.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) exchanges: AtomicUsize,
    pub(super) handshakes: AtomicUsize,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// The first bytes the other side sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting(Arc<Mutex<Vec<u8>>>);

impl Greeting {
    /// What was said, as text; empty when nothing was.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn extend(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = GREETING.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A stream with a meter, a watch and a switch.
pub(super) struct Wire<S> {
    stream: S,
    meter: Arc<Meter>,
    greeting: Greeting,
    greeted: usize,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Wire<S> {
    /// Wraps a stream. Cancelling `cut` ends it with an error, whoever owns it by then: russh keeps a session whose
    /// handshake was given up alive as long as the peer stays silent. So does a peer that takes no byte for as long as
    /// `patience`: russh sends no keepalives while it waits to write, and the kernel gives up on an unacknowledged
    /// segment after about 15 minutes only (tcp_retries2, tcp(7)).
    pub(super) fn new(
        stream: S,
        meter: Arc<Meter>,
        greeting: Greeting,
        cut: CancellationToken,
        patience: Duration,
    ) -> Self {
        let cut = Box::pin(cut.cancelled_owned());
        Self { stream, meter, greeting, greeted: 0, patience, stalled: None, cut }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "given up")),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_cut(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let fresh = &buf.filled()[before..];
        this.meter.received.fetch_add(fresh.len() as u64, Ordering::Relaxed);
        if this.greeted < GREETING {
            this.greeted += fresh.len();
            this.greeting.extend(fresh);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_cut(cx)?;
        match Pin::new(&mut this.stream).poll_write(cx, buf) {
            Poll::Ready(result) => {
                this.stalled = None;
                let written = result?;
                this.meter.sent.fetch_add(written as u64, Ordering::Relaxed);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                let patience = this.patience;
                let stalled = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                ready!(stalled.as_mut().poll(cx));
                let reason = format!("it took no data for {} s", patience.as_secs_f32());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn wire(
        patience: Duration,
    ) -> (Wire<DuplexStream>, DuplexStream, Arc<Meter>, Greeting, CancellationToken) {
        let (near, far) = duplex(64);
        let (meter, greeting, cut) = (Arc::<Meter>::default(), Greeting::default(), CancellationToken::new());
        let wire = Wire::new(near, Arc::clone(&meter), greeting.clone(), cut.clone(), patience);
        (wire, far, meter, greeting, cut)
    }

    #[tokio::test]
    async fn bytes_are_counted_and_the_first_ones_kept() {
        let (mut wire, mut far, meter, greeting, _cut) = wire(Duration::from_secs(60));
        let peer = tokio::spawn(async move {
            for _ in 0..10 {
                far.write_all(&[b'x'; 50]).await.expect("taken");
            }
            let mut heard = [0; 7];
            far.read_exact(&mut heard).await.expect("sent");
        });
        wire.read_exact(&mut [0; 500]).await.expect("received");
        wire.write_all(b"1234567").await.expect("sent");
        peer.await.expect("no panic");
        assert_eq!(greeting.text(), "x".repeat(GREETING));
        assert_eq!((meter.received.load(Ordering::Relaxed), meter.sent.load(Ordering::Relaxed)), (500, 7));
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_and_one_that_takes_a_little_is_not() {
        let (mut wire, mut far, ..) = wire(Duration::from_millis(400));
        let peer = tokio::spawn(async move {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(150)).await;
                far.read_exact(&mut [0; 10]).await.expect("sent");
            }
            far
        });
        let error = wire.write_all(&[0; 4096]).await.expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(peer.is_finished(), "not while it still took something");
    }

    #[tokio::test]
    async fn a_cut_ends_a_read_that_waits() {
        let (mut wire, _far, _, _, cut) = wire(Duration::from_secs(60));
        let reading = tokio::spawn(async move { wire.read_u8().await });
        tokio::task::yield_now().await;
        cut.cancel();
        let error = reading.await.expect("no panic").expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
