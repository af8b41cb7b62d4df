//! Who has a load balancer, what it is told, and how kubeconfigs are moved.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::preflight::fixture::{inventory_and_vars, variables};

#[test]
fn machines_without_an_api_server_have_one_where_there_are_several() {
    let asked = |planes: &str, more: &str| {
        let ini = format!("a\nb\nc\n[kube_control_plane]\n{planes}[kube_node]\nb\nc\n");
        let (_, vars) = inventory_and_vars(&ini, more);
        ["a", "b", "c"].map(|host| is_asked_for(&vars.host(host).unwrap()))
    };
    assert_eq!(asked("a\n", ""), [false, false, false]);
    assert_eq!(asked("a\nb\n", ""), [false, false, true]);
    assert_eq!(asked("a\n", "loadbalancer_apiserver_localhost: true"), [false, true, true]);
    assert_eq!(asked("a\nb\n", "loadbalancer_apiserver_localhost: false"), [false, false, false]);
    // Somebody else's takes its place, also where both are asked for.
    let both = "{loadbalancer_apiserver: {address: 192.0.2.9}, loadbalancer_apiserver_localhost: true}";
    assert_eq!(asked("a\nb\n", both), [false, false, false]);
}

#[test]
fn each_control_plane_is_asked_whether_it_is_ready() {
    let vars = variables("skydns_server: 10.233.0.3");
    let extra = json!({
        "port": 6443, "health_port": 8081,
        "planes": [{ "name": "a", "address": "192.0.2.1:6443" }, { "name": "b", "address": "192.0.2.2:6443" }],
        "authority": "/etc/kubernetes/ssl/ca.crt", "etcd_patience": patience(5000),
    });
    let config = vars.render(include_str!("templates/haproxy.cfg.j2"), "haproxy.cfg", &extra).unwrap();
    assert!(
        config.contains("\n  bind 127.0.0.1:6443\n") && config.contains("\n  bind 127.0.0.1:8081\n"),
        "{config}"
    );
    let backends: Vec<&str> = config.split("\nbackend ").skip(1).collect();
    let asked_for = [
        "/%[srv_name]",
        "readyz?exclude=etcd&exclude=etcd-readiness\n",
        "livez?exclude=etcd\n",
        "GET /readyz\n",
    ];
    assert_eq!(backends.len(), asked_for.len(), "{config}");
    for (backend, asks) in backends.iter().zip(asked_for) {
        assert!(backend.contains("\n  server a 192.0.2.1:6443\n  server b 192.0.2.2:6443\n"), "{backend}");
        assert!(backend.contains(asks), "{backend}");
    }
    // Whoever has the address of a control plane is one only with a certificate of the cluster's.
    for asked in &backends[1..] {
        assert!(asked.contains("check-ssl verify required ca-file /etc/kubernetes/ssl/ca.crt"), "{asked}");
    }
    // One that has just started forbids everything for a moment.
    assert!(backends[1].contains("^(200|401|403)$") && backends[3].contains("^(200|401)$"), "{config}");
    // All of them would be passed over while etcd elects a leader: one counts if it has etcd, or if nobody has.
    for plane in ["a", "b"] {
        let rule = format!("if {{ path /{plane} }} {{ srv_is_up(answers/{plane}) }}");
        let counts: Vec<&str> = config.lines().filter(|line| line.contains(&rule)).collect();
        assert!(counts.len() == 2 && counts[1].ends_with("{ nbsrv(has-etcd) eq 0 }"), "{config}");
    }
    // One that takes its leave gets nobody new, and keeps whom it has; one without etcd keeps nobody.
    assert!(backends[0].contains("disable-on-404") && backends[0].contains("shutdown-sessions"), "{config}");
    let leaving = "return status 404 if { path /a } !{ srv_is_up(answers/a) } { srv_is_up(lives/a) }\n";
    assert!(config.contains(leaving), "{config}");
}

/// An election takes up to twice its timeout, of which each look sees three seconds.
#[test]
fn a_control_plane_is_given_the_time_of_an_election() {
    assert_eq!([5000, 1000, 0].map(patience), [5, 2, 1]);
}

/// What reload.sh does where containerd shows these tasks, and whether it notes that the configuration was taken up.
fn reload(tasks: &str, kill: &str) -> (String, bool) {
    let machine = Machine::new(true);
    let folder = machine.0.path().display().to_string();
    let ctr = format!(
        "#!/bin/sh\ncase $* in *containers*) echo old; echo new ;; *'tasks ls'*) cat {folder}/tasks ;; *) echo \"$7\" >>{folder}/told; {kill} ;; esac\n"
    );
    fs::write(machine.0.path().join("ctr"), ctr).unwrap();
    fs::set_permissions(machine.0.path().join("ctr"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    fs::write(machine.0.path().join("tasks"), format!("TASK PID STATUS\n{tasks}")).unwrap();
    let stamp = format!("{folder}/stamps/it");
    let done = machine.run(include_str!("reload.sh"), &[&stamp, "ab12", "api-balancer", "SIGUSR2"]);
    assert_eq!(done, fs::read_to_string(&stamp).is_ok_and(|text| text == "ab12\n"));
    (fs::read_to_string(machine.0.path().join("told")).unwrap_or_default(), done)
}

#[test]
fn only_a_load_balancer_that_runs_is_told() {
    // The one that has ended stands in front of one that runs.
    assert_eq!(reload("old 7 STOPPED\nnew 8 RUNNING\n", ":"), ("new\n".into(), true));
    assert_eq!(reload("", "exit 1"), (String::new(), true));
    // It ends while it is told: the one after it reads the file. One that runs and cannot be told is a failure.
    let ends = "echo new 8 STOPPED >\"${0%/*}/tasks\"; exit 1";
    assert_eq!(reload("new 8 RUNNING\n", ends), ("new\n".into(), true));
    assert_eq!(reload("new 8 RUNNING\n", "exit 1"), ("new\n".into(), false));
}

#[test]
fn others_find_a_control_plane_at_its_address() {
    let config = |server: &str| format!("clusters:\n- cluster:\n    server: {server}\n  name: it\n");
    let url = "https://192.0.2.4:6443";
    assert_eq!(for_others(&config("https://127.0.0.1:6443"), url), config(url));
    let fixed = config("https://192.0.2.9:6443");
    assert_eq!(for_others(&fixed, url), fixed);
}

/// A machine's folder, with a kubelet whose restarts are counted, and an API that answers or not.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(answers: bool) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let kubectl = if answers { "exit 0" } else { "echo refused; exit 1" };
        for (name, text) in [
            ("kubectl", kubectl),
            ("systemctl", "[ \"$1\" != restart ] || echo restarted >>restarts"),
            ("sleep", "exit 0"),
        ] {
            let path = machine.0.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        machine
    }

    fn conf(&self, name: &str, server: &str) {
        let text = format!("clusters:\n- cluster:\n    server: {server}\n  name: it\n");
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, program: &str, words: &[&str]) -> bool {
        let folder = self.0.path().display().to_string();
        let front = concat!(include_str!("kubelet_is_told.sh"), include_str!("leads_to.sh"));
        let program = format!("{front}{program}").replace("/etc/kubernetes", &folder);
        let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
        let mut dash = Command::new("dash");
        dash.args(["-euc", &program, "balancer"]).args(words).env("PATH", path).current_dir(&folder);
        dash.output().unwrap().status.success()
    }

    fn leads(&self, urls: &[&str]) -> bool {
        self.run(include_str!("all_lead_to.sh"), urls)
    }

    fn moves(&self, urls: &[&str]) -> bool {
        self.run(include_str!("move.sh"), urls)
    }

    fn restarts(&self) -> usize {
        fs::read_to_string(self.0.path().join("restarts")).map_or(0, |text| text.lines().count())
    }
}

const LOCAL: &str = "https://127.0.0.1:6443";
const OWN: &str = "https://192.0.2.5:6443";
const OLD: &str = "https://192.0.2.4:6443";

#[test]
fn kubeconfigs_are_moved_once_and_the_kubelet_is_told() {
    let machine = Machine::new(true);
    machine.conf("admin.conf", OLD);
    machine.conf("kubelet.conf", OLD);
    assert!(!machine.leads(&[LOCAL]));
    assert!(machine.moves(&[LOCAL]) && machine.leads(&[LOCAL]));
    assert_eq!(machine.restarts(), 1);
    assert!(machine.moves(&[LOCAL]));
    assert_eq!(machine.restarts(), 1);
    // Its own address is as good.
    machine.conf("kubelet.conf", OWN);
    assert!(machine.leads(&[LOCAL, OWN]) && !machine.leads(&[LOCAL]));
    // Not for the administrator, whose kubeconfig says where the cluster's machines look for the API.
    machine.conf("admin.conf", OWN);
    assert!(!machine.leads(&[LOCAL, OWN]));
    machine.conf("admin.conf", LOCAL);
    // It was told to start anew, and the run was killed before.
    fs::write(machine.0.path().join("kubelet.conf.moving"), "").unwrap();
    assert!(!machine.leads(&[LOCAL, OWN]));
    assert!(machine.moves(&[LOCAL, OWN]) && machine.leads(&[LOCAL, OWN]));
    assert_eq!(machine.restarts(), 2);
}

#[test]
fn nothing_is_moved_to_where_nobody_answers() {
    let machine = Machine::new(false);
    machine.conf("kubelet.conf", OLD);
    assert!(!machine.moves(&[LOCAL]) && machine.leads(&[OLD]));
    assert_eq!(machine.restarts(), 0);
}

#[test]
fn a_load_balancer_of_somebody_else_s_is_known_by_its_name_where_it_has_one() {
    let external = |yaml: &str| External::of(&variables(yaml)).unwrap();
    let told = |yaml: &str| external(yaml).map(|external| external.endpoint());
    let names = |yaml: &str| names(&variables(yaml));
    let address = "loadbalancer_apiserver: {address: 192.0.2.9, port: 8443}";
    let name = "apiserver_loadbalancer_domain_name: api.example.org";
    assert_eq!(told(""), None);
    assert_eq!(told(name), None);
    // Nodes have IPv4 addresses, and find nothing there.
    assert!(External::of(&variables("loadbalancer_apiserver: {address: '2001:db8::10'}")).is_err());
    assert_eq!(told(address).unwrap(), "192.0.2.9:8443");
    assert_eq!(told("loadbalancer_apiserver: {address: 192.0.2.9}").unwrap(), "192.0.2.9:6443");
    let both = format!("{address}\n{name}");
    assert_eq!(told(&both).unwrap(), "api.example.org:8443");
    let config = |server: &str| format!("clusters:\n- cluster:\n    server: https://{server}\n  name: it\n");
    let by_address = external(&both).unwrap().by_address(&config("api.example.org:8443"));
    assert_eq!(by_address, config("192.0.2.9:8443"));
    // kubespray's certificates have the name in any case.
    assert_eq!(names(name), ["api.example.org"]);
    assert_eq!(names(&both), ["192.0.2.9", "api.example.org"]);
}

/// What /etc/hosts holds after lines were put there, in all shells.
fn hosts_after(before: &str, cut_off: Option<&str>, lines: &[&str]) -> Vec<String> {
    const MARK: &str = "# muster: loadbalancer_apiserver";
    let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
    let after = |shell: &&[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        fs::write(folder.path().join("hosts"), before).unwrap();
        if let Some(text) = cut_off {
            fs::write(folder.path().join("hosts.new"), text).unwrap();
        }
        // In the network of the machine, with an alias of its own; in one of its own; and one that has no such file.
        let pods = ["one", "other", "none"].map(|name| folder.path().join("kubelet/pods").join(name));
        pods.iter().for_each(|pod| fs::create_dir_all(pod).unwrap());
        let of_pod =
            |kind: &str| format!("# Kubernetes-managed hosts file{kind}.\n{before}\n198.51.100.1 alias\n");
        fs::write(pods[0].join("etc-hosts"), of_pod(" (host network)")).unwrap();
        fs::write(pods[1].join("etc-hosts"), of_pod("")).unwrap();
        fs::write(folder.path().join("kubelet.conf"), "").unwrap();
        let run = |text: &str| {
            let program = format!("set -eu\nsystemctl() {{ echo \"$*\" >>{path}/told; }}\n{text}");
            let program = program.replace("/etc/hosts", &format!("{path}/hosts")).replace("/var/lib", &path);
            let program = program.replace("/muster/", "/").replace("/etc/kubernetes", &path);
            let moves = (text == names::SET).then_some("moves");
            let args = std::iter::once(MARK).chain(moves).chain(lines.iter().copied());
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &program, "hosts"]).args(args).status().unwrap().success()
        };
        assert!(run(names::SET) && run(names::ARE), "{shell:?}");
        assert!(!folder.path().join("hosts.new").exists());
        assert_eq!(fs::read_to_string(folder.path().join("told")).unwrap(), "restart kubelet\n", "{shell:?}");
        assert!(!folder.path().join("kubelet.conf.moving").exists(), "{shell:?}");
        let copy = fs::read_to_string(pods[0].join("etc-hosts")).unwrap();
        let ours: Vec<&str> = copy.lines().filter(|line| line.ends_with(MARK)).collect();
        assert!(ours == lines && copy.contains("198.51.100.1 alias\n"), "{shell:?}: {copy}");
        assert_eq!(fs::read_to_string(pods[1].join("etc-hosts")).unwrap(), of_pod(""), "{shell:?}");
        fs::read_to_string(folder.path().join("hosts")).unwrap()
    };
    shells.iter().map(after).collect()
}

#[test]
fn machines_know_a_name_and_forget_it() {
    let line = "192.0.2.9 api.example.org # muster: loadbalancer_apiserver";
    let old = "192.0.2.8 old.example.org # muster: loadbalancer_apiserver";
    let own = "127.0.0.1 localhost";
    for text in hosts_after(own, None, &[line]) {
        assert_eq!(text, format!("{own}\n{line}\n"));
    }
    for text in hosts_after(&format!("{old}\n{own}\n"), None, &[]) {
        assert_eq!(text, format!("{own}\n"));
    }
    for text in hosts_after(&format!("{old}\n{own}\n"), None, &[line]) {
        assert_eq!(text, format!("{own}\n{line}\n"));
    }
    // What was cut off while it was written is finished first.
    for text in hosts_after("127.0.", Some(&format!("{own}\n{old}\n")), &[line]) {
        assert_eq!(text, format!("{own}\n{line}\n"));
    }
}

/// Samples of kubespray's first years have the API server at 443, and load balancers.
#[test]
fn it_is_root_only_where_its_port_asks_for_it_and_then_it_may_do_nothing_else() {
    let vars = variables("{}");
    let rights = |port: u16| {
        let extra = json!({
            "port": port, "health_port": 8081, "image": "haproxy", "config": CONFIG, "folder": FOLDER,
            "authority": "/etc/kubernetes/ssl/ca.crt",
        });
        let pod = vars.render(include_str!("templates/pod.yaml.j2"), "pod.yaml", &extra).unwrap();
        let pod: serde_json::Value = serde_saphyr::from_str(&pod).unwrap();
        let spec = &pod["spec"];
        (
            spec["securityContext"]["runAsUser"].clone(),
            spec["containers"][0]["securityContext"]["capabilities"].clone(),
        )
    };
    assert_eq!(rights(6443), (json!(65534), json!({ "drop": ["ALL"] })));
    assert_eq!(rights(443), (json!(0), json!({ "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] })));
}

/// What a command sees of /etc/hosts and /etc/resolv.conf past the lines of muster's, in all shells, where these name servers are asked
/// and mounts are made or not; nothing where it was not run.
fn seen_past(mark: &str, resolv: &str, mounts: bool) -> Vec<String> {
    let seen = |shell: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["etc", "tmp", "run/systemd/resolve"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let line = "192.0.2.9 api.example.org # muster: loadbalancer_apiserver\n";
        fs::write(at("etc/hosts"), format!("127.0.0.1 localhost\n{line}")).unwrap();
        fs::write(at("etc/resolv.conf"), resolv).unwrap();
        fs::write(at("run/systemd/resolve/resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        let mount = if mounts { "cp \"$2\" \"$3\"" } else { "exit 32" };
        for (name, text) in [("unshare", "shift\nexec \"$@\""), ("mount", mount)] {
            fs::write(at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let text = concat!(
            include_str!("past_hosts_file.sh"),
            "past_hosts_file \"$1\" cat /etc/hosts /etc/resolv.conf"
        );
        let path = folder.path().display().to_string();
        let program =
            text.replace("/run/", &format!("{path}/run/")).replace("/etc/", &format!("{path}/etc/"));
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-euc", &program, "sh", mark]).env("TMPDIR", at("tmp"));
        let out = command.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap())).output().unwrap();
        assert_eq!(out.status.success(), !out.stdout.is_empty(), "{shell:?}: {out:?}");
        assert_eq!(fs::read_dir(at("tmp")).unwrap().count(), 0, "{shell:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]].into_iter().map(seen).collect()
}

#[test]
fn names_are_asked_past_the_lines_of_hosts_of_whom_the_machine_asks() {
    let (stub, own) = ("# resolved\nnameserver 127.0.0.53\n", "nameserver 198.51.100.53\n");
    for (resolv, asked) in [(stub, "nameserver 192.0.2.53\n"), (own, own)] {
        for seen in seen_past("# muster: loadbalancer_apiserver", resolv, true) {
            assert_eq!(seen, format!("127.0.0.1 localhost\n{asked}"));
        }
        // With the former line, whatever name servers say would count for nothing.
        for seen in seen_past("# muster: loadbalancer_apiserver", resolv, false) {
            assert_eq!(seen, "");
        }
    }
    for seen in seen_past("", stub, false) {
        assert!(seen.contains(" api.example.org ") && seen.ends_with(stub), "{seen}");
    }
}
