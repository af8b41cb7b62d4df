//! What the host of the lab is and can do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, file_error};
use crate::process::{self, command};
use crate::progress::Step;

/// Capabilities by number (capabilities(7), `linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// A machine's kernel is the host's: it must not load modules into it or set its clock.
const NEVER: [&str; 2] = ["SYS_MODULE", "SYS_TIME"];

/// inotify's limits are the host's and shared by all machines: each kubelet, containerd and systemd takes some. The
/// usual 128 instances end at the second machine. The figures are those that kind's "known issues" page recommends,
/// with room for more machines.
const INOTIFY: [(&str, u64); 2] = [("max_user_instances", 8192), ("max_user_watches", 524_288)];

/// Refuses to go on without root.
pub(crate) fn require_root() -> Result<(), Error> {
    let process = Path::new("/proc/self");
    let user = fs::metadata(process).map_err(file_error("cannot read", process))?.uid();
    if user == 0 { Ok(()) } else { Err(Error::NotRoot) }
}

/// The capabilities that a machine cannot have because the host lacks them, or shall not have.
pub(crate) fn withheld_capabilities() -> Result<Vec<&'static str>, Error> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).map_err(file_error("cannot read", path))?;
    Ok(withheld(&status))
}

fn withheld(status: &str) -> Vec<&'static str> {
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    // Bits above the newest one of this set are capabilities that the kernel does not know; the engine knows that.
    let known = u64::BITS - bounding.leading_zeros();
    (0..known)
        .zip(CAPABILITIES)
        .filter(|(bit, name)| bounding & (1 << bit) == 0 || NEVER.contains(name))
        .map(|(_, name)| name)
        .collect()
}

/// Raises inotify's limits where they are too low for a lab. They are ceilings, cost nothing, and last until the
/// host's next boot.
pub(crate) fn raise_inotify_limits(step: Step<'_>) -> Result<(), Error> {
    for (name, wanted) in INOTIFY {
        let path = format!("/proc/sys/fs/inotify/{name}");
        let text = fs::read_to_string(&path).map_err(file_error("cannot read", &path))?;
        let now = text.trim().parse().unwrap_or(0u64);
        if now < wanted {
            step.say(&format!(
                "raising the host's fs.inotify.{name} from {now} to {wanted}, which machines share"
            ));
            fs::write(&path, wanted.to_string()).map_err(file_error("cannot write", &path))?;
        }
    }
    Ok(())
}

/// Makes sure that a folder's disk has room.
pub(crate) fn require_space(place: &Path, needed_mib: u64, what: &'static str) -> Result<(), Error> {
    let mut df = command("df", ["--output=avail", "--block-size=1M"]);
    df.arg(place);
    let text = process::output("df", df, Duration::from_secs(30))?;
    // A disk whose free space cannot be told is not a reason to refuse.
    let free_mib = text.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(u64::MAX);
    if free_mib < needed_mib {
        return Err(Error::DiskFull { place: place.to_owned(), free_mib, needed_mib, what });
    }
    Ok(())
}

/// Whether a program is on the search path.
pub(crate) fn has_program(program: &str) -> Result<bool, Error> {
    let search = command("sh", ["-c", "command -v -- \"$1\"", "sh", program]);
    Ok(process::finish("command -v", search, Duration::from_secs(30), |_| {})?.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_that_the_host_lacks_are_withheld() {
        assert_eq!(withheld("CapBnd:\t000001fffeffffff\n"), ["SYS_MODULE", "SYS_RESOURCE", "SYS_TIME"]);
        assert_eq!(withheld("CapBnd:\t000001ffffffffff\n"), NEVER);
        // A kernel of 2.6.25 knows 34; what comes after is not ours to name.
        assert_eq!(withheld("CapBnd:\t00000003ffffffff\n"), NEVER);
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let error = require_space(Path::new("/"), u64::MAX, "everything").unwrap_err();
        assert!(error.to_string().contains("/ has "), "{error}");
        require_space(Path::new("/"), 0, "nothing").unwrap();
    }

    #[test]
    fn programs_are_found_on_the_search_path() {
        assert!(has_program("sh").unwrap());
        assert!(!has_program("no-such-program-anywhere").unwrap());
    }
}
