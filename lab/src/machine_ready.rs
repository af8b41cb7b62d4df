//! When a machine is ready: it lets us in over SSH, and its boot has ended.

use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::program;
use crate::progress::Step;
use crate::spec::MachineSpec;
use crate::waiting::Wait;

/// A container answers 1 to 3 s after its start; ten of them on two busy cores need longer. Times its slowness.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// An attempt costs the host 50 ms of processor time, which the machines need for their boot.
const PAUSE: Duration = Duration::from_millis(300);
/// Services that never settle shall not hold up a lab. Times its slowness.
const SETTLED_LIMIT: Duration = Duration::from_secs(30);

/// Waits for a machine of the lab that is so many times slower than a container. `ssh` gives commands to it, as root.
pub(crate) fn wait_until_ready(
    lab: &str,
    machine: &MachineSpec,
    slowness: u32,
    ssh: impl Fn() -> Result<Command, Error>,
    step: Step<'_>,
) -> Result<(), Error> {
    let limit = READY_LIMIT * slowness;
    let settled = (SETTLED_LIMIT * slowness).as_secs();
    let waiting = "waiting for SSH and the end of the boot";
    step.say(waiting);
    let mut refusal = String::new();
    let mut wait = Wait::new(limit, PAUSE);
    let answer = wait.until(|wait| {
        let mut ssh = ssh()?;
        ssh.arg(format!(
            "timeout {settled} systemctl is-system-running --wait || true; systemctl --failed --plain --no-legend"
        ));
        let attempt = program::finish("ssh", ssh, limit, |_| {
            wait.tell(|elapsed| step.say(&format!("{waiting}, {} s", elapsed.as_secs())));
        })?;
        refusal = attempt.tail();
        Ok::<_, Error>(attempt.status.success().then_some(attempt.stdout))
    })?;
    let Some(answer) = answer else {
        return Err(Error::MachineNotReady {
            lab: lab.to_owned(),
            machine: machine.name.clone(),
            address: machine.address,
            limit,
            detail: refusal,
        });
    };
    step.say(&boot_state(&answer));
    Ok(())
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
