//! What a long operation tells its caller while it runs.

use std::time::Duration;

/// One piece of news. Items come one after the other; each begins with `Start` and ends with `Done` or `Failed`,
/// or with the operation's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Comes first, and once for each place: files whose digests the catalogue does not have are compared with those that are
    /// published beside them.
    Published {
        /// The files, e.g. `kubelet 1.36.9, kubectl 1.36.9`.
        files: &'a str,
        /// Where their digests are published: a host, with its port where it has one.
        by: &'a str,
    },
    /// Work on an item begins.
    Start {
        /// The item, e.g. `kubelet 1.36.3`.
        item: &'a str,
        /// Which one it is, counted from 1.
        index: usize,
        /// How many there are.
        of: usize,
    },
    /// So much of the item is done.
    Bytes {
        /// Bytes dealt with so far.
        done: u64,
        /// Bytes in all, where that is known.
        of: Option<u64>,
    },
    /// An attempt failed in a way that may pass; the next one follows.
    Retry {
        /// The attempt that failed, counted from 1.
        attempt: u32,
        /// How many there are at most.
        of: u32,
        /// The pause before the next one.
        wait: Duration,
        /// What went wrong.
        reason: &'a str,
    },
    /// The item could not be had; work goes on with the next.
    Failed {
        /// What went wrong, with the item's name or URL.
        reason: &'a str,
    },
    /// The item is finished.
    Done {
        /// Bytes of it.
        size: u64,
        /// How long it took.
        elapsed: Duration,
    },
}

/// Where the news goes.
pub type ProgressSink<'a> = dyn FnMut(Progress<'_>) + 'a;
