//! Who we are, for the locks of machines: what others are told, and how a later run of this computer sees that this one
//! has ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::lock::LockRequest;

use crate::environment::Environment;

/// The request of a command, as the user typed it without options. `patience`: how long to wait for
/// others' locks.
pub fn request(command: &str, patience: Duration, environment: &Environment) -> LockRequest {
    let computer = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let owner = format!("{}@{} (pid {})", environment.user(), computer.trim(), std::process::id());
    let process = Process::of(std::process::id()).map(|process| process.to_string()).unwrap_or_default();
    let mut request = LockRequest::new(owner, command, process, Arc::new(is_gone));
    request.patience = patience;
    request
}

/// A process, told apart from every other one anywhere.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    /// Where its number counts: the start of the computer, the namespace of process numbers, the user, without whose
    /// rights it may be hidden (`hidepid` in proc(5)).
    place: String,
    pid: u32,
    /// In ticks since the computer started.
    start: u64,
}

impl Process {
    /// A process that runs, and is more than a status nobody has asked for.
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc(5): the name is in parentheses and may hold anything; the state follows, and is field 3.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { place: place()?, pid, start })
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.place, self.pid, self.start)
    }
}

fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbers = fs::read_link("/proc/self/ns/pid").ok()?;
    let user = fs::metadata(Path::new("/proc/self")).ok()?.uid();
    Some(format!("{}/{}/{user}", boot.trim(), numbers.display()))
}

/// Whether a process is known to have ended. Of other computers, and other users, nothing is known.
fn is_gone(process: &str) -> bool {
    let mut words = process.split(' ');
    let (Some(there), Some(Ok(pid))) = (words.next(), words.next().map(str::parse)) else { return false };
    place().is_some_and(|here| here == there) && Process::of(pid).is_none_or(|now| now.to_string() != process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_ours_that_ended_is_gone() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(!is_gone(&me.to_string()));
        let earlier = Process { start: me.start - 1, place: me.place.clone(), pid: me.pid };
        assert!(is_gone(&earlier.to_string()), "the number was given to another process since");
        let elsewhere = Process { place: "another".into(), ..earlier };
        assert!(!is_gone(&elsewhere.to_string()) && !is_gone(""));
    }
}
