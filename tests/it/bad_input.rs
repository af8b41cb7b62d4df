//! What is wrong before any machine is contacted: the message names the thing, the place and the remedy, and nothing was
//! written anywhere.

use crate::fixture::{Test, setup_cluster};

/// A small inventory of machines that nobody may try to reach: addresses for documentation (RFC 5737).
const INVENTORY: &str = "\
node1 ansible_host=192.0.2.1 ip=192.0.2.1
node2 ansible_host=192.0.2.2 ip=192.0.2.2

[kube_control_plane]
node1

[etcd]
node1

[kube_node]
node1
node2
";

fn cluster() -> Test {
    setup_cluster().file("inventory/hosts.ini", INVENTORY).bundle()
}

/// Runs it with the bundle of the test, never downloading.
#[track_caller]
fn check(test: Test, arguments: &[&str], code: i32, stderr: &str) {
    let arguments = [arguments, &["--bundle", "bundle", "--offline"]].concat();
    test.run(&arguments).code(code).stderr(stderr).nothing_written();
}

#[test]
fn without_an_inventory_two_ways_to_name_one_are_shown() {
    check(
        setup_cluster(),
        &[],
        5,
        "
error: which machines? There is no inventory: neither -i nor inventory/hosts.ini
hint: for a cluster that there is already: go to its project's folder, or name its inventory: -i inventory/mycluster/hosts.ini
hint: for a new cluster, name the machines, the first one becomes the control plane: setup-cluster 192.0.2.11 .12 .13",
    );
}

#[test]
fn an_inventory_that_is_not_there() {
    let ended = setup_cluster().run(&["-i", "nowhere.ini"]).code(4).nothing_written();
    ended.stderr_has(&["error: cannot read PROJECT/nowhere.ini: there is no such file"]);
}

#[test]
fn an_inventory_that_cannot_be_read() {
    check(
        setup_cluster().file("hosts.ini", "[kube_node]\nnode1 ansible_host='192.0.2.1\n"),
        &["-i", "hosts.ini"],
        4,
        "
error: PROJECT/hosts.ini:2:1: cannot read this host line: a quote is opened and not closed
   |
 2 | node1 ansible_host='192.0.2.1
   | ^",
    );
}

#[test]
fn variables_that_cannot_be_read() {
    let text = "kube_version: 1.36.3\nnameservers: [192.0.2.53\nkube_pods_subnet: 10.0.0.0/18\n";
    let ended = cluster().file("inventory/group_vars/all.yml", text).run(&[]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: PROJECT/inventory/group_vars/all.yml:3:",
        "\n 3 | kube_pods_subnet: 10.0.0.0/18\n",
    ]);
}

#[test]
fn a_variable_with_a_template_that_cannot_be_rendered() {
    let text = "kube_version: \"{{ kube_verison_of_the_course }}\"\n";
    let test = cluster().file("inventory/group_vars/all.yml", text);
    let ended = test.run(&["--tags", "etcd"]).code(3).nothing_written();
    ended.stderr_has(&["1 problem in inventory/hosts.ini", "all.yml:1:15", "kube_verison_of_the_course"]);
}

#[test]
fn a_mistyped_group_is_named_as_what_is_to_be_changed() {
    let inventory = INVENTORY.replace("[kube_node]", "[kube_nodes]");
    let ended = setup_cluster().file("inventory/hosts.ini", &inventory).run(&[]).code(4).nothing_written();
    ended.stderr_has(&[
        "is for kube_node: the pattern \"kube_node\" matches no host and no group\n",
        "hint: is the group \"kube_nodes\" meant for \"kube_node\"? rename it in the inventory\n",
    ]);
}

#[test]
fn an_unknown_host_in_a_limit() {
    check(
        cluster(),
        &["--limit", "nod1"],
        5,
        "error: the pattern \"nod1\" matches no host and no group; did you mean \"node1\"?",
    );
}

#[test]
fn a_limit_that_leaves_nobody() {
    check(
        cluster(),
        &["--limit", "kube_node:!all"],
        5,
        "
error: the pattern \"kube_node:!all\" leaves no host
hint: see the hosts and groups: muster inventory --graph",
    );
    check(
        cluster(),
        &["-i", "inventory/hosts.ini", "--limit", "etcd:!all"],
        5,
        "
error: the pattern \"etcd:!all\" leaves no host
hint: see the hosts and groups: muster inventory -i inventory/hosts.ini --graph",
    );
}

#[test]
fn an_inventory_without_the_groups_of_a_cluster() {
    let test = setup_cluster().file("inventory/hosts.ini", "[web]\nnode1 ansible_host=192.0.2.1\n").bundle();
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(4).nothing_written();
    ended.stderr_has(&["k8s_cluster", "kube_control_plane, etcd and kube_node"]);
}

#[test]
fn an_unknown_tag() {
    check(
        cluster(),
        &["--tags", "contianerd"],
        5,
        "error: no role has the tag \"contianerd\"\nhint: did you mean \"containerd\"?",
    );
    check(
        cluster(),
        &["--skip-tags", "kublet"],
        5,
        "error: no role has the tag \"kublet\"\nhint: did you mean \"kubelet\"?",
    );
}

#[test]
fn a_playbook_on_disk_with_an_unknown_role() {
    let playbook = "- name: Mine\n  hosts: all\n  roles: [etdc]\n";
    check(
        cluster().file("playbooks/cluster.yml", playbook),
        &[],
        4,
        "
error: PROJECT/playbooks/cluster.yml:3:11: there is no role \"etdc\"
   |
 3 |   roles: [etdc]
   |           ^
hint: did you mean \"etcd\"?",
    );
}

#[test]
fn the_same_machine_twice_on_the_command_line() {
    check(
        setup_cluster(),
        &["192.0.2.1", ".2", ".1"],
        5,
        "error: 192.0.2.1 is named twice\nhint: name each machine once",
    );
}

#[test]
fn the_same_machine_twice_in_the_inventory() {
    let inventory = INVENTORY.replace("node2 ansible_host=192.0.2.2", "node2 ansible_host=192.0.2.1");
    let test = setup_cluster().file("inventory/hosts.ini", &inventory).bundle();
    let ended =
        test.run(&["--bundle", "bundle", "--offline", "--tags", "etcd,containerd"]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: PROJECT/inventory/hosts.ini:2:20: node1 and node2 are the same machine: both are reached at 192.0.2.1:22",
        "\n 2 | node2 ansible_host=192.0.2.1 ip=192.0.2.2\n",
        "hint: give each its own ansible_host, or remove one of them",
    ]);
}

#[test]
fn a_version_that_is_not_in_the_catalogue() {
    let ended = cluster()
        .file("inventory/group_vars/all.yml", "kube_version: 1.99.0\n")
        .run(&["--bundle", "bundle", "--offline", "--tags", "kubelet"])
        .code(4)
        .nothing_written();
    ended.stderr_has(&[
        "error: PROJECT/inventory/group_vars/all.yml:1:15: kube_version of node1 is 1.99.0: ",
        "\n 1 | kube_version: 1.99.0\n   |               ^",
        "hint: the versions there are: ",
    ]);
    // Of the one that is too old it is told why; another patch may have been published since.
    let ended = |version: &str| {
        cluster()
            .file("inventory/group_vars/all.yml", &format!("kube_version: {version}\n"))
            .run(&["--bundle", "bundle", "--offline", "--tags", "kubelet"])
            .nothing_written()
    };
    ended("1.29.15").code(4).stderr_has(&["kube_version of node1 is 1.29.15: release 1.29.15 is older than all in the catalogue \
        catalogue.yml, which begins with 1.30: older programs of Kubernetes do not understand what they would be told. "]);
    ended("1.36.99").code(1).stderr_has(&[
        "lacks:\n",
        "kubelet 1.36.99",
        "hint: fetch it from the internet or a mirror: muster bundle fetch --kube-version 1.36.99 --dir bundle\n",
    ]);
}

#[test]
fn a_bundle_that_lacks_an_image() {
    let test = setup_cluster().file("inventory/hosts.ini", INVENTORY).bundle_without(&["coredns"]);
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(1).nothing_written();
    ended.stderr_has(&[
        "error: the bundle bundle lacks:\n  image registry.k8s.io/coredns/coredns:",
        "hint: fetch it from the internet or a mirror: muster bundle fetch --dir bundle\n",
    ]);
    let other = ["--bundle", "bundle", "--offline", "-e", "kube_version=1.34.4"];
    test.run(&other).code(1).stderr_has(&["muster bundle fetch --kube-version 1.34.4 --dir bundle\n"]);
}

#[test]
fn charts_of_ones_own_without_helm() {
    let test = setup_cluster().file("inventory/hosts.ini", INVENTORY).bundle_without(&["helm"]);
    let test = test.file("inventory/extension/web/Chart.yaml", "name: web\n");
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(1).nothing_written();
    ended.stderr_has(&[
        "error: the bundle bundle lacks:\n  helm 4.",
        "muster bundle fetch --with helm --dir bundle\n",
    ]);
}

#[test]
fn a_script_before_a_play_that_there_is_not() {
    let test = cluster().file("inventory/hooks/setup-cluster/before-start-etdc", "#!/bin/sh\n");
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: inventory/hooks/setup-cluster/before-start-etdc: the name says of no play of setup-cluster",
        "check-the-machines, prepare-the-machines, start-etcd, ",
    ]);
}

#[test]
fn a_bundle_that_is_damaged() {
    let test = cluster().file("bundle/manifest.json", "{\"format\": 1,\n  \"files\": [");
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(1).nothing_written();
    ended.stderr_has(&["error: bundle/manifest.json:2:"]);
}

#[test]
fn a_variable_of_the_connection_that_cannot_be_followed() {
    let inventory =
        INVENTORY.replace("ip=192.0.2.2", "ip=192.0.2.2 ansible_become_method=su ansible_user=me");
    let test = setup_cluster().file("inventory/hosts.ini", &inventory).bundle();
    let ended =
        test.run(&["--bundle", "bundle", "--offline", "--tags", "containerd"]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: PROJECT/inventory/hosts.ini:2:65: ansible_become_method of node2: ",
        "sudo or doas",
    ]);
}

#[test]
fn problems_of_the_inventory_are_a_table() {
    let test = cluster().file("inventory/group_vars/all.yml", "kube_pods_subnet: 10.233.0.0/18\n");
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(3).nothing_written();
    ended.stderr_has(&[
        "in inventory/hosts.ini; nothing was changed",
        "CHECK",
        "HOW TO MEND IT",
        "kube_pods_subnet",
    ]);
}

/// A value that a role cannot read would stop it in its middle, after others have changed machines.
#[test]
fn values_that_roles_cannot_read() {
    let text = "kube_network_plugin: flannel\ncoredns_deployment_nodeselector:\nkubelet_secure_addresses: [192.0.2.9]\n\
                additional_no_proxy_list: [{first: example.org}]\n";
    let test = cluster().file("inventory/group_vars/all.yml", text);
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(3).nothing_written();
    ended.stderr_has(&[
        "3 problems in inventory/hosts.ini; nothing was changed",
        "all.yml:2:32",
        "all.yml:3:27",
        "all.yml:4:28",
        "a text",
        "kubernetes.io/os",
    ]);
}

/// kubespray's samples leave these without a value, or with one of another type that asks for nothing.
#[test]
fn values_that_ask_for_nothing_are_none() {
    let text = "kube_network_plugin: flannel\nnode_taints:\nkube_resolv_conf:\nkube_proxy_nodeport_addresses: false\n\
                kubeadm_patches: {enabled: false}\ncoredns_deployment_nodeselector:\n";
    let test = cluster().file("inventory/group_vars/all.yml", text);
    let ended = test.run(&["--bundle", "bundle", "--offline"]).code(3).nothing_written();
    ended.stderr_has(&["1 problem in inventory/hosts.ini", "coredns_deployment_nodeselector"]);
}

#[test]
fn a_wrong_option_has_ansibles_exit_code() {
    let ended = setup_cluster().run(&["--limt", "node1"]).code(5).nothing_written();
    ended.stderr_has(&["unexpected argument '--limt'", "--limit"]);
}

#[test]
fn an_ansible_cfg_that_cannot_be_read() {
    let test = cluster().file("ansible.cfg", "[defaults]\nforks = many\n");
    test.run(&[]).code(4).nothing_written().stderr_has(&["ansible.cfg:2:", "forks"]);
}

#[test]
fn a_mistyped_variable_of_the_command_line() {
    let arguments = ["-e", "kube_versoin=1.36.3", "--bundle", "bundle", "--offline"];
    let ended = cluster().run(&arguments).code(3).nothing_written();
    ended.stderr_has(&[
        "1 problem in what was typed; nothing was changed",
        "-e kube_versoin=...: no role has this",
        "type -e kube_version=...",
    ]);
}
