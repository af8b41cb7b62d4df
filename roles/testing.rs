//! For tests of roles: a run on this very machine, under any number of names, and on machines that are off.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_engine::event::{Event, Events};
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use muster_inventory::{Inventory, Vars};
use tokio::io::AsyncWriteExt;

/// Runs programs with a shell of this machine.
struct Here {
    /// A folder with programs that are found before all others.
    programs: PathBuf,
    /// Under which name: what Kubernetes has there is in a folder of this name among the programs; so are the mark of a control plane
    /// that muster has set up, and fstab(5).
    name: String,
}

impl Transport for Here {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async {
            let Program::Text(text) = exec.program else { panic!("nothing is uploaded here") };
            // Programs set PATH themselves.
            let programs = self.programs.display();
            let text = text.replacen("PATH=", &format!("PATH={programs}:"), 1);
            let text = ["/etc/kubernetes/", "/var/lib/kubelet/pki/"]
                .iter()
                .fold(text, |text, folder| text.replace(folder, &format!("{programs}/{}/", self.name)));
            let text = [("/var/lib/muster/stamps/", "kubeadm-init"), ("/etc/", "fstab")].iter().fold(
                text,
                |text, (folder, file)| {
                    text.replace(&format!("{folder}{file}"), &format!("{programs}/{}/{file}", self.name))
                },
            );
            let mut sh = tokio::process::Command::new("sh");
            let mut child = sh
                .arg("-s")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
            let out = child.wait_with_output().await.unwrap();
            Ok(Exit { status: out.status.code().unwrap(), stdout: out.stdout, stderr: out.stderr })
        })
    }
}

/// A machine that is off.
struct Off;

impl Transport for Off {
    fn exec(&self, _: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (reason, remedy) = ("no answer".into(), "switch it on".into());
            Err(TransportError::Unreachable { address: "off:22".into(), reason, remedy })
        })
    }
}

/// Runs plays on these of the inventory's hosts, and returns how it ended and what happened. Hosts whose names begin with
/// `off` are off, all others are this machine, with some `programs` in front of its own.
pub(crate) async fn run(
    written: (Arc<Inventory>, Arc<Vars>),
    hosts: &[&str],
    plays: serde_json::Value,
    programs: &std::path::Path,
) -> (Outcome, Vec<Event>) {
    run_roles(crate::ROLES, written, hosts, plays, programs).await
}

/// The same with these roles.
pub(crate) async fn run_roles(
    roles: &[Role],
    (inventory, vars): (Arc<Inventory>, Arc<Vars>),
    hosts: &[&str],
    plays: serde_json::Value,
    programs: &std::path::Path,
) -> (Outcome, Vec<Event>) {
    let plays: Vec<Play> = serde_json::from_value(plays).unwrap();
    let connect = |name: &str| -> Result<Arc<dyn Transport>> {
        let here = || Arc::new(Here { programs: programs.to_owned(), name: name.to_owned() });
        Ok(if name.starts_with("off") { Arc::new(Off) } else { here() })
    };
    let (events, mut receiver) = Events::channel();
    let hosts = hosts.iter().map(ToString::to_string).collect();
    let run = Run { plays: &plays, roles, hosts, ..Run::new(inventory, vars, &connect, events) };
    let outcome = tokio::time::timeout(Duration::from_secs(60), run.execute())
        .await
        .expect("nobody waits for ever")
        .unwrap();
    let mut happened = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        happened.push(event);
    }
    (outcome, happened)
}
