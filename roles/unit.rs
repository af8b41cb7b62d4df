//! The unit of a service that waits for disks.

use muster_engine::prelude::*;

/// What says which folders are to be mounted before a service starts (systemd.unit(5)).
const MOUNTS: &str = "RequiresMountsFor=";

/// A unit. What it says of mounts counts at the next start: for that alone a service that runs does not restart.
pub(crate) struct Unit {
    file: File,
    /// The same without mounts, by which a service is seen to run with it.
    running: File,
}

/// The unit at this path, with this text.
pub(crate) fn unit(path: &str, text: String) -> Unit {
    let running: String = text.split_inclusive('\n').filter(|line| !line.starts_with(MOUNTS)).collect();
    Unit { file: file(path).content(text), running: file(path).content(running) }
}

impl Resource for Unit {
    fn label(&self) -> String {
        self.file.label()
    }

    fn probe(&self) -> Probe {
        self.file.probe()
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        self.file.plan(seen)
    }

    fn desired(&self) -> String {
        self.running.desired()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_restarts_for_what_it_runs_with_and_not_for_what_it_waits_for() {
        let wants = |text: &str| unit("/u", text.to_owned()).desired();
        let before = file("/u").content("[Unit]\nAfter=a\n\n[Service]\nExecStart=/a").desired();
        assert_eq!(wants("[Unit]\nAfter=a\nRequiresMountsFor=/data\n\n[Service]\nExecStart=/a"), before);
        assert_ne!(wants("[Unit]\nAfter=a\nRequiresMountsFor=/data\n\n[Service]\nExecStart=/b"), before);
    }
}
