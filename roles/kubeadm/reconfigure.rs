//! A control plane that stands takes over what has changed in its configuration.

use muster_engine::prelude::*;

use super::config::{self, Config};
use super::growth::Growth;
use crate::balancer;
use crate::cluster::Standing;
use crate::kubectl::{ADMIN_CONF, api_answers, kubectl};

/// The control plane runs with its configuration. The one that leads gives it to the cluster first; in a cluster that grows others
/// join then, before it restarts.
pub(super) async fn run(host: &Host, known: &Standing, growth: Option<&Growth>) -> Result<()> {
    let leads = known.leader() == Some(host.name());
    if leads {
        balancer::all_have_a_way(host, known).await?;
    }
    let told = config::write(host, known).await?;
    let publish = leads.then(|| {
        command(
            "configuration of the cluster",
            kubectl!(include_str!("publish.sh"), [config::CONFIG]),
            applied(&told),
        )
    });
    let publish = match growth {
        Some(growth) => {
            let told = host.step("Give the cluster its configuration").detached().ensure_all(publish);
            told.await?;
            growth.others_are_asked(host, known).await;
            None
        }
        None => publish,
    };
    let changed =
        host.step("Reconfigure the control plane").detached().ensure_all(publish).ensure(here(&told)).await;
    let changed = changed.map_err(reverted)?;
    if leads {
        // One that somebody stopped is started before the API is waited for.
        host.step("Start the kubelet").ensure(service("kubelet")).await?;
        api_answers(host, Duration::from_secs(180)).await?;
    }
    if changed.changed && !host.check_mode() {
        is_steady(host).await?;
    }
    Ok(())
}

/// What to do where a program did not run with its new configuration (`reconfigure.sh`).
fn reverted(failure: Failure) -> Failure {
    match failure {
        Failure::Change { tail, .. } if tail.contains(REVERTED) => {
            let line = tail.lines().find(|line| line.contains(REVERTED)).unwrap_or_default();
            let (said, why) = line.split_once(": ").unwrap_or((line, ""));
            Failure::Other {
                message: format!("{said}: {why}"),
                remedy: "correct the variable that this is about, and run again; the control plane works as before".into(),
                tail: String::new(),
            }
        }
        other => other,
    }
}

/// How `reconfigure.sh` says that it has put back what was there.
const REVERTED: &str = "does not run with its new configuration, and has the one before again";

/// The API server of this control plane answers, for longer than load balancers need to notice: only then the next one may restart
/// its own.
pub(crate) async fn is_steady(host: &Host) -> Result<()> {
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(180));
    host.wait(Wait::new("the API server is steady", ready(6), every, limit)).await.map(drop)
}

/// Whether the API server of a control plane is ready, however often it is asked in a row, twice a second.
pub(super) fn ready(times: u8) -> Script {
    let times = times.to_string();
    sh(
        concat!(include_str!("../own_api_server.sh"), include_str!("steady_api.sh")),
        [ADMIN_CONF, times.as_str()],
    )
}

/// Gives the cluster the configuration that this control plane runs with, whatever it has. Skipped in check mode.
pub(crate) async fn publish(host: &Host) -> Result<()> {
    let what = "Give the cluster its configuration";
    if host.check_mode() {
        host.not_yet(what);
        return Ok(());
    }
    let publish = kubectl!(include_str!("publish.sh"), [config::CONFIG]);
    host.run(what, publish, Duration::from_secs(180)).await.map(drop)
}

/// What this machine's own control plane runs with.
pub(super) fn here(told: &Config) -> Command {
    let run = sh(
        concat!(
            include_str!("../own_api_server.sh"),
            include_str!("static-pods.sh"),
            include_str!("come_up.sh"),
            include_str!("reconfigure.sh")
        ),
        [config::CONFIG, config::APPLIED, &told.hash, &told.certificates, ADMIN_CONF, BEFORE],
    );
    let runs = sh(
        concat!(
            include_str!("static-pods.sh"),
            r#"[ "$(cat "$1")" = "$2" ] && static_pods_are_as_remembered "${1%/*}""#
        ),
        [config::APPLIED, &told.hash],
    );
    command("control plane", run, runs)
}

/// What a change has left that was cut off with its machine: an API server that does not run with its new configuration could not
/// be given another one.
pub(super) fn nothing_half_done() -> Command {
    command(
        "manifests from before a change that was cut off",
        sh(concat!(include_str!("come_up.sh"), include_str!("put_back.sh")), [config::APPLIED, BEFORE]),
        sh(r#"[ ! -e "$1/complete" ]"#, [BEFORE]),
    )
}

/// Where the manifests of before are while a control plane changes.
const BEFORE: &str = "/var/lib/muster/manifests-before";

fn applied(told: &Config) -> Script {
    sh(r#"[ "$(cat "$1")" = "$2" ]"#, [config::APPLIED, &told.hash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_put_back_says_why() {
        assert!(include_str!("reconfigure.sh").contains(REVERTED));
        let tail = format!("[patches] Applied\nkube-apiserver {REVERTED}: Error: invalid argument \"x\"\n");
        let failure = Failure::Change { resource: "control plane".into(), status: 1, tail };
        let told = reverted(failure).to_string();
        assert!(
            told.starts_with("kube-apiserver does not run") && told.contains("invalid argument"),
            "{told}"
        );
    }
}
