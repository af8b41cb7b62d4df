//! Machines that hand on to each other what they got.

use crate::fixture::Lab;

/// Bytes that have left this side for the lab's network, by proc_net_dev(5).
fn sent(lab: &Lab) -> u64 {
    let ended = lab.exec(&["cat", "/proc/net/dev"]);
    let interfaces = ended.out.lines().filter_map(|line| line.split_once(':'));
    let sent = interfaces.filter(|(name, _)| name.trim() != "lo").map(|(_, figures)| {
        figures.split_whitespace().nth(8).and_then(|figure| figure.parse::<u64>().ok()).unwrap_or_default()
    });
    sent.sum()
}

#[test]
fn five_machines_reached_by_way_of_sudo_cost_the_uplink_no_more_than_one_of_each_kind() {
    let lab = Lab::up(238, &["-n", "5"]);
    let machines: Vec<String> = (1..=5).map(|number| format!("admin@{}", lab.address(number))).collect();
    let tags = ["--tags", "bootstrap-os,containerd,kubelet"];
    let set_up = |words: &[&str]| {
        let before = sent(&lab);
        let ended = lab.muster(&[&["setup-cluster"], words, &tags].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        (sent(&lab) - before, ended)
    };
    let words: Vec<&str> = machines.iter().map(String::as_str).collect();
    let (all, ended) = set_up(&words);
    assert!(!ended.all().contains("warning: "), "{ended:#?}");
    // Nothing stays but what was asked for: no copies for others, no sshd that served them.
    for machine in ["node1", "node2", "node3", "node4", "node5"] {
        assert!(!lab.has(machine, "/var/lib/muster/share"), "{machine}");
        assert_eq!(lab.on(machine, "pgrep -fc '[s]shd.*muster/share' || true").trim(), "0", "{machine}");
    }
    // What one of each kind costs, to which this side sends everything: with so few nobody hands anything on.
    for machine in ["node1", "node5"] {
        assert_eq!(lab.lab(&["reimage", machine]).code, 0);
    }
    let (two, _) = set_up(&["--limit", "node1,node5", "--reimaged", "node1,node5"]);
    assert!(two > 100_000_000, "{two} bytes for two machines");
    assert!(all < two + two / 10, "{all} bytes for five machines, {two} for one of each kind");
}
