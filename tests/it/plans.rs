//! Looking only, and plans: what was looked at is as it was, and what is applied is what was planned.

use std::fs;

use crate::fixture::{Test, muster};
use crate::scratch::Scratch;

/// One role that writes a file and installs a program, on all workers. The control plane is never contacted.
const PLAYBOOK: &str = "- name: Connect the pods\n  hosts: kube_node\n  roles: [cni]\n";

fn project(machines: &[(&str, &Scratch)], groups: &str) -> Test {
    let lines: String = machines.iter().map(|(name, machine)| machine.line(name)).collect();
    let test = muster().file("inventory/hosts.ini", &(lines + groups)).bundle();
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    test.set("MUSTER_KNOWN_HOSTS", known_hosts).set("MUSTER_BUNDLE", "bundle")
}

fn workers(machines: &[(&str, &Scratch)]) -> Test {
    let names: String = machines.iter().map(|(name, _)| format!("{name}\n")).collect();
    let groups = format!(
        "head ansible_host=192.0.2.1\n[kube_control_plane]\nhead\n[etcd]\nhead\n[kube_node]\n{names}"
    );
    project(machines, &groups).file("playbooks/cluster.yml", PLAYBOOK)
}

#[test]
fn check_mode_writes_nothing_on_a_machine_whatever_role_it_comes_to() {
    let machine = Scratch::start();
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let test = project(&[("node1", &machine)], groups).with("setup-cluster");
    let before = machine.everything();
    for role in [
        "bootstrap-os",
        "etcd",
        "containerd",
        "kubelet",
        "control-plane",
        "node",
        "flannel",
        "coredns",
        "cni",
    ] {
        let ended = test.run(&["--check", "--diff", "--offline", "--output", "plain", "-vv", "--tags", role]);
        assert!(
            ended.stdout.contains(&format!("node1  {role}: begins")),
            "{}\n{}",
            ended.stdout,
            ended.stderr
        );
        let after = machine.everything();
        let differs = |path: &&std::path::PathBuf| before.get(*path) != after.get(*path);
        let changed: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
        assert!(changed.is_empty(), "{role}: {changed:?}");
    }
}

#[test]
fn a_plan_is_applied_as_it_was_saved() {
    let machines = [Scratch::start(), Scratch::start()];
    let test = workers(&[("pc1", &machines[0]), ("pc2", &machines[1])]);
    let planned = test.run(&["plan", "-o", "plan.json", "--offline"]).code(0);
    let planned = planned.stdout_has(&[
        "muster plan -o plan.json: 2 hosts of inventory/hosts.ini, looking only\n",
        "cni\n",
        "pc1-2  file /etc/cni/net.d/10-flannel.conflist: created  +",
        "(2 hosts, same diff)\n",
        "\nPlan: 4 to create, 0 to change, 0 to remove on 2 hosts\n",
    ]);
    planned.stderr_has(&["saved: plan.json\nnext: muster apply plan.json --bundle bundle --offline\n"]);
    assert!(!machines[0].path("/etc/cni").exists(), "nothing was changed");

    let applied = test.run(&["apply", "plan.json", "--offline"]).code(0);
    applied.stdout_has(&["pc1                        : ok=3    changed=2 ", "✔ 2 hosts done (4 changed)"]);
    for machine in &machines {
        assert!(machine.path("/etc/cni/net.d/10-flannel.conflist").exists());
    }

    // The command may be named, and options may stand on both sides of it.
    let nothing = test.run(&["plan", "--offline", "setup-cluster", "--limit", "pc1"]).code(0);
    nothing.stdout_has(&["✔ nothing to do: 1 host is as it should be\n"]);
    let nothing = test.run(&["plan", "--offline"]).code(0);
    nothing.stdout_has(&["✔ nothing to do: 2 hosts are as they should be\n"]);
    let refused = test.run(&["apply", "plan.json", "--offline"]).code(6);
    refused.stderr_has(&[
        "does not fit any more: nothing was changed\n  pc1-2\n    not to be done any more: cni: ",
    ]);
}

#[test]
fn a_plan_that_does_not_fit_any_more_changes_nothing_and_says_what_differs() {
    let machines = [Scratch::start(), Scratch::start()];
    let test = workers(&[("pc1", &machines[0]), ("pc2", &machines[1])]);
    test.run(&["plan", "-o", "plan.json", "--offline"]).code(0);

    // Somebody has changed a machine.
    let file = machines[1].path("/etc/cni/net.d/10-flannel.conflist");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "mine\n").unwrap();
    let before = machines[0].everything();
    let refused = test.run(&["apply", "plan.json", "--offline"]).code(6);
    refused.stderr_has(&[
        "error: the plan plan.json does not fit any more: nothing was changed\n  pc2\n    not in the plan: cni: file",
        "hint: look at what would be done now: muster plan -o plan.json\n",
    ]);
    assert_eq!(machines[0].everything(), before);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine\n");
    test.run(&["runs"]).code(0).stdout_has(&["muster apply plan.json --offline", "did not fit"]);

    // Somebody has changed what is written.
    let group_vars = test.folder().join("inventory/group_vars");
    fs::create_dir_all(&group_vars).unwrap();
    fs::write(group_vars.join("all.yml"), "flannel_vxlan_vni: 7\n").unwrap();
    let refused = test.run(&["apply", "plan.json", "--offline"]).code(6);
    refused.stderr_has(&["hosts, groups, variables or plays are not what it was made of"]);
    fs::remove_file(group_vars.join("all.yml")).unwrap();
    let refused = test.run(&["apply", "plan.json", "--offline", "-e", "a=hunter2"]).code(6);
    refused.stderr_has(&["it was made without -e, and this is with -e a=..."]);
}

#[test]
fn a_machine_that_was_off_when_the_plan_was_made_is_not_part_of_it() {
    let (on, mut off) = (Scratch::start(), Scratch::start());
    let test = workers(&[("pc1", &on), ("pc2", &off)]);
    off.stop();
    let planned = test.run(&["plan", "-o", "plan.json", "--offline"]).code(4);
    planned
        .stdout_has(&["pc1  file /etc/cni", "on 1 host\n", "✘ pc2  unreachable"])
        .stderr_has(&["saved: plan.json"]);
    off.start_again();
    let refused = test.run(&["apply", "plan.json", "--offline"]).code(6);
    refused.stderr_has(&["nothing was changed\n  pc2\n    was not looked at then"]);
    assert!(!on.path("/etc/cni").exists());
}

#[test]
fn with_serial_what_breaks_one_machine_is_not_done_to_the_next() {
    let machines = [Scratch::start(), Scratch::start()];
    let test = workers(&[("pc1", &machines[0]), ("pc2", &machines[1])]).with("setup-cluster");
    fs::write(machines[0].path("/etc/cni"), "in the way").unwrap();
    let ended = test.run(&["--offline", "--serial", "1"]).code(2);
    ended.stdout_has(&[
        "pc2  stopped, because pc1 did not pass \"Connect the pods\", one batch after the other",
        "--serial 1",
    ]);
    assert!(!machines[1].path("/etc/cni").exists());
    test.run(&["--offline"]).code(2);
    assert!(machines[1].path("/etc/cni").exists(), "without it the other one is done");
    test.run(&["--offline", "--serial", "0"]).code(5).stderr_has(&["at least 1"]);
}

#[test]
fn what_is_no_plan_is_said() {
    let test = muster().file("inventory/hosts.ini", "[kube_node]\na\n").file("plan.json", "{}");
    test.run(&["apply", "plan.json"]).code(1).nothing_written().stderr_has(&["plan.json: this is no plan"]);
    test.run(&["apply", "none.json"])
        .code(1)
        .nothing_written()
        .stderr_has(&["cannot read the plan none.json"]);
}

#[test]
fn a_plan_is_of_a_flow_that_there_is() {
    let machine = Scratch::start();
    let test = workers(&[("pc1", &machine)]);
    test.run(&["plan", "-o", "plan.json", "--offline"]).code(0);
    let path = test.folder().join("plan.json");
    let plan = fs::read_to_string(&path).unwrap();
    assert!(plan.contains("\"setup-cluster\": {"), "{plan}");
    fs::write(&path, plan.replace("setup-cluster", "take-apart")).unwrap();
    let refused = test.run(&["apply", "plan.json", "--offline"]).code(1).nothing_written();
    refused.stderr_has(&[
        "the plan is of a flow that this muster does not have: unknown variant `take-apart`",
        "hint: make a new one",
    ]);
}
