//! Work of this computer that takes long.

/// Does it in a thread of the runtime's for such work: what the runtime does otherwise goes on meanwhile. `None` where it has ended
/// without a result.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
