//! Inventories of kubespray: read by what they meant, and what does not hold any more is said.

use crate::fixture::{Test, muster, setup_cluster};

/// The inventory of 2017 that comes with the tests.
fn of_2017(test: Test) -> Test {
    test.file("inventory.cfg", include_str!("../inventories/2017/inventory.cfg"))
        .file("group_vars/all.yml", include_str!("../inventories/2017/group_vars/all.yml"))
        .file("group_vars/k8s-cluster.yml", include_str!("../inventories/2017/group_vars/k8s-cluster.yml"))
}

/// What of the inventory of 2017 means something else now, or nothing.
const TOLD_OF_2017: &str = "\
warning: not set, and not as in kubespray: enable_nodelocaldns: false (kubespray: true since v2.10), kube_network_plugin: flannel (kubespray: calico), kube_proxy_mode: iptables (kubespray: ipvs since v2.8)
warning: group_vars/all.yml:3: bootstrap_os is ignored: what system a machine has is found out
warning: group_vars/all.yml:12: download_run_once is ignored: programs and images come from the bundle, fetched once by this computer (muster bundle)
warning: group_vars/k8s-cluster.yml:12: kube_basic_auth is ignored: Kubernetes has no passwords since 1.19; use certificates, or tokens of service accounts
warning: group_vars/all.yml:4: kube_script_dir is ignored: muster puts nothing there
warning: group_vars/all.yml:19: kubelet_deployment_type is ignored: kubeadm makes the cluster, and the kubelet runs under systemd
";

#[test]
fn an_inventory_of_2017_means_what_it_meant() {
    let test = of_2017(muster());
    let one = |host: &str, name: &str| test.run(&["vars", "-i", "inventory.cfg", host, name]).code(0).stdout;
    assert_eq!(one("s4", "dns_domain"), "classroom.local\n");
    assert_eq!(one("s5", "skydns_server"), "10.233.0.3\n");
    assert_eq!(one("s5", "cert_management"), "script\n");
    assert_eq!(one("s6", "kube_cert_dir"), "/etc/kubernetes/ssl\n");
    let graph = test.run(&["inventory", "-i", "inventory.cfg", "--graph", "k8s_cluster"]).code(0).stdout;
    assert_eq!(
        graph,
        "@k8s-cluster:\n  |--@kube-node:\n  |  |--s5\n  |  |--s6\n  |--@kube-master:\n  |  |--s4\n"
    );
    let listed =
        of_2017(setup_cluster()).run(&["-i", "inventory.cfg", "--list-hosts", "--tags", "node,kubeconfig"]);
    assert_eq!(
        listed.code(0).nothing_written().stdout,
        "  play #1 (k8s_cluster): Install the container engine and the kubelet\n    hosts (3):\n      s4\n      s5\n      s6\n\n  \
         play #2 (kube_node): Join the nodes\n    hosts (2):\n      s5\n      s6\n\n  \
         play #3 (kube_control_plane): Hand over the cluster\n    hosts (1):\n      s4\n"
    );
}

#[test]
fn of_an_inventory_of_2017_each_thing_that_lost_its_meaning_is_told_in_a_line() {
    let ended = of_2017(muster()).run(&["vars", "-i", "inventory.cfg", "s4"]).code(0);
    assert_eq!(ended.stderr, TOLD_OF_2017);
    // The same before a run, which then fails for another reason, with nothing written.
    let ended =
        of_2017(setup_cluster()).run(&["-i", "inventory.cfg", "--bundle", "none", "--offline"]).code(1);
    assert!(ended.stderr.starts_with(TOLD_OF_2017), "{}", ended.stderr);
    ended.nothing_written();
}

#[test]
fn with_machines_for_vault_the_same_inventory_is_refused() {
    let test = of_2017(setup_cluster());
    let inventory = include_str!("../inventories/2017/inventory.cfg").to_owned() + "\n[vault]\ns4\n";
    let ended =
        test.file("inventory.cfg", &inventory).run(&["-i", "inventory.cfg"]).code(3).nothing_written();
    ended.stderr_has(&[
        "1 problem in inventory.cfg; nothing was changed",
        "\ncert_management  vault ",
        "set cert_management:",
    ]);
}

/// A small cluster with these variables.
fn with(test: Test, yaml: &str) -> Test {
    test.file(
        "inventory/hosts.ini",
        "node1 ip=192.0.2.1\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n",
    )
    .file("inventory/group_vars/all.yml", yaml)
}

#[test]
fn what_is_mistyped_is_told_with_what_was_meant() {
    let yaml = "kube_netwrok_plugin: flannel\nkubectl_localhst: true\nmine: 10.233.0.0/18\nkube_pods_subnet: '{{ mine }}'\nfrobnicate: 1\n";
    let ended = with(muster(), yaml).run(&["vars", "node1"]).code(0);
    assert_eq!(
        ended.stderr,
        "\
warning: inventory/group_vars/all.yml:5: \"frobnicate\" is set but used by no role
warning: inventory/group_vars/all.yml:1: \"kube_netwrok_plugin\" is set but used by no role; did you mean \"kube_network_plugin\"?
warning: inventory/group_vars/all.yml:2: \"kubectl_localhst\" is set but used by no role; did you mean \"kubectl_localhost\"?
"
    );
}

#[test]
fn what_would_be_another_cluster_is_refused_all_at_once() {
    let yaml = "kube_network_plugin: weave\ncontainer_manager: \"{{ 'crio' if inventory_hostname == 'node1' else '' }}\"\n\
                kube_external_ca_mode: true\nipv4_stack: no\naws_ebs_csi_enabled: true\nweave_mtu: 1376\n";
    let ended = with(setup_cluster(), yaml).run(&[]).code(3).nothing_written();
    ended.stderr_has(&[
        "warning: inventory/group_vars/all.yml:5: aws_ebs_csi_enabled is not implemented: no driver for volumes of that cloud is installed\n",
        "4 problems in inventory/hosts.ini; nothing was changed",
        " (inventory/group_vars/all.yml:1:22) ",
        "\nkube_network_plugin    weave ",
        "set kube_network_plugin:",
        "\ncontainer_manager      crio ",
        "\nkube_external_ca_mode  true ",
        "\nipv4_stack             false ",
    ]);
    // Without preflight nobody else would say it.
    let ended = with(muster(), yaml).run(&["vars", "node1"]).code(0);
    ended.stderr_has(&[
        "all.yml:1: kube_network_plugin is refused; needed: flannel, calico, cilium, custom_cni",
    ]);
}

#[test]
fn an_old_name_is_taken_for_the_new_one() {
    let test = with(muster(), "dns_replicas: 3\nenable_dual_stack_networks: yes\n");
    let ended = test.run(&["vars", "node1", "coredns_replicas"]).code(0);
    assert_eq!(ended.stdout, "3\n");
    ended.stderr_has(&[
        "all.yml:1:15: \"dns_replicas\" is now called \"coredns_replicas\"",
        "all.yml:2:29: \"enable_dual_stack_networks\" is now called \"ipv6_stack\"",
    ]);
    assert_eq!(test.run(&["vars", "node1", "ipv6_stack"]).code(0).stdout, "true\n");
}

#[test]
fn every_variable_that_does_nothing_is_listed_when_asked_for() {
    let yaml = "kube_network_plugin: flannel\ncilium_cert_dir: /etc/cilium\naws_ebs_csi_enabled: false\nkube_proxy_mode: iptables\nefk_enabled: true\n\
                enable_nodelocaldns: false\nresolvconf_mode: none\n";
    let ended = with(muster(), yaml).run(&["vars", "--unused", "--json"]).code(0);
    let listed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = [
        ("aws_ebs_csi_enabled", 3, "changes nothing: it says what is done anyway"),
        ("cilium_cert_dir", 2, "changes nothing: it belongs to kube_network_plugin"),
        ("efk_enabled", 5, "not implemented: Elasticsearch, Fluentd and Kibana are not installed"),
    ];
    assert_eq!(listed.as_array().unwrap().len(), expected.len(), "{listed:#}");
    for (found, (name, line, what)) in listed.as_array().unwrap().iter().zip(expected) {
        let place = found["places"][0].as_str().unwrap();
        assert!(place.contains(&format!("inventory/group_vars/all.yml:{line}:")), "{place}");
        assert_eq!((found["name"].as_str(), found["what"].as_str()), (Some(name), Some(what)));
    }
    // What asks for something that is missing stands before what nobody misses.
    let ended = with(muster(), yaml).run(&["vars", "--unused"]).code(0);
    let ended = ended.stdout_has(&["inventory/group_vars/all.yml:5"]);
    let at = |text: &str| ended.stdout.find(text).unwrap_or_else(|| panic!("{text}: {}", ended.stdout));
    assert!(at("Not implemented") < at("efk_enabled"), "{}", ended.stdout);
    assert!(at("efk_enabled") < at("Without effect, and nothing is missing"), "{}", ended.stdout);
    assert!(at("Without effect, and nothing is missing") < at("cilium_cert_dir"), "{}", ended.stdout);
}

#[test]
fn the_command_for_ansible_playbook_is_answered_with_the_one_for_here() {
    let test = of_2017(setup_cluster());
    let ended = test.run(&["-i", "inventory.cfg", "-b", "-v", "cluster.yml"]).code(5).nothing_written();
    ended.stderr_has(&[
        "cluster.yml is a playbook of Ansible; setup-cluster needs none",
        "setup-cluster -i INVENTORY",
    ]);
    let ended = test.run(&["-i", "inventory.cfg", "192.0.2.1"]).code(5).nothing_written();
    ended.stderr_has(&["machines are named, and an inventory as well"]);
}
