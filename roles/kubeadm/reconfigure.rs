//! A control plane that stands takes over what has changed in its configuration.

use muster_engine::prelude::*;

use super::config::{self, Config};
use super::growth::Growth;
use crate::balancer;
use crate::cluster::Standing;
use crate::kubectl::{ADMIN_CONF, api_answers, kubectl};

/// The control plane runs with its configuration. The one that leads gives it to the cluster then: what does not run is given to
/// nobody, and an API server that is down is mended before it is told anything. In a cluster that grows it comes first; others join
/// then, before the API server restarts.
pub(super) async fn run(host: &Host, known: &Standing, growth: Option<&Growth>) -> Result<()> {
    let leads = known.leader() == Some(host.name());
    if leads {
        balancer::all_have_a_way(host, known).await?;
    }
    let told = config::write(host, known).await?;
    if let Some(growth) = growth.filter(|_| leads) {
        let publish = command("configuration of the cluster", tell(), knows(&told));
        host.step("Give the cluster its configuration").detached().ensure(publish).await?;
        growth.others_are_asked(host, known).await?;
    }
    let is_to_be_told = leads && growth.is_none();
    let changed = applied(host, &told, is_to_be_told).await?;
    if leads {
        // One that somebody stopped is started before the API is waited for.
        let publish = command("configuration of the cluster", told_and_noted(&told), knows(&told));
        host.step("Start the kubelet")
            .detached()
            .ensure(service("kubelet"))
            .ensure_all(is_to_be_told.then_some(publish))
            .await?;
        api_answers(host, Duration::from_secs(180)).await?;
    }
    if changed && !host.check_mode() {
        is_steady(host).await?;
    }
    Ok(())
}

/// This machine's own control plane runs with its configuration; says whether that was another one. Where the cluster has to be told
/// of it, that is noted as not done.
pub(super) async fn applied(host: &Host, told: &Config, is_to_be_told: bool) -> Result<bool> {
    let step = host.step("Reconfigure the control plane").detached().ensure(here(told, is_to_be_told));
    Ok(step.await.map_err(reverted)?.changed)
}

/// What to do where a program did not run with its new configuration (`come_up.sh`).
pub(super) fn reverted(failure: Failure) -> Failure {
    match failure {
        Failure::Change { tail, .. } if tail.contains(REVERTED) => {
            let line = tail.lines().find(|line| line.contains(REVERTED)).unwrap_or_default();
            let (said, why) = line.split_once(": ").unwrap_or((line, ""));
            Failure::Other {
                message: format!("{said}: {why}"),
                remedy: "correct the variable that this is about, and run again; until then the control plane has what it had before".into(),
                tail: String::new(),
            }
        }
        other => other,
    }
}

/// How `come_up.sh` and `change_kubelet.sh` say that they have put back what was there.
pub(super) const REVERTED: &str = "does not run with its new configuration, and has the one before again";

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

/// A snippet that knows the functions of `publish.sh`.
macro_rules! publishing {
    ($text:expr, $args:expr) => {
        kubectl!(
            concat!(
                include_str!("local-admin.sh"),
                include_str!("../cluster_info.sh"),
                include_str!("publish.sh"),
                $text
            ),
            $args
        )
    };
}

/// The cluster is told the configuration that this machine has.
pub(super) fn tell() -> Script {
    publishing!(r#"publish "$1""#, [config::CONFIG])
}

/// The cluster is told that this control plane has gone to another version; the whole configuration by the one that leads.
pub(super) fn tell_version(version: &str, node: &str, leads: bool) -> Script {
    let leads = if leads { "leads" } else { "" };
    publishing!(include_str!("publish_version.sh"), [config::CONFIG, version, node, leads])
}

/// The cluster is told its configuration by a control plane that runs with it, as soon as its API server answers; and that it was done.
fn told_and_noted(told: &Config) -> Script {
    publishing!(
        r#"for _ in $(seq 180); do
  ! command kubectl --kubeconfig "$config" --request-timeout=5s get --raw /readyz || break
  sleep 1
done
publish "$1"
echo "$3" >"$2""#,
        [config::CONFIG, config::APPLIED, &told.hash]
    )
}

/// Gives the cluster the configuration that this control plane runs with, whatever it has. Skipped in check mode.
pub(crate) async fn publish(host: &Host) -> Result<()> {
    let what = "Give the cluster its configuration";
    if host.check_mode() {
        host.not_yet(what);
        return Ok(());
    }
    host.run(what, tell(), Duration::from_secs(180)).await.map(drop)
}

/// What this machine's own control plane runs with.
fn here(told: &Config, is_to_be_told: bool) -> Command {
    let noted = if is_to_be_told { format!("{} {UNTOLD}", told.hash) } else { told.hash.clone() };
    let run = sh(
        concat!(
            include_str!("../own_api_server.sh"),
            include_str!("static-pods.sh"),
            include_str!("place.sh"),
            include_str!("come_up.sh"),
            include_str!("same_pods.sh"),
            include_str!("new_certificate.sh"),
            include_str!("reconfigure.sh")
        ),
        [config::CONFIG, config::APPLIED, &noted, &told.certificates, ADMIN_CONF, BEFORE],
    );
    let runs = sh(
        concat!(
            include_str!("static-pods.sh"),
            r#"has=$(cat "$1")
{ [ "$has" = "$2" ] || [ "$has" = "$3" ]; } && static_pods_are_as_remembered "${1%/*}" &&
  [ -s "$4/apiserver.key" ] && [ -s "$4/apiserver.crt" ]"#
        ),
        [config::APPLIED, &told.hash, &format!("{} {UNTOLD}", told.hash), &told.certificates],
    );
    command("control plane", run, runs)
}

/// Stands behind the hash of a configuration with which the control plane runs, and which the cluster has not been told yet.
const UNTOLD: &str = "untold";

/// What a change has left that was cut off with its machine: an API server that does not run with its new configuration could not
/// be given another one.
pub(super) fn nothing_half_done(certificates: &str) -> Command {
    command(
        "what was there before a change that was cut off",
        sh(
            concat!(include_str!("place.sh"), include_str!("come_up.sh"), include_str!("put_back.sh")),
            [config::APPLIED, BEFORE, certificates],
        ),
        sh(r#"[ ! -e "$1/complete" ]"#, [BEFORE]),
    )
}

/// Where the manifests and the certificate of before are while a control plane changes.
pub(super) const BEFORE: &str = "/var/lib/muster/manifests-before";

/// Whether this control plane has told the cluster the configuration with which it runs.
fn knows(told: &Config) -> Script {
    sh(r#"[ "$(cat "$1")" = "$2" ]"#, [config::APPLIED, &told.hash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_put_back_says_why() {
        assert!(include_str!("come_up.sh").contains(REVERTED));
        let tail = format!("[patches] Applied\nkube-apiserver {REVERTED}: Error: invalid argument \"x\"\n");
        let failure = Failure::Change { resource: "control plane".into(), status: 1, tail };
        let told = reverted(failure).to_string();
        assert!(
            told.starts_with("kube-apiserver does not run") && told.contains("invalid argument"),
            "{told}"
        );
    }

    /// The power goes between the new key and its certificate.
    #[test]
    fn a_key_without_its_certificate_is_taken_back() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name).display().to_string();
            let is = |text: &str| {
                ["apiserver.key", "apiserver.crt"].map(|name| {
                    std::fs::read_to_string(at(&format!("ssl/{name}"))).unwrap() == format!("{text}\n")
                })
            };
            std::fs::create_dir(at("ssl")).unwrap();
            for name in ["ssl/apiserver.key", "ssl/apiserver.crt", "config.yaml", "settled", "admin.conf"] {
                std::fs::write(at(name), "old\n").unwrap();
            }
            let run = |power: &str, program: &str| {
                let kubeadm =
                    r#"kubeadm() { for name in key crt; do echo new >"$aside/apiserver.$name"; done; }"#;
                let known = concat!(include_str!("place.sh"), include_str!("come_up.sh"));
                let program = format!("{kubeadm}\n{power}\n{known}{program}");
                let program = program
                    .replace("/etc/kubernetes/admin.conf", &at("admin.conf"))
                    .replace("/etc/kubernetes/manifests", &at("manifests"));
                let mut command = std::process::Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &program, "sh"]);
                command.args(["settled", "before", "ssl", "config.yaml"].map(at)).status().unwrap().success()
            };
            let change = concat!(
                include_str!("new_certificate.sh"),
                "keep_before \"$2\" \"$3\"\nnew_certificate \"$4\" \"$3\"\n"
            );
            let goes = "mv() { case $3 in */apiserver.crt) exit 9 ;; esac; command mv \"$@\"; }";
            assert!(!run(goes, change), "{shell:?}");
            assert_eq!(is("new"), [true, false], "{shell:?}");
            assert!(run("", include_str!("put_back.sh")), "{shell:?}");
            assert_eq!(is("old"), [true, true], "{shell:?}");
            assert!(run("", change), "{shell:?}");
            assert_eq!(is("new"), [true, true], "{shell:?}");
        }
    }

    /// Of the API servers of before, the one that listens to nobody any more is ended, and no other one.
    #[test]
    fn an_api_server_that_only_waits_for_watchers_is_ended() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let killed = |listens: &str, runs: &str| {
                let folder = tempfile::tempdir().unwrap();
                let at = |name: &str| folder.path().join(name).display().to_string();
                std::fs::write(at("manifest"), "    - --secure-port=6444\n").unwrap();
                std::fs::write(at("tcp"), listens).unwrap();
                let fakes = format!(
                    r#"sleep() {{ :; }}
ctr() {{ case $* in
  *'containers ls'*) printf 'new\nformer\n' ;;
  *'tasks ls') printf 'TASK PID STATUS\nnew 8 RUNNING\n{runs}' ;;
  *'tasks kill -s SIGKILL'*) echo "$7" ;;
esac; }}
old='former other '
"#
                );
                let program = format!("{fakes}{}end_deaf \"$1\"", include_str!("come_up.sh"));
                let program = program.replace("/proc/net/tcp /proc/net/tcp6", &at("tcp"));
                let mut command = std::process::Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &program, "sh", &at("manifest")]);
                let done = command.output().unwrap();
                assert!(done.status.success(), "{shell:?}: {done:?}");
                String::from_utf8(done.stdout).unwrap()
            };
            let listens = "   0: 00000000:192C 00000000:0000 0A 00000000:00000000\n";
            let another = "   0: 00000000:192B 00000000:0000 0A 00000000:00000000\n   1: 0100007F:192C 0200007F:9999 01 0:0\n";
            let runs = "former 7 RUNNING\\n";
            assert_eq!(killed(listens, runs), "", "{shell:?}");
            assert_eq!(killed(another, runs), "former\n", "{shell:?}");
            assert_eq!(killed(another, ""), "", "{shell:?}");
        }
    }

    /// The kubelet knows pods by their UID, and makes another one where it is of another version or where the manifest is written anew.
    #[test]
    fn pods_that_stay_as_they_are_keep_their_uid() {
        const MANIFEST: &str = "kind: Pod\nmetadata:\n  name: it\nspec:\n  containers: []\n";
        const WITH_UID: &str =
            "kind: Pod\nmetadata:\n  uid: \"00ab12\"\n  name: it\nspec:\n  containers: []\n";
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name).display().to_string();
            for name in ["manifests", "stamps", "before"] {
                std::fs::create_dir(at(name)).unwrap();
            }
            let manifest = at("manifests/kube-apiserver.yaml");
            let write = |text: &str| std::fs::write(&manifest, text).unwrap();
            let is = |text: &str| assert_eq!(std::fs::read_to_string(&manifest).unwrap(), text, "{shell:?}");
            let run = |made: &str, words: &str| {
                let ctr = r#"ctr() { case $* in
  *'containers ls'*kube-apiserver*) echo id ;;
  *'tasks ls') printf 'TASK PID STATUS\nid 7 RUNNING\n' ;;
  *'containers info id') printf '        "io.kubernetes.pod.uid": "00ab12",\n    "CreatedAt": "%s",\n' "$made" ;;
esac; }"#;
                let known = concat!(
                    include_str!("static-pods.sh"),
                    include_str!("place.sh"),
                    include_str!("come_up.sh"),
                    include_str!("same_pods.sh")
                );
                let program = format!("{ctr}\n{known}{words}");
                let program = program.replace("/etc/kubernetes/manifests", &at("manifests"));
                let mut command = std::process::Command::new(shell[0]);
                command
                    .args(&shell[1..])
                    .args(["-euc", &program, "sh"])
                    .args(["stamps", "before"].map(at))
                    .arg(&manifest);
                assert!(command.env("made", made).status().unwrap().success(), "{shell:?} {words}");
            };
            const OUTLIVES: &str = "pods_outlive_kubelet \"$1\"; static_pods_are_as_remembered \"$1\"";
            write(MANIFEST);
            run("", "remember_static_pods \"$1\"");
            // The pod is from before the manifest.
            run("2001-02-03T04:05:06.789Z", OUTLIVES);
            is(MANIFEST);
            run("2999-02-03T04:05:06.789Z", OUTLIVES);
            is(WITH_UID);
            run("2999-02-03T04:05:06.789Z", OUTLIVES);
            is(WITH_UID);

            run("", "cp -p \"$3\" \"$2\"");
            let time = || std::fs::metadata(&manifest).unwrap().modified().unwrap();
            let before = time();
            write(MANIFEST);
            run("", "pods_outlive_kubeadm \"$2\"");
            is(WITH_UID);
            assert_eq!(time(), before);
            let other = MANIFEST.replace("[]", "[{}]");
            write(&other);
            run("", "pods_outlive_kubeadm \"$2\"");
            is(&other);
        }
    }
}
