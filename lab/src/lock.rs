//! Locks on folders, so that two runs do not change the same thing at the same time.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, file_error};
use crate::progress::Step;

/// Longer than making a machine image takes.
const LIMIT: Duration = Duration::from_secs(1800);
const PAUSE: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Waits for the lock (flock(2)) on a folder, which must exist. Dropping the file releases it, as does the end of the
/// process, however it ends.
pub(crate) fn wait(folder: &Path, step: Step<'_>) -> Result<File, Error> {
    let begin = Instant::now();
    let mut last_news: Option<Instant> = None;
    loop {
        let file = File::open(folder).map_err(file_error("cannot open", folder))?;
        match file.try_lock() {
            // The folder may have been removed while we waited, and another one be in its place.
            Ok(()) if is_still(&file, folder) => return Ok(file),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) if begin.elapsed() > LIMIT => {
                return Err(Error::Locked { place: folder.to_owned(), limit: LIMIT });
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(file_error("cannot lock", folder)(error)),
        }
        if last_news.is_none_or(|news| news.elapsed() >= HEARTBEAT) {
            step.say(&format!("waiting for another muster that works on {}", folder.display()));
            last_news = Some(Instant::now());
        }
        thread::sleep(PAUSE);
    }
}

fn is_still(file: &File, folder: &Path) -> bool {
    match (file.metadata(), fs::metadata(folder)) {
        (Ok(ours), Ok(present)) => (ours.dev(), ours.ino()) == (present.dev(), present.ino()),
        _ => false,
    }
}
