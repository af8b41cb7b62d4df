//! kubectl for a role: on any healthy control plane, found when it is needed.
//!
//! A role that wants something of the cluster asks [`Kubectl::find`], which looks once a run, and then queries, changes or
//! waits there. The programs are written with [`kubectl!`], which gives them a `kubectl` that is the administrator's and
//! that waits for an API server that restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::lock::Mutex;
use futures::stream::{FuturesUnordered, StreamExt};
use muster_engine::prelude::*;

use crate::diagnosis;

/// The administrator's kubeconfig on a control plane.
pub(crate) const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// How long an API server may take to come back before a control plane is passed over.
const RESTART: Duration = Duration::from_secs(30);

/// How long a query or a change may take: what `kubectl.sh` spends on an API server that restarts, and the answer.
const LIMIT: Duration = Duration::from_secs(60);

/// A snippet for a control plane in which `kubectl` acts as the cluster's administrator and tries again while the API server
/// restarts (`kubectl.sh`): `kubectl!(TEXT, ARGUMENTS)`, as [`sh`] takes them. The text is a literal or an `include_str!`.
macro_rules! kubectl {
    ($text:expr, $args:expr) => {
        muster_engine::prelude::sh(
            concat!(
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/own_api_server.sh")),
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kubectl.sh")),
                $text
            ),
            $args,
        )
    };
}
pub(crate) use kubectl;

/// A control plane that was found healthy in this run, for a host that wants something of the cluster. Whichever it is, what
/// is done there is told and counted as what that host does.
pub(crate) struct Kubectl<'h> {
    plane: Arc<Host>,
    asker: &'h Host,
}

/// What a run knows of its control planes.
#[derive(Default)]
struct Known {
    /// The names of those that were found healthy and have answered since.
    healthy: BTreeSet<String>,
    /// Those that nobody asks, because they are about to leave.
    leaving: BTreeSet<String>,
}

type Found = Mutex<Known>;

impl<'h> Kubectl<'h> {
    /// A healthy control plane: the host itself, another one that was found earlier in this run or is part of it, or one outside
    /// of it. `None` in check mode, where no cluster may have begun yet.
    ///
    /// # Errors
    /// None answers: which were asked, and what each said.
    pub(crate) async fn find(host: &'h Host) -> Result<Option<Self>> {
        let found = found(host).await?;
        let mut found = found.lock().await;
        let itself = found.healthy.get(host.name());
        if let Some(name) = itself.or(found.healthy.first()) {
            return Ok(Some(Self { plane: host.cluster().host(name)?, asker: host }));
        }
        match healthy(host, &found.leaving).await {
            Ok(plane) => {
                found.healthy.insert(plane.name().to_owned());
                Ok(Some(Self { plane, asker: host }))
            }
            Err(_) if host.check_mode() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// From now on nothing is asked of some control planes in this run: what takes them away must not need them.
    pub(crate) async fn ask_no_more(host: &Host, leaving: &[String]) -> Result<()> {
        let found = found(host).await?;
        let mut found = found.lock().await;
        found.healthy.retain(|name| !leaving.contains(name));
        found.leaving.extend(leaving.iter().cloned());
        Ok(())
    }

    /// The machine.
    pub(crate) fn plane(&self) -> &Host {
        &self.plane
    }

    /// The host that wants something of the cluster.
    pub(crate) fn asker(&self) -> &Host {
        self.asker
    }

    /// Begins a step there.
    pub(crate) fn step(&self, name: &str) -> Step<'_> {
        self.plane.step(name).on_behalf_of(self.asker)
    }

    /// What a snippet prints that only looks; also in check mode.
    pub(crate) async fn query(&self, what: &str, script: Script) -> Result<String> {
        match self.plane.query(script).await {
            Ok(answer) if answer.status == 0 => Ok(answer.output),
            Ok(answer) => Err(self.failed(what, answer.status, &answer.output).await),
            Err(failure) => Err(self.lost(failure).await),
        }
    }

    /// Changes something in the cluster, under the lock of the control plane, and returns what was printed. Not to be called
    /// in check mode.
    pub(crate) async fn run(&self, what: &str, script: Script) -> Result<String> {
        self.run_within(what, script, LIMIT).await
    }

    /// The same where it may take longer.
    pub(crate) async fn run_within(&self, what: &str, script: Script, limit: Duration) -> Result<String> {
        match self.plane.run_on_behalf_of(self.asker, what, script, limit).await {
            Err(Failure::Change { status, tail, .. }) => Err(self.failed(what, status, &tail).await),
            Err(failure) => Err(self.lost(failure).await),
            output => output,
        }
    }

    /// Changes something in the cluster again and again, until it is done, as [`Host::insist_on_behalf_of`] does.
    pub(crate) async fn insist(
        &self,
        what: &str,
        script: &Script,
        limit: Duration,
        told: impl Fn(&str) -> String,
    ) -> Result<String> {
        match self.plane.insist_on_behalf_of(self.asker, what, script, limit, told).await {
            Err(failure) => Err(self.lost(failure).await),
            done => done,
        }
    }

    /// Waits until a snippet that only looks succeeds, as [`Host::wait`] does, and returns what it printed.
    pub(crate) async fn wait(&self, wait: Wait) -> Result<String> {
        self.wait_until(wait, &|answer| answer).await
    }

    /// The same, where an answer counts as what `judge` makes of it.
    pub(crate) async fn wait_until(
        &self,
        wait: Wait,
        judge: &(dyn Fn(Answer) -> Answer + Sync),
    ) -> Result<String> {
        match self.plane.wait_judged(self.asker, wait, judge).await {
            Ok(answer) => Ok(answer.output),
            Err(failure) => Err(self.lost(failure).await),
        }
    }

    /// What kubectl said, in words that say what to do. A control plane whose API server stays away is asked no more.
    async fn failed(&self, what: &str, status: i32, said: &str) -> Failure {
        let fault = Fault::of(status, said);
        if matches!(fault, Fault::Away) {
            self.forget().await;
        }
        let (message, remedy) = fault.in_words(self.plane.name(), status);
        Failure::Other {
            message: format!("{what}: {message}"),
            remedy: remedy.into(),
            tail: said.trim_end().to_owned(),
        }
    }

    /// A failure of the way to the machine: another control plane is asked next time.
    async fn lost(&self, failure: Failure) -> Failure {
        if matches!(failure, Failure::Transport(_)) {
            self.forget().await;
        }
        failure
    }

    async fn forget(&self) {
        if let Ok(found) = found(&self.plane).await {
            found.lock().await.healthy.remove(self.plane.name());
        }
    }
}

/// Why kubectl failed, as far as it tells what to do.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The API server was away, for longer than a restart takes.
    Away,
    /// There is no kubectl.
    NotInstalled,
    /// The cluster does not accept who asks.
    NotAccepted,
    /// What was asked for is wrong, or is not there.
    Other,
}

impl Fault {
    fn of(status: i32, said: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if status == 127 {
            Self::NotInstalled
        } else if has(&["(Forbidden)", "(Unauthorized)", "x509: ", "must be logged in"]) {
            Self::NotAccepted
        } else if has(&[
            "was refused",
            "Unable to connect to the server",
            "(ServiceUnavailable)",
            "etcdserver: ",
        ]) {
            Self::Away
        } else {
            Self::Other
        }
    }

    /// What is wrong on this control plane, and what to do.
    fn in_words(&self, plane: &str, status: i32) -> (String, String) {
        match self {
            Self::Away => (
                format!("the API server of {plane} does not answer"),
                format!(
                    "start what was stopped: setup-cluster; if it fails itself, look on {plane}: journalctl -u kubelet, \
                         /var/log/pods/kube-system_kube-apiserver-*"
                ),
            ),
            Self::NotInstalled => {
                (format!("there is no kubectl on {plane}"), "install it: setup-cluster --tags kubelet".into())
            }
            Self::NotAccepted => (
                format!("the cluster does not accept {ADMIN_CONF} of {plane}"),
                "see whether it is still good: muster certs check; renew it: muster certs renew".into(),
            ),
            Self::Other => (format!("kubectl on {plane} ended with status {status}"), String::new()),
        }
    }
}

/// Waits on a control plane until its API server is ready to serve. What wants kubectl later in the run asks there.
pub(crate) async fn api_answers(host: &Host, limit: Duration) -> Result<()> {
    let ready = sh(
        concat!(
            include_str!("own_api_server.sh"),
            r#"
set -- --kubeconfig "$1" --request-timeout=5s
[ -z "$server" ] || set -- "$@" --server="$server"
kubectl "$@" get --raw /readyz || {
  echo 'setup-cluster starts what was stopped; if it fails itself: journalctl -u kubelet, /var/log/pods/kube-system_kube-apiserver-*' >&2
  exit 1
}"#
        ),
        [ADMIN_CONF],
    );
    let wait = Wait::new("the API server answers", ready, Duration::from_millis(500), limit);
    diagnosis::wait_on_machine(host, "containerd kubelet", wait).await?;
    if !host.check_mode() {
        found(host).await?.lock().await.healthy.insert(host.name().to_owned());
    }
    Ok(())
}

/// Waits until one of the control planes has reached something, whichever is the first. Those that are no part of the run have
/// reached it in an earlier one.
///
/// # Errors
/// All of the run failed before; what the last of them failed at is told.
pub(crate) async fn needs_a_control_plane(host: &Host, what: &str) -> Result<()> {
    let mut planes = host.cluster().group("kube_control_plane");
    if planes.iter().any(|name| host.cluster().in_run(name)) {
        planes.retain(|name| host.cluster().in_run(name));
    }
    let mut waits: FuturesUnordered<_> = planes.iter().map(|name| host.needs(name, what)).collect();
    let mut outcome = Ok(());
    while let Some(reached) = waits.next().await {
        outcome = reached;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn found(host: &Host) -> Result<Arc<Found>> {
    host.cluster().once("healthy control planes", || async { Ok(Found::default()) }).await
}

/// A control plane whose API server is ready. Each is asked once, the nearest first; when none is ready, all get the time that a
/// restart takes.
async fn healthy(host: &Host, leaving: &BTreeSet<String>) -> Result<Arc<Host>> {
    let mut planes = host.cluster().group("kube_control_plane");
    planes.retain(|name| !leaving.contains(name));
    if planes.is_empty() {
        return Err(Failure::new(
            "the inventory has no host in kube_control_plane",
            "put at least one host into that group",
        ));
    }
    let (itself, others): (Vec<_>, Vec<_>) = planes.iter().cloned().partition(|name| name == host.name());
    let (inside, outside): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|name| host.cluster().in_run(name));
    let at_once = Duration::ZERO;
    let mut rounds = vec![(itself, at_once), (inside, at_once), (outside, at_once)];
    if !host.check_mode() {
        rounds.push((planes, RESTART));
    }
    let mut said = BTreeMap::new();
    for (planes, patience) in rounds {
        let mut asked: FuturesUnordered<_> =
            planes.into_iter().map(|name| ask(host, name, patience)).collect();
        while let Some((name, answer)) = asked.next().await {
            match answer {
                Ok(plane) => return Ok(plane),
                Err(why) => said.insert(name, why),
            };
        }
    }
    Err(Failure::Other {
        message: format!("no control plane answers, of {}", said.keys().cloned().collect::<Vec<_>>().join(", ")),
        remedy: "begin the cluster or start what was stopped: setup-cluster; if it fails itself, look at a control plane: \
                 journalctl -u kubelet, /var/log/pods/kube-system_kube-apiserver-*"
            .into(),
        tail: said.iter().map(|(name, why)| format!("{name}: {why}\n")).collect(),
    })
}

/// Asks a control plane whether its API server is ready, for so long; else why it cannot be worked with.
async fn ask(host: &Host, name: String, patience: Duration) -> (String, Result<Arc<Host>, String>) {
    let ready = sh(
        concat!(
            include_str!("own_api_server.sh"),
            r#"
[ -e "$1" ] || { echo 'it is no control plane yet'; exit 1; }
end=$(($(date +%s) + $2))
set -- --kubeconfig "$1" --request-timeout=5s
[ -z "$server" ] || set -- "$@" --server="$server"
until said=$(kubectl "$@" get --raw /readyz 2>&1); do
  [ "$(date +%s)" -lt "$end" ] || { printf '%s\n' "$said"; exit 1; }
  sleep 1
done"#
        ),
        [ADMIN_CONF.to_owned(), patience.as_secs().to_string()],
    );
    let asked = async {
        let plane = host.cluster().host(&name)?;
        let answer = plane.query(ready).await?;
        Ok((plane, answer))
    };
    let outcome = asked.await.map_err(|failure: Failure| failure.to_string()).and_then(|(plane, answer)| {
        if answer.status == 0 { Ok(plane) } else { Err(answer.output.trim_end().to_owned()) }
    });
    (name, outcome)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// What a program says whose kubectl answers with these lines of sh, one a call; its status, and how often it was called.
    fn called(program: &str, answers: &[&str]) -> Vec<(i32, String, String, usize)> {
        let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
        let run = |shell: &&[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().display();
            for (number, answer) in answers.iter().enumerate() {
                fs::write(folder.path().join(number.to_string()), answer).unwrap();
            }
            fs::write(folder.path().join("calls"), "").unwrap();
            let fake =
                format!("#!/bin/sh\nn=$(wc -l <{path}/calls)\necho \"$*\" >>{path}/calls\n. {path}/$((n))\n");
            // Nobody waits in a test.
            for (name, text) in [("kubectl", fake.as_str()), ("sleep", "#!/bin/sh\n")] {
                fs::write(folder.path().join(name), text).unwrap();
                fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let text = format!("set -eu\n{}{program}", include_str!("kubectl.sh"));
            let shell_path = format!("{path}:{}", std::env::var("PATH").unwrap());
            let mut command = Command::new(shell[0]);
            let out = command.args(&shell[1..]).args(["-c", &text]).env("PATH", shell_path).output().ok()?;
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
            assert!(calls.lines().all(|call| {
                call.starts_with("--kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s ")
            }));
            Some((out.status.code().unwrap(), text(out.stdout), text(out.stderr), calls.lines().count()))
        };
        shells.iter().filter_map(run).collect()
    }

    #[test]
    fn an_api_server_that_restarts_is_waited_for_with_what_came_through_the_pipe() {
        let refused = "echo 'The connection to the server 192.0.2.1:6443 was refused - did you specify ...' >&2; exit 1";
        let leader = "echo 'Error from server: etcdserver: leader changed' >&2; exit 1";
        let answers = [refused, leader, "cat; echo 'Warning: old' >&2"];
        for (status, out, err, calls) in called("printf 'a\\nb' | kubectl apply -f - ; echo on", &answers) {
            assert_eq!((status, out.as_str(), calls), (0, "a\nb\non\n", 3), "{err}");
            assert!(
                err.contains("refused") && err.contains("leader changed") && err.ends_with("Warning: old\n")
            );
        }
    }

    #[test]
    fn what_kubectl_says_to_what_is_wrong_is_final() {
        for said in [
            "Error from server (Forbidden): nodes is forbidden",
            "Error from server (NotFound): nodes \"x\" not found",
            "Internal error occurred: failed calling webhook \"a\": dial tcp: connect: connection refused",
        ] {
            let answer = format!("echo '{said}' >&2; exit 1");
            for (status, out, err, calls) in called("kubectl get nodes x; echo on", &[&answer]) {
                assert_eq!((status, out.as_str(), calls), (1, "", 1));
                assert_eq!(err, format!("{said}\n"));
            }
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        for (status, said, fault) in [
            (127, "sh: kubectl: not found", Fault::NotInstalled),
            (1, "error: You must be logged in to the server (Unauthorized)", Fault::NotAccepted),
            (1, "Unable to connect to the server: net/http: TLS handshake timeout", Fault::Away),
            (1, "Error from server (NotFound): nodes \"x\" not found", Fault::Other),
        ] {
            assert_eq!(Fault::of(status, said), fault);
        }
    }
}
