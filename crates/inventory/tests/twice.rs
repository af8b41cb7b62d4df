//! Hosts that are named more than once, and files of variables that nobody reads.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use muster_inventory::{GroupRules, Inventory, LoadOptions, Source, Vars, VarsBuilder};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn load(root: &Path, sources: &[&str]) -> Result<Inventory, String> {
    let rules = GroupRules::new()
        .alias("kube-node", "kube_node")
        .union("k8s_cluster", &["kube_node"])
        .address("ansible_host")
        .address("ansible_port")
        .address("ip");
    let options = LoadOptions { rules, ..LoadOptions::default() };
    let sources: Vec<Source> = sources.iter().map(|name| Source::Path(root.join(name))).collect();
    Inventory::load(&sources, &options).map_err(|error| told(root, error))
}

fn told(root: &Path, text: impl ToString) -> String {
    text.to_string().replace(&format!("{}/", root.display()), "")
}

/// What is said of an inventory in one file: why it is refused, else each warning in a line.
fn said(name: &str, text: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[(name, text)]);
    match load(root.path(), &[name]) {
        Ok(inventory) => {
            inventory.warnings().iter().map(|w| told(root.path(), w)).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error,
    }
}

#[test]
fn one_name_for_two_machines_is_refused_with_both_places() {
    let refused = said("hosts.ini", "[all]\nnode1 ansible_host=192.0.2.1\nnode1 ansible_host=192.0.2.2\n");
    assert_eq!(
        refused,
        "hosts.ini:3:20: two machines are called node1: its ansible_host is 192.0.2.2 here and 192.0.2.1 in line 2; \
         give one of them a name of its own, or remove the value that is wrong\n   \
         |\n 3 | node1 ansible_host=192.0.2.2\n   |                    ^"
    );
    for ini in [
        "node1 ansible_host=192.0.2.1 ip=10.0.0.1\n[kube_node]\nnode1 ip=10.0.0.2\n",
        "node1 ansible_host=192.0.2.1 ansible_port=2201\nnode1 ansible_host=192.0.2.1 ansible_port=2202\n",
        "192.0.2.1:2201\n192.0.2.1:2202\n",
        "node[1:2] ip=10.0.0.1\nnode[2:3] ip=10.0.0.2\n",
        "node1 ip=10.0.0.1 ip=10.0.0.2\n",
    ] {
        assert!(said("hosts.ini", ini).contains(": two machines are called "), "{ini}");
    }
    for yaml in [
        // The same key twice: YAML takes the last one.
        "all:\n  hosts:\n    node1: {ansible_host: 192.0.2.1}\n    node1: {ansible_host: 192.0.2.2}\n",
        "all:\n  hosts:\n    node1: {ip: 10.0.0.1}\n  children:\n    kube_node:\n      hosts:\n        node1: {ip: 10.0.0.2}\n",
    ] {
        let refused = said("hosts.yml", yaml);
        assert!(refused.contains(": two machines are called node1: "), "{yaml}{refused}");
    }
}

#[test]
fn a_host_may_be_named_in_many_places_that_agree() {
    for ini in [
        "node1 ansible_host=192.0.2.1\n[etcd]\nnode1\n[kube_node]\nnode1 ansible_host=192.0.2.1\n",
        "[kube-node]\nnode1 ip=10.0.0.1\n[kube_node]\nnode1 ip=10.0.0.1\n",
        "node1 ansible_host=192.0.2.1\n[etcd]\nnode1 etcd_member_name=etcd1\n[kube_node]\nnode1 room=104\n",
        "node[1:3]\n[etcd]\nnode[1:3]\n",
        "node1 ansible_host=Node1.example.org\n[etcd]\nnode1 ansible_host=node1.example.org\n",
    ] {
        assert_eq!(said("hosts.ini", ini), "", "{ini}");
    }
    let yaml = "all:\n  hosts:\n    node1: {ansible_port: 22}\n  children:\n    kube_node:\n      hosts:\n        node1: {ansible_port: '22'}\n";
    assert_eq!(said("hosts.yml", yaml), "");
    // What an expression comes to may be the same.
    let told =
        said("hosts.ini", "node1 ip=10.0.0.1 ansible_host=10.0.0.1\n[etcd]\nnode1 ansible_host={{ip}}\n");
    assert!(told.contains("is it the same machine?"), "{told}");
}

#[test]
fn a_second_line_of_a_section_and_a_second_value_are_told() {
    assert_eq!(
        said("hosts.ini", "[kube_node]\nnode[1:3]\nnode[3:4]\n"),
        "hosts.ini:3:1: [kube_node] lists node3 a second time, after line 2: is this line about another machine?"
    );
    assert_eq!(
        said("hosts.ini", "node1 pw=secret1\n[etcd]\nnode1 pw=secret2\n"),
        "hosts.ini:3:10: pw of node1 is given a second time; the value of line 1 is lost"
    );
}

#[test]
fn a_file_may_override_another_one_and_another_address_is_told() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("a.ini", "node1 ip=10.0.0.1 x=1\n"), ("b.ini", "node1 ip=10.0.0.2 x=2\n")]);
    let inventory = load(root.path(), &["a.ini", "b.ini"]).unwrap();
    let warnings: Vec<String> = inventory.warnings().iter().map(|w| told(root.path(), w)).collect();
    assert_eq!(
        warnings,
        [
            "b.ini:1:10: ip of node1 is 10.0.0.2 here, which counts, and 10.0.0.1 in a.ini:1:10: is it the same machine?"
        ]
    );
    assert_eq!(inventory.host("node1").unwrap().vars()["ip"].as_str(), Some("10.0.0.2"));
}

/// Warnings about the folders of variables of a project with `inventory/hosts`, which has the host `h` in the group `web`.
fn of_variables(files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("inventory/hosts", "[web]\nh\n")]);
    write(root.path(), files);
    let inventory = Arc::new(load(root.path(), &["inventory/hosts"]).unwrap());
    let vars: Arc<Vars> = VarsBuilder::new(inventory)
        .playbook_dir(root.path().join("playbooks"))
        .project_dir(root.path())
        .build()
        .unwrap();
    vars.warnings().iter().map(|w| told(root.path(), w)).collect()
}

#[test]
fn a_folder_of_variables_with_a_wrong_name_is_told() {
    for (wrong, right) in [
        ("group_var", "group_vars"),
        ("groups_vars", "group_vars"),
        ("group-vars", "group_vars"),
        ("Group_Vars", "group_vars"),
        ("host_var", "host_vars"),
        ("hosts_vars", "host_vars"),
    ] {
        assert_eq!(
            of_variables(&[(&format!("inventory/{wrong}/all.yml"), "a: 1\n")]),
            [format!("inventory/{wrong} is not read: such a folder is called {right}; rename it")]
        );
    }
    for other in ["group_vars", "group_vars.old", "vars", "credentials", "my_vars"] {
        let said = of_variables(&[(&format!("inventory/{other}/all.yml"), "a: 1\n")]);
        assert!(said.is_empty(), "{other}: {said:?}");
    }
}

#[test]
fn variables_that_are_not_beside_the_inventory_are_told() {
    assert_eq!(
        of_variables(&[("group_vars/web.yml", "a: 1\n")]),
        ["group_vars is not read, because it is not beside the inventory: move it to inventory/group_vars"]
    );
    assert_eq!(
        of_variables(&[("host_vars/h/x.yml", "a: 1\n")]),
        ["host_vars is not read, because it is not beside the inventory: move it to inventory/host_vars"]
    );
    // Samples, which set nothing, and what belongs to the groups of others.
    assert!(of_variables(&[("group_vars/all.yml", "# a: 1\n"), ("group_vars/x.yml", "a: 1\n")]).is_empty());
}

#[test]
fn a_file_that_another_one_hides_or_that_belongs_to_nobody_is_told() {
    assert_eq!(
        of_variables(&[
            ("inventory/group_vars/all.yml", "a: 1\n"),
            ("inventory/group_vars/all/b.yml", "b: 1\n")
        ]),
        ["inventory/group_vars: all.yml is not read, because all is there: put its variables into all"]
    );
    assert_eq!(
        of_variables(
            &[("inventory/host_vars/g.yml", "a: 1\n"), ("inventory/host_vars/node9.yml", "a: 1\n"),]
        ),
        ["inventory/host_vars: no host is called like g.yml (is it meant for \"h\"?), node9.yml"]
    );
    // Another number is another host.
    assert_eq!(
        of_variables(&[("inventory/host_vars/h2.yml", "a: 1\n")]),
        ["inventory/host_vars: no host is called like h2.yml"]
    );
    // A group that the rules know may be empty.
    assert!(of_variables(&[("inventory/group_vars/k8s_cluster.yml", "a: 1\n")]).is_empty());
    assert_eq!(
        of_variables(&[("inventory/group_vars/k8s-clusters.yml", "a: 1\n")]),
        ["inventory/group_vars: no group is called like k8s-clusters.yml (is it meant for \"k8s_cluster\"?)"]
    );
}

#[test]
fn a_template_without_quotes_is_told_with_the_line_as_it_should_be() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &[("hosts", "h\n")]);
    let told_of = |yaml: &str| {
        write(root.path(), &[("group_vars/all.yml", yaml)]);
        let inventory = Arc::new(load(root.path(), &["hosts"]).unwrap());
        told(root.path(), VarsBuilder::new(inventory).build().unwrap_err())
    };
    assert_eq!(
        told_of("a: 1\nkube_version: {{ mine }}\n"),
        "group_vars/all.yml:2:15: a template must be in quotes, or YAML takes its braces for a mapping; \
         write: kube_version: \"{{ mine }}\"\n   |\n 2 | kube_version: {{ mine }}\n   |               ^"
    );
    for (yaml, line) in [
        ("x: {{ y }}/z\n", "write: x: \"{{ y }}/z\"\n"),
        ("x:\n  - {{ y['a'] }}\nz: 1\n", "write: - \"{{ y['a'] }}\"\n"),
        ("x: [{{ y }}]\n", "write: x: [\"{{ y }}\"]\n"),
        ("x: {% if y %}1{% endif %}\n", "write: x: \"{% if y %}1{% endif %}\"\n"),
    ] {
        assert!(told_of(yaml).contains(line), "{}", told_of(yaml));
    }
    // A password that stands in the template is not shown.
    let secret = told_of("my_password: {{ 'secret' }}\n");
    assert!(secret.contains("a template must be in quotes") && !secret.contains("secret"), "{secret}");
    // Other mistakes are what they are, though a text has a template.
    assert!(told_of("x: \"{{ y }}\"\nz: [1\n").contains("not valid YAML"));
}
