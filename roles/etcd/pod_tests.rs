use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::*;

pub(in crate::etcd) const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// A machine whose programs are functions. At each pause time goes on, and the kubelet does what the manifests say, where it `works`:
/// if `crash`, etcd ends there at once.
const MACHINE: &str = r#"kubelet() {
  if [ -e ROOT/etc/kubernetes/manifests/etcd-member.yaml ]; then
    begun=$(sed -n 's/^  uid: "\(.*\)"$/\1/p' ROOT/etc/kubernetes/manifests/etcd-member.yaml)
    [ "$works" = yes ] && its='41 pause,42 etcd' || its='41 pause'
    IFS=,
    for it in $its; do
      mkdir -p "ROOT/proc/${it% *}"
      echo "0::/kubepods.slice/kubepods-pod$begun.slice/cri-${it% *}.scope" >"ROOT/proc/${it% *}/cgroup"
      echo "${it#* }" >"ROOT/proc/${it% *}/comm"
    done
    unset IFS
    log=ROOT/var/log/pods/kube-system_etcd-n1_$begun/etcd
    if [ ! -e "$log/0.log" ]; then
      mkdir -p "$log"
      echo '2026-01-01T00:00:00Z stderr F {"msg":"it \ serves"}' >"$log/0.log"
      # Clocks of files are coarse.
      touch -t 203001010000 "$log/0.log"
    elif [ "$works" = crash ] && [ ! -e "$log/1.log" ]; then
      echo '2026-01-01T00:00:01Z stderr F no such file' >"$log/1.log"
      touch -t 203001010001 "$log/1.log"
    fi
  else
    rm -rf ROOT/proc/41 ROOT/proc/42
  fi
}
pauses=0
sleep() {
  pauses=$((pauses + 1))
  echo "$((pauses * ${pace-2})).50 0" >ROOT/proc/uptime
  case $works in yes | crash) (kubelet) ;; esac
  # Somebody removes it.
  [ "$pauses" != "${removed-9}" ] || [ "$works" != yes ] || rm -f ROOT/etc/kubernetes/manifests/etcd-member.yaml
}
systemctl() {
  case $* in
    'is-active -q kubelet') [ -n "$works" ] ;;
    *) echo "systemctl $*" >>ROOT/calls ;;
  esac
}
kill() {
  [ -z "${stays-}" ] || return 0
  echo "kill $*" >>ROOT/calls
  rm -rf "ROOT/proc/$3"
}
etcdctl() { echo "[{\"Status\":{\"leader\":${leader-42}}}]"; }
"#;
const FORGET: &str = "systemctl kill --kill-who=main -s KILL kubelet\n";

pub(in crate::etcd) fn put(root: &Path, path: &str, text: &str) {
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
    let sandbox = "[a]\n  sandbox = \"registry.example/pause:3\"\n";
    put(root, "etc/containerd/config.toml", &format!("{sandbox}{}", sandbox.replace('3', "4")));
    put(root, "etc/etcd.env", "ETCD_NAME=etcd1\nETCD_LOG_LEVEL=read by systemd\n");
    put(root, "run/other", "");
    put(root, "proc/uptime", "0.25 0\n");
    // Of another pod, and the kubelet's own.
    put(root, "proc/7/cgroup", "0::/kubepods.slice/kubepods-pod0123.slice/cri-7.scope\n");
    put(root, "proc/8/cgroup", "0::/system.slice/kubelet.service\n");
    folder
}

const UID: &str = "0123456789abcdef0123456789abcdef";

/// The same with a pod.
fn node_with_pod(note: &str) -> tempfile::TempDir {
    let folder = node();
    let root = folder.path();
    for (process, name) in [(41, "pause"), (42, "etcd")] {
        let cgroup = format!("0::/kubepods-pod{UID}.slice/{process}\n");
        put(root, &format!("proc/{process}/cgroup"), &cgroup);
        put(root, &format!("proc/{process}/comm"), &format!("{name}\n"));
    }
    put(root, &NOTE[1..], note);
    put(root, &MANIFEST[1..], &format!("  uid: \"{UID}\"\n"));
    folder
}

/// How many seconds the machine has run.
fn clock(root: &Path) -> u32 {
    fs::read_to_string(root.join("proc/uptime")).unwrap().split('.').next().unwrap().parse().unwrap()
}

/// A program with the paths of a machine.
fn moved(program: &str, root: &Path) -> String {
    let at = root.display();
    let moved = |text: String, path: &&str| text.replace(path, &format!("{at}{path}"));
    ["/proc/", "/run/", "/etc/", "/var/log/"].iter().fold(program.to_owned(), moved)
}

/// Does `action` on a machine with these functions, where the kubelet works (`yes`), does nothing (`no`) or does not run (empty).
fn act_on(machine: &str, shell: &[&str], root: &Path, variables: &[(&str, &str)], action: &str) -> Output {
    let at = root.display().to_string();
    let own = moved(concat!(include_str!("ctl.sh"), include_str!("pod.sh")), root);
    let program = format!("{}{own}", machine.replace("ROOT", &at));
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", &program, "sh"]);
    match action {
        "run" => command.args(["/ssl", "n1", &format!("{at}/bin"), "/data", "1M"]),
        _ => command.arg(action),
    };
    command.envs(variables.iter().copied());
    command.env("ETCD_NAME", "etcd1").env("ETCD_LOG_LEVEL", "it's $(HOME)");
    command.env("PATH", format!("{at}/bin:{}", std::env::var("PATH").unwrap())).output().unwrap()
}

/// The same on an ordinary machine. Returns what was written, and called.
fn act_with(shell: &[&str], root: &Path, variables: &[(&str, &str)], action: &str) -> (String, String) {
    let said = act_on(MACHINE, shell, root, variables, action);
    let said = [said.stdout, said.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (said, fs::read_to_string(root.join("calls")).unwrap_or_default())
}

fn act(shell: &[&str], root: &Path, works: &str, action: &str) -> (String, String) {
    act_with(shell, root, &[("works", works)], action)
}

#[test]
fn a_kubelet_that_works_runs_etcd_and_the_unit_says_what_it_says() {
    for shell in SHELLS {
        let folder = node();
        let root = folder.path();
        let (said, calls) = act(shell, root, "yes", "run");
        assert_eq!(calls, "systemd-notify --ready\n", "{shell:?}: {said}");
        assert_eq!(said.matches("{\"msg\":\"it \\ serves\"}\n").count(), 1, "{shell:?}: {said}");
        assert!(said.contains("is gone, by which"), "{said}");
        let note = fs::read_to_string(root.join(&NOTE[1..])).unwrap();
        assert!(note.len() == "served".len() + 34 && note.ends_with(" served\n"), "{shell:?}: {note}");
    }
}

#[test]
fn the_pod_is_the_machines_own_program_with_the_environment_of_the_unit() {
    for shell in SHELLS {
        let folder = node();
        let root = folder.path();
        // It ends at the first pause.
        let machine = MACHINE.replace("pauses=$((", "exit 3 #");
        let ended = act_on(&machine, shell, root, &[("works", "no")], "run");
        assert_eq!(ended.status.code(), Some(3), "{shell:?}: {ended:?}");
        let pod = fs::read_to_string(root.join(&MANIFEST[1..])).unwrap();
        let pod: Value = serde_saphyr::from_str(&pod).unwrap();
        let etcd = &pod["spec"]["containers"][0];
        assert_eq!(etcd["image"], "registry.example/pause:3");
        // etcdctl would not take flags of its users beside variables.
        let env = json!([
            { "name": "PATH", "value": "/usr/local/bin" },
            { "name": "ETCD_LOG_LEVEL", "value": "it's $$(HOME)" },
            { "name": "ETCD_NAME", "value": "etcd1" },
        ]);
        assert_eq!(etcd["env"], env, "{shell:?}");
        assert_eq!(etcd["readinessProbe"]["exec"]["command"][3], "--cert=/ssl/member.pem");
        // The API takes no request above the limit.
        let resources = json!({ "requests": { "cpu": "100m", "memory": 0 }, "limits": { "memory": "1M" } });
        assert_eq!(etcd["resources"], resources);
        // The data is root's, and images of sandboxes have another user.
        assert_eq!(etcd["securityContext"]["runAsUser"], 0);
        assert_eq!(etcd["securityContext"]["runAsNonRoot"], false);
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
        assert_eq!(calls, format!("{FORGET}etcd \n"), "{shell:?}: {said}");
        assert!(!root.join(&MANIFEST[1..]).exists() && !root.join(&NOTE[1..]).exists());
        // The machine is no node yet.
        fs::remove_file(root.join("calls")).unwrap();
        fs::remove_file(root.join(&FAILED[1..])).unwrap();
        fs::remove_file(root.join("etc/kubernetes/kubelet.conf")).unwrap();
        let (said, calls) = act(shell, root, "yes", "run");
        assert_eq!(calls, "etcd \n", "{shell:?}: {said}");
        // The disk of the note is full.
        let folder = node();
        fs::create_dir(folder.path().join("run/muster-etcd-pod.new")).unwrap();
        let (said, calls) = act(shell, folder.path(), "yes", "run");
        assert_eq!(calls, "etcd \n", "{shell:?}: {said}");
        assert!(!folder.path().join(&MANIFEST[1..]).exists());
    }
}

#[test]
fn etcd_that_ends_in_the_pod_before_it_serves_is_a_process_soon_and_says_why() {
    for shell in SHELLS {
        let folder = node();
        let root = folder.path();
        let (said, calls) = act(shell, root, "crash", "run");
        // The kubelet ends the pod itself.
        assert_eq!(calls, "etcd \n", "{shell:?}: {said}");
        assert!(said.contains("\nno such file\n"), "{shell:?}: {said}");
        assert!(clock(root) < 20, "{shell:?}: {}", clock(root));
        // It stays one when systemd starts the unit again, until somebody asks for a pod.
        let before = clock(root);
        let (said, calls) = act(shell, root, "crash", "run");
        assert_eq!((calls.as_str(), said.as_str(), clock(root)), ("etcd \netcd \n", "", before), "{shell:?}");
        fs::remove_file(root.join(&FAILED[1..])).unwrap();
        let (said, _) = act(shell, root, "yes", "run");
        assert!(said.contains("is gone, by which"), "{shell:?}: {said}");
    }
}

#[test]
fn a_member_that_waits_for_a_majority_runs_on() {
    for shell in SHELLS {
        let folder = node();
        let variables = [("works", "yes"), ("leader", "0"), ("removed", "50"), ("pace", "8")];
        let (said, calls) = act_with(shell, folder.path(), &variables, "run");
        assert_eq!(calls, "systemd-notify --ready\n", "{shell:?}: {said}");
        assert_eq!(clock(folder.path()), 400, "{shell:?}: {said}");
        // Its kubelet may not have seen the API since it started.
        let (said, calls) = act(shell, folder.path(), "no", "end");
        let ended = "kill -s TERM 41\nkill -s TERM 42\n";
        assert_eq!(calls, format!("systemd-notify --ready\n{FORGET}{ended}"), "{shell:?}: {said}");
    }
}

#[test]
fn the_pod_has_ended_when_the_unit_has() {
    let (known, served) = (format!("{UID}\n"), format!("{UID} served\n"));
    let ended = "kill -s TERM 41\nkill -s TERM 42\n";
    for shell in SHELLS {
        for (works, note, expected) in [
            ("yes", &served, String::new()),
            ("", &served, ended.to_owned()),
            ("no", &served, format!("{FORGET}{ended}")),
            // It has not served yet.
            ("yes", &known, String::new()),
            ("no", &known, format!("{FORGET}{ended}")),
            // Nothing says which it is but the manifest.
            ("no", &String::new(), format!("{FORGET}{ended}")),
        ] {
            let folder = node_with_pod(note);
            let root = folder.path();
            let (said, calls) = act(shell, root, works, "end");
            assert_eq!((calls, said.as_str()), (expected, ""), "{shell:?}: {works:?} {note:?}");
            let left = [&MANIFEST[1..], &NOTE[1..], "proc/42"].map(|path| root.join(path).exists());
            assert_eq!(left, [false; 3], "{shell:?}: {works:?} {note:?}");
            assert!(root.join("proc/7").exists() && root.join("proc/8").exists(), "those of others");
        }
        // The kubelet may be about to begin it.
        let folder = node_with_pod(&known);
        for process in ["proc/41", "proc/42"] {
            fs::remove_dir_all(folder.path().join(process)).unwrap();
        }
        assert_eq!(act(shell, folder.path(), "yes", "end"), (String::new(), FORGET.to_owned()));
        // A member that is a process.
        let folder = node();
        assert_eq!(act(shell, folder.path(), "yes", "end"), (String::new(), String::new()));
    }
}

#[test]
fn a_pod_that_does_not_end_is_known_to_whoever_needs_a_member_that_has_stopped() {
    for shell in SHELLS {
        let folder = node_with_pod(&format!("{UID} served\n"));
        let root = folder.path();
        let ended = act_on(MACHINE, shell, root, &[("works", "no"), ("stays", "yes")], "end");
        assert_eq!(ended.status.code(), Some(1), "{shell:?}: {ended:?}");
        assert!(root.join(&NOTE[1..]).exists() && !root.join(&MANIFEST[1..]).exists());
        // To systemctl the unit does not run.
        put(root, "data/member/old", "");
        put(root, "data/muster-restore/new/member/new", "");
        let take = format!("systemctl() {{ false; }}\n{}", moved(include_str!("restore-take.sh"), root));
        let data = root.join("data").display().to_string();
        let take = || {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &take, "sh", &data, &format!("{data}/replaced")]);
            command.output().unwrap()
        };
        assert_eq!(take().status.code(), Some(1), "{shell:?}");
        assert!(root.join("data/member/old").exists());
        fs::remove_file(root.join(&NOTE[1..])).unwrap();
        assert!(take().status.success() && root.join("data/member/new").exists(), "{shell:?}");
    }
    let stop = format!("systemctl stop etcd && {{ [ ! -e {NOTE} ] || sh {PROGRAM} end; }} && cp ");
    assert!(include_str!("rescue.sh").contains(&stop));
}

#[test]
fn the_unit_waits_longer_than_its_program_does_on_a_machine_that_is_slow() {
    let limit = |text: &str, name: &str| -> u32 {
        let at = text.find(name).unwrap() + name.len();
        text[at..]
            .split(|c: char| !c.is_ascii_digit())
            .find(|word| !word.is_empty())
            .unwrap()
            .parse()
            .unwrap()
    };
    let to_start = limit(include_str!("templates/etcd.service.j2"), "TimeoutStartSec=");
    let to_stop = limit(include_str!("templates/etcd-pod.conf"), "TimeoutStopSec=");
    let slow = ("pace", "13");
    for shell in SHELLS {
        let folder = node_with_pod(&format!("{UID} served\n"));
        let root = folder.path();
        // A plain unit, too, has the pod ended before it starts.
        act_with(shell, root, &[slow, ("works", "no"), ("stays", "yes")], "end");
        assert!((85..to_stop.min(120) - 10).contains(&clock(root)), "{shell:?}: {}", clock(root));
        // etcd itself has as long as a plain unit gives it.
        let folder = node();
        let root = folder.path();
        let (said, calls) = act_with(shell, root, &[slow, ("works", "no")], "run");
        assert!(calls.ends_with("etcd \n"), "{shell:?}: {said}");
        assert!((60..to_start - 120 - to_stop).contains(&clock(root)), "{shell:?}: {}", clock(root));
    }
}

#[test]
fn the_drop_in_starts_no_program_and_ends_the_pod() {
    let drop_in = include_str!("templates/etcd-pod.conf");
    assert!(!drop_in.contains("ExecStart="), "it would be taken for another's");
    assert_eq!(drop_in.matches(&format!("=/bin/sh {PROGRAM} end\n")).count(), 2);
    let program = include_str!("pod.sh");
    assert!(
        program.contains(&format!("\nnote={NOTE}\n")) && program.contains(&format!("\nfailed={FAILED}\n"))
    );
}

#[test]
fn memory_is_as_much_to_kubernetes_as_to_systemd() {
    assert_eq!(["2G", "512M", "1048576"].map(quantity), ["2Gi", "512Mi", "1048576"]);
}
