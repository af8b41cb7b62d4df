//! Machines that answer, or not: a real sshd on loopback that lets us in. What is run on them changes nothing.

use std::fs;

use muster_testkit::sshd::Sshd;

use crate::fixture::{Test, muster, setup_cluster};

/// A project with this one machine, whose host key is to be kept in the project.
pub(crate) fn project(sshd: &Sshd, test: Test) -> Test {
    let line = format!(
        "node1 ansible_host={} ansible_port={} ansible_user={} ansible_ssh_private_key_file={}\n",
        sshd.address(),
        sshd.port(),
        sshd.user(),
        sshd.key().display()
    );
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    test.file("inventory/hosts.ini", &(line + groups)).set("MUSTER_KNOWN_HOSTS", known_hosts)
}

#[test]
fn ping_and_exec_reach_machines_and_group_equal_answers() {
    let sshd = Sshd::start();
    let test = project(&sshd, muster());
    test.run(&["ping"]).code(0).stdout_has(&["✔ node1  root@127.0.0.1:"]);
    assert_eq!(
        test.run(&["exec", "all", "--", "echo", "a b", "$HOME"]).code(0).stdout,
        "node1 | ok\na b $HOME\n"
    );
    let ended = test.run(&["exec", "all", "--", "echo $((1 + 1)); echo no >&2; exit 3"]).code(2);
    assert_eq!(ended.stdout, "node1 | status 3\n2\nno\n");
    let facts: serde_json::Value =
        serde_json::from_str(&test.run(&["facts", "node1", "--json"]).code(0).stdout).unwrap();
    assert_eq!(facts["node1"]["kernel"], fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
}

#[test]
fn this_computer_is_a_machine_without_sshd_and_without_a_host_key() {
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let hosts = format!("node1 ansible_connection=local ansible_host=127.0.0.1 ansible_port=1\n{groups}");
    let test = muster().file("inventory/hosts.ini", &hosts);
    test.run(&["ping"]).code(0).stdout_has(&["✔ node1  root@this computer  "]).nothing_written();
    assert_eq!(test.run(&["exec", "all", "--", "pwd; umask; cat"]).code(0).stdout, "node1 | ok\n/\n0022\n");
    let facts: serde_json::Value =
        serde_json::from_str(&test.run(&["facts", "node1", "--json"]).code(0).stdout).unwrap();
    assert_eq!(facts["node1"]["kernel"], fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());

    // An inventory that was written for another computer is not followed here.
    let others = test.file("inventory/hosts.ini", &hosts.replace("127.0.0.1", "192.0.2.1"));
    let refused = others.run(&["ping"]).code(4);
    refused.stderr_has(&[
        "this computer does not have its ansible_host, 192.0.2.1",
        "run muster on that machine",
    ]);
    let test = others;

    // Typed, it is for hosts of which the inventory says nothing.
    let test = test.file("inventory/hosts.ini", &format!("node1 ansible_host=127.0.0.1\n{groups}"));
    test.run(&["ping", "-c", "local"]).code(0).stdout_has(&["root@this computer"]);
    let ended = test.run(&["ping", "-c", "winrm"]).code(4);
    ended.stderr_has(&["machines are reached over ssh, or are this computer (local), not \"winrm\""]);
}

#[test]
fn two_hosts_that_are_this_computer_are_refused_by_name() {
    let hosts = "node1 ansible_connection=local\nnode2 ansible_connection=local\n[kube_control_plane]\nnode1\n\
                 [etcd]\nnode1\n[kube_node]\nnode[1:2]\n";
    let test = muster().file("inventory/hosts.ini", hosts);
    let ended = test.run(&["ping"]).code(4);
    ended.stderr_has(&["node1 and node2 are the same machine: they are this computer", "hosts.ini:2:26"]);
    let ended = test.run(&["preflight"]).code(3);
    let told = ended.stdout + &ended.stderr;
    assert!(told.contains("ansible_connection"), "{told}");
}

#[test]
fn a_machine_that_is_off_is_unreachable_with_ansibles_exit_code_and_recap() {
    let mut sshd = Sshd::start();
    let test = project(&sshd, muster());
    sshd.stop();
    let ended = test.run(&["preflight", "--output", "plain"]).code(4);
    let ended = ended.stdout_has(&[
        "\nPLAY RECAP *********************************************************************\n\
         node1                      : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0   \n",
        "again: muster preflight\nlog: muster log last node1\n",
    ]);
    ended.stdout_has(&["✘ node1  unreachable\n  127.0.0.1:"]);
    test.run(&["exec", "all", "--", "true"]).code(4).stdout_has(&["node1 | unreachable\n  127.0.0.1:"]);
}

#[test]
fn a_refused_key_is_told_with_what_was_tried() {
    let sshd = Sshd::start();
    let test = project(&sshd, muster());
    let key = test.folder().join("other");
    muster_testkit::sshd::generate_key(&key, "ed25519", "");
    let inventory = fs::read_to_string(test.folder().join("inventory/hosts.ini")).unwrap();
    let inventory = inventory.replace(&sshd.key().display().to_string(), &key.display().to_string());
    let test = test.file("inventory/hosts.ini", &inventory);
    test.run(&["preflight"]).code(4).stdout_has(&["✘ node1  unreachable", "root was refused", "other"]);
}

#[test]
fn a_changed_host_key_is_an_error_until_the_machine_is_said_to_be_reimaged() {
    let mut sshd = Sshd::start();
    let test = project(&sshd, muster());
    test.run(&["ping"]).code(0);
    sshd.reinstall();
    let ended = test.run(&["preflight"]).code(4);
    ended.stdout_has(&[
        "its host key has changed",
        "again, if the machines were installed anew: muster preflight --reimaged node1\n",
    ]);
    test.run(&["ping", "--reimaged", "node1"]).code(0);
    test.run(&["ping"]).code(0);
}

#[test]
fn json_lines_are_json_and_end_with_the_recap() {
    let mut sshd = Sshd::start();
    let test = project(&sshd, muster().bundle());
    sshd.stop();
    let ended = test.run(&["setup-cluster", "--bundle", "bundle", "--offline", "--output", "jsonl"]).code(4);
    let lines: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["v"] == 1 && line["t"].is_f64()));
    assert_eq!(lines[0]["event"], "run_started");
    let recap = lines.last().unwrap();
    assert_eq!((recap["event"].as_str(), recap["exit_code"].as_u64()), (Some("recap"), Some(4)));
    assert_eq!(recap["hosts"]["node1"]["unreachable"], 1);
    assert!(recap["hosts"]["node1"]["failure"]["remedy"].is_string(), "{recap}");
    let test = test.file("run.jsonl", &ended.stdout);
    test.run(&["timeline", "run.jsonl", "-o", "run.html"]).code(0).stderr("wrote run.html");
    let page = fs::read_to_string(test.folder().join("run.html")).unwrap();
    assert!(page.contains("✘ unreachable") && page.contains("exit code 4"), "{page}");
    assert_eq!(test.run(&["timeline", "run.jsonl"]).code(0).stdout, page);
    test.run(&["timeline", "-"]).code(4).stderr_has(&["error: standard input: there is no run in it"]);
    test.run(&["timeline", "lst"]).code(5).stderr_has(&["error: there is no run \"lst\""]);
    let recorded = test.run(&["timeline"]).code(0).stdout;
    assert!(recorded.contains("✘ unreachable") && recorded.contains("setup-cluster --bundle"), "{recorded}");
}

#[test]
fn kubectl_without_a_cluster_names_the_inventory_that_was_meant() {
    let sshd = Sshd::start();
    let ended = project(&sshd, muster()).run(&["kubectl", "-i", "inventory/hosts.ini", "get", "nodes"]);
    ended.code(1).stderr_has(&[
        "no control plane has an admin.conf to use",
        "hint: switch a control plane on; or set the cluster up: setup-cluster -i inventory/hosts.ini\n",
    ]);
}

#[test]
fn the_inventory_of_machines_on_the_command_line_is_written_before_they_are_contacted() {
    // A port where nobody listens: bound, and free again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let test = setup_cluster().bundle();
    let place = format!("me@127.0.0.1:{port}");
    let arguments = [place.as_str(), "--bundle", "bundle", "--offline", "--tags", "kubelet"];
    test.run(&[&arguments[..], &["--check"]].concat()).code(4);
    assert!(!test.folder().join("inventory").exists(), "only looking");
    let ended = test.run(&arguments).code(4).stderr_has(&["wrote inventory/hosts.ini"]);
    ended.stdout_has(&["again: setup-cluster --bundle bundle --offline --tags kubelet\n"]);
    let written = fs::read_to_string(test.folder().join("inventory/hosts.ini")).unwrap();
    assert!(written.starts_with(&format!("# Written by: setup-cluster {place}\n")), "{written}");
    assert!(written.contains(&format!(
        "\nnode1 ansible_host=127.0.0.1 ip=127.0.0.1 ansible_port={port} ansible_user=me\n"
    )));
    // The same machines again: the inventory is used, and not written again.
    let again = test.run(&arguments).code(4);
    assert!(!again.stderr.contains("wrote"), "{}", again.stderr);
    let left = fs::read_dir(test.folder().join("inventory")).unwrap().map(|entry| entry.unwrap().file_name());
    let left = left.filter(|name| name != ".muster").collect::<Vec<_>>();
    assert_eq!(left, ["hosts.ini"], "no backup, no leftover");
}

/// `NAME ansible_host=... ...`: a server as a line of an inventory.
fn line(name: &str, sshd: &Sshd) -> String {
    format!(
        "{name} ansible_host={} ansible_port={} ansible_user={} ansible_ssh_private_key_file={}",
        sshd.address(),
        sshd.port(),
        sshd.user(),
        sshd.key().display()
    )
}

#[test]
fn the_machine_of_the_group_bastion_is_the_way_to_all_others() {
    let (gate, near, own) = (Sshd::builder().address("127.0.0.2").start(), Sshd::start(), Sshd::start());
    let test = muster();
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let lines = [
        line("node1", &near),
        line("node2", &own) + " ansible_ssh_common_args='-o ProxyJump=none'",
        "[kube_node]\nnode1\nnode2\n[bastion]".to_owned(),
        line("gate", &gate),
    ];
    let test = test.file("inventory/hosts.ini", &lines.join("\n")).set("MUSTER_KNOWN_HOSTS", known_hosts);
    test.run(&["exec", "kube_node", "--", "true"]).code(0).stdout_has(&["node1-2 | ok"]);
    let accepted = |sshd: &Sshd| sshd.log().matches("Accepted publickey").count();
    assert_eq!((accepted(&gate), accepted(&near), accepted(&own)), (1, 1, 1));
    test.run(&["ping", "gate"]).code(0);
    assert_eq!(accepted(&gate), 2, "itself is reached directly");

    let mut gate = gate;
    gate.stop();
    test.run(&["exec", "node1", "--", "true"]).code(4).stdout_has(&["its jump host cannot be used"]);
    test.run(&["exec", "node2", "--", "true"]).code(0);
}

#[test]
fn the_configuration_of_ssh_says_what_the_inventory_leaves_open() {
    let sshd = Sshd::start();
    let test = muster();
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let config = format!(
        "Host node*\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n UserKnownHostsFile /no/file\n",
        sshd.port(),
        sshd.user(),
        sshd.key().display()
    );
    let test = test
        .file("ssh_config", &config)
        .file("inventory/hosts.ini", "node1\n")
        .set("ANSIBLE_SSH_ARGS", "-F ssh_config")
        .set("MUSTER_KNOWN_HOSTS", known_hosts)
        .set("USER", "nobody");
    test.run(&["ping"]).code(0).stdout_has(&[&format!("✔ node1  root@127.0.0.1:{}", sshd.port())]);
    assert!(test.folder().join("known_hosts").exists(), "what is set for the run counts more");

    let test = test.file("ssh_config", &config.replace("Port", "Prot"));
    let ended = test.run(&["ping"]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: node1 cannot be reached: ssh -G node1: ",
        "line 3: Bad configuration option: prot",
    ]);

    let test = test.file("ssh_config", &config).file("inventory/hosts.ini", "node1\nnode2\n");
    test.run(&["ping"])
        .code(4)
        .stderr_has(&["node1 and node2 are the same machine: both are reached at 127.0.0.1"]);
}

#[test]
fn what_tells_why_a_cluster_is_as_it_is_comes_into_one_archive_also_where_a_machine_is_off() {
    let mut sshd = Sshd::start();
    let test = project(&sshd, muster());
    let listed = |archive: &str| {
        let out = std::process::Command::new("tar")
            .args(["-tzf", archive])
            .current_dir(test.folder())
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    test.run(&["support-bundle", "-o", "on.tgz"]).code(0).stderr_has(&["on.tgz: ", "before you hand it on"]);
    let names = listed("on.tgz");
    assert!(names.contains("/node1/system.txt\n") && names.contains("/inventory.txt\n"), "{names}");
    sshd.stop();
    test.run(&["support-bundle", "-o", "off.tgz"]).code(4);
    assert!(listed("off.tgz").contains("/node1/not-reached.txt\n"));
}
