//! Locks on folders, so that two runs do not change the same thing at the same time.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, file_error};
use crate::progress::Step;
use crate::waiting::Wait;

/// Longer than making a machine image takes.
const LIMIT: Duration = Duration::from_secs(1800);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for the lock (flock(2)) on a folder, which must exist. Dropping the file releases it, as does the end of the
/// process, however it ends.
pub(crate) fn wait(folder: &Path, step: Step<'_>) -> Result<File, Error> {
    let attempt = |wait: &mut Wait| {
        let file = File::open(folder).map_err(file_error("cannot open", folder))?;
        match file.try_lock() {
            // The folder may have been removed while we waited, and another one be in its place.
            Ok(()) => return Ok(is_still(&file, folder).then_some(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(file_error("cannot lock", folder)(error)),
        }
        wait.tell(|_| step.say(&format!("waiting for another muster that works on {}", folder.display())));
        Ok(None)
    };
    Wait::new(LIMIT, PAUSE)
        .until(attempt)?
        .ok_or_else(|| Error::Locked { place: folder.to_owned(), limit: LIMIT })
}

fn is_still(file: &File, folder: &Path) -> bool {
    match (file.metadata(), fs::metadata(folder)) {
        (Ok(ours), Ok(present)) => (ours.dev(), ours.ino()) == (present.dev(), present.ino()),
        _ => false,
    }
}
