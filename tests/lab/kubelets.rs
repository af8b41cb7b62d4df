//! Kubelets get values with which they do not start: one of them notices, for seconds, and has its former configuration again.

use std::fs;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];

/// From now on all machines have these variables.
fn say(lab: &Lab, text: &str) {
    let folder = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("all.yml"), text).unwrap();
}

fn set_up(lab: &Lab) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// The process of each machine's kubelet.
fn processes(lab: &Lab) -> [String; 3] {
    MACHINES.map(|machine| lab.on(machine, "systemctl show -p MainPID --value kubelet"))
}

/// These variables are refused with these words, by one of these machines; the others' kubelets have noticed nothing, and all nodes
/// are Ready.
fn is_refused(lab: &Lab, variables: &str, words: &[&str], by: &[&str]) {
    say(lab, variables);
    let (before, begun) = (processes(lab), Instant::now());
    let refused = lab.muster(&["setup-cluster"]);
    let lasted = begun.elapsed();
    println!("{variables:?}: refused after {lasted:?}\n{}", refused.all());
    assert_eq!(refused.code, 2, "{refused:#?}");
    let told = refused.all().split_whitespace().collect::<Vec<_>>().join(" ");
    let went_back = "the kubelet does not run with its new configuration, and has the one before again: ";
    for words in words.iter().chain(&[went_back]) {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(lasted < Duration::from_secs(90), "{lasted:?}");
    let after = processes(lab);
    let restarted =
        MACHINES.iter().zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after);
    let restarted: Vec<&str> = restarted.map(|(name, _)| *name).collect();
    assert!(restarted.len() == 1 && by.contains(&restarted[0]), "{restarted:?}");
    for machine in MACHINES {
        assert_eq!(lab.on(machine, "systemctl is-active kubelet").trim(), "active");
        assert!(!lab.has(machine, "/var/lib/muster/kubelet-before"));
        let pods = lab.on(machine, "grep maxPods /var/lib/kubelet/config.yaml");
        assert_eq!(pods.trim(), "maxPods: 110");
    }
    let nodes = lab.muster(&["kubectl", "get", "nodes", "--no-headers"]);
    assert_eq!(nodes.out.lines().filter(|line| line.contains(" Ready ")).count(), 3, "{nodes:#?}");
}

#[test]
fn a_wrong_value_stops_one_kubelet_for_seconds_and_the_right_one_goes_through() {
    let lab = Lab::up(179, &[]);
    let hosts: String = (1..=3)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode2\nnode3\n";
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("{hosts}{groups}")).unwrap();
    set_up(&lab);

    let (all, workers): (&[&str], &[&str]) = (&["node1"], &["node2", "node3"]);
    let grace = "kubelet_shutdown_grace_period: 10s\nkubelet_shutdown_grace_period_critical_pods: 20s\n";
    for (variables, words, by) in [
        (
            grace,
            &[
                "must be <= shutdownGracePeriod {10s}",
                "hint: correct kubelet_shutdown_grace_period_critical_pods (",
                "all.yml:2:46), and run again",
            ][..],
            all,
        ),
        (
            "kubelet_feature_gates: [Nonsense=true]\n",
            &["unrecognized feature gate: Nonsense", "hint: correct kubelet_feature_gates ("],
            all,
        ),
        // It leaves a note of its policy.
        (
            "kubelet_config_extra_args: {cpuManagerPolicy: static}\n",
            &["reserved CPU resources for static policy"],
            all,
        ),
        (
            "kubelet_node_config_extra_args: {podsPerCore: -1}\n",
            &["podsPerCore", "needs a kubelet that runs with its new configuration from node"],
            workers,
        ),
        ("kubelet_node_custom_flags: [--nonsense=1]\n", &["unknown flag: --nonsense"], workers),
    ] {
        is_refused(&lab, variables, words, by);
    }
    held(
        "wrong values",
        "kubelets of three lab machines get values with which they do not start",
        5,
        "one kubelet at a time has its former configuration again after seconds; all nodes stay Ready",
    );

    // With the former values there is nothing to do for a kubelet.
    say(&lab, "");
    let before = processes(&lab);
    set_up(&lab);
    assert_eq!(processes(&lab), before);
    say(&lab, "kubelet_max_pods: 77\n");
    set_up(&lab);
    for machine in MACHINES {
        let configz = format!("/api/v1/nodes/{machine}/proxy/configz");
        let has = lab.muster(&["kubectl", "get", "--raw", &configz]);
        assert!(has.out.contains(r#""maxPods":77"#), "{has:#?}");
    }
    let again = set_up(&lab);
    assert_eq!(MACHINES.map(|machine| again.recap(machine, "changed")), [0; 3], "{again:#?}");
}
