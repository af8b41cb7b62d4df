//! What preflight's table says of how to mend something is done, and then there is nothing to be found.

use std::collections::BTreeSet;

use muster_engine::prelude::Problem;

use super::fixture::{Fixture, inventory_and_vars, told};
use super::sandbox::Sandbox;
use super::{Findings, check_inventory, foreign};
use crate::kubespray::refusals;
use crate::reference;

/// What is wrong with a cluster of one machine that has these variables.
fn found(yaml: &str) -> Vec<Problem> {
    let hosts = "node1 ip=192.0.2.1\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let (inventory, vars) = inventory_and_vars(hosts, yaml);
    check_inventory(&inventory, &vars).unwrap().problems
}

/// `name: value` of a remedy `set name: value, or ...`.
fn setting(problem: &Problem) -> Option<&str> {
    let (name, _) = problem.remedy.strip_prefix("set ")?.split_once(": ")?;
    let end = [", or ", ", and ", "; ", " ("].iter().filter_map(|end| problem.remedy.find(end)).min();
    let setting = &problem.remedy["set ".len()..end.unwrap_or(problem.remedy.len())];
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(setting)
}

#[test]
fn what_variables_are_to_be_set_to_is_taken() {
    let names: BTreeSet<&str> = reference::variables()
        .map(|variable| variable.name)
        .chain(refusals().map(|refusal| refusal.name))
        .collect();
    for nonsense in ["-7 times", "['-7 times']"] {
        let yaml: String = names.iter().map(|name| format!("{name}: {nonsense}\n")).collect();
        let problems = found(&yaml);
        let done: Vec<_> = problems.iter().filter_map(|problem| Some((problem, setting(problem)?))).collect();
        assert!(done.len() > 80, "{}", done.len());
        // Of a key that is there twice the last one counts.
        let settings: String = done.iter().map(|(_, setting)| format!("{setting}\n")).collect();
        let left = found(&(yaml + &settings));
        for (problem, _) in done {
            let still = left.iter().find(|left| left.check == problem.check);
            assert_eq!(still.map(told), None, "{}", problem.remedy);
        }
    }
}

/// What is to be typed on the machine, of a remedy.
fn typed(problem: &Problem) -> &str {
    let (_, command) = problem.remedy.split_once("on node1").unwrap().1.split_once(": ").unwrap();
    command.split("; or ").next().unwrap()
}

#[test]
fn what_is_to_be_typed_on_a_machine_clears_what_others_left() {
    let sandbox = Sandbox::new(&[
        ("/etc/cni/net.d/05-cilium.conflist", r#"{"name": "cilium", "plugins": [{"type": "cilium-cni"}]}"#),
        ("/etc/cni/net.d/87-podman.conflist", "{}"),
        ("/etc/cni/net.d/99-other.conf", "{}"),
        ("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "ExecStart=/usr/bin/kubelet\n"),
        ("/etc/systemd/system/etcd.service.d/own.conf", "ExecStart=/usr/bin/etcd\n"),
        ("/run/systemd/system/containerd.service.d/own.conf", "ExecStart=/usr/bin/containerd\n"),
        ("/etc/kubernetes/manifests/etcd.yaml", ""),
        ("/etc/kubernetes/manifests/mine.yaml", ""),
        ("/etc/systemd/system/k3s.service", ""),
        ("/usr/local/bin/k3s-uninstall.sh", "#!/bin/sh\nrm /etc/systemd/system/k3s.service\n"),
        ("/etc/systemd/system/rke2-server.service", ""),
        ("/etc/systemd/system/k0sworker.service", ""),
        ("/usr/bin/k0s", "#!/bin/sh\n[ $1 = stop ] || rm /etc/systemd/system/k0sworker.service\n"),
    ]);
    let found = || {
        let mut fixture = Fixture::good();
        fixture.seen.foreign = sandbox.look(&["sh"]);
        let mut findings = Findings::new(false);
        foreign::check(&fixture.machine(), &mut findings);
        [findings.problems, findings.warnings].concat()
    };
    let problems = found();
    assert_eq!(problems.len(), 10, "{problems:#?}");
    problems.iter().for_each(|problem| sandbox.typed(typed(problem)));
    assert_eq!(found(), []);
}
