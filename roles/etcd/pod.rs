//! A member as a static pod: `etcd_deployment_type: kubeadm`.
//!
//! The unit of etcd stays what starts, stops and tells of a member. Its program (`pod.sh`) hands etcd over to the kubelet where there is
//! one. A member that begins before its machine is a node is a process first, and restarts once as a pod, late in the same run
//! ([`super::late_restart`]).

use muster_engine::prelude::*;

use super::leave::may_be_restarted;
use super::{Vars, is_healthy};
use crate::adoption;
use crate::common::{bin_dir, cluster_vars};
use crate::timers::quoted;

/// The program of the unit, and what removes a manifest when the machine starts, so that none begins a pod whose unit does not run
/// (tmpfiles.d(5)).
pub(super) const PROGRAM: &str = "/var/lib/muster/etcd-pod.sh";
pub(super) const AT_BOOT: &str = "/etc/tmpfiles.d/muster-etcd.conf";

/// What the kubelet runs it by; `pod.sh` writes it.
pub(super) const MANIFEST: &str = "/etc/kubernetes/manifests/etcd-member.yaml";

/// How a member is to run, and what is there of another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The unit's own process.
    Process,
    /// The same, and a pod may be there.
    ProcessAgain,
    /// The kubelet's pod.
    Pod,
}

/// Whether a member is to be a pod. One on a machine that is no node cannot be, of which is told; and one that is adopted goes over to a
/// process first, as which it is known to have stopped before the other one starts.
pub(super) fn is_wanted(host: &Host, vars: &Vars) -> bool {
    if vars.etcd_deployment_type != "kubeadm" || adoption::is_under_way(host) {
        return false;
    }
    let is_node = host.in_group("k8s_cluster");
    if !is_node {
        host.warn(format!(
            "etcd on {} runs under systemd alone, because the machine is no node: etcd_deployment_type: kubeadm makes static pods of \
             members on nodes",
            host.name()
        ));
    }
    is_node
}

/// The program of the unit, with its arguments, as systemd takes it. `memory`: how much of it the member may have, as systemd takes it.
pub(super) fn program(host: &Host, vars: &Vars, memory: Option<&str>) -> Result<String> {
    let node = cluster_vars(host)?.kube_override_hostname;
    let (bin, memory) = (bin_dir(host)?, memory.map(quantity).unwrap_or_default());
    let words = [vars.etcd_cert_dir.as_str(), &node, &bin, &vars.etcd_data_dir, &memory];
    Ok(format!("/bin/sh {PROGRAM} {}", words.map(quoted).join(" ")))
}

/// What systemd takes for memory, as Kubernetes does: to both a bare number is bytes, and systemd's `G` is 2^30.
fn quantity(memory: &str) -> String {
    if memory.ends_with(char::is_alphabetic) { format!("{memory}i") } else { memory.to_owned() }
}

/// What the unit of a pod needs beside itself.
pub(super) fn files() -> [File; 2] {
    [
        file(PROGRAM).content(concat!(include_str!("ctl.sh"), include_str!("pod.sh"))).mode(0o700),
        file(AT_BOOT).content(format!("r! {MANIFEST}\n")),
    ]
}

impl Way {
    /// The step starts the member, or starts it anew. What was a pod has stopped before: the unit that starts knows nothing of one.
    pub(super) fn start(self, step: Step<'_>, etcd: Service) -> Step<'_> {
        if self != Self::ProcessAgain {
            return step.ensure(etcd);
        }
        // systemd may have read the other unit already, or not.
        let stop = sh(
            r#"set -e
systemctl stop etcd
[ ! -e "$1" ] || sh "$1" '' '' '' '' '' end
rm -f "$2""#,
            [PROGRAM, MANIFEST],
        );
        let stopped = sh(r#"[ ! -e "$1" ] && [ ! -e "$2" ]"#, [PROGRAM, MANIFEST]);
        step.detached()
            .ensure(command("the pod of etcd stops", stop, stopped))
            .remove(file(PROGRAM))
            .remove(file(AT_BOOT))
            .ensure(etcd)
    }
}

/// Whether a member is a process that the kubelet could run.
fn is_process() -> Script {
    sh(r#"[ ! -e "$1" ] && [ -e /etc/kubernetes/kubelet.conf ]"#, [MANIFEST])
}

/// A member that has begun as a process restarts as a pod, where its machine is a node by now.
pub(super) async fn hand_over(host: &Host) -> Result<()> {
    if host.query(is_process()).await?.status != 0 {
        return Ok(());
    }
    may_be_restarted(host).await?;
    let restart = sh(
        r#"systemctl restart etcd || {
  journalctl --no-pager -n 15 -o cat -u etcd
  exit 1
}
[ -e "$1" ] || {
  echo 'the kubelet does not run etcd, which is a process still, and well; why: journalctl -u etcd -u kubelet' >&2
  exit 1
}"#,
        [MANIFEST],
    );
    host.step("Hand etcd over to the kubelet")
        .detached()
        .ensure(command("etcd is a static pod", restart, sh(r#"[ -e "$1" ]"#, [MANIFEST])))
        .await?;
    is_healthy(host).await
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Output};

    use serde_json::{Value, json};

    use super::*;

    const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

    /// A machine whose programs are functions. At each pause the kubelet does what the manifests say, where it `works`.
    const MACHINE: &str = r#"kubelet() {
  if [ -e ROOT/etc/kubernetes/manifests/etcd-member.yaml ]; then
    begun=$(sed -n 's/^  uid: "\(.*\)"$/\1/p' ROOT/etc/kubernetes/manifests/etcd-member.yaml)
    for it in '41 pause' '42 etcd'; do
      mkdir -p "ROOT/proc/${it% *}"
      echo "0::/kubepods.slice/kubepods-pod$begun.slice/cri-${it% *}.scope" >"ROOT/proc/${it% *}/cgroup"
      echo "${it#* }" >"ROOT/proc/${it% *}/comm"
    done
    log=ROOT/var/log/pods/kube-system_etcd-n1_$begun/etcd
    if [ ! -e "$log/0.log" ]; then
      mkdir -p "$log"
      echo '2026-01-01T00:00:00Z stderr F {"msg":"it \ serves"}' >"$log/0.log"
      # Clocks of files are coarse.
      touch -t 203001010000 "$log/0.log"
    fi
  else
    rm -rf ROOT/proc/41 ROOT/proc/42
  fi
}
pauses=0
sleep() {
  pauses=$((pauses + 1))
  [ "$works" != yes ] || kubelet
  # Somebody removes it.
  [ "$pauses" != 9 ] || [ "$works" != yes ] || rm -f ROOT/etc/kubernetes/manifests/etcd-member.yaml
}
systemctl() {
  case $* in
    'is-active -q kubelet') [ -n "$works" ] ;;
    *) echo "systemctl $*" >>ROOT/calls ;;
  esac
}
kill() { echo "kill $*" >>ROOT/calls; rm -rf "ROOT/proc/$3"; }
tail() { cat "$4"; }
etcdctl() { echo '[{"Status":{"leader":42}}]'; }
"#;

    fn put(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A node on which nothing of etcd runs.
    fn node() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let note = format!("#!/bin/sh\necho \"${{0##*/}} $*\" >>{}/calls\n", root.display());
        put(root, "bin/etcd", &note);
        put(root, "bin/systemd-notify", &note);
        put(root, "etc/kubernetes/kubelet.conf", "");
        put(root, "etc/containerd/config.toml", "[a]\n  sandbox = \"registry.example/pause:3\"\n");
        put(root, "etc/etcd.env", "ETCD_NAME=etcd1\nETCD_LOG_LEVEL=read by systemd\n");
        put(root, "run/other", "");
        // Of another pod, and the kubelet's own.
        put(root, "proc/7/cgroup", "0::/kubepods.slice/kubepods-pod0123.slice/cri-7.scope\n");
        put(root, "proc/8/cgroup", "0::/system.slice/kubelet.service\n");
        folder
    }

    /// Does `action` on a machine with these functions, where the kubelet works (`yes`), does nothing (`no`) or does not run (empty).
    fn act_on(machine: &str, shell: &[&str], root: &Path, works: &str, action: &str) -> Output {
        let at = root.display().to_string();
        let own = format!("{}{}", include_str!("ctl.sh"), include_str!("pod.sh"));
        let moved = |text: String, path: &&str| text.replace(path, &format!("{at}{path}"));
        let own = ["/proc/", "/run/", "/etc/", "/var/log/"].iter().fold(own, moved);
        let program = format!("{}{own}", machine.replace("ROOT", &at));
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", &program, "sh", "/ssl", "n1", &format!("{at}/bin"), "/data"]);
        command.args(["2Gi", action]).env("works", works);
        command.env("ETCD_NAME", "etcd1").env("ETCD_LOG_LEVEL", "it's $(HOME)");
        command.env("PATH", format!("{at}/bin:{}", std::env::var("PATH").unwrap())).output().unwrap()
    }

    /// The same on an ordinary machine. Returns what was written, and called.
    fn act(shell: &[&str], root: &Path, works: &str, action: &str) -> (String, String) {
        let said = act_on(MACHINE, shell, root, works, action);
        let said = [said.stdout, said.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (said, fs::read_to_string(root.join("calls")).unwrap_or_default())
    }

    #[test]
    fn a_kubelet_that_works_runs_etcd_and_the_unit_says_what_it_says() {
        for shell in SHELLS {
            let folder = node();
            let root = folder.path();
            let (said, calls) = act(shell, root, "yes", "run");
            assert_eq!(calls, "systemd-notify --ready\n", "{shell:?}: {said}");
            assert!(
                said.contains("{\"msg\":\"it \\ serves\"}\n") && said.contains("is gone, by which"),
                "{said}"
            );
            let note = fs::read_to_string(root.join("run/muster-etcd-pod")).unwrap();
            assert!(note.len() == "seen".len() + 34 && note.ends_with(" seen\n"), "{shell:?}: {note}");
        }
    }

    #[test]
    fn the_pod_is_the_machines_own_program_with_the_environment_of_the_unit() {
        for shell in SHELLS {
            let folder = node();
            let root = folder.path();
            // It ends at the first pause.
            let ended = act_on(&MACHINE.replace("pauses=$((", "exit 3 #"), shell, root, "no", "run");
            assert_eq!(ended.status.code(), Some(3), "{shell:?}: {ended:?}");
            let pod = fs::read_to_string(root.join(&MANIFEST[1..])).unwrap();
            let pod: Value = serde_saphyr::from_str(&pod).unwrap();
            let etcd = &pod["spec"]["containers"][0];
            assert_eq!(etcd["image"], "registry.example/pause:3");
            let env = etcd["env"].as_array().unwrap();
            for one in [
                json!({ "name": "ETCD_NAME", "value": "etcd1" }),
                json!({ "name": "ETCD_LOG_LEVEL", "value": "it's $$(HOME)" }),
                json!({ "name": "ETCDCTL_CERT", "value": "/ssl/member.pem" }),
            ] {
                assert!(env.contains(&one), "{shell:?}: {env:?}");
            }
            assert_eq!(etcd["resources"]["limits"]["memory"], "2Gi");
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let program =
                json!({ "name": "etcd", "hostPath": { "path": root.join("bin/etcd"), "type": "File" } });
            assert!(volumes.contains(&program) && volumes.len() == 5, "{volumes:?}");
        }
    }

    #[test]
    fn etcd_is_a_process_where_no_kubelet_runs_it() {
        for shell in SHELLS {
            let folder = node();
            let root = folder.path();
            let (said, calls) = act(shell, root, "", "run");
            assert_eq!(calls, "etcd \n", "{shell:?}: {said}");
            // One that does not do it is made to forget it, before the process starts.
            fs::remove_file(root.join("calls")).unwrap();
            let (said, calls) = act(shell, root, "no", "run");
            assert_eq!(calls, "systemctl kill -s KILL kubelet\netcd \n", "{shell:?}: {said}");
            assert!(!root.join(&MANIFEST[1..]).exists() && !root.join("run/muster-etcd-pod").exists());
            // The machine is no node yet.
            fs::remove_file(root.join("calls")).unwrap();
            fs::remove_file(root.join("etc/kubernetes/kubelet.conf")).unwrap();
            let (said, calls) = act(shell, root, "yes", "run");
            assert_eq!(calls, "etcd \n", "{shell:?}: {said}");
        }
    }

    #[test]
    fn the_pod_has_ended_when_the_unit_has() {
        let uid = "0123456789abcdef0123456789abcdef";
        for shell in SHELLS {
            for (works, seen, expected) in [
                ("yes", " seen", ""),
                ("", " seen", "kill -s TERM 41\nkill -s TERM 42\n"),
                ("no", " seen", "systemctl kill -s KILL kubelet\nkill -s TERM 41\nkill -s TERM 42\n"),
                // It was about to begin.
                ("yes", "", "systemctl kill -s KILL kubelet\n"),
            ] {
                let folder = node();
                let root = folder.path();
                for (process, name) in [(41, "pause"), (42, "etcd")] {
                    put(
                        root,
                        &format!("proc/{process}/cgroup"),
                        &format!("0::/kubepods-pod{uid}.slice/{process}\n"),
                    );
                    put(root, &format!("proc/{process}/comm"), &format!("{name}\n"));
                }
                put(root, "run/muster-etcd-pod", &format!("{uid}{seen}\n"));
                put(root, &MANIFEST[1..], &format!("  uid: \"{uid}\"\n"));
                let (said, calls) = act(shell, root, works, "end");
                assert_eq!((calls.as_str(), said.as_str()), (expected, ""), "{shell:?}: {works:?} {seen:?}");
                let left =
                    [&MANIFEST[1..], "run/muster-etcd-pod", "proc/42"].map(|path| root.join(path).exists());
                assert_eq!(left, [false; 3], "{shell:?}: {works:?} {seen:?}");
                assert!(root.join("proc/7").exists() && root.join("proc/8").exists(), "those of others");
            }
            // A member that is a process.
            let folder = node();
            assert_eq!(act(shell, folder.path(), "yes", "end"), (String::new(), String::new()));
        }
    }

    #[test]
    fn memory_is_as_much_to_kubernetes_as_to_systemd() {
        assert_eq!(["2G", "512M", "1048576"].map(quantity), ["2Gi", "512Mi", "1048576"]);
    }
}
