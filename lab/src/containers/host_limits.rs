//! What machines that share the host's kernel cannot have of it, and what it must have for them.

use std::fs;

use crate::error::{Error, file_error};
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

/// The capabilities that a machine cannot have because the host lacks them, or shall not have.
pub(super) fn withheld_capabilities() -> Result<Vec<&'static str>, Error> {
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
pub(super) fn raise_inotify_limits(step: Step<'_>) -> Result<(), Error> {
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
}
