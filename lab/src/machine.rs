//! One machine of a lab: how it is made, and when it is ready.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::access::Access;
use crate::engine::{Container, Engine};
use crate::process;
use crate::progress::Step;
use crate::spec::{LabSpec, MachineSpec};

/// What runs before systemd, on each boot.
const BOOT: &str = include_str!("../assets/boot.sh");
/// A machine answers 1 to 3 s after its start; ten of them on two busy cores need longer.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// An attempt costs the host 50 ms of processor time, which the machines need for their boot.
const PAUSE: Duration = Duration::from_millis(300);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Asks a machine whether its boot has ended. Services that never settle shall not hold up a lab.
const BOOT_STATE: &str =
    "timeout 30 systemctl is-system-running --wait || true; systemctl --failed --plain --no-legend";

/// What all machines of a lab have in common when they are made.
pub(crate) struct Mould<'a> {
    pub(crate) lab: &'a str,
    pub(crate) spec: &'a LabSpec,
    pub(crate) image: &'a str,
    pub(crate) authorized_key: &'a str,
    pub(crate) without_capabilities: &'a [&'static str],
}

impl Mould<'_> {
    /// Makes a machine and switches it on.
    pub(crate) fn create(&self, engine: &Engine, machine: &MachineSpec) -> Result<(), Error> {
        let nameservers: Vec<_> = self.spec.effective_nameservers().iter().map(ToString::to_string).collect();
        let mut environment = vec![
            ("LAB_HOSTNAME", machine.name.clone()),
            ("LAB_NAMESERVERS", nameservers.join(" ")),
            ("LAB_AUTHORIZED_KEY", self.authorized_key.to_owned()),
        ];
        if let Some(memory) = machine.memory_mib {
            environment.push(("LAB_MEMORY_KIB", memory.saturating_mul(1024).to_string()));
        }
        engine.create(&Container {
            lab: self.lab,
            name: &machine.name,
            address: machine.address,
            image: self.image,
            resolver: self.spec.router(),
            memory_mib: machine.memory_mib,
            without_capabilities: self.without_capabilities,
            environment: &environment,
            boot_script: BOOT,
        })
    }
}

/// Waits until a machine lets us in over SSH and its boot has ended.
pub(crate) fn wait_until_ready(
    lab: &str,
    access: &Access,
    namespace: &Path,
    machine: &MachineSpec,
    step: Step<'_>,
) -> Result<(), Error> {
    let begin = Instant::now();
    let mut last_news = begin;
    step.say("waiting for SSH and the end of the boot");
    loop {
        let mut ssh = access.ssh(namespace, "root", machine.address);
        ssh.arg(BOOT_STATE);
        let attempt = process::finish("ssh", ssh, READY_LIMIT, |_| {
            if last_news.elapsed() >= HEARTBEAT {
                step.say(&format!(
                    "waiting for SSH and the end of the boot, {} s",
                    begin.elapsed().as_secs()
                ));
                last_news = Instant::now();
            }
        })?;
        if attempt.status.success() {
            step.say(&boot_state(&attempt.stdout));
            return Ok(());
        }
        if begin.elapsed() > READY_LIMIT {
            return Err(Error::MachineNotReady {
                lab: lab.to_owned(),
                machine: machine.name.clone(),
                address: machine.address,
                limit: READY_LIMIT,
                detail: attempt.tail(),
            });
        }
        thread::sleep(PAUSE);
    }
}

/// `ready`, or what systemd is not content with.
fn boot_state(answer: &str) -> String {
    let mut lines = answer.lines();
    let state = lines.next().unwrap_or_default();
    let failed: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    match (state, failed.is_empty()) {
        ("running", true) => "ready".to_owned(),
        (_, true) => format!("answers, but systemd is {state}"),
        (_, false) => format!("answers, but systemd is {state}: {} failed", failed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units_are_named() {
        assert_eq!(boot_state("running\n"), "ready");
        assert_eq!(boot_state("starting\n"), "answers, but systemd is starting");
        assert_eq!(
            boot_state(
                "degraded\nkubelet.service loaded failed failed kubelet\nx.mount loaded failed failed /x\n"
            ),
            "answers, but systemd is degraded: kubelet.service, x.mount failed"
        );
    }
}
